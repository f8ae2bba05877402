"""A door between payplat and MariaDB that lets everything through, and can spoil a COMMIT."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from enum import Enum, auto

_COMMIT = b"\x03COMMIT"  # COM_QUERY
_CHUNK = 65536


class Fault(Enum):
    """What happens to a COMMIT."""

    CUT_BEFORE = auto()  # it never arrives, and the connection breaks
    CUT_AFTER = auto()  # it takes effect, and the connection breaks before the reply
    NO_REPLY = auto()  # it takes effect, and no reply ever comes


class Proxy:
    """Forwards connections to MariaDB's ``target`` port; each of ``faults`` spoils one COMMIT to come."""

    def __init__(self, target: int) -> None:
        self.faults: list[Fault] = []
        self.port = 0
        self._target = target
        self._connections: set[asyncio.Task] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Listen on a free port until the end."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(asyncio.current_task())
        theirs = await asyncio.open_connection("127.0.0.1", self._target)
        with contextlib.closing(writer), contextlib.closing(theirs[1]):
            spoilt: list[Fault] = []
            ways = [
                asyncio.create_task(self._ask(reader, theirs[1], spoilt)),
                asyncio.create_task(self._answer(theirs[0], writer, spoilt)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _ask(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, spoilt: list[Fault]
    ) -> None:
        while data := await reader.read(_CHUNK):
            if _COMMIT in data and self.faults:
                spoilt.append(self.faults.pop(0))
            if Fault.CUT_BEFORE in spoilt:
                return
            server.write(data)

    async def _answer(
        self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, spoilt: list[Fault]
    ) -> None:
        while data := await server.read(_CHUNK):
            if Fault.CUT_AFTER in spoilt:
                return
            if not spoilt:
                writer.write(data)
