"""The shop: what it sells, how one can pay there, and what it remembers of each purchase."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from payplat.catalogue import Product
from payplat.demo.client import Game, Json
from payplat.demo.moments import price
from payplat.demo.stage import BUNDLE_ID, PACKAGE
from payplat.simulators.merchant import Merchant

METHODS = ("page", "wap", "app", "qr", "storekit", "play_billing")


@dataclass(frozen=True)
class Till:
    """Where an order is paid: ``name`` says what stands at ``address``."""

    name: str
    address: str

    @property
    def is_next(self) -> bool:
        """Whether the browser goes there at once; the others are opened from the order's page."""
        return self.name in ("cashier", "sheet")

    @property
    def is_askable(self) -> bool:
        """Whether there is somebody to ask what became of the order; a store only knows its own purchases."""
        return self.name != "sheet"


@dataclass(frozen=True)
class Purchase:
    """What the shop remembers of an order it opened."""

    order_no: str
    product_id: str
    amount: str
    method: str
    till: Till


@dataclass
class Shop:
    """What all pages share.

    ``offers`` are the methods and ``kinds`` the provider's kind of each channel, ``links`` lead behind the scenes: to the
    game's server, and to ``<kind>_page``, where a company shows its books and what a person clicks.
    """

    game: Game
    merchant: Merchant
    products: Mapping[str, Product]
    offers: Mapping[str, Sequence[str]]
    kinds: Mapping[str, str]
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
        bought = Purchase(
            created["order_no"],
            product_id,
            price(created["amount"], created["currency"]) or self.price(product_id),
            method,
            self._till(created),
        )
        self.purchases[bought.order_no] = bought
        return bought

    def _till(self, created: Json) -> Till:
        payment = created["payment"]
        if "qr_code" in payment:
            return Till("scan", payment["qr_code"])
        if "order_string" in payment:
            asked = urlencode({"order_string": payment["order_string"]})
            return Till("wallet", f"{self.links['alipay_page']}/wallet?{asked}")
        if "url" in payment:
            return Till("cashier", payment["url"])
        kind = self.kinds[created["channel"]]
        asked = urlencode(self._asked(created, kind))
        return Till("sheet", f"{self.links[f'{kind}_page']}/sheet?{asked}")

    def _asked(self, created: Json, kind: str) -> Json:
        """Return what the sheet of a store shows, and where it hands over what the store gives the game."""
        product = self.products[created["product_id"]]
        iphone = {
            "bundle_id": BUNDLE_ID,
            "type": "Consumable" if product.consumable else "Non-Consumable",
            "customer": self.player,
        }
        android = {"package": PACKAGE, "test": "1"}
        return {
            **created["payment"],
            **{"apple": iphone, "google": android}[kind],
            "title": product.title,
            "return_url": f"{self.url}/orders/{created['order_no']}/bought",
        }
