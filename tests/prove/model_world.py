"""The model's world: a clock that only steps move, ids from a seed, faults where a step wants them, the merchants."""

import asyncio
import io
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pymysql
from sqlalchemy.exc import OperationalError
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

from payplat import seam
from tests.ledger.build import Crash
from tests.prove.model_words import ANYWHERE, COMMITS, Fault

EPOCH = 1_800_000_000 * seam.SECOND
# How long the first of two keeps its locks, so that the second runs into them (seconds, virtual on SQLite).
_LINGER = 0.03
_LOST = 2013


class ModelWorld(seam.World):
    """One engine's world. ``replies`` are what the merchants answer, one after the other."""

    def __init__(self) -> None:
        self.time, self.replies = EPOCH, deque[str]()
        self.is_struck = False
        self.lingered: asyncio.Event | None = None
        self.caller: asyncio.Task[Any] | None = None
        self._chance = random.Random(0)
        self._fault: Fault | None = None
        self._passed = 0

    def arm(self, fault: Fault | None) -> None:
        """Begin a step in which ``fault`` strikes, or nothing does."""
        self._fault, self.is_struck, self.lingered = fault, False, None
        self._passed = 0

    def now(self) -> int:
        """Return the time, which stands still within a step."""
        return self.time

    def random_bytes(self, count: int) -> bytes:
        """Return bytes from a seed."""
        return self._chance.randbytes(count)

    def uniform(self) -> float:
        """Return no jitter."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Let others go first."""
        await asyncio.sleep(0)

    async def reach(self, point: str) -> None:
        """Pass a crash point, unless the step's fault is there."""
        if self.lingered is not None and point == "before_commit" and not self.lingered.is_set():
            self.lingered.set()
            await asyncio.sleep(_LINGER)
        fault = self._fault
        if fault is not None and self._strikes(fault, point):
            self.is_struck = True
            await self._strike(fault)

    def http_client(self, make: Callable[[], Any]) -> Any:
        """Return the client that reaches the merchants of the model."""
        return self

    async def fetch(self, request: HTTPRequest, **_: Any) -> HTTPResponse:
        """Take an event and give the next reply: a status, with a ``!`` one that asks for patience, or ``nothing``."""
        reply = self.replies.popleft() if self.replies else "200"
        if reply == "nothing":
            return HTTPResponse(request, 599, error=TimeoutError("no answer"))
        headers = HTTPHeaders({"Retry-After": "120"} if "!" in reply else {})
        return HTTPResponse(request, int(reply.strip("!")), headers, io.BytesIO())

    def _strikes(self, fault: Fault, point: str) -> bool:
        if self.is_struck and fault.what in ("dies", "is down"):
            return fault.what == "dies" or point in COMMITS
        if fault.at not in (point, ANYWHERE):
            return False
        self._passed += 1
        return self._passed == fault.nth + 1

    async def _strike(self, fault: Fault) -> None:
        if fault.what == "dies":
            raise Crash
        if fault.what == "hangs up":
            assert self.caller is not None
            self.caller.cancel()
            await asyncio.sleep(0)
        else:
            lost = pymysql.err.OperationalError(_LOST, "lost")
            raise OperationalError("COMMIT", {}, lost)
