"""Pub/Sub pushes: who pushed, and what they say has changed in Google Play.

Sources: Google Cloud Pub/Sub, "Push subscriptions", "Authentication for push subscriptions"; Google Play, "Real-time
developer notifications reference guide"; RFC 7515 and 7519 for the token.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jwt.algorithms import RSAAlgorithm

from payplat import seam
from payplat.channels.google.answers import from_base64url, read_json
from payplat.channels.google.publisher_api import ORDER_ID, PURCHASE_TOKEN
from payplat.channels.google.push_keys import PushKeys
from payplat.errors import NotAuthentic
from payplat.purchase import Inbound

__all__ = ["ISSUERS", "MAX_PUSH", "Push", "PushAuth", "PushKeys", "Undecodable", "read_push"]

ISSUERS = ("https://accounts.google.com", "accounts.google.com")
MAX_PUSH = 64 * 1024
"""Bytes; a real push has about one thousand."""

_MAX_TOKEN = 4096
_SKEW = 60  # seconds
_KID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_RS256 = RSAAlgorithm(RSAAlgorithm.SHA256)
_DIGITS = re.compile(r"[0-9]{1,15}")
_MESSAGE_ID = re.compile(r"[!-~]{1,255}")
_SHORT_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,500}")
_FULL, _PARTIAL = 1, 2
_ABOUT_PURCHASE = frozenset({"purchased", "canceled", "voided"})
# The members of a DeveloperNotification: what decides the kind, and the kinds that we know.
_MEMBERS: dict[str, tuple[str, dict[int, str]]] = {
    "oneTimeProductNotification": ("notificationType", {1: "purchased", 2: "canceled"}),
    "voidedPurchaseNotification": ("productType", {1: "subscription", 2: "voided"}),
    "subscriptionNotification": ("", {0: "subscription"}),
    "pendingRefundReviewNotification": ("", {0: "unknown"}),
    "testNotification": ("", {0: "test"}),
}


class Undecodable(ValueError):
    """A push that cannot be read and never will be; says why."""


@dataclass(frozen=True, slots=True)
class Push:
    """What a push says has changed; Google must be asked what it is worth.

    ``kind`` is ``purchased``, ``canceled``, ``voided``, ``test``, ``subscription`` or ``unknown``: what we do not know
    yet. ``refund_type`` is 1 when nothing of a voided purchase is left, 2 for a part. ``at_ms``: milliseconds since 1970.
    """

    message_id: str
    subscription: str
    package_name: str
    kind: str
    purchase_token: str | None = field(repr=False)
    order_id: str | None
    sku: str | None
    refund_type: int | None
    at_ms: int
    notification: Mapping[str, Any] = field(repr=False)


class PushAuth:
    """Who may push: the service account ``email``, with tokens of Google's for exactly this ``audience``.

    The audience alone would not do: anybody can have Google sign a token for it.
    """

    def __init__(
        self, keys: PushKeys, *, audience: str, email: str, issuers: Sequence[str] = ISSUERS
    ) -> None:
        self._keys, self._issuers = keys, tuple(issuers)
        self._expected = {"aud": audience, "email": email}

    async def prepare(self, inbound: Inbound) -> None:
        """Have the key at hand that the push's token names.

        Raises NotAuthentic when it carries no token that any key could prove, ProviderUnavailable when there are no keys.
        """
        await self._keys.load(_read_token(inbound).kid)

    def check(self, inbound: Inbound) -> str:
        """Return the name of the key that proves the push, for the records.

        A token is bound to no message and many share one: what is pushed is only a reason to ask. Raises NotAuthentic,
        which says what is wrong, and ProviderUnavailable when no keys are at hand.
        """
        token = _read_token(inbound)
        key = self._keys.find(token.kid)
        if key is None or not _RS256.verify(token.signed, key, token.signature):
            raise NotAuthentic("The push's token is not signed by Google.")
        self._check_claims(token.claims)
        return f"push:{token.kid}"

    def close(self) -> None:
        """Close the connections to Google."""
        self._keys.close()

    def _check_claims(self, claims: Mapping[str, Any]) -> None:
        _check_times(claims)
        if claims.get("iss") not in self._issuers:
            raise NotAuthentic("iss of the push's token is not Google.")
        for name, expected in self._expected.items():
            if claims.get(name) != expected:
                raise NotAuthentic(f"{name} of the push's token is another.")
        if claims.get("email_verified") is not True:
            raise NotAuthentic("email of the push's token is not verified.")


@dataclass(frozen=True, slots=True)
class _Token:
    """A token taken apart, with nothing proven but its form."""

    kid: str
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def _read_token(inbound: Inbound) -> _Token:
    scheme, _, text = inbound.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or len(text) > _MAX_TOKEN:
        raise NotAuthentic("The push carries no bearer token that could be Google's.")
    try:
        header, claims, signature = text.split(".")
        header_content = read_json(from_base64url(header))
        return _Token(
            kid=_kid(header_content),
            claims=read_json(from_base64url(claims)),
            signed=f"{header}.{claims}".encode(),
            signature=from_base64url(signature),
        )
    except ValueError:
        raise NotAuthentic("The push's token cannot be read.") from None


def _kid(header: Mapping[str, Any]) -> str:
    """Return the name of the key; nothing else in a header can choose a key or an algorithm."""
    kid = header.get("kid")
    if header.get("alg") != "RS256" or "crit" in header:
        raise NotAuthentic("alg of the push's token is not RS256.")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise NotAuthentic("The push's token names no key.")
    return kid


def _check_times(claims: Mapping[str, Any]) -> None:
    now, issued_at, ends_at = seam.now() // seam.SECOND, claims.get("iat"), claims.get("exp")
    if type(issued_at) is not int or type(ends_at) is not int:  # a bool is an int too
        raise NotAuthentic("The push's token does not say when it is valid.")
    if not issued_at - _SKEW <= now <= ends_at + _SKEW:
        raise NotAuthentic("The push's token is not valid now.")


def read_push(body: bytes) -> Push:
    """Read a push in Pub/Sub's wrapped format; raises Undecodable.

    A notification of a member or number that we do not know is of kind ``unknown``; one with several members is nothing.
    """
    if len(body) > MAX_PUSH:
        raise Undecodable("the push is too large")
    envelope = _read_object(body, "push")
    message = _object(envelope, "message")
    notification = _read_object(_data(message), "notification")
    member, content = _content(notification)
    push = Push(
        message_id=_message_id(message),
        subscription=_required(envelope, "subscription"),
        package_name=_required(notification, "packageName"),
        kind=_kind(member, content),
        purchase_token=_optional(content, "purchaseToken", PURCHASE_TOKEN),
        order_id=_optional(content, "orderId", ORDER_ID),
        sku=_optional(content, "sku", _SHORT_TEXT),
        refund_type=_number(content, "refundType") if "refundType" in content else None,
        at_ms=_milliseconds(notification.get("eventTimeMillis")),
        notification=notification,
    )
    if push.kind in _ABOUT_PURCHASE and push.purchase_token is None:
        raise Undecodable("the notification names no purchase")
    return push


def _read_object(raw: bytes, name: str) -> dict[str, Any]:
    try:
        return read_json(raw)
    except ValueError:
        raise Undecodable(f"the {name} is no JSON object") from None


def _data(message: Mapping[str, Any]) -> bytes:
    data = message.get("data")
    try:
        return base64.b64decode(data if isinstance(data, str) else "%", validate=True)
    except ValueError:
        raise Undecodable("data is no base64") from None


def _message_id(message: Mapping[str, Any]) -> str:
    """Return the id, which is sent in two spellings."""
    told = [_optional(message, name, _MESSAGE_ID) for name in ("messageId", "message_id")]
    found = {name for name in told if name is not None}
    if len(found) != 1:
        raise Undecodable("the message has no id, or two")
    return found.pop()


def _content(notification: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the one member that is known, and what it holds; nothing where none is."""
    found = [name for name in _MEMBERS if name in notification]
    if len(found) > 1:
        raise Undecodable("the notification is of several kinds")
    return (found[0], _object(notification, found[0])) if found else ("", {})


