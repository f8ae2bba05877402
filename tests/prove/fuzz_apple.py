"""Apple's parsers: the JWS as a stranger may send it, its certificates, and payloads that are validly signed but odd.

The certificates are made anew in each run, so that a seed does not make the same ``apple-x5c`` and ``apple-jws`` again.
"""

import base64
import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.api_jws import PyJWS

from payplat.channels.apple import reading
from payplat.channels.apple.chain import Roots, read_signer
from payplat.channels.apple.jws import SignedData
from payplat.channels.apple.provider import AppleProvider, Policy
from payplat.errors import NotAuthentic
from payplat.handlers.base import MAX_BODY
from payplat.provider import Account
from payplat.purchase import Evidence, Inbound, Source
from tests.prove.fuzz_ledger import ORDER, record
from tests.prove.fuzz_loop import Target
from tests.prove.fuzz_mutations import PART
from tests.wire.apple_claims import CHAIN, HEADER, NOW, REFUSED, headed
from tests.wire.apple_pki import (
    BUNDLE_ID,
    INTERMEDIATE,
    ROOT,
    SIGNED_AT,
    TRANSACTION,
    PrivateKey,
    der,
    jws,
)

_NOW = NOW * 1000
_TOKENS = [
    *(f'"{name}":'.encode() for name in TRANSACTION),
    *(
        f'"{name}":'.encode()
        for name in ("revocationDate", "revocationType", "revocationPercentage")
    ),
    *(b'"REFUND_PRORATED"', b'"REFUND_FULL"', b'"Production"', b'"Sandbox"', b'"Non-Consumable"'),
    *(b'"FAMILY_SHARED"', b'"data":{}', b'"summary":', b'"signedDate":1', b"1790000003000"),
]
_KINDS = (
    "ONE_TIME_CHARGE REFUND REVOKE REFUND_REVERSED REFUND_DECLINED CONSUMPTION_REQUEST TEST DID_RENEW"
).split()
_ECDSA_SHA384 = bytes.fromhex("300a06082a8648ce3d040303")


def targets() -> list[Target]:
    """Return the targets of this channel."""
    sources = ("payplat/channels/apple/", "payplat/strict_json.py")
    data = SignedData([CHAIN[2]])
    provider = AppleProvider(
        Account("apple", "sandbox", "https://pay.example.com"),
        bundle_id=BUNDLE_ID,
        app_apple_id=None,
        signed_data=data,
        apis={},
        policy=Policy("always", frozenset(), asks_merchant=True, sweep_seconds=900),
    )

    def read_jws(text: bytes) -> None:
        """As it comes from anybody: by itself, and as a notification's body."""
        try:
            _compare(text.decode("utf-8", "surrogateescape"), data)
        except NotAuthentic as error:
            str(error).encode()
        _read_callback(provider, text)

    def read_transaction(payload: bytes) -> None:
        text = jws(HEADER, payload)
        try:
            content = _compare(text, data)
        except NotAuthentic:
            return
        verdict = reading.read_transaction(content, Evidence(Source.VERIFY, text.encode()), "x5c:0")
        record(verdict, BUNDLE_ID)
        provider._must_ask(content, _order(verdict))

    def read_notice(payloads: bytes) -> None:
        outer, _, inner = payloads.partition(PART)
        if inner:
            outer = outer.replace(b"<inner>", jws(HEADER, inner).encode(), 1)
        body = json.dumps({"signedPayload": jws(HEADER, outer)}).encode()
        _read_callback(provider, body[:MAX_BODY])

    transactions = [json.dumps(each).encode() for each in _TRANSACTIONS]
    notices = [
        json.dumps(_notice(kind)).encode() + PART + transactions[at % len(transactions)]
        for at, kind in enumerate(_KINDS)
    ]
    refused = [make().jws.encode(errors="surrogatepass") for make, _ in REFUSED.values()]
    genuine = headed().jws
    bodies = [
        json.dumps({"signedPayload": genuine}).encode(),
        genuine.encode(),
        *(text for text in refused if len(text) < 8000),
    ]
    header = [
        json.dumps(HEADER).encode(),
        json.dumps({**HEADER, "kid": "A", "typ": "JWT"}).encode(),
    ]
    return [
        Target("apple-jws", read_jws, bodies, sources, _TOKENS, _NOW),
        Target("apple-header", lambda raw: _read_header(raw, data), header, sources, _TOKENS, _NOW),
        Target("apple-x5c", _Certificates().check, [_chain()], sources, (), _NOW),
        Target("apple-transaction", read_transaction, transactions, sources, _TOKENS, _NOW),
        Target("apple-notice", read_notice, notices, sources, _TOKENS, _NOW),
    ]


