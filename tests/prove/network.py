"""The wires between everybody: they are slow, they lose and they break, as seldom or often as the seed says."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders
from tornado.simple_httpclient import HTTPTimeoutError

from tests.prove.faults import Faults
from tests.prove.loop import RUNNER, VirtualLoop
from tests.prove.process import Process
from tests.prove.trace import Trace
from tests.prove.wire import Call, NoReply, Reply, Reset

Host = Callable[[Call], Awaitable[Reply]]
# How long a client or a provider waits for our answer, in seconds.
_PATIENCE = 10.0


class Network:
    """Brings requests to our processes and theirs to the outside ``hosts``.

    ``web`` tells which processes serve; ``told`` hears of every answer that one of our calls got,
    ``replied`` of every answer that we gave.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        faults: Faults,
        seed: str,
        trace: Trace,
        web: Callable[[], list[Process]],
        told: Callable[[Process, HTTPRequest, Reply], None],
        replied: Callable[[Call, Reply], None],
    ) -> None:
        self.hosts: dict[str, Host] = {}
        self._loop, self._faults, self._trace = loop, faults, trace
        self._web, self._told, self._replied = web, told, replied
        self._chance = random.Random(f"{seed}/network")
        self._outside = Context()

    async def call(self, call: Call) -> Reply:
        """Bring a request to one of our processes; raises NoReply."""
        await self._travel()
        processes = self._web()
        if not processes:
            raise NoReply("nobody listens")
        process = self._chance.choice(processes)
        self._trace.note("→", process.name, call.method, call.target, call.body)
        if self._faults.strikes("request lost"):
            await asyncio.sleep(_PATIENCE)
            raise NoReply("the request was lost")
        try:
            async with asyncio.timeout(_PATIENCE):
                reply = await process.serve(call)
        except TimeoutError:
            raise NoReply("no answer in time") from None
        self._replied(call, reply)
        self._trace.note("←", process.name, str(reply.status), call.target, reply.body)
        await self._travel()
        if self._faults.strikes("reply lost"):
            await asyncio.sleep(_PATIENCE)
            raise NoReply("the answer was lost")
        return reply

    def client(self) -> "Client":
        """Return what our processes call others with."""
        return Client(self)

    async def fetch(self, request: HTTPRequest) -> HTTPResponse:
        """Make one of our calls; without an answer its status is 599, as libcurl's wrapper tells it."""
        process: Any = RUNNER.get()
        answered: asyncio.Future[Reply] = self._loop.create_future()
        self._loop.create_task(
            self._carry(process, request, answered), context=self._outside.copy()
        )
        try:
            async with asyncio.timeout(request.request_timeout):
                reply = await answered
        except TimeoutError:
            return HTTPResponse(request, 599, error=HTTPTimeoutError("Timeout was reached"))
        except NoReply as error:
            return HTTPResponse(request, 599, error=error)
        self._told(process, request, reply)
        headers = HTTPHeaders(dict(reply.headers))
        return HTTPResponse(request, reply.status, headers, buffer=BytesIO(reply.body))

    async def _carry(
        self, process: Process, request: HTTPRequest, answered: asyncio.Future[Reply]
    ) -> None:
        address = urlsplit(request.url)
        headers: Mapping[str, str] = {k.lower(): v for k, v in request.headers.items()}
        call = Call(
            request.method,
            f"{address.path}?{address.query}",
            request.body or b"",
            {**headers, "x-process": process.name},
        )
        await self._travel()
        self._trace.note("⇒", process.name, address.netloc, call.target, call.body)
        try:
            reply = await self.hosts[address.netloc](call)
            await self._travel()
            self._trace.note("⇐", process.name, address.netloc, str(reply.status), reply.body)
            if not answered.done():
                answered.set_result(reply)
        except Reset as error:
            if not answered.done():
                answered.set_exception(error)
        except Exception as error:  # noqa: BLE001 - the harness itself is wrong
            self._loop.call_exception_handler({"message": "on the wire", "exception": error})

    async def _travel(self) -> None:
        seconds = self._chance.uniform(0.001, 0.02)
        if self._faults.strikes("network slow"):
            seconds += self._chance.uniform(0.5, 8)
        await asyncio.sleep(seconds)


class Client:
    """The HTTP client of a process."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def fetch(self, request: HTTPRequest, *, raise_error: bool) -> Awaitable[HTTPResponse]:
        """Make a call, like Tornado's client."""
        assert not raise_error
        return self._network.fetch(request)

    def close(self) -> None:
        """Give nothing back: there is nothing open."""
