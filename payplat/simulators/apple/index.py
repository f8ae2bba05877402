"""The books of the App Store, for people."""

from __future__ import annotations

from datetime import UTC, datetime

from payplat.simulators.apple.books import Purchase
from payplat.simulators.apple.page import Page
from payplat.simulators.apple.sheet import written

_SHOWN = 200


class Index(Page):
    """`/`: what was bought, and what was told of it."""

    async def get(self) -> None:
        """Show the books, the newest first."""
        purchases = list(reversed(self.store.books.purchases.values()))[:_SHOWN]
        attempts = list(reversed(self.store.courier.attempts))[:_SHOWN]
        self.page("index.html", purchases=purchases, attempts=attempts, price=_price, when=_when)


def _price(purchase: Purchase) -> str:
    """What was paid for all of it; nothing where the price is not known."""
    price, currency = purchase.fields.get("price"), purchase.fields.get("currency")
    return "" if price is None else written(price, str(currency))


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
