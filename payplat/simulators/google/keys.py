"""RSA keys with a name, as Google publishes them: as JWK, and as PEM certificate."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from payplat.simulators.google.jwt import b64url

_SIGNER = "federated-signon.system.gserviceaccount.com"


def new_key() -> rsa.RSAPrivateKey:
    """A fresh RSA key of 2048 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def stranger() -> rsa.RSAPrivateKey:
    """The key of nobody who is known."""
    return new_key()


@dataclass(frozen=True)
class NamedKey:
    """A private key and its `kid`."""

    private: rsa.RSAPrivateKey = field(default_factory=new_key)
    kid: str = field(default_factory=lambda: secrets.token_hex(20))

    @property
    def public(self) -> rsa.RSAPublicKey:
        """The half that may be known."""
        return self.private.public_key()

    @property
    def private_pem(self) -> str:
        """PKCS#8, as in the file of a service account."""
        return self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    @property
    def public_pem(self) -> bytes:
        """SubjectPublicKeyInfo."""
        return self.public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def jwk(self) -> dict[str, str]:
        """As a JSON Web Key (RFC 7517)."""
        numbers = self.public.public_numbers()
        return {
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "kid": self.kid,
            "n": _integer(numbers.n),
            "e": _integer(numbers.e),
        }

    def certificate(self, now: float) -> str:
        """Signed by itself, valid for two weeks around `now` (seconds since the epoch)."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _SIGNER)])
        today = datetime.fromtimestamp(now, UTC)
        builder = x509.CertificateBuilder(name, name, self.public, int(self.kid[:16], 16) + 1)
        builder = builder.not_valid_before(today - timedelta(days=7))
        builder = builder.not_valid_after(today + timedelta(days=7))
        signed = builder.sign(self.private, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()


def _integer(number: int) -> str:
    return b64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
