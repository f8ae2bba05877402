"""The App Store without its doors: apps, keys, books and notifications, on one simulated clock."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from dataclasses import dataclass
from typing import Any

from payplat.simulators.apple import jws
from payplat.simulators.apple.apps import App, read_public_key
from payplat.simulators.apple.books import PRODUCTION, Books, Fields, Purchase
from payplat.simulators.apple.certificates import Authority, Chain
from payplat.simulators.apple.courier import Courier
from payplat.simulators.apple.faults import Faults
from payplat.simulators.apple.knobs import Knobs
from payplat.simulators.apple.notices import Notice
from payplat.simulators.clock import Agenda, Clock

_CHANCE = random.Random()  # noqa: S311 - no secret


@dataclass
class Received:
    """A request that reached the API; `status` and `code` stay 0 while nothing is answered."""

    at: float
    method: str
    environment: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    status: int = 0
    code: int = 0


class Platform:
    """The judge of truth: what the books here say has been bought, has been bought."""

    def __init__(self, clock: Clock, knobs: Knobs) -> None:
        self.clock = clock
        self.knobs = knobs
        self.agenda = Agenda(clock)
        self.authority = Authority(clock.now)
        self.apps: dict[str, App] = {}
        self.books = Books()
        self.faults = Faults()
        self.courier = Courier(self.agenda, self._write, knobs)
        self.tests: dict[str, Notice] = {}
        self.received: list[Received] = []
        self.url = ""
        self.closing = asyncio.Event()

    def add_app(
        self,
        bundle_id: str,
        *,
        app_apple_id: int,
        issuer_id: str,
        key_id: str,
        public_key_pem: str,
        notification_urls: dict[str, str] | None = None,
        prices: dict[str, tuple[int, str]] | None = None,
    ) -> None:
        """Register an app; the URLs are by environment, the prices (milliunits, currency) by product."""
        self.apps[bundle_id] = App(
            bundle_id,
            app_apple_id,
            issuer_id,
            key_id,
            read_public_key(public_key_pem),
            dict(notification_urls or {}),
            dict(prices or {}),
        )

    # Time.

    @property
    def milliseconds(self) -> int:
        """Milliseconds since 1970 on the simulator's clock."""
        return int(self.clock.now() * 1000)

    @property
    def bearer_time(self) -> float:
        """Seconds since 1970 as whoever signs tokens sees them: unmoved, where time is the machine's."""
        return time.time() if self.clock.real else self.clock.now()

    async def nap(self, seconds: float | None) -> None:
        """Real seconds, without end if None, cut short when the simulator stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closing.wait()

    # Signatures.

    def signed(self, fields: Fields, chain: Chain | None = None) -> str:
        """Sign fields as they are, dated now."""
        dated = {**fields, "signedDate": self.milliseconds}
        return jws.sign(dated, chain or self.authority.chain)

    # Notifications.

    def announce(
        self, notification_type: str, purchase: Purchase, subtype: str = "", **data: Any
    ) -> Notice | None:
        """Tell of a purchase as it stands; None where the app gave no address."""
        return self.tell(
            notification_type,
            self.apps[purchase.bundle_id],
            purchase.environment,
            purchase=purchase,
            subtype=subtype,
            data=data,
        )

    def tell(
        self,
        notification_type: str,
        app: App,
        environment: str,
        *,
        purchase: Purchase | None = None,
        subtype: str = "",
        data: dict[str, Any] | None = None,
    ) -> Notice | None:
        """Hand a notification to the courier; nobody waits for it."""
        url = app.notification_urls.get(environment)
        if not url:
            return None
        fields = {**addressed(app, environment), **(data or {})}
        fault = self.faults.take_notice(notification_type)
        at, uid = self.clock.now(), str(uuid.uuid4())
        notice = Notice(
            notification_type, uid, app.bundle_id, environment, url, at, fields, fault, subtype
        )
        if purchase:
            notice.transaction, notice.customer = dict(purchase.fields), purchase.customer
        self.courier.send(notice)
        return notice

    def payload(self, notice: Notice) -> Fields:
        """The "responseBodyV2DecodedPayload" of a notice, its transaction freshly signed."""
        data = dict(notice.data)
        if notice.transaction:
            data["signedTransactionInfo"] = self.signed(notice.transaction)
        subtype = {"subtype": notice.subtype} if notice.subtype else {}
        return {
            "notificationType": notice.notification_type,
            **subtype,
            "notificationUUID": notice.notification_uuid,
            "data": data,
            "version": "2.0",
        }

    def _write(self, notice: Notice) -> str:
        """Whether a retry is signed anew is not documented: either may happen."""
        resign = self.knobs.resign
        if resign is None:
            resign = _CHANCE.random() < 0.5
        if resign or not notice.signed:
            notice.signed = self.signed(self.payload(notice))
        return notice.signed


def addressed(app: App, environment: str) -> dict[str, Any]:
    """Whom a notification is about; the sandbox leaves out appAppleId."""
    number = {"appAppleId": app.app_apple_id} if environment == PRODUCTION else {}
    return {
        **number,
        "bundleId": app.bundle_id,
        "bundleVersion": "1",
        "environment": environment,
    }
