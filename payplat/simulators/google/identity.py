"""Who signs the pushes: Google's keys, their rotation, and the OpenID Connect tokens made with them.

Source: cloud.google.com Pub/Sub, "Authentication for push subscriptions".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from payplat.simulators.clock import Clock
from payplat.simulators.google import jwt
from payplat.simulators.google.apps import App
from payplat.simulators.google.keys import NamedKey, new_key, stranger

ISSUER = "https://accounts.google.com"
_SUBJECT = "113774264463038321964"
_HOUR = 3600


class Identity:
    """The last of `keys` signs; all of them are published."""

    def __init__(self, clock: Clock, key: rsa.RSAPrivateKey | None) -> None:
        self.issuer = ISSUER
        self.keys = [NamedKey(key or new_key())]
        self._clock = clock

    def rotate(self, *, keep: bool = True) -> None:
        """From now on another key signs; `keep` says whether the old ones stay published."""
        self.keys = [*(self.keys if keep else ()), NamedKey()]

    def jwks(self) -> dict[str, Any]:
        """The key set (RFC 7517)."""
        return {"keys": [key.jwk() for key in self.keys]}

    def certificates(self) -> dict[str, str]:
        """The same keys as PEM certificates, by `kid`."""
        return {key.kid: key.certificate(self._clock.now()) for key in self.keys}

    def claims(self, app: App) -> dict[str, Any]:
        """What a push of this app says of itself."""
        now = int(self._clock.now())
        return {
            "aud": app.audience,
            "azp": _SUBJECT,
            "email": app.push_email,
            "email_verified": True,
            "exp": now + _HOUR,
            "iat": now,
            "iss": self.issuer,
            "sub": _SUBJECT,
        }

    def token(
        self,
        app: App,
        changes: Mapping[str, Any],
        *,
        alg: str = "RS256",
        key: str = "own",
        kid: str | None = None,
    ) -> str:
        """A token with `changes` in its claims (None leaves one out).

        `alg` RS256, HS256 (with the public key as the secret, in PEM) or none; `key` own or wrong.
        Raises ValueError for another choice.
        """
        claims = {**self.claims(app), **changes}
        kept = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": alg, "kid": kid or self.keys[-1].kid, "typ": "JWT"}
        return jwt.encode(header, kept, self._signer(alg, key))

    def _signer(self, alg: str, key: str) -> jwt.Signer:
        own = self.keys[-1]
        signers = {
            ("RS256", "own"): jwt.rs256(own.private),
            ("RS256", "wrong"): jwt.rs256(stranger()),
            ("HS256", "own"): jwt.hs256(own.public_pem),
            ("none", "own"): lambda _text: b"",
        }
        if (alg, key) not in signers:
            raise ValueError(f"no token of {alg} with the {key} key")
        return signers[alg, key]
