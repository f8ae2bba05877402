"""Bodies of notifications that the App Store did not send, or not to this address."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

from payplat.simulators.apple import jws
from payplat.simulators.apple.books import Fields, Purchase
from payplat.simulators.apple.forgeries import algorithm_none, home_made_chain
from payplat.simulators.apple.platform import addressed
from payplat.simulators.apple.spoils import other_environment
from payplat.simulators.apple.store import Store

Pretence = Callable[[Store, Purchase, str], bytes]


def _payload(store: Store, purchase: Purchase, notification_type: str, transaction: str) -> Fields:
    """As the App Store writes it."""
    data = addressed(store.apps[purchase.bundle_id], purchase.environment)
    return {
        "notificationType": notification_type,
        "notificationUUID": str(uuid.uuid4()),
        "data": {**data, "signedTransactionInfo": transaction},
        "version": "2.0",
        "signedDate": store.milliseconds,
    }


def _body(token: str) -> bytes:
    return json.dumps({"signedPayload": token}).encode()


def _dated(store: Store, purchase: Purchase) -> Fields:
    return {**purchase.fields, "signedDate": store.milliseconds}


def forged(store: Store, purchase: Purchase, notification_type: str) -> bytes:
    """All of it under a root nobody trusts."""
    inner = home_made_chain(store, _dated(store, purchase))
    return _body(home_made_chain(store, _payload(store, purchase, notification_type, inner)))


def forged_envelope(store: Store, purchase: Purchase, notification_type: str) -> bytes:
    """A genuine transaction in a home-made envelope: a purchase turned into a refund."""
    payload = _payload(store, purchase, notification_type, purchase.jws)
    return _body(home_made_chain(store, payload))


def forged_inside(store: Store, purchase: Purchase, notification_type: str) -> bytes:
    """A home-made transaction in a genuine envelope."""
    inner = home_made_chain(store, _dated(store, purchase))
    return _body(store.signed(_payload(store, purchase, notification_type, inner)))


def other_app_inside(store: Store, purchase: Purchase, notification_type: str) -> bytes:
    """Both are genuine; the transaction is another app's."""
    inner = store.signed({**purchase.fields, "bundleId": "com.example.cheat"})
    return _body(store.signed(_payload(store, purchase, notification_type, inner)))


def other_world_inside(store: Store, purchase: Purchase, notification_type: str) -> bytes:
    """Both are genuine; the transaction is from the other environment."""
    inner = store.signed(other_environment(purchase.fields))
    return _body(store.signed(_payload(store, purchase, notification_type, inner)))


def other_app(store: Store, purchase: Purchase, notification_type: str) -> bytes:
    """A genuine notification of another app."""
    inner = store.signed({**purchase.fields, "bundleId": "com.example.cheat"})
    payload = _payload(store, purchase, notification_type, inner)
    strange = {"bundleId": "com.example.cheat", "appAppleId": 1}
    return _body(store.signed({**payload, "data": {**payload["data"], **strange}}))


def other_world(store: Store, purchase: Purchase, notification_type: str) -> bytes:
    """A genuine notification of the other environment."""
    inner = store.signed(other_environment(purchase.fields))
    payload = _payload(store, purchase, notification_type, inner)
    other = addressed(
        store.apps[purchase.bundle_id], other_environment(purchase.fields)["environment"]
    )
    data = {**other, "signedTransactionInfo": inner}
    return _body(store.signed({**payload, "data": data}))


def unsigned(store: Store, purchase: Purchase, notification_type: str) -> bytes:
    """`alg` is none."""
    payload = _payload(store, purchase, notification_type, purchase.jws)
    return _body(algorithm_none(store, payload))


def decoded(store: Store, purchase: Purchase, notification_type: str) -> bytes:
    """The payload in plain JSON, as documentation shows it."""
    payload = _payload(store, purchase, notification_type, purchase.jws)
    return json.dumps(payload).encode()


def transaction_as_notification(store: Store, purchase: Purchase, notification_type: str) -> bytes:
    """A genuine transaction where a notification is expected."""
    del store, notification_type
    return _body(purchase.jws)


def altered(store: Store, purchase: Purchase, notification_type: str) -> bytes:
    """The type is changed after signing."""
    genuine = _payload(store, purchase, "TEST", purchase.jws)
    head, _, signature = store.signed(genuine).split(".")
    payload = jws.signing_input({}, {**genuine, "notificationType": notification_type})
    return _body(f"{head}.{payload.partition('.')[2]}.{signature}")


PRETENCES: dict[str, Pretence] = {
    each.__name__: each
    for each in (
        forged,
        forged_envelope,
        forged_inside,
        other_app_inside,
        other_world_inside,
        other_app,
        other_world,
        unsigned,
        decoded,
        transaction_as_notification,
        altered,
    )
}
