"""SQLite's driver without its thread: each call runs at once, before or after a seeded wait.

Several simulated processes share one file on one thread, so nobody may block in SQLite: who may write is decided here,
first come first served, and the wait for it is virtual. Waiting writers give up like SQLite's.
"""

import asyncio
import random
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import aiosqlite
from aiosqlite.context import contextmanager
from aiosqlite.cursor import Cursor

from tests.prove.loop import RUNNER

_PATIENCE = "PRAGMA busy_timeout="


class Pace(Protocol):
    """How long the database takes."""

    def __call__(self, *, writes: bool) -> float:
        """Return the seconds of one statement, 0 for one that is not waited for."""


class Disk:
    """One database file, and the connection that may write to it."""

    def __init__(self, file: Path, seed: str, pace: Pace) -> None:
        self.file, self.pace = file, pace
        self._chance = random.Random(seed)
        self._writer: Connection | None = None
        self._waiting: deque[tuple[Connection, asyncio.Future[None]]] = deque()

    def mount(self) -> None:
        """Take the place of the driver."""
        aiosqlite.connect = self._connect  # type: ignore[assignment]

    def holds(self, owner: object) -> bool:
        """Tell whether that process may write at the moment."""
        return self._writer is not None and self._writer.owner is owner

    def drop(self, owner: Any) -> None:
        """Close the connections of a process that died: what it had not committed is gone."""
        for connection in list(owner.connections):
            connection.shut()

    async def execute(
        self, connection: "Connection", function: Callable[..., Any], *args: Any
    ) -> Any:
        """Run a call of the driver; cancelled while it waits, it has happened or not, as with a real disk."""
        name = function.__name__
        if name not in ("execute", "executemany", "commit", "rollback"):
            return function(*args)
        text = args[0] if args else name
        if text.startswith("PRAGMA"):
            return function(connection.pragma(text))
        if text == "BEGIN IMMEDIATE":
            await self._wait_for_turn(connection)
        wait = self.pace(writes=name == "commit")
        before = not wait or self._chance.random() < 0.5
        if not before:
            await asyncio.sleep(wait)
        try:
            return self._run(connection, function, args)
        finally:
            if before and wait:
                await asyncio.sleep(wait)

    def release(self, connection: "Connection") -> None:
        """Let the next one write."""
        if self._writer is not connection:
            return
        self._writer = None
        while self._waiting:
            nearest, turn = self._waiting.popleft()
            if nearest.is_open and not turn.done():
                self._writer = nearest
                turn.set_result(None)
                return

    def _run(self, connection: "Connection", function: Callable[..., Any], args: Any) -> Any:
        raw = connection.raw
        if raw is None:
            raise ValueError("Connection closed")
        try:
            return function(*args)
        finally:
            if not raw.in_transaction:
                self.release(connection)

    async def _wait_for_turn(self, connection: "Connection") -> None:
        if self._writer is None:
            self._writer = connection
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((connection, turn))
        try:
            async with asyncio.timeout(connection.patience):
                await turn
        except TimeoutError:
            self.release(connection)  # it may have come in this very instant
            raise sqlite3.OperationalError("database is locked") from None
        except asyncio.CancelledError:
            self.release(connection)
            raise

    def _connect(self, database: str, **options: Any) -> "Connection":
        return Connection(self, options)


class Connection(aiosqlite.Connection):
    """A connection of the driver, without its thread."""

    def __init__(self, disk: Disk, options: dict[str, Any]) -> None:
        self._disk, self._options = disk, options
        self._running, self._connection = True, None
        self._iter_chunk_size = 64
        self._tx = self
        self._thread = SimpleNamespace(daemon=True)
        self.owner: Any = RUNNER.get()
        self.patience = 5.0

    @property
    def raw(self) -> sqlite3.Connection | None:
        """SQLite's own connection."""
        return self._connection

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._connection is not None

    def pragma(self, text: str) -> str:
        """Return the setting that SQLite gets for the one asked for: waiting and syncing are the harness's business."""
        if text.startswith(_PATIENCE):
            self.patience = int(text.removeprefix(_PATIENCE)) / 1000
            return f"{_PATIENCE}0"
        return "PRAGMA synchronous=OFF" if text.startswith("PRAGMA synchronous") else text

    def shut(self) -> None:
        """Close without a commit."""
        self._running = False
        if self._connection is not None:
            # A statement that was begun would keep a closed connection, and its lock, alive.
            self._connection.rollback()
            self._connection.close()
            self._connection = None
            self._disk.release(self)
        if self.owner is not None:
            self.owner.connections.pop(self, None)

    def put_nowait(self, call: tuple[asyncio.Future[Any], Callable[[], Any]]) -> None:
        """Run a call that the real driver's thread would fetch from its queue."""
        future, function = call
        future.set_result(function())

    def stop(self) -> asyncio.Future[Any]:
        """Close at once."""
        self.shut()
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def close(self) -> None:
        """Close at once."""
        self.shut()

    @contextmanager
    async def cursor(self) -> Cursor:
        """Return a cursor."""
        return Cursor(self, self._conn.cursor())

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._running or self._connection is None:
            raise ValueError("Connection closed")
        return await self._disk.execute(self, fn, *args)

    async def _connect(self) -> "Connection":
        options = {**self._options, "timeout": 0, "check_same_thread": False}
        self._connection = sqlite3.connect(self._disk.file, **options)
        if self.owner is not None:
            self.owner.connections[self] = None
        return self

    def __await__(self) -> Any:
        return self._connect().__await__()

    def __del__(self) -> None:
        pass
