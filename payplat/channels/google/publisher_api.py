"""The Android Publisher API: what Google is asked about purchases and orders, and what it is told.

Source: Android Publisher API v3, the page of each method; "Voided Purchases API". Money and states are returned as Google
writes them: to read them is the caller's part.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from payplat.addresses import Network
from payplat.channels.google.access import AccessTokens
from payplat.channels.google.answers import raise_refusal, read_object
from payplat.circuit import Circuit
from payplat.errors import NoAnswer, ProviderUnavailable
from payplat.outbound import Answer, Counterpart
from payplat.retry import Backoff, retrying

BASE_URL = "https://androidpublisher.googleapis.com"
PURCHASE_TOKEN = re.compile(r"\A[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,2047}\Z")
PRODUCT_ID = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9_.]{0,254}\Z")
ORDER_ID = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
MAX_ANSWER = 4 * 1024 * 1024
"""Bytes; a page holds 1000 voided purchases, each with its token."""

_ROWS = 1000
_ASKING = Backoff(base=0.2, factor=2, cap=2, jitter=0.5, attempts=3)
_ONCE = Backoff(base=0.2, attempts=1)
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Answered:
    """What Google said: as an object, and as the text that came, for the records."""

    content: dict[str, Any] = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class VoidedPage:
    """A page of voided purchases, the oldest first; ``next_page_token`` leads to the next."""

    rows: list[dict[str, Any]] = field(repr=False)
    next_page_token: str | None


class PublisherApi:
    """One app, by its package name.

    Every call ends within ``timeout`` seconds. Questions are asked up to three times in that time while Google cannot be
    reached or answers 5xx, unless it says when to come again; what tells Google something is sent once. All raise
    ProviderRefused with Google's reason, ProviderMisconfigured when our account may not ask, ProviderUnavailable when no
    believable answer came, and ValueError for what cannot be Google's. ``tokens`` stay the caller's to close.
    """

    def __init__(
        self,
        *,
        base_url: str,
        package_name: str,
        tokens: AccessTokens,
        timeout: float,
        opened: Iterable[Network] = (),
    ) -> None:
        package = quote(package_name, safe="")
        self._app_url = f"{base_url.rstrip('/')}/androidpublisher/v3/applications/{package}"
        self._tokens, self._timeout = tokens, timeout
        self.circuit = Circuit("google")
        self._google = Counterpart(
            "google", timeout=timeout, max_answer=MAX_ANSWER, opened=opened, circuit=self.circuit
        )

    async def purchase(self, token: str) -> Answered:
        """Return the ProductPurchaseV2 of a purchase token (purchases.productsv2.getproductpurchasev2)."""
        segment = _segment(PURCHASE_TOKEN, token)
        return await self._ask(f"/purchases/productsv2/tokens/{segment}")

    async def acknowledge(self, product_id: str, token: str) -> None:
        """Tell that the purchase was delivered (purchases.products.acknowledge); once more changes nothing."""
        await self._tell(f"{_product(product_id, token)}:acknowledge", b"{}")

    async def consume(self, product_id: str, token: str) -> None:
        """Tell that it was delivered and can be bought again (purchases.products.consume)."""
        await self._tell(f"{_product(product_id, token)}:consume")

    async def order(self, order_id: str) -> dict[str, Any]:
        """Return the Order, the only place with money (orders.get)."""
        answered = await self._ask(f"/orders/{_segment(ORDER_ID, order_id)}")
        return answered.content

    async def refund(self, order_id: str) -> None:
        """Give back the whole order and take back what was bought (orders.refund with ``revoke``).

        Without ``revoke`` the refund would not be among the voided purchases.
        """
        await self._tell(f"/orders/{_segment(ORDER_ID, order_id)}:refund?revoke=true")

    async def voided(self, start_ms: int, *, page_token: str | None) -> VoidedPage:
        """Return a page of the one-time purchases voided since ``start_ms``, partly voided ones too.

        Milliseconds since 1970, at most 30 days ago, by when Google recorded it (purchases.voidedpurchases.list).
        """
        query = _voided_query(start_ms, page_token)
        content = (await self._ask(f"/purchases/voidedpurchases?{query}")).content
        page = VoidedPage(_rows(content), _next_page(content))
        if page.next_page_token is not None and page.next_page_token == page_token:
            # Whoever reads all pages would never end.
            raise ProviderUnavailable("Google's answer promises another page and leads to none.")
        return page

    def close(self) -> None:
        """Close the connections to Google."""
        self._google.close()

    async def _ask(self, path: str) -> Answered:
        answer = await self._call(_ASKING, "GET", path)
        return Answered(read_object(answer), answer.body.decode())

    async def _tell(self, path: str, body: bytes | None = None) -> None:
        answer = await self._call(_ONCE, "POST", path, body)
        if answer.body:
            read_object(answer)

    async def _call(
        self, backoff: Backoff, method: str, path: str, body: bytes | None = None
    ) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                answer = await retrying(
                    lambda: self._authorized(method, path, body), backoff, NoAnswer
                )
        except (NoAnswer, TimeoutError) as error:
            reason = str(error) or "time is up"
            raise ProviderUnavailable(f"Google cannot be reached now: {reason}.") from error
        raise_refusal(answer)
        return answer

    async def _authorized(self, method: str, path: str, body: bytes | None) -> Answer:
        """Send it; once more with a new token where Google does not accept the one we had."""
        token = await self._tokens.token()
        answer = await self._send(token, method, path, body)
        if answer.status != 401:
            return answer
        self._tokens.forget(token)
        return await self._send(await self._tokens.token(), method, path, body)

    async def _send(self, token: str, method: str, path: str, body: bytes | None) -> Answer:
        headers = {"Authorization": f"Bearer {token}", **(_JSON if body else {})}
        url = self._app_url + path
        answer = await self._google.request(method, url, body=body, headers=headers)
        if answer.status >= 500 and answer.retry_after is None:
            raise NoAnswer(f"it answered {answer.status}")
        return answer


def _product(product_id: str, token: str) -> str:
    product, purchase = _segment(PRODUCT_ID, product_id), _segment(PURCHASE_TOKEN, token)
    return f"/purchases/products/{product}/tokens/{purchase}"


def _segment(form: re.Pattern[str], text: str) -> str:
    if not form.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is none of Google's ids")
    return quote(text, safe="")


def _voided_query(start_ms: int, page_token: str | None) -> str:
    query: dict[str, str | int] = {
        "startTime": start_ms,
        "maxResults": _ROWS,
        "type": 0,
        "includeQuantityBasedPartialRefund": "true",
    }
    return urlencode(query if page_token is None else {**query, "token": page_token})


def _rows(told: dict[str, Any]) -> list[dict[str, Any]]:
    rows = told.get("voidedPurchases", [])
    if not isinstance(rows, list) or any(not isinstance(row, dict) or not row for row in rows):
        raise ProviderUnavailable("Google's answer has other voidedPurchases.")
    return rows


def _next_page(told: dict[str, Any]) -> str | None:
    pagination = told.get("tokenPagination", {})
    token = pagination.get("nextPageToken") if isinstance(pagination, dict) else ""
    if token is not None and (not isinstance(token, str) or not token):
        raise ProviderUnavailable("Google's answer has another nextPageToken.")
    return token
