"""What has been bought, by whom; the fields are those of "JWSTransactionDecodedPayload"."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

PRODUCTION = "Production"
SANDBOX = "Sandbox"
ENVIRONMENTS = (PRODUCTION, SANDBOX)

CONSUMABLE = "Consumable"
NON_CONSUMABLE = "Non-Consumable"
AUTO_RENEWABLE = "Auto-Renewable Subscription"
NON_RENEWING = "Non-Renewing Subscription"
TYPES = (CONSUMABLE, NON_CONSUMABLE, AUTO_RENEWABLE, NON_RENEWING)

PURCHASED = "PURCHASED"
FAMILY_SHARED = "FAMILY_SHARED"

REVOCATION = ("revocationDate", "revocationReason", "revocationType", "revocationPercentage")

Fields = dict[str, Any]


@dataclass
class Purchase:
    """One transaction; dates are milliseconds since 1970, `price` milliunits for all of `quantity`."""

    fields: Fields
    customer: str
    signer: Callable[[Fields], str] = field(repr=False)
    change: int = 0
    finished: bool = False
    consumption: list[Fields] = field(default_factory=list)

    @property
    def transaction_id(self) -> str:
        """Of this purchase alone."""
        return str(self.fields["transactionId"])

    @property
    def original_transaction_id(self) -> str:
        """Of the purchase that began it; the same for a first purchase."""
        return str(self.fields["originalTransactionId"])

    @property
    def bundle_id(self) -> str:
        """The app."""
        return str(self.fields["bundleId"])

    @property
    def environment(self) -> str:
        """Production or Sandbox."""
        return str(self.fields["environment"])

    @property
    def revoked(self) -> bool:
        """Whether it is refunded, or taken from a family."""
        return "revocationDate" in self.fields

    @property
    def jws(self) -> str:
        """The transaction as it stands, freshly signed."""
        return self.signer(self.fields)

    @property
    def owner(self) -> tuple[str, str, str]:
        """Who has it: customer, app and environment."""
        return self.customer, self.bundle_id, self.environment


class Books:
    """Every purchase; the two environments share no number."""

    def __init__(self) -> None:
        self.purchases: dict[str, Purchase] = {}
        self._downloads: dict[tuple[str, str, str], str] = {}
        self._changes = itertools.count(1)
        # Another run must not give the same numbers again to a platform that remembers them.
        self._numbers = {
            PRODUCTION: itertools.count(secrets.randbelow(8 * 10**10) + 330 * 10**12),
            SANDBOX: itertools.count(secrets.randbelow(8 * 10**8) + 2 * 10**15),
        }

    def number(self, environment: str) -> str:
        """A transaction id nobody has; ValueError for an unknown environment."""
        if environment not in self._numbers:
            raise ValueError(f"{environment!r} is none of {', '.join(ENVIRONMENTS)}")
        return str(next(self._numbers[environment]))

    def download(self, customer: str, bundle_id: str, environment: str) -> str:
        """The appTransactionId: one for each customer of an app."""
        number = f"70{secrets.randbelow(10**16):016d}"
        return self._downloads.setdefault((customer, bundle_id, environment), number)

    def is_download(self, number: str) -> bool:
        """Whether this is the number of a download, not of a purchase."""
        return number in self._downloads.values()

    def add(self, purchase: Purchase) -> None:
        """Enter a purchase."""
        self.purchases[purchase.transaction_id] = purchase
        self.changed(purchase)

    def changed(self, purchase: Purchase) -> None:
        """The purchase is the one most recently modified."""
        purchase.change = next(self._changes)

    def owned(self, owner: tuple[str, str, str], product_id: str) -> Purchase | None:
        """The non-consumable this owner has for good."""
        return next(
            (
                each
                for each in self.of(owner)
                if each.fields["productId"] == product_id
                and each.fields["type"] == NON_CONSUMABLE
                and not each.revoked
            ),
            None,
        )

    def look(self, number: str, bundle_id: str, environment: str) -> Purchase | None:
        """The purchase of that number, where app and environment are the right ones."""
        found = self.purchases.get(number)
        here = found and (found.bundle_id, found.environment) == (bundle_id, environment)
        return found if here else None

    def owner(self, number: str, bundle_id: str, environment: str) -> tuple[str, str, str] | None:
        """Whose number this is, of a purchase or of a download."""
        found = self.look(number, bundle_id, environment)
        if found:
            return found.owner
        owners = (owner for owner, download in self._downloads.items() if download == number)
        return next((owner for owner in owners if owner[1:] == (bundle_id, environment)), None)

    def of(self, owner: tuple[str, str, str]) -> Iterable[Purchase]:
        """All that one customer has of an app, most recently modified last."""
        own = (each for each in self.purchases.values() if each.owner == owner)
        return sorted(own, key=lambda each: each.change)

    def original(self, number: str) -> Iterable[Purchase]:
        """Every transaction that goes back to this one."""
        return [each for each in self.purchases.values() if each.original_transaction_id == number]
