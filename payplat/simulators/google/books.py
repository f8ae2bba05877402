"""Every purchase ever made here, by token and by order."""

from __future__ import annotations

import re
import secrets
import string

from payplat.simulators.google.apps import App
from payplat.simulators.google.purchases import Purchase, Terms
from payplat.simulators.google.refusals import BillingRefusal, Refusal

_TOKEN = re.compile(r"[a-z]{24}\.AO-J1O[\w-]+")
_ORDER = re.compile(r"GPA\.\d{4}-\d{4}-\d{4}-\d{5}")


class Books:
    """A token is found under its own app only."""

    def __init__(self) -> None:
        self.purchases: dict[str, Purchase] = {}

    def open(self, app: App, product_id: str, terms: Terms, now: float) -> Purchase:
        """A purchase that is not paid yet; raises BillingRefusal as the device would."""
        product = app.products.get(product_id)
        if product is None:
            raise BillingRefusal("ITEM_UNAVAILABLE", f"{app.package} does not sell {product_id}")
        if any(each.blocks(product_id, terms.owner) for each in self.of(app.package)):
            raise BillingRefusal("ITEM_ALREADY_OWNED", f"{product_id} is not consumed")
        micros, currency = product.price(terms.region)
        title = product.title or product_id
        purchase = Purchase(
            app.package, product_id, title, new_token(), terms, micros, currency, now
        )
        self.purchases[purchase.purchase_token] = purchase
        return purchase

    def of(self, package: str) -> list[Purchase]:
        """All purchases in an app, the oldest first."""
        return [each for each in self.purchases.values() if each.package == package]

    def need(self, token: str) -> Purchase:
        """The purchase of a token, whatever its app; raises Refusal."""
        if not _TOKEN.fullmatch(token):
            raise Refusal("invalid")
        if token not in self.purchases:
            raise Refusal("purchaseTokenNotFound")
        return self.purchases[token]

    def find(self, package: str, token: str, now: float) -> Purchase:
        """As the API finds it; raises Refusal."""
        purchase = self.need(token)
        if purchase.package != package:
            raise Refusal("purchaseTokenDoesNotMatchPackageName")
        if purchase.gone(now):
            raise Refusal("purchaseTokenNoLongerValid")
        return purchase

    def order(self, package: str, order_id: str) -> Purchase:
        """The purchase with this order; raises Refusal."""
        if not _ORDER.fullmatch(order_id):
            raise Refusal("invalid")
        found = (each for each in self.of(package) if each.order_id == order_id)
        purchase = next(found, None)
        if purchase is None:
            raise Refusal("notFound")
        return purchase


def new_token() -> str:
    """As long and as opaque as Google's."""
    head = "".join(secrets.choice(string.ascii_lowercase) for _ in range(24))
    return f"{head}.AO-J1O{secrets.token_urlsafe(86)}"


def new_order_id() -> str:
    """`GPA.` and seventeen digits."""
    digits = "".join(secrets.choice(string.digits) for _ in range(17))
    return f"GPA.{digits[:4]}-{digits[4:8]}-{digits[8:12]}-{digits[12:]}"
