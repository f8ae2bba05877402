"""What a customer asks for at the purchase sheet."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from payplat.simulators.apple.books import (
    CONSUMABLE,
    ENVIRONMENTS,
    FAMILY_SHARED,
    PURCHASED,
    SANDBOX,
    TYPES,
    Fields,
)


@dataclass(frozen=True)
class Order:
    """`price` is the total in milliunits; without it, that of the product.

    Names in `extra` are fields of the transaction and win; None leaves one out. Raises ValueError
    for what no customer can choose.
    """

    bundle_id: str
    product_id: str
    app_account_token: str | None = None
    quantity: int = 1
    environment: str = SANDBOX
    type: str = CONSUMABLE
    price: int | None = None
    currency: str | None = None
    ownership: str = PURCHASED
    customer: str = "customer-1"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of(self.type, TYPES)
        _one_of(self.environment, ENVIRONMENTS)
        _one_of(self.ownership, (PURCHASED, FAMILY_SHARED))
        if self.quantity < 1 or (self.quantity > 1 and self.type != CONSUMABLE):
            raise ValueError(f"{self.quantity} of a {self.type}")
        if (self.price is None) != (self.currency is None):
            raise ValueError("a price and its currency go together")
        if self.app_account_token:
            uuid.UUID(self.app_account_token)

    @property
    def owner(self) -> tuple[str, str, str]:
        """Who will have it."""
        return self.customer, self.bundle_id, self.environment

    def money(self, tag: tuple[int, str] | None) -> tuple[int, str] | None:
        """The total in milliunits and its currency; `tag` is what one costs."""
        if self.price is not None and self.currency is not None:
            return self.price, self.currency
        return tag and (tag[0] * self.quantity, tag[1])

    def fields(self, number: str, now: int, download: str, tag: tuple[int, str] | None) -> Fields:
        """The "JWSTransactionDecodedPayload" of a first purchase; `now` in milliseconds."""
        price, currency = self.money(tag) or (None, None)
        written = {
            "transactionId": number,
            "originalTransactionId": number,
            "bundleId": self.bundle_id,
            "productId": self.product_id,
            "purchaseDate": now,
            "originalPurchaseDate": now,
            "quantity": self.quantity,
            "type": self.type,
            "appAccountToken": self._token(),
            "inAppOwnershipType": self.ownership,
            "environment": self.environment,
            "transactionReason": "PURCHASE",
            "storefront": "USA",
            "storefrontId": "143441",
            "price": price,
            "currency": currency,
            "appTransactionId": download,
            **self.extra,
        }
        return {name: value for name, value in written.items() if value is not None}

    def _token(self) -> str | None:
        """The App Store writes a UUID with hyphens, in lower case, however it was given."""
        return str(uuid.UUID(self.app_account_token)) if self.app_account_token else None


def _one_of(value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}")
