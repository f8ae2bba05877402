"""Transactions that the App Store never signed: whoever verifies one must refuse it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from payplat.simulators.apple import jws
from payplat.simulators.apple.books import Fields
from payplat.simulators.apple.certificates import Authority, Chain, Holder
from payplat.simulators.apple.spoils import wrongly_signed
from payplat.simulators.apple.store import Store

Forge = Callable[[Store, Fields], str]


def _foreign(store: Store) -> Chain:
    """A chain of the same shape under a root nobody trusts."""
    return Authority(store.clock.now).chain


def _shown(payload: Fields, signer: Holder, certificates: Sequence[Holder], **head: Any) -> str:
    """Signed by one, shown with whatever certificates."""
    header = jws.header([each.der for each in certificates])
    return jws.sign_with({**header, **head}, payload, signer.key)


def home_made_chain(store: Store, payload: Fields) -> str:
    """Everything is right but the root."""
    return jws.sign(payload, _foreign(store))


def genuine_root_shown(store: Store, payload: Fields) -> str:
    """A home-made leaf and intermediate, with the genuine root shown behind them."""
    foreign = _foreign(store)
    return _shown(payload, foreign.leaf, [foreign.leaf, foreign.intermediate, store.authority.root])


def genuine_tail_shown(store: Store, payload: Fields) -> str:
    """A home-made leaf before the genuine intermediate and root."""
    leaf, genuine = _foreign(store).leaf, store.authority.chain
    return _shown(payload, leaf, [leaf, genuine.intermediate, genuine.root])


def developer_certificate(store: Store, payload: Fields) -> str:
    """A leaf that the same intermediate issued for something else: no marker."""
    genuine = store.authority.chain
    leaf = store.authority.leaf(genuine.intermediate, marked=False)
    return jws.sign(payload, Chain(leaf, genuine.intermediate, genuine.root))


def unmarked_intermediate(store: Store, payload: Fields) -> str:
    """An intermediate of the same root for something else: no marker."""
    intermediate = store.authority.intermediate(store.authority.root, marked=False)
    leaf = store.authority.leaf(intermediate)
    return jws.sign(payload, Chain(leaf, intermediate, store.authority.root))


def leaf_as_issuer(store: Store, payload: Fields) -> str:
    """A genuine leaf, which is no authority, issues another."""
    issuer = store.authority.chain.leaf
    leaf = store.authority.leaf(issuer)
    return _shown(payload, leaf, [leaf, issuer, store.authority.chain.intermediate])


def expired_leaf(store: Store, payload: Fields) -> str:
    """Signed now by a leaf whose time is over."""
    return jws.sign(payload, store.authority.expired_chain())


def altered(store: Store, payload: Fields) -> str:
    """More for the same money, altered after signing."""
    head, _, signature = jws.sign(payload, store.authority.chain).split(".")
    more = {**payload, "quantity": int(payload.get("quantity", 1)) + 99}
    return f"{head}.{jws.signing_input({}, more).partition('.')[2]}.{signature}"


def wrong_key(store: Store, payload: Fields) -> str:
    """The genuine certificates, and another key."""
    return wrongly_signed(store, payload)


def zero_signature(store: Store, payload: Fields) -> str:
    """R and S are zero, as careless verifiers once accepted."""
    return jws.join(_genuine_input(store, payload), bytes(64))


def asn1_signature(store: Store, payload: Fields) -> str:
    """The genuine signature in ASN.1, which no JWS has."""
    text, _, signature = jws.sign(payload, store.authority.chain).rpartition(".")
    raw = jws.decode(signature)
    encoded = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    return jws.join(text, encoded)


def no_signature(store: Store, payload: Fields) -> str:
    """The third part is empty."""
    return jws.join(_genuine_input(store, payload), b"")


def algorithm_none(store: Store, payload: Fields) -> str:
    """`alg` is none."""
    head = {**jws.header(store.authority.chain.x5c), "alg": "none"}
    return jws.join(jws.signing_input(head, payload), b"")


def algorithm_hs256(store: Store, payload: Fields) -> str:
    """HS256, the leaf's public key taken for the shared secret."""
    head = {**jws.header(store.authority.chain.x5c), "alg": "HS256"}
    text = jws.signing_input(head, payload)
    secret = store.authority.chain.leaf.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return jws.join(text, hmac.digest(secret, text.encode(), hashlib.sha256))


def no_certificates(store: Store, payload: Fields) -> str:
    """No `x5c`."""
    return jws.sign_with({"alg": "ES256"}, payload, store.authority.chain.leaf.key)


def public_key_in_header(store: Store, payload: Fields) -> str:
    """No `x5c`, but a `jwk` that verifies."""
    del store
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_numbers()
    x, y = (jws.encode(number.to_bytes(32)) for number in (point.x, point.y))
    jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    return jws.sign_with({"alg": "ES256", "jwk": jwk}, payload, key)


def two_certificates(store: Store, payload: Fields) -> str:
    """The root is left out."""
    chain = store.authority.chain
    return _shown(payload, chain.leaf, [chain.leaf, chain.intermediate])


def four_certificates(store: Store, payload: Fields) -> str:
    """The root is there twice."""
    chain = store.authority.chain
    return _shown(payload, chain.leaf, [chain.leaf, chain.intermediate, chain.root, chain.root])


def leaf_alone(store: Store, payload: Fields) -> str:
    """A certificate that signed itself, as Xcode's local testing makes them."""
    del store
    return _self_signed(payload, "Xcode")


def local_testing(store: Store, payload: Fields) -> str:
    """As Xcode's, and says so."""
    del store
    return _self_signed(payload, "LocalTesting")


def critical_header(store: Store, payload: Fields) -> str:
    """A `crit` header that nobody understands (RFC 7515, section 4.1.11)."""
    chain = store.authority.chain
    holders = [chain.leaf, chain.intermediate, chain.root]
    return _shown(payload, chain.leaf, holders, crit=["fake"], fake=True)


def _self_signed(payload: Fields, environment: str) -> str:
    holder = Authority(lambda: payload["signedDate"] / 1000).root
    key = ec.generate_private_key(ec.SECP256R1())
    head = {"alg": "ES256", "x5c": [base64.b64encode(holder.der).decode()]}
    return jws.sign_with(head, {**payload, "environment": environment}, key)


def _genuine_input(store: Store, payload: Fields) -> str:
    return jws.signing_input(jws.header(store.authority.chain.x5c), payload)


FORGERIES: dict[str, Forge] = {
    each.__name__: each
    for each in (
        home_made_chain,
        genuine_root_shown,
        genuine_tail_shown,
        developer_certificate,
        unmarked_intermediate,
        leaf_as_issuer,
        expired_leaf,
        altered,
        wrong_key,
        zero_signature,
        asn1_signature,
        no_signature,
        algorithm_none,
        algorithm_hs256,
        no_certificates,
        public_key_in_header,
        two_certificates,
        four_certificates,
        leaf_alone,
        local_testing,
        critical_header,
    )
}
