"""The App Store Server API: what Apple is asked about transactions and notifications, and what it is told.

Sources: Apple, "App Store Server API": each endpoint's page, "Generating JSON Web Tokens for API requests", "Error
codes", "Identifying rate limits". What Apple signed is returned as it came: to verify it is the caller's part.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from payplat import seam
from payplat.addresses import Network
from payplat.channels.apple.answers import items, member, raise_refusal, read_object, text
from payplat.circuit import Circuit
from payplat.errors import NoAnswer, ProviderRefused, ProviderUnavailable
from payplat.outbound import Answer, Counterpart
from payplat.retry import Backoff, retrying

BASE_URLS = {
    "production": "https://api.storekit.apple.com",
    "sandbox": "https://api.storekit-sandbox.apple.com",
}
TRANSACTION_ID = re.compile(r"\A[0-9]{1,32}\Z")
MAX_ANSWER = 512 * 1024
"""Bytes; a page holds 20 signed notifications, each with its certificates."""

_TEST_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,254}")
_TOKEN_LIFE, _TOKEN_USE = 20 * 60, 15 * 60
_ASKING = Backoff(base=0.2, factor=2, cap=2, jitter=0.5, attempts=3)
_ONCE = Backoff(base=0.2, attempts=1)

Filter = str | int | bool | Sequence[str]


@dataclass(frozen=True, slots=True)
class History:
    """A page of signed transactions; ``revision`` leads to the next, now or, after the last one, to what is new later."""

    signed_transactions: list[str] = field(repr=False)
    revision: str
    has_more: bool


@dataclass(frozen=True, slots=True)
class NotificationPage:
    """A page of the notifications that Apple tried to send; ``pagination_token`` leads to the next."""

    signed_payloads: list[str] = field(repr=False)
    has_more: bool
    pagination_token: str | None


@dataclass(frozen=True, slots=True)
class SendAttempt:
    """Apple's attempt to deliver a notification: when (milliseconds since 1970), and ``SUCCESS`` or what went wrong."""

    date_ms: int
    result: str


@dataclass(frozen=True, slots=True)
class TestNotification:
    """The test notification that Apple sent, and its attempts to deliver it."""

    signed_payload: str = field(repr=False)
    attempts: list[SendAttempt]


