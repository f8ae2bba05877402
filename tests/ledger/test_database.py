"""Connections: their settings, their deadline, and what becomes of broken ones."""

import asyncio
import socket
import sqlite3
import time
from contextlib import closing

import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from payplat.database import DEADLINE, Database, database_url, ping
from payplat.errors import DatabaseUnavailable
from payplat.models import OrderRow
from tests.ledger.build import on_mariadb, on_sqlite, paid

ORDERS = OrderRow.__table__


async def ask(database, question):
    """Return the one value that a question has for an answer."""
    return (await database.read(lambda c: c.execute(text(question)))).scalar_one()


@pytest.fixture
async def impatient(ledger_url):
    """A database that waits for half a second at most."""
    database = Database(ledger_url, deadline=0.5)
    yield database
    await database.close()


# --- Settings ---


@on_mariadb
async def test_mariadb_sessions(ledger):
    """Every session reads what is committed, refuses what does not fit, and speaks UTC."""
    names = {
        "tx_isolation": "READ-COMMITTED",
        "time_zone": "+00:00",
        "autocommit": 0,
        "innodb_lock_wait_timeout": 4,
        "max_statement_time": 5.5,
        "character_set_connection": "utf8mb4",
    }
    for name, value in names.items():
        assert await ask(ledger.database, f"SELECT @@SESSION.{name}") == value
    mode = await ask(ledger.database, "SELECT @@SESSION.sql_mode")
    assert {"STRICT_ALL_TABLES", "STRICT_TRANS_TABLES", "TRADITIONAL"} <= set(mode.split(","))


@on_sqlite
async def test_sqlite_connections(ledger_url):
    """Every connection writes ahead, syncs in full, waits for locks and checks its keys."""
    database = Database(ledger_url, deadline=DEADLINE)
    names = {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 3600, "foreign_keys": 1}
    for name, value in names.items():
        assert await ask(database, f"PRAGMA {name}") == value
    await database.close()


@on_sqlite
async def test_sqlite_transactions_begin_as_writers(ledger, twin):
    """A transaction holds the write lock from its beginning, before its first statement; a question holds none."""
    order, tried = [], []

    async def first(connection):
        tried.append("first")
        await asyncio.sleep(0.1)
        order.append("first")

    async def second(connection):
        order.append("second")

    began = asyncio.create_task(ledger.database.transaction(first))
    while not tried:
        await asyncio.sleep(0)
    waits = asyncio.create_task(twin.database.transaction(second))
    assert await ask(twin.database, "SELECT count(*) FROM orders") == 0
    assert order == []
    await asyncio.gather(began, waits)
    assert order == ["first", "second"]


@on_sqlite
async def test_sqlite_questions_do_not_write(ledger, twin):
    """A question sees one moment, though it begins before and ends after another's commit."""
    wanted = text("SELECT count(*) FROM orders")

    async def twice(connection):
        before = (await connection.execute(wanted)).scalar()
        await twin.open()
        return before, (await connection.execute(wanted)).scalar()

    assert await ledger.database.read(twice) == (0, 0)
    assert await ask(ledger.database, wanted.text) == 1


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:///payplat.db", "sqlite+aiosqlite"),
        ("mysql://u:p@host/db", "mysql+aiomysql"),
        ("mariadb://u:p@host:3307/db", "mysql+aiomysql"),
    ],
)
def test_urls_get_their_driver(url, driver):
    """People write the engine's name; which driver speaks with it is ours to know."""
    assert database_url(url).drivername == driver


# --- Transactions ---


