"""The endpoints that list a customer's transactions, twenty at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from payplat.simulators.apple.books import (
    AUTO_RENEWABLE,
    CONSUMABLE,
    FAMILY_SHARED,
    NON_CONSUMABLE,
    NON_RENEWING,
    PRODUCTION,
    PURCHASED,
    Purchase,
)
from payplat.simulators.apple.calls import Answer, Call
from payplat.simulators.apple.refusals import Refusal
from payplat.simulators.apple.tickets import read_ticket, ticket

PAGE = 20

_ASCENDING = "ASCENDING"
_DESCENDING = "DESCENDING"
_TYPES = {
    "AUTO_RENEWABLE": AUTO_RENEWABLE,
    "NON_RENEWABLE": NON_RENEWING,
    "CONSUMABLE": CONSUMABLE,
    "NON_CONSUMABLE": NON_CONSUMABLE,
}

Filter = Callable[[Purchase], bool]


def transactions(call: Call, number: str) -> Answer:
    """ "Get Transaction History", version 2: by date of the last change, finished ones too."""
    owner = call.owner(number)
    descending = _choice(call, "sort", (_ASCENDING, _DESCENDING), 4000021) == _DESCENDING
    filters = _filters(call)
    wanted = [each for each in call.store.books.of(owner) if all(fits(each) for fits in filters)]
    body = _page(call, wanted, descending=descending)
    if call.environment == PRODUCTION:
        body["appAppleId"] = call.app.app_apple_id
    return Answer({**body, "bundleId": call.app.bundle_id, "environment": call.environment})


def refunds(call: Call, number: str) -> Answer:
    """ "Get Refund History", version 2: what Apple refunded, not what a family lost."""
    owned = call.store.books.of(call.owner(number))
    refunded = [
        each for each in owned if each.fields.get("revocationType", "").startswith("REFUND")
    ]
    return Answer(_page(call, refunded, descending=False))


def _page(call: Call, purchases: Iterable[Purchase], *, descending: bool) -> dict[str, object]:
    """A revision remembers the last change that was told: what changes later comes once more."""
    seen = _revision(call)
    if descending:
        waiting = [p for p in reversed(list(purchases)) if seen is None or p.change < seen]
    else:
        waiting = [p for p in purchases if p.change > (seen or 0)]
    page = waiting[:PAGE]
    last = page[-1].change if page else seen or 0
    return {
        "revision": ticket("revision", last),
        "hasMore": len(waiting) > PAGE,
        "signedTransactions": [each.jws for each in page],
    }


def _revision(call: Call) -> int | None:
    text = call.one("revision")
    return None if text is None else read_ticket("revision", text, 4000005)


def _filters(call: Call) -> list[Filter]:
    kinds = [_TYPES.get(name) for name in call.query.get("productType", [])]
    if None in kinds:
        raise Refusal(4000022)
    ownership = _choice(call, "inAppOwnershipType", (PURCHASED, FAMILY_SHARED), 4000026)
    # Apple's Python client writes its booleans as True and False.
    revoked = _choice(call, "revoked", ("true", "false", "True", "False"), 4000030)
    products = _names(call, "productId", 4000023)
    groups = _names(call, "subscriptionGroupIdentifier", 4000024)
    return [
        _dates(_date(call, "startDate", 4000015), _date(call, "endDate", 4000016)),
        lambda p: not kinds or p.fields["type"] in kinds,
        lambda p: not products or p.fields["productId"] in products,
        lambda p: not groups or p.fields.get("subscriptionGroupIdentifier") in groups,
        lambda p: ownership is None or p.fields["inAppOwnershipType"] == ownership,
        lambda p: revoked is None or p.revoked == (revoked.lower() == "true"),
    ]


def _dates(start: int | None, end: int | None) -> Filter:
    def within(purchase: Purchase) -> bool:
        date = purchase.fields["purchaseDate"]
        return (start is None or start <= date) and (end is None or date < end)

    return within


def _date(call: Call, name: str, wrong: int) -> int | None:
    text = call.one(name)
    if text is not None and not (text.isascii() and text.isdigit()):
        raise Refusal(wrong)
    return None if text is None else int(text)


def _choice(call: Call, name: str, choices: tuple[str, ...], wrong: int) -> str | None:
    text = call.one(name)
    if text is not None and text not in choices:
        raise Refusal(wrong)
    return text


def _names(call: Call, name: str, wrong: int) -> list[str]:
    names = call.query.get(name, [])
    if "" in names:
        raise Refusal(wrong)
    return names