def _order(verdict: Any) -> Any:
    """Return an order that the verdict may be about."""
    return ORDER._replace(order_no=verdict.order_no or ORDER.order_no)


def _compare(text: str, data: SignedData) -> Any:
    """What is believed reads the same by PyJWT."""
    signed = data.verify(text)
    other = PyJWS().decode_complete(text, options={"verify_signature": False})
    assert json.loads(other["payload"]) == signed.payload, "it reads in another way"
    return signed.payload


def _read_header(header: bytes, data: SignedData) -> None:
    """A header of anybody's, under the leaf's own signature: only Apple's certificates let it pass."""
    try:
        signed = data.verify(jws(header, TRANSACTION))
    except NotAuthentic:
        return
    assert json.loads(header)["x5c"][:2] == HEADER["x5c"][:2], "other certificates are believed"
    assert signed.payload == TRANSACTION


def _read_callback(provider: AppleProvider, body: bytes) -> None:
    try:
        verdict = provider.read_notification(Inbound({}, "", body))
    except NotAuthentic:
        return
    record(verdict, BUNDLE_ID)


class _Certificates:
    """Leaf and intermediate in DER behind the leaf's length, in two bytes, and a byte that says which are signed anew.

    Signed anew means: by their issuers' true keys, so that what stands in them is read behind a right signature.
    """

    def __init__(self) -> None:
        self._roots = Roots([CHAIN[2]])

    def check(self, raw: bytes) -> None:
        """Read and prove them."""
        how, length, rest = raw[:1], int.from_bytes(raw[1:3], "big"), raw[3:]
        leaf, intermediate = rest[:length], rest[length:]
        if how >= b"\x40":
            leaf = _signed_anew(leaf, INTERMEDIATE.key)
        if how >= b"\x80":
            intermediate = _signed_anew(intermediate, ROOT.key)
        try:
            texts = [
                base64.b64encode(each).decode() for each in (leaf, intermediate, der(CHAIN[2]))
            ]
            valid = self._roots.prove(read_signer(texts), SIGNED_AT // 1000)
        except NotAuthentic as error:
            str(error).encode()
            return
        assert SIGNED_AT // 1000 in valid
        is_same = (leaf, intermediate) == (der(CHAIN[0]), der(CHAIN[1]))
        assert is_same or how >= b"\x40", "other certificates are believed"


def _signed_anew(certificate: bytes, key: PrivateKey) -> bytes:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    try:
        tbs = x509.load_der_x509_certificate(certificate).tbs_certificate_bytes
    except (ValueError, x509.InvalidVersion):
        return certificate
    signature = b"\x00" + key.sign(tbs, ec.ECDSA(hashes.SHA384()))
    return _tagged(0x30, tbs + _ECDSA_SHA384 + _tagged(0x03, signature))


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def _chain() -> bytes:
    leaf, intermediate, _ = map(der, CHAIN)
    return b"\x80" + len(leaf).to_bytes(2, "big") + leaf + intermediate


def _notice(kind: str) -> dict[str, Any]:
    data = {"bundleId": BUNDLE_ID, "environment": "Sandbox", "signedTransactionInfo": "<inner>"}
    if kind == "CONSUMPTION_REQUEST":
        data["consumptionRequestReason"] = "UNINTENDED_PURCHASE"
    uuid = "002e14d5-51f5-4503-b5a8-c3a1af68eb20"
    told = {"notificationType": kind, "subtype": "", "notificationUUID": uuid, "version": "2.0"}
    return {**told, "data": data, "signedDate": SIGNED_AT}


_TRANSACTIONS: list[dict[str, Any]] = [
    TRANSACTION,
    {**TRANSACTION, "revocationDate": SIGNED_AT - 1, "revocationReason": 0},
    {
        **TRANSACTION,
        "revocationDate": SIGNED_AT - 1,
        "revocationType": "REFUND_PRORATED",
        "revocationPercentage": 50_000,
    },
    {**TRANSACTION, "type": "Non-Consumable", "inAppOwnershipType": "FAMILY_SHARED"},
    {name: value for name, value in TRANSACTION.items() if name != "appAccountToken"},
]