async def test_a_failing_body_leaves_nothing(ledger):
    """What was written before an error is undone."""
    order = await ledger.open()

    async def body(connection):
        await connection.execute(ORDERS.update().values(title="changed"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ledger.database.transaction(body)
    assert (await ledger.now(order)).title == order.title


async def test_a_violated_key_is_tried_again_but_not_for_ever(ledger):
    """A key that is taken is looked at again a few times, then the error is told as it is."""
    await ledger.open()
    (row,) = await ledger.rows("orders")
    tries = []

    async def body(connection):
        tries.append(1)
        await connection.execute(ORDERS.insert().values(row))

    with pytest.raises(IntegrityError):
        await ledger.database.transaction(body)
    assert 2 <= len(tries) <= 10


async def test_an_insert_that_leaves_what_is_there(ledger):
    """Inserting anew leaves the row that has the key as it is."""
    await ledger.open(key="k1")
    (row,) = await ledger.rows("orders")
    again = [{**row, "title": "another"}, {**row, "order_no": "0" * 32, "title": "a third"}]
    await ledger.database.transaction(
        lambda c: c.execute(ledger.database.insert_new(ORDERS), again)
    )
    assert await ledger.rows("orders") == [row]


# --- Deadlines ---


async def test_a_body_that_hangs(ledger, impatient):
    """Work that takes too long ends at the deadline, leaves nothing, and its connection serves the next."""
    order = await ledger.open()

    async def hang(connection):
        await connection.execute(ORDERS.update().values(title="changed"))
        await asyncio.sleep(30)

    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        await impatient.transaction(hang)
    assert 0.4 < time.monotonic() - began < 3
    assert (await ledger.now(order)).title == order.title
    await ping(impatient)


@on_mariadb
async def test_a_statement_that_hangs(impatient):
    """A statement that the server does not end in time is told as unavailable at the deadline."""
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        await ask(impatient, "SELECT SLEEP(10)")
    assert 0.4 < time.monotonic() - began < 3
    await ping(impatient)


@on_sqlite
async def test_a_file_that_stays_locked(ledger_url, impatient):
    """When somebody else holds the file too long the caller is told so in time; afterwards it works."""
    began = time.monotonic()
    with closing(sqlite3.connect(make_url(ledger_url).database)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable):
            await impatient.transaction(lambda c: c.execute(text("DELETE FROM sweeps")))
        assert time.monotonic() - began < 3
        other.execute("ROLLBACK")
    await impatient.transaction(lambda c: c.execute(text("DELETE FROM sweeps")))


async def test_a_server_that_says_nothing():
    """A host that accepts and never speaks does not hold anybody beyond the deadline."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        url = f"mariadb://nobody@127.0.0.1:{door.getsockname()[1]}/none"
        silent, began = Database(url, deadline=0.5), time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await ping(silent)
        assert 0.4 < time.monotonic() - began < 3
        await silent.close()


async def test_more_callers_than_connections(ledger_url):
    """Callers beyond the pool wait for their turn instead of failing."""
    narrow = Database(ledger_url, pool_size=2)
    await asyncio.gather(*(ping(narrow) for _ in range(50)))
    await narrow.close()


async def test_callers_who_leave_give_back_their_connections(ledger_url):
    """Callers that are cancelled in the middle of anything leave a pool that serves the next."""
    narrow = Database(ledger_url, pool_size=2)
    for number in range(30):
        task = asyncio.create_task(narrow.transaction(lambda c: c.execute(select(ORDERS))))
        await asyncio.sleep(number * 0.0003)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        await asyncio.gather(*(ping(narrow) for _ in range(4)))
    await narrow.close()


# --- Rows that others hold ---


@on_mariadb
async def test_a_row_that_is_not_let_go(ledger, twin):
    """Who waits in vain for another's row begins again from the start, and gets it when it is free."""
    order, taken, tries = await ledger.open(), asyncio.Event(), []
    wanted = select(ORDERS).where(ORDERS.c.order_no == order.order_no).with_for_update()

    async def hold(connection):
        await connection.execute(wanted)
        taken.set()
        while len(tries) < 2:
            await asyncio.sleep(0.01)

    async def wait(connection):
        tries.append(1)
        await connection.execute(text("SET innodb_lock_wait_timeout = 1"))
        return (await connection.execute(wanted)).one().order_no

    holding = asyncio.create_task(ledger.database.transaction(hold))
    await taken.wait()
    assert await twin.database.transaction(wait) == order.order_no
    assert len(tries) == 2
    await holding


# --- Broken connections ---


@on_mariadb
async def test_connections_that_were_closed_idle(ledger, ledger_url, mariadb):
    """After the server closed all idle connections, nobody's next request fails: no question and no verdict."""
    orders = await asyncio.gather(*(ledger.open() for _ in range(4)))
    await asyncio.gather(*(ledger.now(order) for order in orders))
    for _ in range(3):
        kill_connections(mariadb, ledger_url)
        await asyncio.gather(*(ledger.now(order) for order in orders))
        kill_connections(mariadb, ledger_url)
        await asyncio.gather(*(ledger.orders.settle(paid(order)) for order in orders))
    assert len(await ledger.rows("payments")) == 4


@on_mariadb
async def test_a_connection_that_was_closed_at_work(ledger, ledger_url, mariadb):
    """When the server closes a connection in the middle of a statement, the whole transaction is done again."""
    order, tries = await ledger.open(), []

    async def body(connection):
        tries.append(1)
        await connection.execute(ORDERS.update().values(checks=ORDERS.c.checks + 1))
        if len(tries) == 1:
            await connection.execute(text("SELECT SLEEP(4)"))

    work = asyncio.create_task(ledger.database.transaction(body))
    while not mariadb.execute(_SLEEPING, make_url(ledger_url).database):
        await asyncio.sleep(0.01)
    kill_connections(mariadb, ledger_url)
    await work
    assert len(tries) == 2
    assert (await ledger.now(order)).checks == 1


_SLEEPING = (
    "SELECT id FROM information_schema.processlist WHERE db = %s AND info = 'SELECT SLEEP(4)'"
)


def kill_connections(mariadb, url):
    """End every connection to a database, as a restart does; there must be some."""
    mine = "SELECT id FROM information_schema.processlist WHERE db = %s"
    numbers = mariadb.execute(mine, make_url(url).database)
    assert numbers
    for (number,) in numbers:
        mariadb.execute(f"KILL {number}")


@on_mariadb
@pytest.mark.parametrize("code", [1047, 1290])
async def test_a_server_that_has_lost_its_place(ledger, code):
    """A connection to a server without a majority, or one that only reads, is not kept: the next leads elsewhere."""
    before = await ask(ledger.database, "SELECT CONNECTION_ID()")
    with pytest.raises(DatabaseUnavailable):
        await ask(ledger.database, f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}")
    assert await ask(ledger.database, "SELECT CONNECTION_ID()") != before
