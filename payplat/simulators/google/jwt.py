"""Compact JSON Web Tokens (RFC 7515, 7519), written and read without any library for them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Signer = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Token:
    """A token taken apart, nothing in it checked."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def encode(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Signer) -> str:
    """Write a token; `sign` makes the signature of the two parts before it."""
    parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, claims))
    signed = ".".join(b64url(part) for part in parts)
    return f"{signed}.{b64url(sign(signed.encode()))}"


def decode(text: str) -> Token:
    """Take a token apart; raises ValueError for anything that is none."""
    header, claims, signature = text.split(".")
    signed = f"{header}.{claims}".encode()
    return Token(_object(header), _object(claims), signed, _bytes(signature))


def rs256(key: rsa.RSAPrivateKey) -> Signer:
    """RSASSA-PKCS1-v1_5 with SHA-256."""
    return lambda text: key.sign(text, padding.PKCS1v15(), hashes.SHA256())


def hs256(secret: bytes) -> Signer:
    """HMAC with SHA-256."""
    return lambda text: hmac.digest(secret, text, hashlib.sha256)


def is_rs256(token: Token, key: rsa.RSAPublicKey) -> bool:
    """Whether the token says RS256 and this key signed it."""
    try:
        key.verify(token.signature, token.signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return token.header.get("alg") == "RS256"


def b64url(raw: bytes) -> str:
    """Base64 for addresses, without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _object(text: str) -> dict[str, Any]:
    found = json.loads(_bytes(text))
    if not isinstance(found, dict):
        raise ValueError("a part of a token is a JSON object")
    return found
