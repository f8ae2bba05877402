"""The life of one process: it serves or works, takes a new configuration on SIGHUP, and ends on SIGTERM or SIGINT.

A new configuration is a second platform beside the first: new requests and new work go to it, the first finishes what it
began. A configuration with faults changes nothing.
"""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from importlib.metadata import version as package_version
from typing import Self

import structlog
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from payplat import traces
from payplat.app import (
    Platform,
    make_router,
    make_server,
    make_worker,
    open_platform,
    start_worker,
)
from payplat.errors import ConfigurationError, PayplatError
from payplat.exposition import Exposition, sockets_for
from payplat.handlers.present import PresentRouter
from payplat.registry import Doors
from payplat.settings import Settings

log = structlog.get_logger("payplat")
# Tables of the configuration that a process reads once.
_FIXED = ("server", "metrics", "traces")
# Reads the configuration again; raises ConfigurationError.
Reread = Callable[[], Settings]


class Shift:
    """One platform with its jobs, from its opening to its close."""

    def __init__(self, platform: Platform, stack: AsyncExitStack) -> None:
        self.platform, self._stack = platform, stack
        self._worker = make_worker(platform)

    @classmethod
    async def begin(cls, settings: Settings, doors: Doors, *, works: bool) -> Self:
        """Open a platform and start its jobs if it ``works``; raises PayplatError when it cannot."""
        async with AsyncExitStack() as stack:
            platform = await stack.enter_async_context(open_platform(settings, doors))
            shift = cls(platform, stack)
            if works:
                await start_worker(platform, shift._worker)
            shift._stack = stack.pop_all()
        return shift

    async def finish(self, within: float = 20.0) -> None:
        """Answer what was accepted and finish what was begun, for so many seconds at most."""
        await asyncio.gather(self._answered(within), self._worker.stop())

    async def _answered(self, within: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.platform.running:  # noqa: ASYNC110 - the set is its own and only record
                    await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Close everything that was opened."""
        await self._stack.aclose()

    async def end(self) -> None:
        """Finish and close."""
        await self.finish()
        await self.close()


class Life:
    """The shifts of one process, of which the last is the present one."""

    def __init__(self, doors: Doors, *, works: bool) -> None:
        self._doors, self._works = doors, works
        self._ending: set[asyncio.Task[None]] = set()
        self._exposition: Exposition | None = None
        self._signs: asyncio.Queue[signal.Signals] = asyncio.Queue()

    async def begin(self, settings: Settings) -> Platform:
        """Begin the first shift, and hear signals from here on; raises PayplatError."""
        _start_traces(settings.traces.collector)
        _spare_the_collector()
        self.shift = await Shift.begin(settings, self._doors, works=self._works)
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(sign, self._signs.put_nowait, sign)
        return self.shift.platform

    def expose(self, number: int = 0) -> None:
        """Serve this process's metrics if that is configured; raises ConfigurationError when the port is taken."""
        platform = self.shift.platform
        if sockets := sockets_for(platform.settings.metrics, number):
            self._exposition = Exposition(platform, sockets)

    async def renewals(self, reread: Reread) -> AsyncIterator[Platform]:
        """Yield the platform of each new shift, one for each SIGHUP, until SIGTERM or SIGINT.

        The shift before ends by itself meanwhile. Faults are logged, and change nothing.
        """
        while await self._signs.get() == signal.SIGHUP:
            try:
                fresh = reread()
                successor = await Shift.begin(fresh, self._doors, works=self._works)
            except ConfigurationError as error:
                log.error("configuration not changed", faults=error.faults)
            except PayplatError as error:
                log.error("configuration not changed", faults=[str(error)])
            else:
                self._warn_of_what_stays(fresh)
                predecessor, self.shift = self.shift, successor
                log.info("configuration changed")
                if self._exposition is not None:
                    self._exposition.show(successor.platform)
                yield successor.platform
                ending = asyncio.create_task(predecessor.end())
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)

    def _warn_of_what_stays(self, fresh: Settings) -> None:
        present = self.shift.platform.settings
        if any(getattr(fresh, name) != getattr(present, name) for name in _FIXED):
            log.warning("server, metrics and traces settings change with a restart")

    async def end(self, server: HTTPServer | None = None) -> None:
        """Take nothing more, finish what was begun, close."""
        self.shift.platform.draining.set()
        if server is not None:
            server.stop()
        await asyncio.gather(self.shift.finish(), *self._ending)
        if server is not None:
            await server.close_all_connections()
        if self._exposition is not None:
            await self._exposition.close()
        await self.shift.close()
        await asyncio.to_thread(traces.tracer.close)


def _spare_the_collector() -> None:
    """Look for cycles less often, and never among what was imported: that stays until the end, unlike a shift."""
    gc.freeze()
    gc.set_threshold(5000, 10, 10)


def _start_traces(collector: str | None) -> None:
    if collector is None:
        return
    try:
        otel = import_module("payplat.otel")  # loaded by who asks for it: it brings a lot along
    except ImportError:
        raise ConfigurationError(["traces.collector: needs the extra payplat[otel]"]) from None
    traces.tracer = otel.OtelTracer(collector, package_version("payplat"))


async def serve(
    settings: Settings,
    doors: Doors,
    reread: Reread,
    *,
    work: bool,
    shared_port: bool = False,
    number: int = 0,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain: take no more, finish what was taken, end.

    ``number`` tells the processes apart that share the port. Raises PayplatError when it cannot begin.
    """
    life, address = Life(doors, works=work), settings.server
    present = PresentRouter(make_router(await life.begin(settings)))
    server = make_server(present, address)
    try:
        life.expose(number)
        server.add_sockets(bind_sockets(address.port, address.host, reuse_port=shared_port))
        log.info("serving", host=address.host, port=address.port, works=work)
        async for platform in life.renewals(reread):
            present.router = make_router(platform)
    finally:
        await life.end(server)


async def work(settings: Settings, doors: Doors, reread: Reread) -> None:
    """Run the jobs alone until SIGTERM or SIGINT, then finish what was begun."""
    life = Life(doors, works=True)
    await life.begin(settings)
    try:
        life.expose()
        log.info("working")
        async for _ in life.renewals(reread):
            pass
    finally:
        await life.end()
