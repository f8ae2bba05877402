"""The Android Publisher API, as far as one-time products go (request lines: v3 discovery document)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from payplat.simulators.google import resources
from payplat.simulators.google.accounts import MANAGE_ORDERS, VIEW_FINANCIAL_DATA
from payplat.simulators.google.doors import Service
from payplat.simulators.google.platform import Platform
from payplat.simulators.google.purchases import Purchase
from payplat.simulators.google.refusals import Answer, Refusal
from payplat.simulators.google.voids import list_voided

_PREFIX = r"/androidpublisher/v3/applications/([^/]+)"
_ORDERS_AT_ONCE = 1000
_PREFERENCES = ("APPROVE", "DECLINE", "NEUTRAL")
_DONE = Answer(204, None)


@dataclass(frozen=True)
class Asked:
    """A request to the API whose sender may make it: `parts` are those of its path."""

    platform: Platform
    package: str
    parts: tuple[str, ...]
    query: dict[str, list[str]]
    raw: bytes

    def purchase(self) -> Purchase:
        """The purchase whose token ends the path; raises Refusal."""
        now = self.platform.clock.now()
        return self.platform.books.find(self.package, self.parts[-1], now)

    def product_purchase(self) -> Purchase:
        """The same where the path names the product before it; raises Refusal."""
        purchase = self.purchase()
        if purchase.product_id != self.parts[0]:
            raise Refusal("purchaseTokenDoesNotMatchProductId")
        return purchase

    def body(self) -> dict[str, Any]:
        """The JSON object in the body, which may be left out; raises Refusal."""
        try:
            return dict(json.loads(self.raw or b"{}"))
        except (ValueError, TypeError):
            raise Refusal("parseError") from None

    def last(self) -> dict[str, str]:
        """The query; of a repeated name, the last."""
        return {name: values[-1] for name, values in self.query.items()}


@dataclass(frozen=True)
class Call:
    """One call of the API; `path` follows the name of the app."""

    name: str
    verb: str
    path: str
    perform: Callable[[Asked], Answer]


class Publisher(Service):
    """Answers one call."""

    _call: Call

    def initialize(self, platform: Platform, call: Call) -> None:  # type: ignore[override]
        """Receive the platform, and which call this is."""
        super().initialize(platform)
        self.call, self._call = call.name, call

    async def get(self, package: str, *parts: str) -> None:
        """Answer a question; it takes the permission to see financial data."""
        await self.serve(lambda: self._perform(VIEW_FINANCIAL_DATA, package, parts))

    async def post(self, package: str, *parts: str) -> None:
        """Do something; it takes the permission to manage orders."""
        await self.serve(lambda: self._perform(MANAGE_ORDERS, package, parts))

    def _perform(self, permission: str, package: str, parts: tuple[str, ...]) -> Answer:
        account = self.platform.accounts.bearer(self.request.headers.get("Authorization", ""))
        self.account = account.email
        if self.request.method != self._call.verb:
            raise Refusal("notFound")
        if permission not in account.permissions:
            raise Refusal("permissionDenied")
        if package not in self.platform.apps:
            raise Refusal("applicationNotFound")
        query = {name: self.get_query_arguments(name) for name in self.request.query_arguments}
        return self._call.perform(Asked(self.platform, package, parts, query, self.request.body))


def _products_get(asked: Asked) -> Answer:
    return Answer(200, resources.product_purchase(asked.product_purchase()))


def _productsv2_get(asked: Asked) -> Answer:
    return Answer(200, resources.product_purchase_v2(asked.purchase()))


def _acknowledge(asked: Asked) -> Answer:
    payload = asked.body().get("developerPayload")
    asked.product_purchase().acknowledge(payload)
    return _DONE


def _consume(asked: Asked) -> Answer:
    asked.product_purchase().consume()
    return _DONE


def _orders_get(asked: Asked) -> Answer:
    return Answer(200, resources.order(asked.platform.books.order(asked.package, *asked.parts)))


def _orders_batch_get(asked: Asked) -> Answer:
    wanted = asked.query.get("orderIds", [])
    if not 1 <= len(wanted) <= _ORDERS_AT_ONCE or len(set(wanted)) < len(wanted):
        raise Refusal("invalid")
    found = [asked.platform.books.order(asked.package, each) for each in wanted]
    return Answer(200, {"orders": [resources.order(each) for each in found]})


def _orders_refund(asked: Asked) -> Answer:
    purchase = asked.platform.books.order(asked.package, *asked.parts)
    revoke = asked.last().get("revoke", "false")
    if revoke not in ("true", "false"):
        raise Refusal("invalid")
    asked.platform.start_refund(purchase, revoke=revoke == "true")
    return _DONE


def _orders_review(asked: Asked) -> Answer:
    """The first answer counts; a later one is told that all is well, too."""
    asked.platform.books.order(asked.package, *asked.parts)
    given, reviews = asked.body(), asked.platform.reviews
    token = given.get("pendingRefundToken")
    if token not in reviews or given.get("refundPreference") not in _PREFERENCES:
        raise Refusal("invalid")
    if not isinstance(given.get("sampleContentProvided"), bool):
        raise Refusal("invalid")
    reviews[token] = reviews[token] or given
    return _DONE


def _voided_list(asked: Asked) -> Answer:
    platform, now = asked.platform, asked.platform.clock.now()
    platform.quota.spend(asked.package, now)
    return Answer(200, list_voided(platform.books.of(asked.package), asked.last(), now))


_PRODUCT = r"/purchases/products/([^/]+)/tokens/([^/:]+)"
_CALLS = (
    Call("products.get", "GET", _PRODUCT, _products_get),
    Call("products.acknowledge", "POST", rf"{_PRODUCT}:acknowledge", _acknowledge),
    Call("products.consume", "POST", rf"{_PRODUCT}:consume", _consume),
    Call("productsv2.get", "GET", r"/purchases/productsv2/tokens/([^/:]+)", _productsv2_get),
    Call("voidedpurchases.list", "GET", r"/purchases/voidedpurchases", _voided_list),
    Call("orders.batchget", "GET", r"/orders:batchGet", _orders_batch_get),
    Call("orders.get", "GET", r"/orders/([^/:]+)", _orders_get),
    Call("orders.refund", "POST", r"/orders/([^/:]+):refund", _orders_refund),
    Call("orders.reviewrefund", "POST", r"/orders/([^/:]+):reviewrefund", _orders_review),
)


def routes(platform: Platform) -> list[tuple[str, type[Publisher], dict[str, Any]]]:
    """One for each call."""
    return [
        (_PREFIX + call.path, Publisher, {"platform": platform, "call": call}) for call in _CALLS
    ]
