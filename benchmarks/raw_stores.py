"""What the raw server of receipts knows of the stores: how a receipt is checked by hand, and what it says."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode
from uuid import UUID

import jwt
from cryptography import x509
from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.web import HTTPError

from benchmarks.fixed import BUNDLE_ID, ISSUER_ID, KEY_ID, PACKAGE

_ASK = "https://www.googleapis.com/auth/androidpublisher"
_TOKENS = "https://oauth2.googleapis.com/token"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_MICRO = 1_000_000


@dataclass(frozen=True)
class Receipt:
    """What a store says of a purchase; amounts are minor units, ``paid_at`` is microseconds since 1970."""

    kind: str
    account: str
    order_no: str
    transaction_id: str
    receipt: str | None
    product: str
    quantity: int
    amount: int
    currency: str
    payer: str
    paid_at: int
    verifier: str
    raw: bytes
    answer: bytes
    note: str = ""
    secret: bytes = b""

    def is_of(self, receiver: str) -> bool:
        """Whether the store names the receiver as the payer, where it was told of him."""
        name = hmac.new(self.secret, receiver.encode(), hashlib.sha256).hexdigest()
        return not self.secret or hmac.compare_digest(self.payer, name)


class Store(Protocol):
    """Where receipts come from; ``member`` is what a client calls one."""

    kind: str
    member: str

    async def read(self, asked: dict[str, Any]) -> Receipt:
        """Check what a client submitted; raises HTTPError."""


class AppleStore:
    """Apple: a JWS whose certificates are verified once, and by policy a fresh copy from the App Store Server API."""

    kind, member = "apple", "signed_transaction"

    def __init__(self, folder: Path, url: str) -> None:
        self._root = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())
        self._key = (folder / "apple.p8").read_text()
        self._url, self._client = url, CurlAsyncHTTPClient(max_clients=20)
        self._signers: dict[str, Any] = {}
        self._bearer, self._ends_at = "", 0.0

    async def read(self, asked: dict[str, Any]) -> Receipt:
        """Check the signature, and ask for a fresh copy where the store's address is known."""
        jws = str(asked[self.member])
        told, answer = self._verify(jws), ""
        if self._url:
            answer = await self._ask(told["transactionId"])
            told = self._verify(answer)
        if (told["bundleId"], told["environment"]) != (BUNDLE_ID, "Sandbox") or _is_revoked(told):
            raise HTTPError(409)
        return Receipt(
            kind=self.kind,
            account=BUNDLE_ID,
            order_no=UUID(told["appAccountToken"]).hex,
            transaction_id=told["transactionId"],
            receipt=None,
            product=told["productId"],
            quantity=told["quantity"],
            amount=told["price"] // 10,
            currency=told["currency"],
            payer=told["appTransactionId"],
            paid_at=told["purchaseDate"] * 1000,
            verifier="chain:0123456789abcdef",
            raw=jws.encode(),
            answer=answer.encode(),
        )

    def _verify(self, jws: str) -> dict[str, Any]:
        header = jws.partition(".")[0]
        key = self._signers.get(header) or self._prove(header)
        try:
            return jwt.decode(jws, key, algorithms=["ES256"])
        except jwt.InvalidTokenError:
            raise HTTPError(400) from None

    def _prove(self, header: str) -> Any:
        told = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
        ders = (base64.b64decode(text) for text in told["x5c"])
        leaf, intermediate, root = (x509.load_der_x509_certificate(der) for der in ders)
        if root != self._root:
            raise HTTPError(400)
        leaf.verify_directly_issued_by(intermediate)
        intermediate.verify_directly_issued_by(root)
        self._signers[header] = leaf.public_key()
        return self._signers[header]

    async def _ask(self, transaction_id: str) -> str:
        url = f"{self._url}/inApps/v1/transactions/{transaction_id}"
        answer = await self._client.fetch(url, headers={"Authorization": self._authorization()})
        return str(json.loads(answer.body)["signedTransactionInfo"])

    def _authorization(self) -> str:
        now = time.time()
        if now > self._ends_at - 60:
            self._ends_at = now + 1200
            claims = {"iss": ISSUER_ID, "iat": int(now), "exp": int(self._ends_at)}
            claims |= {"aud": "appstoreconnect-v1", "bid": BUNDLE_ID}
            token = jwt.encode(claims, self._key, "ES256", {"kid": KEY_ID})
            self._bearer = f"Bearer {token}"
        return self._bearer


class GoogleStore:
    """Google: a token about which Google is asked, first for the purchase and then for its price."""

    kind, member = "google", "purchase_token"

    def __init__(self, folder: Path, url: str) -> None:
        self._account = json.loads((folder / "google.json").read_text())
        self._secret = (folder / "google_secret").read_bytes()
        self._url = f"{url}/androidpublisher/v3/applications/{PACKAGE}"
        self._client = CurlAsyncHTTPClient(max_clients=20)
        self._bearer, self._ends_at = "", 0.0

    async def read(self, asked: dict[str, Any]) -> Receipt:
        """Ask what was bought by this token and what was charged."""
        token = str(asked[self.member])
        answer = await self._ask(f"/purchases/productsv2/tokens/{quote(token, safe='')}")
        bought = json.loads(answer)
        if bought["purchaseStateContext"]["purchaseState"] != "PURCHASED":
            raise HTTPError(409)
        charged = json.loads(await self._ask(f"/orders/{bought['orderId']}"))["total"]
        item = bought["productLineItem"][0]
        nanos = int(charged.get("units", "0")) * 10**9 + charged.get("nanos", 0)
        completed = datetime.fromisoformat(bought["purchaseCompletionTime"])
        return Receipt(
            kind=self.kind,
            account=PACKAGE,
            order_no=bought["obfuscatedExternalProfileId"],
            transaction_id=token,
            receipt=bought["orderId"],
            product=item["productId"],
            quantity=item["productOfferDetails"].get("quantity", 1),
            amount=nanos // 10**7,
            currency=charged["currencyCode"],
            payer=bought["obfuscatedExternalAccountId"],
            paid_at=int(completed.timestamp() * _MICRO),
            verifier="query:productsv2",
            raw=f"{token} {asked['order_no']}".encode(),
            answer=answer,
            note=f"order {bought['orderId']}, region {bought['regionCode']}",
            secret=self._secret,
        )

    async def _ask(self, path: str) -> bytes:
        headers = {"Authorization": await self._authorization()}
        answer = await self._client.fetch(f"{self._url}{path}", headers=headers)
        return bytes(answer.body)

    async def _authorization(self) -> str:
        now = time.time()
        if now > self._ends_at - 60:
            claims = {"iss": self._account["client_email"], "scope": _ASK, "aud": _TOKENS}
            claims |= {"iat": int(now), "exp": int(now) + 3600}
            header = {"kid": self._account["private_key_id"]}
            assertion = jwt.encode(claims, self._account["private_key"], "RS256", header)
            form = urlencode({"grant_type": _GRANT, "assertion": assertion})
            uri = self._account["token_uri"]
            answer = await self._client.fetch(uri, method="POST", body=form)
            self._ends_at = now + json.loads(answer.body)["expires_in"]
            self._bearer = f"Bearer {json.loads(answer.body)['access_token']}"
        return self._bearer


def _is_revoked(told: dict[str, Any]) -> bool:
    return "revocationDate" in told
