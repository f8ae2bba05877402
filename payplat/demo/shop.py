"""The shop: what it sells, how one can pay there, and what it remembers of each purchase."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from payplat.catalogue import Product
from payplat.demo.client import Game
from payplat.demo.moments import price
from payplat.simulators.merchant import Merchant

METHODS = ("page", "wap", "app", "qr")


@dataclass(frozen=True)
class Purchase:
    """What the shop remembers of an order it opened."""

    order_no: str
    product_id: str
    amount: str
    method: str
    payment: Mapping[str, str]


@dataclass
class Shop:
    """What all pages share; ``offers`` are the methods of each channel, ``links`` lead behind the scenes."""

    game: Game
    merchant: Merchant
    products: Mapping[str, Product]
    offers: Mapping[str, Sequence[str]]
    links: Mapping[str, str]
    url: str = ""
    player: str = "player-88"
    purchases: dict[str, Purchase] = field(default_factory=dict)

    def price(self, product_id: str) -> str:
        """Return what a product costs, as the game shows it."""
        return price(self.products[product_id].prices.get("CNY"), "CNY")

    def ways_to_pay(self) -> list[tuple[str, str]]:
        """Return channel and method, for those that the shop has words for."""
        return [
            (channel, method)
            for channel, methods in self.offers.items()
            for method in METHODS
            if method in methods
        ]

    async def buy(self, key: str, product_id: str, channel: str, method: str) -> Purchase:
        """Open an order, or find the one that ``key`` opened before."""
        created = await self.game.create(
            f"{key}-{channel}-{method}",
            channel=channel,
            product_id=product_id,
            receiver=self.player,
            method=method,
            return_url=f"{self.url}/return",
        )
        amount = price(created["amount"], created["currency"])
        bought = Purchase(created["order_no"], product_id, amount, method, created["payment"])
        self.purchases[bought.order_no] = bought
        return bought
