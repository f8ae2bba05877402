"""The keys with which Google signs the tokens of pushes. Source: Google, "Validating an ID token"."""

from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from payplat.addresses import Network
from payplat.channels.google.answers import from_base64url
from payplat.key_sets import KeySet

_BITS = range(2048, 8193)


class PushKeys(KeySet[rsa.RSAPublicKey]):
    """Google's public keys by ``kid``."""

    def __init__(self, url: str, *, timeout: float, opened: Iterable[Network] = ()) -> None:
        super().__init__(url, _read_key, owner="Google", timeout=timeout, opened=opened)


def _read_key(jwk: Mapping[str, Any]) -> rsa.RSAPublicKey:
    if (jwk["kty"], jwk["alg"], jwk["use"]) != ("RSA", "RS256", "sig"):
        raise ValueError("the key is for something else")
    exponent, modulus = (int.from_bytes(from_base64url(jwk[name]), "big") for name in ("e", "n"))
    if modulus.bit_length() not in _BITS:
        raise ValueError("the key is too short or too long")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()