def _kind(member: str, content: Mapping[str, Any]) -> str:
    name, kinds = _MEMBERS.get(member, ("", {}))
    kind = kinds.get(_number(content, name) if name else 0, "unknown")
    if kind == "voided" and _number(content, "refundType") not in (_FULL, _PARTIAL):
        return "unknown"
    return kind


def _object(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = told.get(name)
    if not isinstance(value, dict):
        raise Undecodable(f"{name} is no object")
    return value


def _required(told: Mapping[str, Any], name: str) -> str:
    value = _optional(told, name, _SHORT_TEXT)
    if value is None:
        raise Undecodable(f"there is no {name}")
    return value


def _optional(told: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str | None:
    """Return text of this form; None where it is absent or empty."""
    value = told.get(name)
    if value in (None, ""):
        return None
    if not isinstance(value, str) or not form.fullmatch(value):
        raise Undecodable(f"{name} has another form")
    return value


def _number(told: Mapping[str, Any], name: str) -> int:
    value = told.get(name)
    if type(value) is not int:
        raise Undecodable(f"{name} is no number")
    return value


def _milliseconds(value: object) -> int:
    """Read an int64: documented as a number, shown as text."""
    text = str(value)
    if not _DIGITS.fullmatch(text):
        raise Undecodable("eventTimeMillis is no time in milliseconds")
    return int(text)
