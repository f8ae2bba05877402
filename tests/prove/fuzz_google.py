"""Google's parsers: pushes, the tokens of who pushed, and what the Android Publisher API answers."""

import base64
import json
from types import SimpleNamespace
from typing import Any

from jwt.api_jws import PyJWS

from payplat.channels.google import answers, reading
from payplat.channels.google.provider import GoogleProvider
from payplat.channels.google.push import MAX_PUSH, PushAuth, Undecodable, _read_token, read_push
from payplat.errors import NotAuthentic, ProviderError
from payplat.outbound import Answer
from payplat.provider import Account
from payplat.purchase import Evidence, Inbound, Source
from payplat.simulators.google.jwt import b64url
from tests.prove.fuzz_ledger import ORDER, record
from tests.prove.fuzz_loop import Target
from tests.prove.fuzz_mutations import PART
from tests.simulators.google_stage import PACKAGE, PUSHER
from tests.wire.google import NOW
from tests.wire.test_google_reading import PURCHASE, TOKEN

_AUDIENCE = "https://pay.example.com/v1/callback/google"
_NOW = NOW * 1_000_000
_HEADER = {"alg": "RS256", "kid": "0f3c9d2e", "typ": "JWT"}
_CLAIMS = {
    "aud": _AUDIENCE,
    "azp": "1",
    "email": PUSHER,
    "email_verified": True,
    "exp": NOW + 3600,
    "iat": NOW,
    "iss": "https://accounts.google.com",
    "sub": "1",
}
_TOTAL = {"total": {"currencyCode": "EUR", "units": "24", "nanos": 950_000_000}}
_TOKENS = [
    *(f'"{name}":'.encode() for name in (*PURCHASE, *_CLAIMS, *_HEADER, "crit", "jwk", "x5u")),
    *(
        f'"{name}":'.encode()
        for name in ("purchaseToken", "refundType", "productType", "message_id")
    ),
    *(b'"PURCHASED"', b'"CANCELLED"', b'"PENDING"', b'"none"', b'"HS256"', b'"JPY"', b'"BHD"'),
    *(
        b'"testPurchaseContext":{}',
        b'"refundableQuantity":0',
        b'"total":',
        b'"units":"',
        b'"nanos":',
    ),
]


class _Believing:
    """A key set in which every key believes every signature; only a token's form and claims are left to judge."""

    def find(self, kid: str) -> "_Believing":
        """Return a key."""
        return self

    def verify(self, *_: Any) -> None:
        """Believe."""


def targets() -> list[Target]:
    """Return the targets of this channel."""
    sources = ("payplat/channels/google/", "payplat/strict_json.py")
    believing: Any = _Believing()
    push = PushAuth(believing, audience=_AUDIENCE, email=PUSHER)
    nothing: Any = SimpleNamespace(circuit=None)
    provider = GoogleProvider(
        Account("google", "production", _AUDIENCE),
        package_name=PACKAGE,
        account_secret=b"0123456789abcdef",
        api=nothing,
        tokens=nothing,
        push=push,
        subscription=None,
        testers=frozenset({"player-2"}),
        asks_price=True,
        sweep_seconds=3600,
    )
    authentic = {"authorization": f"Bearer {_token()}"}

    def read_pushed(body: bytes) -> None:
        """As it comes, and behind the token."""
        _read_push(body)
        verdict = provider.read_notification(Inbound(authentic, "", body))
        record(verdict, PACKAGE)

    def read_notification(notification: bytes) -> None:
        read_pushed(_wrapped(notification))

    def check_token(text: bytes) -> None:
        _check_token(push, Inbound({"authorization": text.decode("latin-1")}, "", b""))

    def check_claims(parts: bytes) -> None:
        header, _, claims = parts.partition(PART)
        text = f"Bearer {b64url(header)}.{b64url(claims)}.AAAA"
        _check_token(push, Inbound({"authorization": text}, "", b""))

    def read_purchase(parts: bytes) -> None:
        purchase, _, order = parts.partition(PART)
        _read_purchase(provider, purchase, order)

    notifications = [json.dumps(each).encode() for each in _NOTIFICATIONS]
    claims = json.dumps(_HEADER).encode() + PART + json.dumps(_CLAIMS).encode()
    total = json.dumps(_TOTAL).encode()
    refusals = [json.dumps({"error": error}).encode() for error in _ERRORS]
    purchases = [json.dumps(each).encode() + PART + total for each in _PURCHASES]
    bodies = [_wrapped(each) for each in notifications]
    return [
        Target("google-push", read_pushed, bodies, sources, _TOKENS, _NOW),
        Target("google-notification", read_notification, notifications, sources, _TOKENS, _NOW),
        Target("google-token", check_token, [f"Bearer {_token()}".encode()], sources, (), _NOW),
        Target("google-claims", check_claims, [claims], sources, _TOKENS, _NOW),
        Target("google-purchase", read_purchase, purchases, sources, _TOKENS, _NOW),
        Target("google-refusal", _read_refusal, refusals, sources, _TOKENS, _NOW),
    ]


