"""Fixtures of the ledger's tests: a ledger whose books are checked after each test, a second process, a clock."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from payplat.database import Database
from tests.ledger.build import TERMS, Clock, CrashPoints, Ledger, forget, in_world, ledger_on
from tests.ledger.invariants import breaches
from tests.mariadb import MariaDB


@pytest.fixture(scope="session")
def mariadb_schema(mariadb: MariaDB, mariadb_template: str) -> Iterator[str]:
    """A MariaDB database with the newest schema, to be emptied after each test."""
    with mariadb.copied_database(mariadb_template) as url:
        yield url


@pytest.fixture(params=["sqlite", "mariadb"])
def ledger_url(request, tmp_path: Path) -> str:
    """The address of a database without a row, on each engine in turn."""
    request.node.user_properties.append(("lane", request.param))
    if request.param == "mariadb":
        return request.getfixturevalue("mariadb_schema")
    shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "payplat.db")
    return f"sqlite:///{tmp_path / 'payplat.db'}"


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    """A ledger on each engine in turn; in the end its books must be right."""
    ledger = ledger_on(Database(ledger_url))
    yield ledger
    await ledger.orders.drain()
    found = breaches(await ledger.snapshot(), TERMS)
    if not ledger.database.is_sqlite:  # its file is the test's own
        await ledger.database.transaction(forget)
    await ledger.database.close()
    assert found == []


@pytest.fixture
async def twin(ledger_url: str) -> AsyncIterator[Ledger]:
    """Another process on the same database: its own connections, its own group commit."""
    twin = ledger_on(Database(ledger_url))
    yield twin
    await twin.orders.drain()
    await twin.database.close()


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock that the test can turn forward."""
    clock = Clock()
    with in_world(clock):
        yield clock


@pytest.fixture
def crash_points() -> Iterator[CrashPoints]:
    """The crash points passed so far, and a place to die at."""
    points = CrashPoints()
    with in_world(points):
        yield points
