"""Turns what happened into Real-time Developer Notifications, each with the fault meant for it."""

from __future__ import annotations

from payplat.simulators.clock import Agenda
from payplat.simulators.google import notices
from payplat.simulators.google.apps import App
from payplat.simulators.google.courier import Courier, Message
from payplat.simulators.google.faults import Faults
from payplat.simulators.google.identity import Identity
from payplat.simulators.google.knobs import Knobs
from payplat.simulators.google.notices import Push
from payplat.simulators.google.purchases import Purchase, Refund

PURCHASED = "purchased"
CANCELED = "canceled"
VOIDED = "voided"
TEST = "test"
REVIEW = "review"
EVENTS = (PURCHASED, CANCELED, VOIDED, TEST, REVIEW)


class Herald:
    """Publishes nothing for an app without an endpoint."""

    def __init__(self, agenda: Agenda, identity: Identity, faults: Faults, knobs: Knobs) -> None:
        self.courier = Courier(agenda, self.push, knobs)
        self._clock = agenda.clock
        self._identity = identity
        self._faults = faults
        self._knobs = knobs

    def purchased(self, app: App, purchase: Purchase) -> list[Message]:
        """The money has come."""
        kind = notices.ONE_TIME_PRODUCT_PURCHASED
        data = notices.one_time(purchase, kind, self._clock.now())
        return self._publish(app, PURCHASED, purchase.purchase_token, data)

    def canceled(self, app: App, purchase: Purchase) -> list[Message]:
        """The money never comes, or the purchase is revoked."""
        kind = notices.ONE_TIME_PRODUCT_CANCELED
        data = notices.one_time(purchase, kind, self._clock.now())
        return self._publish(app, CANCELED, purchase.purchase_token, data)

    def voided(self, app: App, purchase: Purchase, refund: Refund) -> list[Message]:
        """Some of it was given back and revoked; of all of it, the life cycle tells too."""
        data = notices.voided(purchase, refund)
        told = self._publish(app, VOIDED, purchase.purchase_token, data)
        return told + (self.canceled(app, purchase) if refund.whole else [])

    def test(self, app: App) -> list[Message]:
        """Somebody pressed the button in the console."""
        return self._publish(app, TEST, "", notices.test(app.package, self._clock.now()))

    def review(self, app: App, purchase: Purchase, pending_refund_token: str) -> list[Message]:
        """Google wants to know what the developer thinks of a refund."""
        data = notices.review(purchase, pending_refund_token, self._clock.now())
        return self._publish(app, REVIEW, purchase.purchase_token, data)

    def push(self, message: Message) -> Push:
        """The request that delivers this message now."""
        numbered = self._knobs.dead_letter is not None
        body = notices.envelope(
            message.data,
            message.message_id,
            message.published_at,
            message.app.subscription,
            message.attempts if numbered else None,
        )
        return Push(self.headers(message.app), body)

    def headers(self, app: App) -> dict[str, str]:
        """Those of a genuine push."""
        return {
            "Authorization": f"Bearer {self._identity.token(app, {})}",
            "Content-Type": "application/json",
            "User-Agent": "CloudPubSub-Google",
        }

    def _publish(self, app: App, event: str, token: str, data: bytes) -> list[Message]:
        if app.push_url is None:
            return []
        fault = self._faults.take_notice(event, token)
        publish = self.courier.publish
        return [publish(app, event, token, data, fault) for _ in range(1 + fault.republish)]
