"""The purchase sheet a person clicks, as iOS slides it over an app, and what the app gets from it."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any
from urllib.parse import urlencode, urlsplit

from tornado.escape import utf8

from payplat.simulators.apple.books import Purchase
from payplat.simulators.apple.doors import Door
from payplat.simulators.apple.orders import Order
from payplat.simulators.apple.page import Page

_CHOSEN = (
    "bundle_id",
    "product_id",
    "app_account_token",
    "quantity",
    "environment",
    "type",
    "customer",
)
_AFTER = {"buy": "bought.html", "buy_and_die": "died.html"}
_EXPONENTS = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "KWD": 3, "BHD": 3}


class Sheet(Page):
    """`/sheet`: the address holds the order, `return_url` and `title`; the form says what to do."""

    async def get(self) -> None:
        """Show the sheet."""
        self.page("sheet.html", **self._shown(self._order()))

    async def post(self) -> None:
        """Buy; the notification travels on its own."""
        order = self._order()
        shown = self._shown(order)
        page = _AFTER[self.get_body_argument("action", "")]
        purchase, _ = self.store.sell(order)
        self.page(page, purchase=purchase, **shown)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what is wrong with the address."""
        mistake = kwargs["exc_info"][1]
        wrong = isinstance(mistake, ValueError | KeyError)
        self.set_status(400 if wrong else status_code)
        self.page("refused.html", title=str(mistake), return_url="")

    def log_exception(self, *_: object) -> None:
        """A wrong address is for whoever made it; they see it on the page."""

    def _order(self) -> Order:
        asked = {name: self.get_query_argument(name, "") for name in _CHOSEN}
        given = {name: value for name, value in asked.items() if value}
        order = Order(**{**given, "quantity": int(given.get("quantity", "1"))})  # type: ignore[arg-type]
        if order.bundle_id not in self.store.apps:
            raise KeyError(order.bundle_id)
        return order

    def _shown(self, order: Order) -> dict[str, Any]:
        app = self.store.apps[order.bundle_id]
        money = order.money(app.prices.get(order.product_id))
        return {
            "order": order,
            "price": written(*money) if money else "",
            "title": self.get_query_argument("title", "") or order.product_id,
            "return_url": _web(self.get_query_argument("return_url", "")),
            "switch": self._here,
        }

    def _here(self, lang: str) -> str:
        query = {name: values[-1] for name, values in self.request.query_arguments.items()}
        return f"?{urlencode({**query, 'lang': utf8(lang)})}"


class Device(Door):
    """`POST /device/buy`: an order in JSON, answered with what StoreKit gives the app."""

    async def post(self) -> None:
        """Buy; the notification travels on its own. `notify` false sends none."""
        try:
            wishes = json.loads(self.request.body)
            notify = wishes.pop("notify", True)
            purchase, _ = self.store.sell(read_order(wishes), notify=notify)
        except (ValueError, KeyError, TypeError, AttributeError) as mistake:
            self.reply(400, {"error": f"{type(mistake).__name__}: {mistake}"})
        else:
            self.reply(200, handed(purchase))


def handed(purchase: Purchase) -> dict[str, str]:
    """What the app has in its hands after a purchase."""
    return {"signed_transaction": purchase.jws, "transaction_id": purchase.transaction_id}


def read_order(wishes: dict[str, Any]) -> Order:
    """The arguments of buy() by name; other names are fields of the transaction."""
    names = {each.name for each in fields(Order)} - {"extra"}
    known = {name: value for name, value in wishes.items() if name in names}
    others = {name: value for name, value in wishes.items() if name not in names}
    return Order(**known, extra=others)


def written(milliunits: int, currency: str) -> str:
    """4990 USD as `4.99 USD`."""
    digits = _EXPONENTS.get(currency, 2)
    whole, rest = divmod(milliunits, 1000)
    return f"{whole}{f'.{rest:03d}'[: digits + 1] if digits else ''} {currency}"


def _web(url: str) -> str:
    """A page could otherwise be made to run a script."""
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("return_url is a web address")
    return url
