"""How an answer of the API goes wrong, kind by kind; the kinds are explained in faults.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from payplat.simulators.apple import jws
from payplat.simulators.apple.books import PRODUCTION, SANDBOX, Fields
from payplat.simulators.apple.store import Store

ERRORS = {
    "500": 5000000,
    "500_retryable": 5000001,
    "429": 4290000,
    "retryable_404": 4040002,
    "not_found": 4040010,
}
BARE = {"503": 503, "401": 401, "redirect": 302}

_MAINTENANCE = b"<!DOCTYPE html><html><body><h1>Service unavailable (FAKE)</h1></body></html>"


def spoiled(store: Store, kind: str, body: bytes) -> bytes:
    """The true body of an answer, spoiled."""
    if kind in _BODIES:
        return _BODIES[kind](body)
    forge = _TOKENS[kind]

    def exchange(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: exchange(each) for name, each in value.items()}
        if isinstance(value, list):
            return [exchange(each) for each in value]
        signed = isinstance(value, str) and value.startswith("eyJ")
        return forge(store, jws.read(value)[1]) if signed else value

    return json.dumps(exchange(json.loads(body))).encode() if body else body


_BODIES: dict[str, Callable[[bytes], bytes]] = {
    "slow": lambda body: body,
    "html": lambda _: _MAINTENANCE,
    "empty": lambda _: b"",
    "truncated": lambda body: body[: len(body) // 2],
    "no_fields": lambda _: b"{}",
}


def other_environment(payload: Fields) -> Fields:
    """The same in the other world."""
    other = SANDBOX if payload.get("environment") == PRODUCTION else PRODUCTION
    return {**payload, "environment": other}


def _other_transaction(store: Store, payload: Fields) -> str:
    """Of another purchase where there is one, of one that never was where there is none."""
    world = payload.get("environment", SANDBOX)
    others = (
        each.fields
        for each in store.books.purchases.values()
        if (each.bundle_id, each.environment) == (payload.get("bundleId"), world)
        and each.transaction_id != payload.get("transactionId")
    )
    number = store.books.number(world)
    invented = {**payload, "transactionId": number, "originalTransactionId": number}
    return store.signed(next(others, invented))


def wrongly_signed(store: Store, payload: Fields) -> str:
    """The genuine certificates, and another key."""
    stranger = ec.generate_private_key(ec.SECP256R1())
    return jws.sign_with(jws.header(store.authority.chain.x5c), payload, stranger)


_TOKENS: dict[str, Callable[[Store, Fields], str]] = {
    "other_transaction": _other_transaction,
    "other_app": lambda store, payload: store.signed({**payload, "bundleId": "com.example.other"}),
    "other_environment": lambda store, payload: store.signed(other_environment(payload)),
    "wrong_signature": wrongly_signed,
    "expired_leaf": lambda store, payload: store.signed(payload, store.authority.expired_chain()),
}
