"""What happens in the App Store: purchases, refunds, and what its customers ask for."""

from __future__ import annotations

import uuid
from typing import Any

from payplat.simulators.apple.books import (
    CONSUMABLE,
    NON_CONSUMABLE,
    PURCHASED,
    REVOCATION,
    SANDBOX,
    Purchase,
)
from payplat.simulators.apple.notices import Notice
from payplat.simulators.apple.orders import Order
from payplat.simulators.apple.platform import Platform

FULL = "REFUND_FULL"
PRORATED = "REFUND_PRORATED"


class Store(Platform):
    """Each act returns when the first attempt of its notification has been answered.

    A transaction id that nobody has raises KeyError, a value that cannot be ValueError.
    """

    def purchase(self, transaction_id: str) -> Purchase:
        """The purchase of that number."""
        return self.books.purchases[transaction_id]

    def sell(self, order: Order, *, notify: bool = True) -> tuple[Purchase, Notice | None]:
        """Sell, and do not wait for the notification.

        A non-consumable is sold once: who has it already gets the old transaction, and nobody is
        told.
        """
        app = self.apps[order.bundle_id]
        owned = self.books.owned(order.owner, order.product_id)
        if owned:
            return owned, None
        fields = order.fields(
            self.books.number(order.environment),
            self.milliseconds,
            self.books.download(*order.owner),
            app.prices.get(order.product_id),
        )
        purchase = Purchase(fields, order.customer, self.signed)
        self.books.add(purchase)
        return purchase, self.announce("ONE_TIME_CHARGE", purchase) if notify else None

    async def buy(
        self,
        bundle_id: str,
        product_id: str,
        *,
        app_account_token: str | None = None,
        quantity: int = 1,
        environment: str = SANDBOX,
        type: str = CONSUMABLE,  # noqa: A002 - the name on the wire
        price: int | None = None,
        currency: str | None = None,
        ownership: str = PURCHASED,
        customer: str = "customer-1",
        notify: bool = True,
        **extra: Any,
    ) -> Purchase:
        """As a customer who confirms the purchase sheet; see Order."""
        item = (bundle_id, product_id, app_account_token, quantity, environment, type)
        order = Order(*item, price, currency, ownership, customer, extra)
        purchase, notice = self.sell(order, notify=notify)
        await _tried(notice)
        return purchase

    async def restore(self, transaction_id: str) -> Purchase:
        """A non-consumable once more, as a new transaction of the same original; nobody is told."""
        old = self.purchase(transaction_id)
        if old.fields["type"] != NON_CONSUMABLE:
            raise ValueError("only a non-consumable can be restored")
        number = self.books.number(old.environment)
        fields = {**old.fields, "transactionId": number, "purchaseDate": self.milliseconds}
        purchase = Purchase(fields, old.customer, self.signed)
        self.books.add(purchase)
        return purchase

    async def refund(
        self,
        transaction_id: str,
        *,
        type: str = FULL,  # noqa: A002 - the name on the wire
        percentage: int = 100000,
        reason: int = 0,
        notify: bool = True,
    ) -> Purchase:
        """Apple refunds; `percentage` in milliunits of a percent, `reason` 1 blames the app."""
        if type not in (FULL, PRORATED) or reason not in (0, 1) or not 0 <= percentage <= 100000:
            raise ValueError(f"no refund is {type!r} of {percentage} for reason {reason}")
        purchase = self._revoke(
            transaction_id,
            revocationReason=reason,
            revocationType=type,
            revocationPercentage=percentage,
        )
        return await self._told("REFUND", purchase, notify=notify)

    async def reverse_refund(self, transaction_id: str, *, notify: bool = True) -> Purchase:
        """The refund is taken back: the customer has paid after all."""
        purchase = self.purchase(transaction_id)
        for name in REVOCATION:
            purchase.fields.pop(name, None)
        self.books.changed(purchase)
        return await self._told("REFUND_REVERSED", purchase, notify=notify)

    async def decline_refund(self, transaction_id: str, *, notify: bool = True) -> Purchase:
        """Apple declines to refund; the purchase stays as it is."""
        purchase = self.purchase(transaction_id)
        return await self._told("REFUND_DECLINED", purchase, notify=notify)

    async def request_consumption(
        self, transaction_id: str, reason: str = "UNINTENDED_PURCHASE", *, notify: bool = True
    ) -> Purchase:
        """A customer asks for a refund; each time is a notification of its own."""
        purchase = self.purchase(transaction_id)
        return await self._told(
            "CONSUMPTION_REQUEST", purchase, notify=notify, consumptionRequestReason=reason
        )

    async def revoke(self, transaction_id: str, *, notify: bool = True) -> Purchase:
        """Family Sharing ends for this purchase."""
        purchase = self._revoke(transaction_id, revocationReason=0, revocationType="FAMILY_REVOKE")
        return await self._told("REVOKE", purchase, notify=notify)

    async def send_test(self, bundle_id: str, environment: str = SANDBOX) -> str:
        """As "Request a Test Notification"; returns its token. ValueError without an address."""
        token = self.start_test(bundle_id, environment)
        await _tried(self.tests[token])
        return token

    def start_test(self, bundle_id: str, environment: str) -> str:
        """Send a test notification; its token. ValueError without an address."""
        notice = self.tell("TEST", self.apps[bundle_id], environment)
        if notice is None:
            raise ValueError(f"{bundle_id} has no notification URL for {environment}")
        token = f"{uuid.uuid4()}_{self.milliseconds}"
        self.tests[token] = notice
        return token

    async def notify(
        self,
        notification_type: str,
        *,
        bundle_id: str,
        environment: str,
        transaction_id: str | None = None,
        subtype: str | None = None,
        **data: Any,
    ) -> None:
        """Any notification; `data` are further fields of its `data`."""
        notice = self.tell(
            notification_type,
            self.apps[bundle_id],
            environment,
            purchase=self.purchase(transaction_id) if transaction_id else None,
            subtype=subtype or "",
            data=data,
        )
        await _tried(notice)

    async def _told(
        self, notification_type: str, purchase: Purchase, *, notify: bool, **data: Any
    ) -> Purchase:
        if notify:
            await _tried(self.announce(notification_type, purchase, **data))
        return purchase

    def _revoke(self, transaction_id: str, **revocation: int | str) -> Purchase:
        purchase = self.purchase(transaction_id)
        purchase.fields.update(revocationDate=self.milliseconds, **revocation)
        self.books.changed(purchase)
        return purchase


async def _tried(notice: Notice | None) -> None:
    if notice:
        await notice.tried.wait()
