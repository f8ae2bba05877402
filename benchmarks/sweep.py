"""What the periodic jobs cost against the size of the table: asking about due orders, and looking for untold ones.

``python -m benchmarks.sweep`` starts a private MariaDB that syncs every commit, and makes a database for each number of
old orders, all paid and delivered. In each round, in each database, this process makes five passes: it asks a provider
that answers at once about the pending orders that are due, does so by hand-written code, one after the other, looks for
due ones a hundred times where there are none, and runs the sweep for paid orders without their event at the start of the
table and in its middle. A pass that does not ask about each due order once and tell so in its timeline, or mends what is
whole, is void and ends the benchmark.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import Connection, NullPool, create_engine, insert, make_url, text

from benchmarks.contest import say, show
from benchmarks.fixed import APP_ID, SELLER_ID
from benchmarks.ground import ROOT, Ground, Void, lay_ground
from benchmarks.meters import Meters, Reading
from benchmarks.notices import make_sales, order_rows
from benchmarks.old_orders import seed
from benchmarks.raw_sweep import sweep as raw_sweep
from benchmarks.report import line, surroundings
from payplat.database import Database
from payplat.lanes import LEASE
from payplat.models import Base
from payplat.orders import Orders
from payplat.provider import Provider
from payplat.purchase import Evidence, Inbound, LatePolicy, Order, Prepared, Verdict
from payplat.reconcile import QUEUE, Reconciler
from payplat.retry import Backoff
from payplat.rows import Terms
from payplat.sweeps import UntoldOrders
from tests.mariadb import start_mariadb

_TERMS = {"alipay": Terms(LatePolicy.DELIVER, {"default/main": None})}
_LOOKS, _AT_ONCE = 100, 8
_LATER = 10**18  # due in none of our lives
_COUNTS = {
    "events": "SELECT count(*) FROM events",
    "deliveries": "SELECT count(*) FROM deliveries",
    "paid orders": "SELECT count(*) FROM orders WHERE channel = 'alipay' AND status = 'paid'",
}


class Asked(Provider):
    """A provider that knows of no payment, says so at once, and counts who is asked about."""

    kind, methods, currency = "alipay", ("app",), "CNY"
    environment, account = "sandbox", f"{APP_ID}/{SELLER_ID}"

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def verify(self, order: Order, evidence: Evidence) -> Verdict:
        """Say that it is not paid."""
        await self.ask(order.order_no)
        return self.without_evidence(order, evidence)

    async def ask(self, order_no: str) -> str:
        """Count a question, and answer it for who asks by hand."""
        self.asked[order_no] += 1
        return "unpaid"

    async def close(self, order: Order) -> None:
        """Nobody's time is over here."""
        raise NotImplementedError

    async def prepare(self, order: Order) -> Prepared:
        """Nobody opens an order here."""
        raise NotImplementedError

    def read_notification(self, inbound: Inbound) -> Verdict:
        """Nobody is notified here."""
        raise NotImplementedError

    async def refund(self, order: Order, transaction_id: str, key: str) -> Verdict:
        """Nobody wants money back here."""
        raise NotImplementedError

    async def probe(self) -> str:
        """Nobody doubts us here."""
        raise NotImplementedError


