"""Where examples are played: one database of one engine, emptied for each, and a way to read all its rows."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat.database import Database
from tests.ledger.build import TABLES, forget
from tests.prove.driver import Disk
from tests.prove.loop import VirtualLoop
from tests.prove.model_rows import Tables


@dataclass(frozen=True)
class Bench:
    """A database; ``run`` runs a coroutine to its end, ``read`` returns every row, ``empty`` deletes them."""

    database: Database
    run: Callable[[Coroutine[Any, Any, Any]], Any]
    read: Callable[[], Tables]
    empty: Callable[[], None]

    def read_aloud(self) -> Tables:
        """Return every row as the platform itself reads them."""
        return self.run(_snapshot(self.database))


async def _snapshot(database: Database) -> Tables:
    async def body(connection: AsyncConnection) -> Tables:
        tables = {}
        for name, table in TABLES.items():
            result = await connection.execute(select(table))
            tables[name] = [dict(row._mapping) for row in result]
        return tables

    return await database.read(body)


@contextmanager
def sqlite_bench(file: Path) -> Iterator[Bench]:
    """Play on a SQLite file with the newest schema, in virtual time and without the driver's thread."""
    loop = VirtualLoop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiosqlite, "connect", aiosqlite.connect)  # put back in the end
        Disk(file, "model", _at_once).mount()
        # Every process of the model dies by an exception, so what is on disk is what was committed.
        database = Database(f"sqlite:///{file}")
        rows = sqlite3.connect(file, isolation_level=None)
        rows.execute("PRAGMA synchronous=OFF")
        rows.row_factory = _dictionary

        def read() -> Tables:
            return {name: rows.execute(f"SELECT * FROM {name}").fetchall() for name in TABLES}

        def empty() -> None:
            rows.execute("BEGIN IMMEDIATE")
            for name in TABLES:
                rows.execute(f"DELETE FROM {name}")
            rows.execute("COMMIT")

        yield Bench(database, loop.run_until_complete, read, empty)
        loop.run_until_complete(database.close())
        rows.close()


@contextmanager
def server_bench(url: str) -> Iterator[Bench]:
    """Play on a server's database with the newest schema, in real time."""
    database = Database(url)
    with asyncio.Runner() as runner:
        run = runner.run
        yield Bench(
            database,
            run,
            lambda: run(_snapshot(database)),
            lambda: run(database.transaction(forget)),
        )
        run(database.close())


def _at_once(*, writes: bool) -> float:
    return 0.0


def _dictionary(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {name: value for (name, *_), value in zip(cursor.description, row, strict=True)}
