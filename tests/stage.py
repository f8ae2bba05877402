"""A stage for tests: the whole service behind real sockets, with a small client."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import text
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from payplat import seam
from payplat.demo.stage import Stage


@dataclass
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """A game's client, and whoever else calls the service."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._http = AsyncHTTPClient(force_instance=True, max_clients=200)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Make a request; a dict is sent as JSON, bytes as they are."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response: HTTPResponse = await self._http.fetch(
            self.stage.url + path,
            method=method,
            body=raw if method not in ("GET", "DELETE", "HEAD") else None,
            headers=named,
            raise_error=False,
            request_timeout=30,
            follow_redirects=False,
            allow_nonstandard_methods=True,
        )
        return Reply(response.code, response.body, response.headers)

    async def create(self, key: str | None = None, **fields: Any) -> Reply:
        """POST an order for 6.00 yuan by app, unless told otherwise."""
        wanted = {"channel": "alipay", "product_id": "coins_500", "receiver": "player-1", **fields}
        headers = {"Idempotency_Key": key} if key else {}
        return await self.call("POST", "/v1/create_order/", wanted, **headers)

    async def order(self, order_no: str) -> dict[str, Any]:
        """GET an order."""
        return (await self.call("GET", f"/v1/orders/{order_no}")).json

    async def verify(self, order_no: str, channel: str = "alipay") -> Reply:
        """Submit an order for verification."""
        return await self.call("POST", f"/v1/verify/{channel}", {"order_no": order_no})

    async def callback(
        self, body: bytes, path: str = "/v1/callback/alipay", **headers: str
    ) -> Reply:
        """Post a notification as Alipay does."""
        form = "application/x-www-form-urlencoded; charset=utf-8"
        return await self.call("POST", path, body, Content_Type=form, **headers)

    async def entered(self, **fields: Any) -> str:
        """Open an order and the cashier for it; return its number."""
        created = (await self.create(**fields)).json
        payment = created["payment"]
        self.stage.alipay.enter(next(iter(payment.values())))
        return created["order_no"]

    async def count(self, table: str, where: str = "1=1") -> int:
        """Count rows."""
        statement = text(f"SELECT count(*) FROM {table} WHERE {where}")
        database = self.stage.platform.database
        return (await database.read(lambda c: c.execute(statement))).scalar_one()

    async def until(self, condition: Any, seconds: float = 60.0) -> Any:
        """Wait until ``condition()`` (maybe awaitable) is true; return what it returned."""
        deadline = seam.now() + int(seconds * seam.SECOND)
        while True:
            value = condition()
            value = await value if hasattr(value, "__await__") else value
            if value:
                return value
            assert seam.now() < deadline, "it did not happen in time"
            await seam.sleep(0.02)


def form(fields: dict[str, str]) -> bytes:
    """Fields as a form body."""
    return urlencode(fields).encode()
