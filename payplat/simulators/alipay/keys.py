"""The platform's own RSA keys: sign as Alipay does (RSA2), or as a forger would."""

from __future__ import annotations

import base64
import binascii
from functools import cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_DIGESTS: dict[str, type[hashes.HashAlgorithm]] = {"sha256": hashes.SHA256, "sha1": hashes.SHA1}


def new_key() -> rsa.RSAPrivateKey:
    """A fresh RSA key of 2048 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def read_public_key(pem: str) -> rsa.RSAPublicKey:
    """Read a public key from PEM or bare Base64."""
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("an Alipay application key is an RSA key")
    return key


@cache
def stranger() -> rsa.RSAPrivateKey:
    """The key of nobody the merchant knows."""
    return new_key()


class Keys:
    """`platform` signs what is true."""

    def __init__(self, platform: rsa.RSAPrivateKey | None = None) -> None:
        self.platform = platform or new_key()

    @property
    def public_pem(self) -> str:
        """The platform's public key as PEM."""
        public = self.platform.public_key()
        return public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()

    def sign(self, text: bytes, *, sign_with: str = "platform", digest: str = "sha256") -> str:
        """Base64 signature; `sign_with` platform or wrong, `digest` sha256 (RSA2) or sha1 (RSA)."""
        key = stranger() if sign_with == "wrong" else self.platform
        signature = key.sign(text, padding.PKCS1v15(), _DIGESTS[digest]())
        return base64.b64encode(signature).decode()


def is_signed(text: bytes, signature: str, key: rsa.RSAPublicKey) -> bool:
    """Whether `signature` (Base64) is the RSA2 signature of `text`."""
    try:
        key.verify(
            base64.b64decode(signature, validate=True), text, padding.PKCS1v15(), hashes.SHA256()
        )
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
