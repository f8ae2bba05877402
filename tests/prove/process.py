"""A simulated process: a platform of its own, with its own clock and connections, that can die or stop at any await."""

import asyncio
from collections import deque
from contextlib import AsyncExitStack, suppress
from contextvars import Context, copy_context
from typing import Any

from tornado.httputil import HTTPConnection, HTTPHeaders, RequestStartLine, ResponseStartLine

from payplat.app import Platform, make_router, make_worker, open_platform, start_worker
from payplat.lanes import Worker
from payplat.registry import Doors
from payplat.settings import Settings
from tests.prove.loop import RUNNER, VirtualLoop
from tests.prove.wire import Call, Reply, Reset

# Who died stays as it was: nothing of it may run again, not even while it is collected.
_graveyard: list[Any] = []


class Process:
    """One run of ``payplat serve`` or ``payplat worker`` from its start to its end; ``poll`` is how often lanes look."""

    def __init__(self, loop: VirtualLoop, name: str, clock_error: int, *, works: bool) -> None:
        self.name, self.works, self.clock_error = name, works, clock_error
        # In order, unlike sets of objects: a run must be repeatable.
        self.connections: dict[Any, None] = {}
        self.is_alive, self.is_paused, self.is_ready = True, False, False
        self.fuse: int | None = None
        self.on_death: Any = None
        self._loop, self._open = loop, dict[asyncio.Future[Reply], None]()
        self._stash: deque[asyncio.Handle] = deque()
        self._stack = AsyncExitStack()
        self.platform: Platform | None = None
        self.worker: Worker | None = None
        self.context: Context = copy_context()
        self.context.run(RUNNER.set, self)

    def admits(self, handle: asyncio.Handle) -> bool:
        """Tell whether a callback may run now."""
        if not self.is_alive:
            return False
        if self.is_paused:
            self._stash.append(handle)
            return False
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                self.on_death(self)
                return False
        return True

    def spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        """Run something in this process."""
        return self._loop.create_task(coroutine, context=self.context.copy())

    async def start(self, settings: Settings, doors: Doors, poll: float) -> None:
        """Open the platform, and begin to work where it works; runs in this process."""
        self.platform = await self._stack.enter_async_context(open_platform(settings, doors))
        self._router = make_router(self.platform)
        if self.works:
            self.worker = make_worker(self.platform)
            for lane in self.worker._lanes:
                lane._poll = poll
            await start_worker(self.platform, self.worker)
        self.is_ready = True

    async def stop(self) -> None:
        """End as after SIGTERM: take no more, finish what was begun."""
        self.is_ready = False
        assert self.platform is not None
        self.platform.draining.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                while self.platform.running:
                    await asyncio.sleep(0.05)
        if self.worker is not None:
            await self.worker.stop()
        await self._stack.aclose()

    def die(self) -> None:
        """End at once; whoever waits for an answer loses the connection."""
        self.is_alive = self.is_ready = False
        _graveyard.append((self, asyncio.all_tasks(self._loop)))
        for reply in list(self._open):
            if not reply.done():
                reply.set_exception(Reset("the process died"))

    def pause(self) -> None:
        """Stop running, as after SIGSTOP."""
        self.is_paused = True

    def go_on(self) -> None:
        """Run again, with all that has become due."""
        self.is_paused = False
        self._loop.resume(self._stash)
        self._stash = deque()

    async def serve(self, call: Call) -> Reply:
        """Answer a request; runs outside, the handler inside."""
        reply: asyncio.Future[Reply] = self._loop.create_future()
        self._open[reply] = None
        self.spawn(self._handle(call, reply))
        try:
            return await reply
        finally:
            self._open.pop(reply, None)

    async def _handle(self, call: Call, reply: asyncio.Future[Reply]) -> None:
        connection = _Connection(reply)
        delegate = self._router.start_request(connection, connection)
        headers = HTTPHeaders({"Host": "pay.test", **call.headers})
        headers["Content-Length"] = str(len(call.body))
        ready = delegate.headers_received(
            RequestStartLine(call.method, call.target, "HTTP/1.1"), headers
        )
        if ready is not None:
            await ready
        taken = delegate.data_received(call.body)
        if taken is not None:
            await taken
        delegate.finish()


class _Connection(HTTPConnection):
    """The place of an HTTP/1 connection: what is written becomes the reply."""

    def __init__(self, reply: asyncio.Future[Reply]) -> None:
        self._reply, self._chunks = reply, bytearray()
        self._status, self._headers = 0, HTTPHeaders()

    def set_close_callback(self, callback: Any) -> None:
        """Take note of nothing: who loses interest does not interrupt."""

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> Any:
        """Take the beginning of the answer."""
        assert isinstance(start_line, ResponseStartLine)
        self._status, self._headers = start_line.code, headers
        return self.write(chunk or b"")

    def write(self, chunk: bytes) -> Any:
        """Take a part of the body."""
        self._chunks += chunk
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def finish(self) -> None:
        """Hand the answer over."""
        if not self._reply.done():
            headers = {name.lower(): value for name, value in self._headers.get_all()}
            self._reply.set_result(Reply(self._status, bytes(self._chunks), headers))
