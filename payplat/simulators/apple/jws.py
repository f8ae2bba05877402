"""Signing in compact JWS (RFC 7515), ES256 (RFC 7518): the signature is R and S, 32 bytes each."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from payplat.simulators.apple.certificates import Chain

_ES256 = ec.ECDSA(hashes.SHA256())


def sign(payload: Mapping[str, Any], chain: Chain) -> str:
    """As Apple signs: the header holds `alg` and `x5c`, nothing else ("JWSDecodedHeader")."""
    return sign_with(header(chain.x5c), payload, chain.leaf.key)


def header(certificates: Sequence[bytes]) -> dict[str, Any]:
    """Certificates in DER, leaf first; they are written in standard base64, not base64url."""
    return {"alg": "ES256", "x5c": [base64.b64encode(der).decode() for der in certificates]}


def sign_with(
    head: Mapping[str, Any], payload: Mapping[str, Any], key: ec.EllipticCurvePrivateKey
) -> str:
    """Any header, any payload, any key."""
    text = signing_input(head, payload)
    r, s = decode_dss_signature(key.sign(text.encode(), _ES256))
    return join(text, r.to_bytes(32) + s.to_bytes(32))


def signing_input(head: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
    """The two parts a signature is made of."""
    return f"{encode(_json(head))}.{encode(_json(payload))}"


def join(text: str, signature: bytes) -> str:
    """The three parts."""
    return f"{text}.{encode(signature)}"


def encode(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Base64url without padding; ValueError for anything else."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def read(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header, payload and signature of a token, unverified; ValueError if it is none."""
    head, payload, signature = token.split(".")
    parts = json.loads(decode(head)), json.loads(decode(payload))
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError("header and payload are JSON objects")
    return *parts, decode(signature)


def verifies(token: str, key: ec.EllipticCurvePublicKey) -> bool:
    """Whether the key's owner signed this token by ES256."""
    text, _, signature = token.rpartition(".")
    raw = decode(signature)
    if len(raw) != 64:
        return False
    encoded = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    try:
        key.verify(encoded, text.encode(), _ES256)
    except InvalidSignature:
        return False
    return True


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
