"""The purchase dialog a person clicks, in the place of Google Play on a phone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from payplat.simulators.google.doors import Door
from payplat.simulators.google.platform import Platform
from payplat.simulators.google.purchases import Purchase
from payplat.simulators.google.refusals import BillingRefusal
from payplat.simulators.google.wire import rfc3339

_FIELDS = (
    "package",
    "product_id",
    "obfuscated_account_id",
    "obfuscated_profile_id",
    "quantity",
    "return_url",
    "title",
    "test",
)
_SHOWN = 200


@dataclass(frozen=True)
class Dialog:
    """What a purchase dialog was opened with; `price` as a person reads it."""

    given: dict[str, str]
    title: str
    price: str
    quantity: int

    @classmethod
    def open(cls, platform: Platform, given: dict[str, str]) -> Dialog:
        """Check it as far as Google Play can before the buyer agrees; raises BillingRefusal."""
        app = platform.app(given["package"] or "?")
        product = app.products.get(given["product_id"])
        if product is None:
            raise BillingRefusal("ITEM_UNAVAILABLE", f"no product {given['product_id']}")
        if urlsplit(given["return_url"]).scheme not in ("http", "https", ""):
            raise BillingRefusal("DEVELOPER_ERROR", "return_url is an http address")
        if not given["quantity"].isdecimal():
            raise BillingRefusal("DEVELOPER_ERROR", "quantity is a number")
        micros, currency = product.price("US")
        quantity = int(given["quantity"])
        title = given["title"] or product.title or given["product_id"]
        return cls(given, title, price(micros * quantity, currency), quantity)

    @property
    def is_test(self) -> bool:
        """Whether the buyer is a license tester; any `test` says so."""
        return bool(self.given["test"])

    @property
    def terms(self) -> dict[str, Any]:
        """What the purchase is made with."""
        return {
            "obfuscated_account_id": self.given["obfuscated_account_id"] or None,
            "obfuscated_profile_id": self.given["obfuscated_profile_id"] or None,
            "quantity": self.quantity,
            "test": self.is_test,
        }

    def address(self, lang: str) -> str:
        """The same dialog in this language."""
        filled = {name: value for name, value in self.given.items() if value}
        return "/sheet?" + urlencode({**filled, "lang": lang})


class Sheet(Door):
    """`/sheet`: GET shows it, POST is a click."""

    async def get(self) -> None:
        """Show the dialog."""
        try:
            self._show("sheet.html", self._dialog())
        except BillingRefusal as refusal:
            self._refuse(refusal)

    async def post(self) -> None:
        """Do what the buyer clicked."""
        try:
            self._act(self._dialog(), self.get_argument("action", ""))
        except BillingRefusal as refusal:
            self._refuse(refusal)

    def _dialog(self) -> Dialog:
        given = {name: self.get_argument(name, "") for name in _FIELDS}
        return Dialog.open(self.platform, {**given, "quantity": given["quantity"] or "1"})

    def _act(self, dialog: Dialog, action: str) -> None:
        if action == "cancel":
            self._cancel(dialog)
        elif action in ("buy", "slow", "dies"):
            self._buy(dialog, action)
        else:
            self.send_error(400)

    def _cancel(self, dialog: Dialog) -> None:
        """The app hears USER_CANCELED, which tells it nothing more."""
        if dialog.given["return_url"]:
            self.redirect(dialog.given["return_url"], status=303)
        else:
            self._show("cancelled.html", dialog)

    def _buy(self, dialog: Dialog, action: str) -> None:
        """The app has its token at once; the notification travels on its own."""
        slow, given = action == "slow", dialog.given
        purchase, _ = self.platform.start_purchase(
            given["package"], given["product_id"], pending=slow, **dialog.terms
        )
        if slow:
            self.platform.settle_later(purchase)
        page = "dead.html" if action == "dies" else "handed.html"
        self._show(page, dialog, purchase=purchase)

    def _show(self, name: str, dialog: Dialog, purchase: Purchase | None = None) -> None:
        other = dialog.address("en" if self.language() == "zh" else "zh")
        self.page(name, dialog=dialog, purchase=purchase, switch=other if not purchase else "")

    def _refuse(self, refusal: BillingRefusal) -> None:
        self.set_status(409 if refusal.name == "ITEM_ALREADY_OWNED" else 400)
        self.page("refused.html", refusal=refusal.answer(), switch="")


class Index(Door):
    """`/`: the books, for people."""

    async def get(self) -> None:
        """Show the books."""
        purchases = list(reversed(self.platform.books.purchases.values()))[:_SHOWN]
        attempts = list(reversed(self.platform.herald.courier.attempts))[:_SHOWN]
        other = "/?lang=" + ("en" if self.language() == "zh" else "zh")
        self.page(
            "index.html",
            purchases=purchases,
            attempts=attempts,
            price=price,
            when=rfc3339,
            switch=other,
        )


def price(micros: int, currency: str) -> str:
    """Two decimals, more only where there are more."""
    units, rest = divmod(micros, 1_000_000)
    cents = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{currency} {units:,}.{cents}"