class ServerApi:
    """One app in one of Apple's two environments.

    Every call ends within ``timeout`` seconds. Questions are asked up to three times in that time while Apple cannot be
    reached or answers 5xx, unless it says when to come again; what tells Apple something is not tried again. All raise
    ProviderRefused with Apple's error code, ProviderMisconfigured when our token is not accepted, ProviderUnavailable
    when no believable answer came, and ValueError for an id that cannot be Apple's.
    """

    def __init__(
        self,
        *,
        base_url: str,
        issuer_id: str,
        key_id: str,
        private_key: ec.EllipticCurvePrivateKey,
        bundle_id: str,
        timeout: float,
        opened: Iterable[Network] = (),
    ) -> None:
        self._base_url, self._timeout = base_url.rstrip("/"), timeout
        self._bearer = _Bearer(issuer_id, key_id, private_key, bundle_id)
        self.circuit = Circuit("apple")
        self._apple = Counterpart(
            "apple", timeout=timeout, max_answer=MAX_ANSWER, opened=opened, circuit=self.circuit
        )

    async def transaction(self, transaction_id: str) -> str:
        """Return the transaction as Apple signs it now ("Get Transaction Info")."""
        told = await self._ask(f"/inApps/v1/transactions/{_transaction(transaction_id)}")
        return text(told, "signedTransactionInfo")

    async def transaction_history(
        self, transaction_id: str, *, revision: str | None = None, **filters: Filter
    ) -> History:
        """Return a page of the customer's transactions, in any state ("Get Transaction History").

        ``filters`` have Apple's names and must be the same for every page: ``startDate``, ``productId``, ``revoked``, ….
        """
        query = _query({**filters, "revision": revision})
        told = await self._ask(f"/inApps/v2/history/{_transaction(transaction_id)}{query}")
        return _history(told, revision)

    async def refund_history(self, transaction_id: str, *, revision: str | None = None) -> History:
        """Return a page of the customer's refunded transactions ("Get Refund History")."""
        query = _query({"revision": revision})
        told = await self._ask(f"/inApps/v2/refund/lookup/{_transaction(transaction_id)}{query}")
        return _history(told, revision)

    async def notification_history(
        self,
        start_ms: int,
        end_ms: int,
        *,
        only_failures: bool,
        pagination_token: str | None = None,
    ) -> NotificationPage:
        """Return a page of the notifications of a time, in milliseconds since 1970 ("Get Notification History").

        Apple keeps them for 180 days, in the sandbox for 30. ``only_failures`` leaves out what reached us.
        """
        wanted = {"startDate": start_ms, "endDate": end_ms, "onlyFailures": only_failures}
        query = _query({"paginationToken": pagination_token})
        told = await self._ask(f"/inApps/v1/notifications/history{query}", "POST", wanted)
        return _notification_page(told, pagination_token)

    async def request_test_notification(self) -> str:
        """Have Apple send a notification of type TEST; return the token to ask about it."""
        answer = await self._call(_ONCE, 200, "POST", "/inApps/v1/notifications/test")
        return text(read_object(answer), "testNotificationToken")

    async def test_notification(self, token: str) -> TestNotification:
        """Return what became of a test notification ("Get Test Notification Status"); refused while there is no news."""
        told = await self._ask(f"/inApps/v1/notifications/test/{_segment(_TEST_TOKEN, token)}")
        attempts = [
            SendAttempt(member(item, "attemptDate", int), text(item, "sendAttemptResult"))
            for item in items(told, "sendAttempts", dict)
        ]
        return TestNotification(text(told, "signedPayload"), attempts)

    async def send_consumption(self, transaction_id: str, consumption: Mapping[str, Any]) -> None:
        """Answer a CONSUMPTION_REQUEST with a ConsumptionRequest ("Send Consumption Information").

        Raises ValueError unless ``customerConsented`` is True: without consent nothing about a customer is ever sent.
        """
        if consumption.get("customerConsented") is not True:
            raise ValueError("the customer has not consented")
        path = f"/inApps/v2/transactions/consumption/{_transaction(transaction_id)}"
        await self._tell(path, consumption, 202)

    async def set_app_account_token(self, original_transaction_id: str, token: str) -> None:
        """Bind a purchase to ``token``, a UUID, in place of any other ("Set App Account Token")."""
        path = f"/inApps/v1/transactions/{_transaction(original_transaction_id)}/appAccountToken"
        await self._tell(path, {"appAccountToken": token}, 200)

    async def clock_skew(self) -> float:
        """Return how many seconds Apple's clock is ahead of ours; raises NoAnswer when it does not answer at all.

        It is asked about a transaction that does not exist: only who holds the right key is told so.
        """
        answer = await self._send("GET", "/inApps/v1/transactions/1", None)
        with suppress(ProviderRefused):
            raise_refusal(answer, 200)
        try:
            theirs = parsedate_to_datetime(answer.date or "").timestamp()
        except ValueError:
            return 0.0
        return theirs - seam.now() / seam.SECOND

    def close(self) -> None:
        """Close the connections to Apple."""
        self._apple.close()

    async def _ask(
        self, path: str, method: str = "GET", content: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return read_object(await self._call(_ASKING, 200, method, path, content))

    async def _tell(self, path: str, content: Mapping[str, Any], done: int) -> None:
        answer = await self._call(_ONCE, done, "PUT", path, content)
        if answer.body:
            read_object(answer)

    async def _call(
        self,
        backoff: Backoff,
        done: int,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Return the answer with the status that Apple documents for success."""
        try:
            async with asyncio.timeout(self._timeout):
                answer = await retrying(
                    lambda: self._send(method, path, content), backoff, NoAnswer
                )
        except (NoAnswer, TimeoutError) as error:
            reason = str(error) or "time is up"
            raise ProviderUnavailable(f"Apple cannot be reached now: {reason}.") from error
        raise_refusal(answer, done)
        return answer

    async def _send(self, method: str, path: str, content: Mapping[str, Any] | None) -> Answer:
        headers = {"Authorization": f"Bearer {self._bearer.token()}"}
        body = None
        if content is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(dict(content)).encode()
        url = self._base_url + path
        answer = await self._apple.request(method, url, body=body, headers=headers)
        if answer.status >= 500 and answer.retry_after is None:
            raise NoAnswer(f"it answered {answer.status}")
        return answer


class _Bearer:
    """The token that authorizes our requests: signed once for many, and in nobody's repr."""

    def __init__(
        self, issuer_id: str, key_id: str, private_key: ec.EllipticCurvePrivateKey, bundle_id: str
    ) -> None:
        self._claims = {"iss": issuer_id, "aud": "appstoreconnect-v1", "bid": bundle_id}
        self._headers, self._private_key = {"kid": key_id}, private_key
        self._token, self._made_at = "", -_TOKEN_USE

    def token(self) -> str:
        """Return a token with at least five minutes to live."""
        now = seam.now() // seam.SECOND
        # A clock that was set back makes the old token one from the future.
        if not self._made_at <= now < self._made_at + _TOKEN_USE:
            # Our clock may be a little ahead of Apple's.
            claims = {**self._claims, "iat": now - 30, "exp": now + _TOKEN_LIFE}
            self._token = jwt.encode(claims, self._private_key, "ES256", self._headers)
            self._made_at = now
        return self._token


def read_key(pem: str) -> ec.EllipticCurvePrivateKey:
    """Read an In-App Purchase key as Apple hands it out (``.p8``): P-256 in PKCS#8 PEM.

    Raises ValueError that says what is wrong, never the key.
    """
    if "-----BEGIN PRIVATE KEY-----" not in pem:
        raise ValueError("private_key is no PEM of an unencrypted PKCS#8 key, as Apple's .p8 is")
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("private_key is damaged: it cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("private_key is no elliptic-curve key on P-256")
    return key


def _history(told: Mapping[str, Any], before: str | None) -> History:
    page = History(
        items(told, "signedTransactions", str),
        member(told, "revision", str),
        member(told, "hasMore", bool),
    )
    _goes_on(page, page.revision, before)
    return page


def _notification_page(told: Mapping[str, Any], before: str | None) -> NotificationPage:
    payloads = [text(item, "signedPayload") for item in items(told, "notificationHistory", dict)]
    token = member(told, "paginationToken", str) if "paginationToken" in told else None
    page = NotificationPage(payloads, member(told, "hasMore", bool), token)
    _goes_on(page, token, before)
    return page


def _goes_on(page: History | NotificationPage, token: str | None, before: str | None) -> None:
    # Whoever reads all pages would never end.
    if page.has_more and token in (None, "", before):
        raise ProviderUnavailable("Apple's answer promises another page and leads to none.")


def _transaction(transaction_id: str) -> str:
    return _segment(TRANSACTION_ID, transaction_id)


def _segment(form: re.Pattern[str], text: str) -> str:
    if not form.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is none of Apple's ids")
    return quote(text, safe="")


def _query(parameters: Mapping[str, Filter | None]) -> str:
    told = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in parameters.items()
        if value is not None
    }
    return f"?{urlencode(told, doseq=True)}" if told else ""
