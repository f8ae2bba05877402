"""What a request costs the database: exact counts of statements, commits and disk syncs, which no machine changes."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, contextmanager

import pytest
from sqlalchemy import event

from payplat import seam, signs
from payplat.lanes import Lane
from tests.ledger.build import in_world

BATCH, DELIVERIES = 64, 100
# What is expected of each piece of work: statements by their first word; on MariaDB also what the server itself counts:
# statements in all, the transactions, and the syncs of its log.
EXPECTED = """
                 SELECT INSERT UPDATE COMMIT   asked synced
one_order             0      0      0      0       0      0
orders                0      0      0      0       0      0
one_payment           0      0      0      0       0      0
payments              0      0      0      0       0      0
deliveries            0      0      0      0       0      0
"""
WORDS, *LINES = (line.split() for line in EXPECTED.strip().splitlines())
TABLE = {name: dict(zip(WORDS, map(int, counts), strict=True)) for name, *counts in LINES}
_STATUS = "SHOW GLOBAL STATUS WHERE variable_name IN ('Questions', 'Innodb_os_log_fsyncs', 'Innodb_data_fsyncs', 'Com_commit', 'Com_admin_commands', 'Innodb_log_writes')"


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


@pytest.fixture
def works(monkeypatch):
    """No worker and no signs: nothing asks the database but what is counted."""
    monkeypatch.setattr(signs, "_PERIOD", 3600.0)
    return False


@contextmanager
def heard(database):
    """Count the statements of a database's connections by their first word, COMMITs among them."""
    engine, counts = database.engine.sync_engine, Counter()

    def hear(_connection, _cursor, statement, _parameters, _context, _many):
        counts[statement.split(None, 1)[0]] += 1

    def commit(_connection):
        counts["COMMIT"] += 1

    event.listen(engine, "before_cursor_execute", hear)
    event.listen(engine, "commit", commit)
    try:
        yield counts
    finally:
        event.remove(engine, "before_cursor_execute", hear)
        event.remove(engine, "commit", commit)


@pytest.fixture
def server(request, stage):
    """The private MariaDB that the stage uses, as durable as in production; None where there is none of our own."""
    if stage.platform.database.is_sqlite:
        yield None
        return
    mariadb = request.getfixturevalue("mariadb")
    # Nothing but commits may sync the log meanwhile.
    mariadb.execute("SET GLOBAL innodb_flush_log_at_timeout = 2700")
    mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    yield mariadb
    mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
    mariadb.execute("SET GLOBAL innodb_flush_log_at_timeout = 1")


@asynccontextmanager
async def measured(name, stage, server):
    """Compare what the work inside costs with the table."""
    before = dict(server.execute(_STATUS)) if server else None
    with heard(stage.platform.database) as counts:
        yield
    if server:
        after = dict(server.execute(_STATUS))
        print({n: int(after[n]) - int(before[n]) for n in after})
    print("COUNTS", name, dict(counts))


async def opened(client, count):
    """Open so many orders at the same moment."""
    with in_world(Gathering("before_open", count)):
        replies = await asyncio.gather(*(client.create() for _ in range(count)))
    assert {reply.status for reply in replies} == {201}
    return [reply.json for reply in replies]


async def notices_of(stage, orders):
    """Pay orders at Alipay; return the notices, of which none was sent."""
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


async def test_what_requests_cost(client, stage, server):
    """Sixty-four orders or payments that share a commit cost what one costs; a delivery costs what it did."""
    await opened(client, 1)  # connects
    async with measured("one_order", stage, server):
        first = await opened(client, 1)
    async with measured("orders", stage, server):
        orders = await opened(client, BATCH)
    notices = await notices_of(stage, first + orders)
    async with measured("one_payment", stage, server):
        await posted(client, notices[:1])
    async with measured("payments", stage, server):
        await posted(client, notices[1:])
