"""The apps of App Store Connect, and the tokens with which their owners ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from payplat.simulators.apple import jws
from payplat.simulators.apple.books import ENVIRONMENTS
from payplat.simulators.apple.refusals import Unauthorized

_AUDIENCE = "appstoreconnect-v1"
_LONGEST_LIFE = 3600


@dataclass
class App:
    """One app; `prices` are (milliunits, currency) by product.

    Before its first release (`released` False) production answers 401 to every question.
    """

    bundle_id: str
    app_apple_id: int
    issuer_id: str
    key_id: str
    key: ec.EllipticCurvePublicKey
    notification_urls: dict[str, str] = field(default_factory=dict)
    prices: dict[str, tuple[int, str]] = field(default_factory=dict)
    released: bool = True

    def __post_init__(self) -> None:
        unknown = self.notification_urls.keys() - set(ENVIRONMENTS)
        if unknown:
            raise ValueError(f"{unknown} are none of {', '.join(ENVIRONMENTS)}")


def read_public_key(pem: str) -> ec.EllipticCurvePublicKey:
    """The public half of an In-App Purchase key; ValueError unless it is a P-256 key."""
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ValueError("an In-App Purchase key is a P-256 key")
    return key


def authorize(header: str, apps: Mapping[str, App], now: float) -> App:
    """Whose token this is ("Generating JSON Web Tokens for API requests"); `now` in seconds.

    Apple's own clients leave out `iat`. Raises Unauthorized for any fault.
    """
    kind, _, token = header.partition(" ")
    try:
        head, claims, _ = jws.read(token)
        app = apps[claims["bid"]]
        genuine = head["alg"] == "ES256" and jws.verifies(token, app.key)
    except (ValueError, KeyError, TypeError):
        raise Unauthorized from None
    known = head.get("kid") == app.key_id and claims.get("iss") == app.issuer_id
    meant = claims.get("aud") == _AUDIENCE
    if kind != "Bearer" or not (genuine and known and meant and _timely(claims, now)):
        raise Unauthorized
    return app


def _timely(claims: Mapping[str, Any], now: float) -> bool:
    expires = claims.get("exp")
    issued = claims.get("iat", now)
    if not isinstance(expires, int | float) or not isinstance(issued, int | float):
        return False
    return now < expires <= issued + _LONGEST_LIFE
