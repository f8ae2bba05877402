"""Rightly signed, and yet no reason to deliver the order: only the business checks refuse these."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from payplat.simulators.apple import jws
from payplat.simulators.apple.books import (
    CONSUMABLE,
    FAMILY_SHARED,
    NON_CONSUMABLE,
    REVOCATION,
    Fields,
)
from payplat.simulators.apple.spoils import other_environment
from payplat.simulators.apple.store import Store

Misuse = Callable[[Store, Fields], str]

_CURVE_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_MINUTE = 60_000
_DAY = 1440 * _MINUTE


def _changed(store: Store, payload: Fields, **changes: Any) -> str:
    """Signed by the App Store with these fields; None leaves one out."""
    told = {**payload, **changes}
    kept = {name: value for name, value in told.items() if value is not None}
    return jws.sign(kept, store.authority.chain)


def replay(store: Store, payload: Fields) -> str:
    """The transaction once more, freshly signed."""
    return _changed(store, payload)


def malleated(store: Store, payload: Fields) -> str:
    """The transaction once more; S is replaced by its twin, so that the text differs and verifies."""
    text, _, signature = _changed(store, payload).rpartition(".")
    raw = jws.decode(signature)
    twin = _CURVE_ORDER - int.from_bytes(raw[32:])
    return jws.join(text, raw[:32] + twin.to_bytes(32))


def other_app(store: Store, payload: Fields) -> str:
    """A purchase in the cheat's own app."""
    return _changed(store, payload, bundleId="com.example.cheat")


def other_product(store: Store, payload: Fields) -> str:
    """A cheaper product."""
    return _changed(store, payload, productId="fake_cheapest", price=10)


def other_type(store: Store, payload: Fields) -> str:
    """Another kind of product."""
    other = NON_CONSUMABLE if payload["type"] == CONSUMABLE else CONSUMABLE
    return _changed(store, payload, type=other)


def other_quantity(store: Store, payload: Fields) -> str:
    """One more than was bought."""
    return _changed(store, payload, quantity=payload["quantity"] + 1)


def other_world(store: Store, payload: Fields) -> str:
    """A sandbox purchase in production, or the reverse."""
    return _changed(store, other_environment(payload))


def xcode(store: Store, payload: Fields) -> str:
    """Says that it comes from local testing."""
    return _changed(store, payload, environment="Xcode")


def other_account(store: Store, payload: Fields) -> str:
    """Somebody else's token."""
    return _changed(store, payload, appAccountToken=str(uuid.uuid4()))


def no_account(store: Store, payload: Fields) -> str:
    """No token: a code redeemed in the App Store, or an old version of the app."""
    return _changed(store, payload, appAccountToken=None)


def family_shared(store: Store, payload: Fields) -> str:
    """Somebody in the family bought it."""
    return _changed(store, payload, inAppOwnershipType=FAMILY_SHARED)


def revoked(store: Store, payload: Fields) -> str:
    """Refunded, and says so."""
    refund = (payload["signedDate"], 0, "REFUND_FULL", 100000)
    return _changed(store, payload, **dict(zip(REVOCATION, refund, strict=True)))


def before_refund(store: Store, payload: Fields) -> str:
    """Kept from the minute of the purchase: says nothing of a refund since."""
    nothing = dict.fromkeys(REVOCATION)
    return _changed(store, payload, **nothing, signedDate=payload["purchaseDate"])


def signed_in_future(store: Store, payload: Fields) -> str:
    """Dated ten minutes ahead."""
    return _changed(store, payload, signedDate=payload["signedDate"] + 10 * _MINUTE)


def bought_long_ago(store: Store, payload: Fields) -> str:
    """Bought a month before."""
    date = payload["purchaseDate"] - 30 * _DAY
    return _changed(store, payload, purchaseDate=date, originalPurchaseDate=date)


def bought_in_future(store: Store, payload: Fields) -> str:
    """Will be bought tomorrow."""
    return _changed(store, payload, purchaseDate=payload["signedDate"] + _DAY)


def crafted_id(store: Store, payload: Fields) -> str:
    """A transaction id that leads elsewhere, where it is pasted into a path."""
    return _changed(store, payload, transactionId="../../v2/history/1?revision=")


def notification_as_transaction(store: Store, payload: Fields) -> str:
    """A genuine notification where a transaction is expected."""
    data = {name: payload[name] for name in ("bundleId", "environment")}
    return store.signed(
        {
            "notificationType": "ONE_TIME_CHARGE",
            "notificationUUID": str(uuid.uuid4()),
            "data": {**data, "signedTransactionInfo": _changed(store, payload)},
            "version": "2.0",
        }
    )


MISUSES: dict[str, Misuse] = {
    each.__name__: each
    for each in (
        replay,
        malleated,
        other_app,
        other_product,
        other_type,
        other_quantity,
        other_world,
        xcode,
        other_account,
        no_account,
        family_shared,
        revoked,
        before_refund,
        signed_in_future,
        bought_long_ago,
        bought_in_future,
        crafted_id,
        notification_as_transaction,
    )
}
