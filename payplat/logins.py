"""Bearer tokens of an app's own login: which user calls. JWTs (RFC 7519, RFC 8725), one algorithm for each key."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.types import Options

from payplat.addresses import Network
from payplat.errors import UnknownClient
from payplat.key_sets import KeySet
from payplat.settings import LoginSettings
from payplat.strength import weakness

_LEEWAY = 30  # seconds
_MIN_BITS, _MIN_SECRET = 2048, 32
_REQUIRED: Options = {"require": ["exp", "iss", "aud", "sub"]}


@dataclass(frozen=True, slots=True)
class LoginKey:
    """A key and the one algorithm that it is for."""

    algorithm: str
    key: Any = field(repr=False)


class LoginKeys(Protocol):
    """Where the key of a token comes from."""

    async def find(self, kid: str | None) -> LoginKey | None:
        """Return the key that a token's header names; raises ProviderUnavailable when none can be had."""

    def close(self) -> None:
        """Close connections."""


class Login:
    """One app's login: believes tokens of its ``issuer`` for its ``audience``."""

    def __init__(self, issuer: str, audience: str, keys: LoginKeys) -> None:
        self.issuer, self.audience, self._keys = issuer, audience, keys

    async def subject(self, token: str) -> str:
        """Return who the token is for; raises UnknownClient, or ProviderUnavailable without keys."""
        header = read_header(token)
        kid = header.get("kid")
        key = await self._keys.find(kid if isinstance(kid, str) else None)
        if key is None or "crit" in header:
            raise UnknownClient
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self.audience,
                issuer=self.issuer,
                leeway=_LEEWAY,
                options=_REQUIRED,
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise UnknownClient from None
        return str(claims["sub"])

    def close(self) -> None:
        """Close the connections to where its keys are."""
        self._keys.close()


def read_header(token: str) -> Mapping[str, Any]:
    """Return a token's header, of which nothing is proven; raises UnknownClient."""
    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise UnknownClient from None


def claimed_issuer(token: str) -> tuple[str, frozenset[str]]:
    """Return issuer and audiences that a token names, of which nothing is proven; raises UnknownClient."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise UnknownClient from None
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    return str(claims.get("iss")), frozenset(name for name in named if isinstance(name, str))


def login_of(settings: LoginSettings, app: str, opened: Iterable[Network]) -> Login:
    """Return the login of an app; raises ValueError that says what is wrong, never the key."""
    return Login(settings.issuer, settings.audience, _keys_of(settings, app, opened))


class _One:
    """One key, whatever a token's header says."""

    def __init__(self, key: LoginKey) -> None:
        self._key = key

    async def find(self, _kid: str | None) -> LoginKey:
        return self._key

    def close(self) -> None:
        pass


class _Set:
    """A key set, of which a token's header names one."""

    def __init__(self, keys: KeySet[LoginKey]) -> None:
        self._keys = keys

    async def find(self, kid: str | None) -> LoginKey | None:
        await self._keys.load(kid)
        return None if kid is None else self._keys.find(kid)

    def close(self) -> None:
        self._keys.close()


def _keys_of(settings: LoginSettings, app: str, opened: Iterable[Network]) -> LoginKeys:
    if settings.jwks_url is not None:
        owner = f"The login of {app}"
        return _Set(KeySet(settings.jwks_url, _read_member, owner=owner, timeout=5, opened=opened))
    if settings.public_key is not None:
        return _One(_public(_read_pem(settings.public_key)))
    secret = settings.secret.get_secret_value().encode() if settings.secret else b""
    if len(secret) < _MIN_SECRET or weakness(secret):
        raise ValueError(f"secret must be {_MIN_SECRET} random bytes or more")
    return _One(LoginKey("HS256", secret))


def _read_pem(text: str) -> Any:
    if "PRIVATE" in text:
        raise ValueError("public_key is a private key")
    try:
        return load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("public_key is no public key in PEM") from None


def _public(key: Any) -> LoginKey:
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_BITS:
        return LoginKey("RS256", key)
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return LoginKey("ES256", key)
    raise ValueError(f"public_key is neither RSA of {_MIN_BITS} bits or more nor on P-256")


def _read_member(member: Mapping[str, Any]) -> LoginKey:
    """Read a public key for signatures of a key set (RFC 7517, 4); a symmetric one in public is nobody's secret."""
    if member["kty"] not in ("RSA", "EC") or member.get("use", "sig") != "sig":
        raise ValueError("the key is for something else")
    try:
        key = _public(jwt.PyJWK(dict(member)).key)
    except jwt.PyJWTError:
        raise ValueError("the key cannot be read") from None
    if member.get("alg", key.algorithm) != key.algorithm:
        raise ValueError("the key is for another algorithm")
    return key
