"""A TCP proxy that lets everything through, and spoils it as bad networks do."""

import asyncio
import contextlib
import math
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum, auto

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_CHUNK = 65536
_COMMIT, _ROLLBACK = b"\x03COMMIT", b"\x03ROLLBACK"  # COM_QUERY
_NO_LINGERING = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by RST


@dataclass(frozen=True)
class Faults:
    """What a connection suffers; nothing unless told. An answer is whatever the target sends."""

    latency: float = 0.0  # seconds before each piece of an answer
    piece: int = _CHUNK  # bytes of an answer that pass at a time: with latency, a slow drip
    cut: float = math.inf  # the connection breaks after so many bytes of answers
    reset: bool = False  # where it breaks it is reset (RST), not closed
    black_hole: bool = False  # nothing passes, no close either, until it ends; then all passes
    linger: float = 0.0  # seconds for which one side's close is held back from the other


class CommitFault(Enum):
    """What happens to a COMMIT on its way to MariaDB."""

    CUT_BEFORE = auto()  # it never arrives, and the connection breaks
    CUT_AFTER = auto()  # it takes effect, and the connection breaks before the reply
    NO_REPLY = auto()  # it takes effect, and no reply ever comes
    HELD_BACK = auto()  # a black hole begins with it


class Proxy:
    """Forwards connections to ``targets`` (``host:port``), to each in turn; one that refuses is passed over.

    With one target it is a network that can be spoilt, with several a load balancer. ``faults`` are those of the
    connections to come; the ones that stand keep theirs, unless ``spoil`` or ``heal`` changes them. Each of
    ``commit_faults`` happens once: to the COMMIT of a transaction in which MariaDB was told its key.
    """

    def __init__(self, *targets: str) -> None:
        self.targets = list(targets)
        self.faults = Faults()
        self.commit_faults: dict[bytes, CommitFault] = {}
        self.port, self._turn = 0, 0
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Where it listens, ``host:port``."""
        return f"127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Listen until the end."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def start(self) -> None:
        """Listen: on a free port the first time, on the same one after ``stop``."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and reset those that stand."""
        self._server.close()
        await self.reset()

    async def reset(self) -> None:
        """Reset the connections that stand."""
        standing = list(self._connections)
        for connection in standing:
            connection.suffer(Faults(reset=True))
            connection.task.cancel()
        await asyncio.gather(*(each.task for each in standing), return_exceptions=True)

    def spoil(self, faults: Faults) -> None:
        """Give ``faults`` to the connections that stand and to those to come."""
        self.faults = faults
        for connection in self._connections:
            connection.suffer(faults)

    def heal(self) -> None:
        """Let everything through again."""
        self.spoil(Faults())

    async def connect(self) -> Streams:
        """Connect to the target whose turn it is, or to the next one that does not refuse; raises OSError."""
        for _ in self.targets:
            host, _, port = self.targets[self._turn % len(self.targets)].partition(":")
            self._turn += 1
            with contextlib.suppress(ConnectionError):
                return await asyncio.open_connection(host, int(port))
        raise ConnectionError

    async def _accept(self, *caller: asyncio.StreamReader | asyncio.StreamWriter) -> None:
        connection = _Connection(self, caller)
        self._connections.add(connection)
        # The server would report that it was reset, or that nobody took it.
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await connection.run()
        self._connections.discard(connection)


class _Connection:
    """One connection through the proxy, from its caller to a target."""

    def __init__(self, proxy: Proxy, caller: Streams) -> None:
        self.task = asyncio.current_task()
        self._proxy, self._sides = proxy, [caller]
        self._spoilt: CommitFault | None = None
        self.suffer(proxy.faults)

    def suffer(self, faults: Faults) -> None:
        """Take new faults; bytes are counted from here."""
        self._faults, self._answered = faults, 0

    async def run(self) -> None:
        """Forward until one side closes, or the connection breaks."""
        try:
            await self._passage()
            self._sides.append(await self._proxy.connect())
            await self._forward(*self._sides)
        finally:
            for _, writer in self._sides:
                self._close(writer)

    def _close(self, writer: asyncio.StreamWriter) -> None:
        if self._faults.reset and not writer.is_closing():
            writer.get_extra_info("socket").setsockopt(*_NO_LINGERING)
            writer.transport.abort()
        writer.close()

    async def _forward(self, caller: Streams, target: Streams) -> None:
        ways = self._ask(caller[0], target[1]), self._answer(target[0], caller[1])
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not self._is_broken:
                await self._passage()
                await asyncio.sleep(self._faults.linger)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, caller: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        said = b""
        while data := await caller.read(_CHUNK):
            said = (said + data)[-_CHUNK:]
            if _COMMIT in data:
                self._suffer_at_commit(said)
            if _COMMIT in data or _ROLLBACK in data:
                said = b""
            if self._spoilt is CommitFault.CUT_BEFORE:
                return
            await self._passage()
            target.write(data)
            await target.drain()

    def _suffer_at_commit(self, said: bytes) -> None:
        planned = self._proxy.commit_faults
        fault = next((planned.pop(of) for of in list(planned) if of in said), None)
        if fault is CommitFault.HELD_BACK:
            self._proxy.spoil(Faults(black_hole=True))
        else:
            self._spoilt = fault

    async def _answer(self, target: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        while data := await target.read(_CHUNK):
            if self._spoilt is CommitFault.NO_REPLY:
                continue
            while data and not self._is_broken:
                await asyncio.sleep(self._faults.latency)
                await self._passage()
                size = min(self._faults.piece, self._faults.cut - self._answered)
                caller.write(data[:size])
                await caller.drain()
                data, self._answered = data[size:], self._answered + size
            if self._is_broken:
                return

    @property
    def _is_broken(self) -> bool:
        return self._spoilt is not None or self._answered >= self._faults.cut

    async def _passage(self) -> None:
        while self._faults.black_hole:
            await asyncio.sleep(0.01)
