"""A sample merchant: checks Standard Webhooks signatures itself and gives the goods once per event."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.template import Loader
from tornado.web import Application, RequestHandler

TOLERANCE = 300.0
"""Seconds a timestamp may lie off, either way (Standard Webhooks)."""

BEHAVIOURS = {
    "500": "an error before anything was done",
    "302": "a redirect to somewhere else, nothing done",
    "410": "the endpoint is gone, nothing done",
    "429": "too many requests, with Retry-After: `seconds`, nothing done",
    "slow": "the right answer after `seconds`",
    "reset": "the goods are given, then the connection is reset",
    "garbage": "the goods are given, the answer is 200 with nonsense",
}
_PAGES = Loader(str(Path(__file__).parent / "pages"))
_AFTER_THE_GOODS = ("slow", "reset", "garbage")


@dataclass(frozen=True)
class Received:
    """One attempt as it came in; `timestamp` is the header, `at` when it came (seconds, UTC)."""

    id: str
    timestamp: str
    valid: bool
    body: bytes
    at: float


@dataclass(frozen=True)
class Behaviour:
    """What to do with one request; `accept` says whether the goods are given nevertheless."""

    kind: str
    seconds: float = 1.0
    accept: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in BEHAVIOURS:
            raise ValueError(f"{self.kind!r} is none of {', '.join(BEHAVIOURS)}")

    @property
    def accepts(self) -> bool:
        """Whether the goods are given."""
        return self.kind in _AFTER_THE_GOODS if self.accept is None else self.accept


class Merchant:
    """`fulfilled` counts how often goods were given for an order: never more than once."""

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self.received: list[Received] = []
        self.events: dict[str, dict[str, Any]] = {}
        self.fulfilled: Counter[str] = Counter()
        self.script: deque[Behaviour] = deque()
        self._always: Behaviour | None = None
        self.url = ""
        self.closing = asyncio.Event()
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._clock = clock
        self._server: HTTPServer | None = None

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1; port 0 takes a free one. `url` is the endpoint."""
        sockets = bind_sockets(port, "127.0.0.1")
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/webhooks"
        self.closing.clear()
        routes = [(r"/", Page, {"merchant": self}), (r"/webhooks", Webhook, {"merchant": self})]
        self._server = HTTPServer(Application(routes, log_function=lambda _handler: None))
        self._server.add_sockets(sockets)

    async def stop(self) -> None:
        """Listen no more."""
        self.closing.set()
        if self._server:
            self._server.stop()
            await self._server.close_all_connections()
        self._server = None

    async def go_down(self) -> None:
        """Refuse connections, until come_back()."""
        await self.stop()

    async def come_back(self) -> None:
        """Listen again, at the same address."""
        await self.start(int(self.url.rsplit(":", 1)[1].split("/")[0]))

    def next(self, *kinds: str, seconds: float = 1.0, accept: bool | None = None) -> None:
        """Script the next requests, one kind of BEHAVIOURS each."""
        self.script.extend(Behaviour(kind, seconds, accept) for kind in kinds)

    def misbehave(self, kind: str, *, seconds: float = 1.0, accept: bool | None = None) -> None:
        """From now on, whenever the script is empty."""
        self._always = Behaviour(kind, seconds, accept)

    def behave(self) -> None:
        """Forget the script and all misbehaviour."""
        self.script.clear()
        self._always = None

    def behaviour(self) -> Behaviour | None:
        """For the request at hand; None is to do the right thing."""
        return self.script.popleft() if self.script else self._always

    def take(self, webhook_id: str, timestamp: str, signatures: str, body: bytes) -> bool:
        """Record an attempt; False for one that is not from the platform."""
        valid = self._is_valid(webhook_id, timestamp, signatures, body)
        self.received.append(Received(webhook_id, timestamp, valid, body, self._clock()))
        return valid

    def fulfil(self, webhook_id: str, body: bytes) -> None:
        """Give the goods, unless this event has been seen before."""
        if webhook_id in self.events:
            return
        event = json.loads(body)
        order_no = event["data"]["order_no"]
        self.events[webhook_id] = event
        if event["type"] == "order.paid" and not event.get("test"):
            self.fulfilled[order_no] += 1

    async def nap(self, seconds: float) -> None:
        """Real seconds, cut short when the merchant closes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closing.wait()

    def _is_valid(self, webhook_id: str, timestamp: str, signatures: str, body: bytes) -> bool:
        if not timestamp.isdecimal() or abs(self._clock() - int(timestamp)) > TOLERANCE:
            return False
        signed = f"{webhook_id}.{timestamp}.".encode() + body
        expected = hmac.digest(self._key, signed, hashlib.sha256)
        versions = (each.partition(",") for each in signatures.split())
        return any(
            version == "v1" and hmac.compare_digest(_decode(text), expected)
            for version, _, text in versions
        )


class Webhook(RequestHandler):
    """`POST /webhooks`: 401 to strangers, 204 to the platform, or what the script says."""

    def initialize(self, merchant: Merchant) -> None:
        """Receive the merchant."""
        self.merchant = merchant

    async def post(self) -> None:
        """Take a delivery."""
        header = self.request.headers.get
        webhook_id, body = header("webhook-id", ""), self.request.body
        timestamp, signatures = header("webhook-timestamp", ""), header("webhook-signature", "")
        if not self.merchant.take(webhook_id, timestamp, signatures, body):
            self.set_status(401)
            return
        behaviour = self.merchant.behaviour()
        try:
            if behaviour is None or behaviour.accepts:
                self.merchant.fulfil(webhook_id, body)
        except (ValueError, KeyError, TypeError):
            self.set_status(400)
            return
        await self._behave(behaviour)

    async def _behave(self, behaviour: Behaviour | None) -> None:
        if behaviour is None:
            self.set_status(204)
        elif behaviour.kind == "reset":
            self._reset()
        elif behaviour.kind == "slow":
            await self.merchant.nap(behaviour.seconds)
            self.set_status(204)
        elif behaviour.kind == "garbage":
            self.finish(b"\xff\xfe<html>\x00OK?")
        else:
            self.set_status(int(behaviour.kind))
            self._add_headers(behaviour)

    def _add_headers(self, behaviour: Behaviour) -> None:
        if behaviour.kind == "302":
            self.set_header("Location", "/elsewhere")
        elif behaviour.kind == "429":
            self.set_header("Retry-After", f"{behaviour.seconds:g}")

    def _reset(self) -> None:
        stream = self.detach()
        # Lingering for zero seconds turns the close into a TCP reset.
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()


class Page(RequestHandler):
    """`GET /`: what was delivered, for people."""

    def initialize(self, merchant: Merchant) -> None:
        """Receive the merchant."""
        self.merchant = merchant

    async def get(self) -> None:
        """Show what was delivered."""
        self.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.finish(_PAGES.load("merchant.html").generate(merchant=self.merchant))


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
