"""What can be done with Google Play from outside of it: by buyers, by Google's staff, by a tester."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from payplat.simulators.google.accounts import ALL, Account
from payplat.simulators.google.courier import Attempt
from payplat.simulators.google.keys import NamedKey, new_key
from payplat.simulators.google.notices import Push
from payplat.simulators.google.platform import Platform, tried
from payplat.simulators.google.purchases import GOOGLE, OTHER, Purchase, Refund

_EMAIL = "payments@simulator.iam.gserviceaccount.com"


class Play(Platform):
    """Each act returns when the first delivery of its notification has been answered."""

    @property
    def token_uri(self) -> str:
        """The token endpoint of OAuth 2.0."""
        return f"{self.url}/token"

    @property
    def issuer(self) -> str:
        """Who makes the tokens of the pushes."""
        return self.identity.issuer

    @issuer.setter
    def issuer(self, issuer: str) -> None:
        """Name another from now on."""
        self.identity.issuer = issuer

    def service_account(
        self,
        email: str = _EMAIL,
        permissions: Iterable[str] = ALL,
        *,
        key: rsa.RSAPrivateKey | None = None,
    ) -> dict[str, str]:
        """Invite a service account; returns its file, with a fresh key unless one is given.

        The simulator listens already: the file holds its address. Inviting an email again
        replaces its key. `permissions`: see accounts.ALL.
        """
        account = Account(email, frozenset(permissions), NamedKey(key or new_key()))
        return self.accounts.add(account, self.token_uri)

    async def buy(self, package: str, product_id: str, **terms: Any) -> Purchase:
        """As a buyer on a phone; `terms` are those of start_purchase() and Terms.

        `pending`: the money comes later, by complete_pending(). `notify=False`: no notification.
        Raises BillingRefusal.
        """
        purchase, told = self.start_purchase(package, product_id, **terms)
        await tried(told)
        return purchase

    async def complete_pending(self, token: str) -> Purchase:
        """The money of a pending purchase comes; raises Refusal if it is not pending."""
        purchase = self.books.need(token)
        await tried(self.settle(purchase))
        return purchase

    async def cancel_pending(self, token: str) -> Purchase:
        """The money of a pending purchase never comes; raises Refusal if it is not pending."""
        purchase = self.books.need(token)
        await tried(self.abandon(purchase))
        return purchase

    async def refund(self, token: str, **how: Any) -> Refund:
        """As staff in the console; `how` is that of start_refund(). Raises Refusal."""
        refund, told = self.start_refund(self.books.need(token), **how)
        await tried(told)
        return refund

    async def void(
        self, token: str, *, source: int = GOOGLE, reason: int = OTHER, **how: Any
    ) -> Refund:
        """Google or the buyer takes it back: a chargeback has reason 7, remorse source 0 and 1."""
        return await self.refund(token, source=source, reason=reason, **how)

    async def review(self, token: str) -> str:
        """Google asks about a chargeback; `reviews` holds what was answered to the token returned."""
        pending_refund_token, told = self.start_review(self.books.need(token))
        await tried(told)
        return pending_refund_token

    async def send_test_notification(self, package: str) -> None:
        """As the button in the console."""
        await tried(self.herald.test(self.app(package)))

    def id_token(self, *, package: str = "", **overrides: Any) -> str:
        """A push's token: of this app, or of the first.

        `alg`, `key` and `kid` as in Identity.token(); any other name is a claim, None leaves it out.
        """
        how = {name: overrides.pop(name) for name in ("alg", "key", "kid") if name in overrides}
        return self.identity.token(self.app(package), overrides, **how)

    async def notify_raw(self, body: bytes, *, package: str = "", **headers: str) -> Attempt:
        """Push any bytes once, rightly signed unless `Authorization` says otherwise."""
        app = self.app(package)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        push = Push({**self.herald.headers(app), **named}, body)
        return await self.herald.courier.send(app.push_url or "", "raw", push)

    async def attack(self, name: str, *, package: str = "", token: str = "") -> Attempt:
        """Send one of attacks.NAMES once, about the purchase of `token` or about none."""
        app = self.app(package)
        push = self.attacks.make(name, app, token)
        return await self.herald.courier.send(app.push_url or "", name, push)

    async def flush(self) -> None:
        """Deliver all notifications that wait or are held, now."""
        await self.herald.courier.flush()

    async def idle(self) -> None:
        """Wait until nothing that is due now is still to be done."""
        await self.agenda.idle()

    async def advance(self, seconds: float) -> None:
        """Move the clock; whatever falls due on the way happens, in order, at its own time."""
        await self.agenda.advance(seconds)
