"""Fixtures of the ledger's tests: a ledger whose books are checked after each test, a second process, a clock."""

from collections.abc import AsyncIterator, Iterator

import pytest

from payplat.database import Database
from tests.ledger.build import TERMS, Clock, CrashPoints, Ledger, in_world, ledger_on
from tests.ledger.invariants import breaches


@pytest.fixture
async def ledger(database: Database) -> AsyncIterator[Ledger]:
    """A ledger on each engine in turn; in the end its books must be right."""
    ledger = ledger_on(database)
    yield ledger
    await ledger.orders.drain()
    assert breaches(await ledger.snapshot(), TERMS) == []


@pytest.fixture
async def twin(database: Database, database_url: str) -> AsyncIterator[Ledger]:
    """Another process on the same database: its own connections, its own group commit."""
    twin = ledger_on(Database(database_url))
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
