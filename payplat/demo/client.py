"""A game's client and the person in front of it: both speak HTTP and nothing else."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin

from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

Json = dict[str, Any]
RECEIPTS = {"apple": "signed_transaction", "google": "purchase_token"}
"""What a store gives the game for a purchase, by kind of channel."""
_FORM = "application/x-www-form-urlencoded; charset=utf-8"


class Refused(Exception):
    """The service said no; ``code`` is the stable word of its answer."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status, self.code = status, str(problem.get("code", ""))
        super().__init__(f"{status} {self.code}: {problem.get('detail', '')}".rstrip(": "))


class Web:
    """Makes requests; a status that is no success is an answer like any other."""

    def __init__(self) -> None:
        self._http: AsyncHTTPClient = SimpleAsyncHTTPClient(force_instance=True, max_clients=100)

    async def get(self, url: str) -> HTTPResponse:
        """GET, without following redirects."""
        return await self._fetch(url)

    async def post(self, url: str, body: bytes, content_type: str, **headers: str) -> HTTPResponse:
        """POST; names of headers are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Content-Type"] = content_type
        return await self._fetch(url, method="POST", body=body, headers=named)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    async def _fetch(self, url: str, **options: Any) -> HTTPResponse:
        return await self._http.fetch(
            url, raise_error=False, follow_redirects=False, request_timeout=20, **options
        )


class Game:
    """What a game's client does at the payplat that answers at ``url``; raises Refused."""

    def __init__(self, web: Web, url: str) -> None:
        self._web, self._url = web, url

    async def create(self, key: str = "", **fields: str) -> Json:
        """Open an order; ``key`` makes a repeated call safe."""
        headers = {"Idempotency_Key": key} if key else {}
        return await self._post("/v1/create_order/", fields, **headers)

    async def order(self, order_no: str) -> Json:
        """Look at an order and its timeline."""
        return _read(await self._web.get(f"{self._url}/v1/orders/{order_no}"))

    async def verify(self, channel: str, order_no: str, **evidence: str) -> Json:
        """Ask for an order to be verified now, by what the provider knows or by what the store gave us."""
        return await self._post(f"/v1/verify/{channel}", {"order_no": order_no, **evidence})

    async def _post(self, path: str, fields: Json, **headers: str) -> Json:
        body = json.dumps(fields).encode()
        return _read(await self._web.post(self._url + path, body, "application/json", **headers))


class Buyer:
    """A person with a browser and Alipay's wallet; ``wallet`` is where the wallet app listens."""

    def __init__(self, web: Web, wallet: str) -> None:
        self._web, self._wallet = web, wallet

    async def open_cashier(self, payment: Json) -> str:
        """Open what the game handed over (an address, a QR code, an order string); return the cashier's address."""
        order_string = payment.get("order_string")
        url = payment.get("url") or payment.get("qr_code")
        if order_string:
            url = f"{self._wallet}/wallet?{urlencode({'order_string': order_string})}"
        response = await self._web.get(str(url))
        return urljoin(str(url), response.headers["Location"])

    async def press_pay(self, cashier: str) -> None:
        """Press the button; the notification travels on its own."""
        await self._web.post(cashier, b"action=pay", _FORM)


@dataclass(frozen=True)
class Phone:
    """A phone with a game on it: ``kind`` of channel, where its store answers, and what the phone tells of the game."""

    web: Web
    kind: str
    store: str
    game: Json

    async def buy(self, payment: Json, **wishes: bool) -> Json:
        """Buy what the game handed to the store's library; return what that gives back.

        With ``notify=False`` the store's notification is never sent, with ``pending=True`` Google has no money yet.
        """
        wanted = json.dumps({**payment, **self.game, **wishes}).encode()
        return _read(await self.web.post(f"{self.store}/device/buy", wanted, "application/json"))


class Stranger:
    """Anybody on the internet who can reach the address that Alipay notifies."""

    def __init__(self, web: Web, url: str) -> None:
        self._web, self._url = web, url

    async def notify(self, body: bytes) -> str:
        """Post a notification; return the answer, which Alipay reads as a word."""
        url = f"{self._url}/v1/callback/alipay"
        return (await self._web.post(url, body, _FORM)).body.decode()


def _read(response: HTTPResponse) -> Json:
    try:
        content: Json = json.loads(response.body or b"{}")
    except ValueError:
        content = {}
    if not 200 <= response.code < 300:
        raise Refused(response.code, content)
    return content
