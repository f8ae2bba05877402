"""Google Play without its doors: apps, accounts, purchases and notifications, on one simulated clock."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from payplat.simulators.clock import Agenda, Clock
from payplat.simulators.google.accounts import Accounts
from payplat.simulators.google.apps import App, Product
from payplat.simulators.google.attacks import Attacks
from payplat.simulators.google.books import Books, new_order_id
from payplat.simulators.google.courier import Message
from payplat.simulators.google.faults import Faults
from payplat.simulators.google.herald import Herald
from payplat.simulators.google.identity import Identity
from payplat.simulators.google.knobs import Knobs
from payplat.simulators.google.purchases import (
    DEVELOPER,
    GOOGLE,
    OTHER,
    PURCHASED,
    TEST,
    UNACKNOWLEDGED,
    Purchase,
    Refund,
    Terms,
)
from payplat.simulators.google.refusals import BillingRefusal, Refusal
from payplat.simulators.google.voids import Quota

SUBSCRIPTION = "projects/simulator/subscriptions/play"


@dataclass(frozen=True)
class Received:
    """A request that came: when, which call, by whom, and the answer (`reason` empty: no error)."""

    at: float
    method: str
    path: str
    call: str
    account: str
    body: bytes
    status: int
    reason: str


class Platform:
    """The judge of truth: what the books here say has happened, has happened."""

    def __init__(self, clock: Clock, knobs: Knobs, signing_key: rsa.RSAPrivateKey | None) -> None:
        self.clock = clock
        self.knobs = knobs
        self.agenda = Agenda(clock)
        self.accounts = Accounts(clock, knobs)
        self.identity = Identity(clock, signing_key)
        self.attacks = Attacks(self.identity, clock)
        self.faults = Faults()
        self.herald = Herald(self.agenda, self.identity, self.faults, knobs)
        self.apps: dict[str, App] = {}
        self.books = Books()
        self.quota = Quota()
        self.received: list[Received] = []
        self.reviews: dict[str, dict[str, Any] | None] = {}
        self.url = ""
        self.closing = asyncio.Event()

    # Apps.

    def add_app(
        self,
        package: str,
        *,
        products: Mapping[str, Product],
        push_url: str | None,
        push_audience: str,
        push_email: str,
        subscription: str = SUBSCRIPTION,
    ) -> None:
        """Register an app; `push_url` None leaves it without notifications, an empty audience
        makes the tokens of the pushes out to the endpoint."""
        app = App(package, products, push_url, push_audience, push_email, subscription)
        self.apps[package] = app

    def app(self, package: str = "") -> App:
        """The app of that name, or the first; raises BillingRefusal."""
        app = self.apps.get(package) if package else next(iter(self.apps.values()), None)
        if app is None:
            raise BillingRefusal("DEVELOPER_ERROR", f"no app {package}".strip())
        return app

    # Purchases.

    def start_purchase(
        self,
        package: str,
        product_id: str,
        *,
        pending: bool = False,
        notify: bool = True,
        **terms: Any,
    ) -> tuple[Purchase, list[Message]]:
        """The buyer agrees; notifications are on their way. Raises BillingRefusal."""
        app = self.app(package)
        purchase = self.books.open(app, product_id, Terms(**terms), self.clock.now())
        return purchase, [] if pending else self.settle(purchase, notify=notify)

    def settle(self, purchase: Purchase, *, notify: bool = True) -> list[Message]:
        """The money comes, and the time to acknowledge begins."""
        now = self.clock.now()
        purchase.pay(now, new_order_id())
        grace = self.knobs.grace(tester=purchase.terms.kind == TEST)

        async def lapse() -> None:
            if purchase.state == PURCHASED and purchase.refundable and not purchase.acknowledged:
                self.start_refund(purchase, source=GOOGLE, reason=UNACKNOWLEDGED)

        self.agenda.at(now + grace, lapse)
        return self.herald.purchased(self.app(purchase.package), purchase) if notify else []

    def settle_later(self, purchase: Purchase) -> None:
        """The money of a pending purchase comes after a while, unless it was canceled."""

        async def later() -> None:
            with contextlib.suppress(Refusal):
                self.settle(purchase)

        self.agenda.at(self.clock.now() + self.knobs.pending_seconds, later)

    def abandon(self, purchase: Purchase) -> list[Message]:
        """The money of a pending purchase never comes."""
        purchase.cancel(self.clock.now())
        return self.herald.canceled(self.app(purchase.package), purchase)

    def start_refund(
        self,
        purchase: Purchase,
        *,
        revoke: bool = True,
        quantity: int | None = None,
        source: int = DEVELOPER,
        reason: int = OTHER,
        recorded_after: float = 0.0,
    ) -> tuple[Refund, list[Message]]:
        """Money goes back; who revokes nothing leaves no trace but the order. Raises Refusal."""
        now = self.clock.now()
        refund = purchase.refund(
            now,
            quantity,
            revoke=revoke,
            source=source,
            reason=reason,
            recorded_at=now + recorded_after,
        )
        app = self.app(purchase.package)
        return refund, self.herald.voided(app, purchase, refund) if revoke else []

    def start_review(self, purchase: Purchase) -> tuple[str, list[Message]]:
        """Google asks what to do about a chargeback; returns the `pendingRefundToken`."""
        if purchase.order_id is None:
            raise Refusal("invalidPurchaseState")
        token = secrets.token_urlsafe(32)
        self.reviews[token] = None
        return token, self.herald.review(self.app(purchase.package), purchase, token)

    async def nap(self, seconds: float) -> None:
        """Real seconds, cut short when the simulator stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closing.wait()


async def tried(messages: Iterable[Message]) -> None:
    """Wait until each has gone out once, or is not to go out now."""
    for message in messages:
        await message.tried.wait()
