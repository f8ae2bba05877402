"""What a paid callback costs after years of business: beside 10 thousand, a million and five million old orders.

``python -m benchmarks.growth`` starts a private MariaDB that syncs every commit, and makes a database for each number of
old orders: all of them paid and delivered, with the rows that they leave behind. In each round, in each database, each
server pays new orders; all of it with each size of the buffer pool. A run after which its database does not hold exactly
the payments that were answered with ``success`` is void, and ends the benchmark.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import Connection, create_engine, insert, inspect, make_url, text

from benchmarks.callback import ANSWER, contestant, payments
from benchmarks.contest import WARM_UP, Load, drive, say, show
from benchmarks.ground import ROOT, Ground, Void, lay_ground
from benchmarks.load import SEPARATOR
from benchmarks.notices import make_sales, order_rows
from benchmarks.old_orders import seed
from benchmarks.report import Run, line, surroundings
from benchmarks.servers import make_room
from payplat.models import Base
from tests.mariadb import MariaDB, start_mariadb

_SEEDING = 4  # GiB of buffer pool
_SERVERS = ("raw", "payplat")
_COLUMNS = ("CPU ms", "db CPU ms", "req/s", "p50 ms", "p99 ms", "stmts/req", "fsyncs/req")
_NUMBERED = ("evidence", "deliveries", "timeline")
_KEYED = ("payments", "events")
# All that one payment leaves behind, and that it belongs together.
_COMPLETE = (
    "SELECT count(*) FROM orders o JOIN payments p USING (order_no)"
    " JOIN evidence e ON e.sha256 = p.evidence_sha256 AND e.order_no = o.order_no"
    " JOIN events v ON v.order_no = o.order_no JOIN deliveries d ON d.event_id = v.event_id"
    " JOIN timeline t ON t.order_no = o.order_no AND t.at = o.settled_at"
    " WHERE o.order_no >= :first AND o.status = 'paid' AND e.state = 'used' AND d.status = 'due'"
)


@dataclass
class Books:
    """One database with its old orders."""

    url: str
    old: int
    new: int = 0
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))

    @property
    def mebibytes(self) -> int:
        """How large data and indexes are."""
        asked = "SELECT sum(data_length + index_length) DIV 1048576 FROM information_schema.tables"
        with self.connect() as connection:
            return int(connection.scalar(text(f"{asked} WHERE table_schema = database()")) or 0)

    def connect(self) -> Connection:
        """Return a connection that nobody pools."""
        return create_engine(make_url(self.url).set(drivername="mysql+pymysql")).connect()

    def warm(self) -> None:
        """Read every index once: a server that has been up for long has in memory what finds room there."""
        with self.connect() as connection:
            for table in Base.metadata.sorted_tables:
                for index in inspect(connection).get_indexes(table.name):
                    name = index["name"]
                    connection.scalar(
                        text(f"SELECT count(*) FROM {table.name} FORCE INDEX ({name})")  # noqa: S608
                    )

    def cost(self, server: str, column: str) -> float:
        """Return the median over a server's runs."""
        return median(run.figures[column] for run in self.runs[server])

    def total(self, server: str) -> float:
        """Return the processor time of server and database for a payment, in milliseconds."""
        return self.cost(server, "CPU ms") + self.cost(server, "db CPU ms")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 1 when a run was void and 3 when the machine has no MariaDB."""
    given = _arguments(arguments)
    with tempfile.TemporaryDirectory(prefix="payplat-benchmark-") as name:
        # start_mariadb opens its folder and two above it to the server's account.
        folder = Path(name) / "files" / "mariadb"
        folder.mkdir(parents=True)
        mariadb = start_mariadb(folder, durable=True)
        if mariadb is None:
            say("mariadbd not found: apt-get install mariadb-server-core mariadb-client-core")
            return 3
        try:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            return _compare(lay_ground(folder.parent, mariadb, key), key, given)
        except Void as reason:
            say(f"void: {reason}")
            return 1
        finally:
            mariadb.stop()


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.growth", description=__doc__)
    parser.add_argument("--old", type=int, nargs="+", default=[10_000, 1_000_000, 5_000_000])
    parser.add_argument("--orders", type=int, default=4000, help="how many a run pays")
    parser.add_argument("--connections", type=int, default=64, help="how many post at once")
    parser.add_argument("--rounds", type=int, default=3, help="how often each server runs")
    parser.add_argument(
        "--pools", type=int, nargs="+", default=[1, 12], help="GiB that the buffer pool holds"
    )
    return parser.parse_args(arguments)


def _compare(ground: Ground, key: rsa.RSAPrivateKey, given: argparse.Namespace) -> int:
    with ExitStack() as stack:
        shelf = [_fill(ground, stack, old) for old in given.old]
        _settle_down(ground.mariadb)
        tables = [line for pool in given.pools for line in _play(ground, key, shelf, pool, given)]
        for books in shelf:
            _check_all(books)
        version = str(ground.mariadb.execute("SELECT version()")[0][0])
        told = (
            f"{given.orders} payments a run, {given.rounds} rounds, {given.connections} connections"
        )
        sizes = f"MiB of each database: {[books.mebibytes for books in shelf]}"
        show(f"{told}; medians", "", *surroundings(version), sizes, *tables)
    return 0


def _play(
    ground: Ground,
    key: rsa.RSAPrivateKey,
    shelf: Sequence[Books],
    pool: int,
    given: argparse.Namespace,
) -> list[str]:
    """Let all servers pay with that size of the buffer pool; return the table."""
    _resize(ground.mariadb, pool)
    for books in shelf:
        books.runs.clear()
        books.warm()
    for number in range(given.rounds):
        for books in shelf:
            for name in _SERVERS[:: 1 if number % 2 else -1]:
                run = _measure(ground, key, books, name, given)
                books.runs[name].append(run)
                told = ", ".join(f"{run.figures[what]:.3f} {what}" for what in _COLUMNS[:2])
                say(f"{pool} GiB, round {number + 1}: {books.old} old, {name}: {told}")
    return ["", f"buffer pool {pool} GiB", "", *_table(shelf)]


def _fill(ground: Ground, stack: ExitStack, old: int) -> Books:
    """Make a database with so many old orders, which is gone when the stack closes."""
    began = time.monotonic()
    books = Books(stack.enter_context(ground.mariadb.fresh_database()), old)
    migrate = [sys.executable, "-m", "payplat", "migrate"]
    subprocess.run(  # noqa: S603 - our own program
        migrate, env=ground.environ(books.url), cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    _resize(ground.mariadb, _SEEDING)
    # Nobody needs what is half seeded.
    ground.mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
    seed(books.url, old)
    ground.mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    say(f"{old} old orders, {books.mebibytes} MiB, in {time.monotonic() - began:.0f} s")
    return books


def _resize(mariadb: MariaDB, pool: int) -> None:
    """Let the buffer pool hold so many GiB."""
    mariadb.execute("SET GLOBAL innodb_buffer_pool_size = %s", pool << 30)
    while int(mariadb.execute("SELECT @@innodb_buffer_pool_size")[0][0]) != pool << 30:
        time.sleep(0.5)


def _settle_down(mariadb: MariaDB) -> None:
    """Leave the first processor, on which it may seed, to the servers."""
    make_room()
    if mariadb.process is not None:
        for thread in Path(f"/proc/{mariadb.process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), os.sched_getaffinity(0))


def _measure(
    ground: Ground, key: rsa.RSAPrivateKey, books: Books, name: str, given: argparse.Namespace
) -> Run:
    """Let one server pay new orders; raises Void."""
    sales = make_sales(ground.catalogue, given.orders + WARM_UP)
    requests = ground.folder / "requests"
    requests.write_bytes(SEPARATOR.join(payments(sales, key, books.new + 1)))
    with books.connect() as connection:
        connection.execute(insert(Base.metadata.tables["orders"]), list(order_rows(sales)))
        connection.commit()
        last = {table: _last(connection, table) for table in _NUMBERED}
    with contestant(name).running(ground, books.url) as (pid, port):
        run = drive(ground, Load(requests, given.orders, 200, ANSWER, given.connections), pid, port)
    if run.client["failures"]:
        raise Void(f"{name} failed {run.client['failures']} notices")
    books.new += len(sales)
    _check(books, len(sales), min(sale.order_no for sale in sales), last)
    return run


def _last(connection: Connection, table: str) -> int:
    return int(connection.scalar(text(f"SELECT max(id) FROM {table}")) or 0)  # noqa: S608


def _check(books: Books, count: int, first: str, last: Mapping[str, int]) -> None:
    """Raise Void unless a run has written ``count`` payments with all that belongs to them, and nothing more."""
    asked = {"complete payments": _COMPLETE}
    asked |= {name: f"SELECT count(*) FROM {name} WHERE order_no >= :first" for name in _KEYED}  # noqa: S608
    asked |= {name: f"SELECT count(*) FROM {name} WHERE id > {last[name]}" for name in _NUMBERED}  # noqa: S608
    with books.connect() as connection:
        found = {what: connection.scalar(text(q), {"first": first}) for what, q in asked.items()}
    wrong = [f"{n} {what}" for what, n in found.items() if n != count]
    if wrong:
        raise Void(f"{', '.join(wrong)} instead of {count}")


def _check_all(books: Books) -> None:
    """Raise Void unless nothing of the old business is missing."""
    with books.connect() as connection:
        for table in ("orders", *_KEYED, *_NUMBERED[:2]):
            count = connection.scalar(text(f"SELECT count(*) FROM {table}"))  # noqa: S608
            if count != books.old + books.new:
                raise Void(f"{count} rows in {table} instead of {books.old + books.new}")


def _table(shelf: Sequence[Books]) -> Iterator[str]:
    yield line(["server", "old orders", "CPU + db CPU ms", f"/ {shelf[0].old} old", *_COLUMNS])
    yield line(["---"] * (4 + len(_COLUMNS)))
    for name in _SERVERS:
        for books in shelf:
            total = books.total(name)
            told = [str(books.old), f"{total:.3f}", f"{total / shelf[0].total(name):.2f}"]
            yield line([name, *told, *(f"{books.cost(name, column):.3f}" for column in _COLUMNS)])


if __name__ == "__main__":
    sys.exit(main())