def _read_push(body: bytes) -> None:
    try:
        push = read_push(body)
    except Undecodable as error:
        str(error).encode()
        return
    assert len(body) <= MAX_PUSH
    envelope = json.loads(body)
    notification = json.loads(base64.b64decode(envelope["message"]["data"]))
    assert notification == push.notification, "it reads in another way"
    assert envelope["subscription"] == push.subscription
    assert notification["packageName"] == push.package_name


def _check_token(push: PushAuth, inbound: Inbound) -> None:
    """What is believed says by PyJWT what was demanded."""
    try:
        push.check(inbound)
    except NotAuthentic as error:
        str(error).encode()
        return
    text = inbound.headers["authorization"].partition(" ")[2]
    other = PyJWS().decode_complete(text, options={"verify_signature": False})
    claims = json.loads(other["payload"])
    assert claims == _read_token(inbound).claims, "it reads in another way"
    assert (claims["aud"], claims["email"]) == (_AUDIENCE, PUSHER)
    assert other["header"]["alg"] == "RS256"


def _read_purchase(provider: GoogleProvider, purchase: bytes, order: bytes) -> None:
    evidence = Evidence(Source.VERIFY, TOKEN.encode(), purchase)
    try:
        content, priced = (
            answers.read_object(_answer(purchase)),
            answers.read_object(_answer(order)),
        )
    except ProviderError:
        return
    verdict = reading.priced(provider._read(content, TOKEN, evidence), priced)
    reading.is_acknowledged(content)
    record(verdict, PACKAGE)
    record(provider.bind(verdict, ORDER), PACKAGE)
    for told in _run(provider._read_voided({"purchaseToken": TOKEN, **content})):
        record(told, PACKAGE)


def _run(voided: Any) -> Any:
    """Run what asks nobody; where it would ask, there is no API to ask."""
    try:
        voided.send(None)
    except StopIteration as done:
        return done.value
    except AttributeError as error:
        if "SimpleNamespace" not in str(error):
            raise
    return []


def _read_refusal(body: bytes) -> None:
    for status in (400, 403, 503):
        try:
            answers.raise_refusal(_answer(body, status))
        except ProviderError as error:
            str(error).encode()


def _answer(body: bytes, status: int = 200) -> Answer:
    return Answer(status, body, "application/json; charset=UTF-8", "120", None, None, 1)


def _wrapped(notification: bytes) -> bytes:
    data = base64.b64encode(notification).decode()
    message = {"data": data, "messageId": "136969346945", "publishTime": "2026-11-22T10:00:00Z"}
    return json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"}).encode()


def _token() -> str:
    parts = (json.dumps(each).encode() for each in (_HEADER, _CLAIMS))
    return ".".join([*map(b64url, parts), b64url(b"signature")])


_BASE = {"version": "1.0", "packageName": PACKAGE, "eventTimeMillis": str(NOW * 1000)}
_ONE_TIME = {"version": "1.0", "notificationType": 1, "purchaseToken": TOKEN, "sku": "coins_500"}
_VOIDED = {
    "purchaseToken": TOKEN,
    "orderId": "GPA.3312-4581-9035-12345",
    "productType": 2,
    "refundType": 1,
}
_NOTIFICATIONS: list[dict[str, Any]] = [
    {**_BASE, "oneTimeProductNotification": _ONE_TIME},
    {**_BASE, "voidedPurchaseNotification": _VOIDED},
    {**_BASE, "testNotification": {"version": "1.0"}},
    {**_BASE, "subscriptionNotification": {"notificationType": 4}},
]
_PURCHASES: list[dict[str, Any]] = [
    PURCHASE,
    {**PURCHASE, "purchaseStateContext": {"purchaseState": "CANCELLED"}, "voidedSource": 1},
    {
        **PURCHASE,
        "productLineItem": [
            {"productId": "a", "productOfferDetails": {"quantity": 5, "refundableQuantity": 3}}
        ],
    },
    {"purchaseToken": TOKEN, "orderId": "GPA.1", "voidedSource": 0, "voidedReason": 1},
]
_ERRORS: list[dict[str, Any]] = [
    {"code": 404, "message": "no", "errors": [{"reason": "purchaseTokenNotFound"}]},
    {"code": 403, "message": "no", "status": "RESOURCE_EXHAUSTED"},
]
