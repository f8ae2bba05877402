"""What a request costs the database: exact counts of statements, commits and disk syncs, which no machine changes."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from payplat import seam, signs
from payplat.lanes import Lane
from tests.ledger.build import forget, in_world
from tests.mariadb import kept_folder, start_mariadb
from tests.migrated import migrated

# How many come at the same moment, which is the most that share a commit.
BATCH = 64
# What each piece of work costs in all. Statements are counted on both engines; what MariaDB itself was asked (statements
# and COMMITs), the pings of its connections and the syncs of its log are counted by the server.
EXPECTED = """
                SELECT  INSERT  UPDATE  COMMIT   asked   pings   syncs
one order            0       1       0       1       2       1       1
64 orders            0       1       0       1       2       1       1
one payment          3       5       1       1      10       1       1
64 payments          3       5       1       1      10       1       1
65 deliveries         3       4       5       4      16       4       3
"""
HEAD, *LINES = EXPECTED.strip().splitlines()
BY_SERVER = {"Questions": "asked", "Com_admin_commands": "pings", "Innodb_data_fsyncs": "syncs"}


class Gathering(seam.World):
    """The real world, in which ``count`` requests reach ``point`` before any of them goes on."""

    def __init__(self, point, count):
        self._point, self._missing, self._all = point, count, asyncio.Event()

    async def reach(self, point):
        """Wait for the others."""
        if point == self._point:
            self._missing -= 1
            if self._missing == 0:
                self._all.set()
            await self._all.wait()


# --- Where it is counted ---


@pytest.fixture
def works(monkeypatch):
    """No worker and no signs: nothing asks the database but what is counted."""
    monkeypatch.setattr(signs, "_PERIOD", 3600.0)
    return False


@pytest.fixture
def overrides():
    """One connection, so that no two transactions share a sync of the log."""
    return {"PAYPLAT_DATABASE__POOL_SIZE": "1"}


@pytest.fixture(scope="module")
def durable(request):
    """A MariaDB that syncs every commit to a disk; the other tests keep their files in memory, which nobody syncs."""
    request.getfixturevalue("mariadb")  # or says that there is none
    with kept_folder(Path("/var/tmp")) as folder:
        server = start_mariadb(folder, durable=True)
        if server.process is None:
            pytest.skip("a server that is not ours alone counts what others do too")
        # Nothing but commits may sync meanwhile: neither the log by the clock, nor pages by their number.
        server.execute("SET GLOBAL innodb_flush_log_at_timeout = 2700")
        server.execute("SET GLOBAL innodb_max_dirty_pages_pct = 99")
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", "mariadb"])
def database_url(request, tmp_path):
    """The address of an empty database on each engine."""
    request.node.user_properties.append(("lane", request.param))
    if request.param == "sqlite":
        yield migrated(f"sqlite:///{tmp_path / 'payplat.db'}")
    else:
        with request.getfixturevalue("durable").fresh_database() as url:
            yield migrated(url)


@pytest.fixture
def server(request, stage):
    """The stage's MariaDB, None where it has none."""
    return None if stage.platform.database.is_sqlite else request.getfixturevalue("durable")


# --- How it is counted ---


@contextmanager
def listening(database, counts):
    """Count the statements of a database's connections by their first word, COMMITs among them."""
    engine = database.engine.sync_engine

    def hear(_connection, _cursor, statement, _parameters, _context, _many):
        counts[statement.split(None, 1)[0]] += 1

    def hear_commit(_connection):
        counts["COMMIT"] += 1

    heard = {"before_cursor_execute": hear, "commit": hear_commit}
    for name, listener in heard.items():
        event.listen(engine, name, listener)
    try:
        yield
    finally:
        for name, listener in heard.items():
            event.remove(engine, name, listener)


def status_of(server):
    """Return what the server has counted so far."""
    found = dict(server.execute("SHOW GLOBAL STATUS")) if server else {}
    return Counter({told: int(found[name]) for name, told in BY_SERVER.items() if found})


@asynccontextmanager
async def costing(name, stage, server):
    """Demand that the work inside costs what the table says, no more and no less."""
    before, idle = status_of(server), status_of(server)  # to ask costs something too
    counts = Counter()
    with listening(stage.platform.database, counts):
        yield
    after = status_of(server)
    counts.update({told: after[told] - 2 * idle[told] + before[told] for told in after})
    for column, expected in row_of(name).items():
        if server or column not in BY_SERVER.values():
            assert counts[column] == expected, (
                f"{name}: {counts[column]} {column} instead of {expected}. "
                f"If that is meant, the new line of EXPECTED is:\n{HEAD}\n{line_of(name, counts)}"
            )


def row_of(name):
    """Return what is expected of a piece of work, by column."""
    (line,) = [line for line in LINES if line.startswith(name)]
    return dict(zip(HEAD.split(), map(int, line.removeprefix(name).split()), strict=True))


def line_of(name, counts):
    """Write counts as a line of the table."""
    return f"{name:14}" + "".join(f"{counts[column]:8}" for column in HEAD.split())


# --- What is counted ---


async def opened(client, count):
    """Open so many orders at the same moment."""
    with in_world(Gathering("before_open", count)):
        replies = await asyncio.gather(*(client.create() for _ in range(count)))
    assert {reply.status for reply in replies} == {201}
    return [reply.json for reply in replies]


async def notices_of(stage, orders):
    """Pay orders at Alipay; return its notices, of which none was sent."""
    for order in orders:
        stage.alipay.enter(next(iter(order["payment"].values())))
        stage.alipay.faults.notification(drop=True)
        await stage.alipay.pay(order["order_no"])
    return [stage.alipay.notification_body(order["order_no"]) for order in orders]


async def posted(client, notices):
    """Let notices come at the same moment."""
    with in_world(Gathering("before_settle", len(notices))):
        replies = await asyncio.gather(*map(client.callback, notices))
    assert {reply.body for reply in replies} == {b"success"}


async def delivered(stage, count):
    """Claim so many deliveries at once; their answers come at the same moment."""
    (own,) = (
        each for each in stage.platform.prompt_lanes if each._queue.table.name == "deliveries"
    )
    lane = Lane(own._database, own._queue, own._name, own._perform, slots=count)
    with in_world(Gathering("after_delivery", count)):
        await lane._claim()
        assert len(lane._work) == count
        await asyncio.wait(lane._work)


async def grown(client, stage, server):
    """Let the tables grow and empty them again: a file that grows is synced as well."""
    await posted(client, await notices_of(stage, await opened(client, 2 * BATCH)))
    await stage.platform.database.transaction(forget)

    def is_purged():
        ((_, left),) = server.execute("SHOW GLOBAL STATUS LIKE 'Innodb_history_list_length'")
        return left == "0"

    await client.until(is_purged, seconds=30)


async def test_what_requests_cost(client, stage, server):
    """Sixty-four orders or payments that come together cost the database what one costs, deliveries hardly more."""
    if server:
        await grown(client, stage, server)
    async with costing("one order", stage, server):
        first = await opened(client, 1)
    async with costing("64 orders", stage, server):
        orders = await opened(client, BATCH)
    first_notice, *notices = await notices_of(stage, first + orders)
    async with costing("one payment", stage, server):
        await posted(client, [first_notice])
    async with costing("64 payments", stage, server):
        await posted(client, notices)
    async with costing("65 deliveries", stage, server):
        await delivered(stage, BATCH + 1)