@dataclass
class Books:
    """One database with its old orders, and by pass what the meters have read in each round."""

    url: str
    old: int
    readings: dict[str, list[Reading]] = field(default_factory=dict)

    def connect(self) -> Connection:
        """Return a connection of its own."""
        address = make_url(self.url).set(drivername="mysql+pymysql")
        return create_engine(address, poolclass=NullPool).connect()

    def count(self) -> Mapping[str, int]:
        """Return how much old business there is."""
        with self.connect() as connection:
            return {what: int(connection.scalar(text(q)) or 0) for what, q in _COUNTS.items()}

    def questions(self) -> int:
        """Return how many questions the timelines tell of."""
        told = text("SELECT count(*) FROM timeline WHERE what = 'queried'")
        with self.connect() as connection:
            return int(connection.scalar(told) or 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 1 when a pass was void and 3 when the machine has no MariaDB."""
    given = _arguments(arguments)
    with tempfile.TemporaryDirectory(prefix="payplat-benchmark-") as name:
        # start_mariadb opens its folder and two above it to the server's account.
        folder = Path(name) / "files" / "mariadb"
        folder.mkdir(parents=True)
        mariadb = start_mariadb(folder, durable=True)
        if mariadb is None:
            say("mariadbd not found: apt-get install mariadb-server-core mariadb-client-core")
            return 3
        mariadb.execute("SET GLOBAL innodb_buffer_pool_size = %s", 1 << 30)
        try:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            return _compare(lay_ground(folder.parent, mariadb, key), given)
        except Void as reason:
            say(f"void: {reason}")
            return 1
        finally:
            mariadb.stop()


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.sweep", description=__doc__)
    parser.add_argument("--old", type=int, nargs="+", default=[10_000, 1_000_000, 5_000_000])
    parser.add_argument("--due", type=int, default=500, help="orders that a pass asks about")
    parser.add_argument("--rounds", type=int, default=3, help="how often each pass is made")
    return parser.parse_args(arguments)


def _compare(ground: Ground, given: argparse.Namespace) -> int:
    with ExitStack() as stack:
        shelf = [_fill(ground, stack, old) for old in given.old]
        for number in range(given.rounds):
            for books in shelf:
                asyncio.run(_pass_all(ground, books, given.due))
                say(f"round {number + 1}: {books.old} old orders")
        version = str(ground.mariadb.execute("SELECT version()")[0][0])
        show(f"{given.rounds} rounds; medians", "", *surroundings(version), "", *_table(shelf))
    return 0


def _fill(ground: Ground, stack: ExitStack, old: int) -> Books:
    """Make a database with so many old orders, which is gone when the stack closes."""
    books = Books(stack.enter_context(ground.mariadb.fresh_database()), old)
    migrate = [sys.executable, "-m", "payplat", "migrate"]
    subprocess.run(  # noqa: S603 - our own program
        migrate, env=ground.environ(books.url), cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    ground.mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
    seed(books.url, old, ("orders", "payments", "events", "deliveries"))
    ground.mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    say(f"{old} old orders")
    return books


async def _pass_all(ground: Ground, books: Books, due: int) -> None:
    """Make each pass once; raises Void."""
    before, middle = books.count(), _middle(books)
    database, provider = Database(books.url), Asked()
    orders = Orders(database, _TERMS)
    checker = Reconciler(database, orders, {"alipay": provider}, Backoff(15), lambda: None)
    sweep = UntoldOrders(database, _TERMS)
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        f"{due} due orders": partial(_check_due, database, checker),
        f"{due} due orders, by hand": partial(raw_sweep, books.url, provider.ask),
    }
    looks: dict[str, Callable[[], Awaitable[object]]] = {
        f"{_LOOKS} looks, none due": partial(_look, database),
        "untold orders, from the start": partial(sweep.run, ""),
        "untold orders, from the middle": partial(sweep.run, middle),
    }
    try:
        await sweep.run("")  # connections are open, statements compiled
        for name, run in questions.items():
            expected, told = _make_due(ground, books, due), books.questions()
            provider.asked.clear()
            books.readings.setdefault(name, []).append(await _measured(ground, run))
            if provider.asked != expected or books.questions() - told != due:
                raise Void(f"{provider.asked.total()} questions about {due} due orders")
        for name, run in looks.items():
            books.readings.setdefault(name, []).append(await _measured(ground, run))
        if books.count() != before:
            raise Void(f"{books.count()} instead of {before}")
    finally:
        await orders.drain()
        await database.close()


def _middle(books: Books) -> str:
    half = text("SELECT order_no FROM orders ORDER BY order_no LIMIT 1 OFFSET :half")
    with books.connect() as connection:
        return bytes(connection.scalar(half, {"half": books.old // 2}) or b"").decode()


def _make_due(ground: Ground, books: Books, due: int) -> Counter[str]:
    """Open orders that are due at once; those of earlier rounds are not any more."""
    sales = make_sales(ground.catalogue, due)
    with books.connect() as connection:
        connection.execute(
            text(f"UPDATE orders SET next_check_at = {_LATER} WHERE status = 'pending'")  # noqa: S608
        )
        rows = [{**row, "next_check_at": 1} for row in order_rows(sales)]
        connection.execute(insert(Base.metadata.tables["orders"]), rows)
        connection.commit()
    return Counter(sale.order_no for sale in sales)


async def _check_due(database: Database, checker: Reconciler) -> None:
    """Ask about all that is due, as many at once as a lane does."""
    claim = partial(QUEUE.claim, database, "alipay", limit=_AT_ONCE, lease=LEASE)
    while rows := await claim():
        await asyncio.gather(*(checker.check(row) for row in rows))


async def _look(database: Database) -> None:
    for _ in range(_LOOKS):
        if await QUEUE.claim(database, "alipay", limit=_AT_ONCE, lease=LEASE):
            raise Void("an order was due where none should be")


async def _measured(ground: Ground, run: Callable[[], Awaitable[object]]) -> Reading:
    process = ground.mariadb.process
    meters = Meters(ground.mariadb, {"us": os.getpid(), "database": process.pid if process else 0})
    before = meters.read()
    await run()
    after = meters.read()
    meters.close()
    return after - before


def _table(shelf: Sequence[Books]) -> Iterator[str]:
    columns = ("CPU ms", "db CPU ms", "statements", "rows read", "fsyncs")
    yield line(["pass", "old orders", *columns])
    yield line(["---"] * (2 + len(columns)))
    for name in shelf[0].readings:
        for books in shelf:
            told = [_figures(reading) for reading in books.readings[name]]
            yield line(
                [name, str(books.old), *(f"{median(each):.0f}" for each in zip(*told, strict=True))]
            )


def _figures(reading: Reading) -> tuple[float, ...]:
    cpu, counters = reading.cpu, reading.counters
    told = (counters[name] for name in ("Questions", "Rows_read", "Innodb_data_fsyncs"))
    return (cpu["us"] * 1000, cpu["database"] * 1000, *told)


if __name__ == "__main__":
    sys.exit(main())
