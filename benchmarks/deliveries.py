"""What a delivery costs: payplat's worker beside a hand-written relay that goes one by one, and beside the client alone.

``python -m benchmarks.deliveries`` starts a private MariaDB that syncs every commit, and an endpoint that answers 204.
In each round each relay in turn, on a fresh database of paid orders, warms up, and delivers a backlog that becomes due at
once. A run after which the endpoint has not received each event once, or the database does not hold each delivery with
its attempt and its line in the order's timeline, is void and ends the benchmark.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import Connection, NullPool, create_engine, make_url, text

from benchmarks.contest import say, show
from benchmarks.ground import ROOT, Ground, Void, lay_ground
from benchmarks.meters import Meters, Reading
from benchmarks.old_orders import seed
from benchmarks.report import line, surroundings
from benchmarks.servers import make_room
from payplat import seam
from tests.mariadb import start_mariadb

_WARM_UP = 500
_PATIENCE = 3600.0
_LEAD = 3.0  # seconds from the writing of a backlog until it is due
_TABLES = ("orders", "payments", "events")
# The sweep for untold orders would mend an event without its delivery, so all are there from the start, due in none of
# our lives.
_BACKLOG = (
    "INSERT INTO deliveries (event_id, order_no, endpoint, status, due_at, failures, created_at)"
    " SELECT event_id, order_no, 'default/main', 'due', 1000000000000000000, 0, created_at FROM events"
)
_OWE = "UPDATE deliveries SET due_at = :due WHERE due_at = 1000000000000000000 ORDER BY id LIMIT :count"
_IS_DUE = (
    "SELECT 1 FROM deliveries WHERE endpoint = 'default/main' AND status = 'due'"
    " AND due_at < 1000000000000000000 LIMIT 1"
)
_CHECKS = {
    "deliveries": "SELECT count(*) FROM deliveries",
    "delivered": "SELECT count(*) FROM deliveries WHERE status = 'delivered'"
    " AND lease_token IS NULL AND delivered_at IS NOT NULL",
    "attempts": "SELECT count(*) FROM attempts",
    "lines": "SELECT count(*) FROM timeline",
    "complete ones": "SELECT count(*) FROM deliveries d JOIN attempts a ON a.delivery_id = d.id"
    " JOIN timeline t ON t.order_no = d.order_no AND t.what = 'delivered'"
    " WHERE a.ok = 1 AND a.status = 204",
}


@dataclass(frozen=True)
class Run:
    """One relay once: ``pss`` is its share of memory in the end, in bytes."""

    count: int
    seconds: float
    meters: Reading
    pss: int

    @property
    def figures(self) -> dict[str, float]:
        """The columns of the table."""
        cpu, counters = self.meters.cpu, self.meters.counters
        others = self.meters.busy - sum(cpu.values())
        return {
            "rows/s": self.count / self.seconds,
            "CPU ms": cpu["relay"] / self.count * 1000,
            "db CPU ms": cpu["database"] / self.count * 1000,
            "endpoint CPU ms": cpu["endpoint"] / self.count * 1000,
            "stmts/row": counters["Questions"] / self.count,
            "commits/row": counters["Com_commit"] / self.count,
            "fsyncs/row": counters["Innodb_data_fsyncs"] / self.count,
            "PSS MiB": self.pss / 2**20,
            "others": max(0.0, others / self.meters.at),
        }


@dataclass(frozen=True)
class Stage:
    """The ground, the endpoint's process and where it listens."""

    ground: Ground
    endpoint: int
    url: str

    def received(self, last: int = 0) -> Mapping[str, float]:
        """Return what the endpoint has received so far, and how long the ``last`` ones took."""
        with urllib.request.urlopen(f"{self.url}{last}") as answer:  # noqa: S310 - our own address
            return dict(json.load(answer))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 1 when a run was void and 3 when the machine has no MariaDB."""
    given = _arguments(arguments)
    make_room()
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
            return _compare(lay_ground(folder.parent, mariadb, key), given)
        except Void as reason:
            say(f"void: {reason}")
            return 1
        finally:
            mariadb.stop()


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.deliveries", description=__doc__)
    parser.add_argument("--backlog", type=int, default=10_000, help="deliveries of a run")
    parser.add_argument("--rounds", type=int, default=3, help="how often each relay runs")
    parser.add_argument("--relays", nargs="+", default=["bare", "one by one", "payplat"])
    parser.add_argument(
        "--against", type=Path, nargs="*", default=[], help="other checkouts of payplat"
    )
    return parser.parse_args(arguments)


def _compare(ground: Ground, given: argparse.Namespace) -> int:
    checkouts = dict.fromkeys(given.relays, ROOT) | {p.name: p for p in given.against}
    results: dict[str, list[Run]] = {name: [] for name in checkouts}
    for number in range(given.rounds):
        names = list(checkouts)
        turn = number % len(names)  # so that nobody always follows the same one
        for name in names[turn:] + names[:turn]:
            run = _measure(ground, name, checkouts[name].resolve(), given.backlog)
            results[name].append(run)
            rate, cost = run.figures["rows/s"], run.figures["CPU ms"]
            say(f"round {number + 1}: {name}: {rate:.0f} rows/s, {cost:.3f} ms CPU")
    version = str(ground.mariadb.execute("SELECT version()")[0][0])
    told = f"{given.backlog} deliveries a run, {given.rounds} rounds; medians"
    show(told, "", *surroundings(version), "", *_table(results))
    return 0


def _measure(ground: Ground, name: str, checkout: Path, count: int) -> Run:
    """Let one relay deliver; raises Void."""
    with ExitStack() as stack:
        stage = stack.enter_context(_endpoint(ground))
        url = stack.enter_context(ground.mariadb.fresh_database())
        log = stack.enter_context((ground.folder / "relay.log").open("ab"))
        environ = ground.environ(url) | {"PAYPLAT_APPS__DEFAULT__ENDPOINTS__MAIN__URL": stage.url}
        migrate = [sys.executable, "-m", "payplat", "migrate"]
        quiet = {"env": environ, "cwd": checkout, "stdout": log, "stderr": log}
        subprocess.run(migrate, check=True, **quiet)  # noqa: S603 - our own program
        seed(url, count + _WARM_UP, _TABLES)
        _execute(url, _BACKLOG)
        relay = subprocess.Popen(  # noqa: S603 - our own program
            _command(ground, stage, name, url, count), stdin=subprocess.PIPE, **quiet
        )
        stack.callback(_end, relay)
        os.sched_setaffinity(relay.pid, {0})
        run = _watch(stage, relay, url, count, writes=name != "bare")
        if name != "bare":
            _check(url, count + _WARM_UP)
    return run


def _command(ground: Ground, stage: Stage, name: str, url: str, count: int) -> list[str]:
    if name not in ("bare", "one by one"):
        return [sys.executable, "-m", "payplat", "worker"]
    given = [f"--url={stage.url}", f"--secret={ground.folder / 'endpoint'}"]
    given += [f"--count={count}", f"--warm-up={_WARM_UP}"]
    if name != "bare":
        given.append(f"--database={url}")
    return [sys.executable, "-m", "benchmarks.raw_relay", *given]


@contextmanager
def _endpoint(ground: Ground) -> Iterator[Stage]:
    """Let an endpoint listen until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.endpoint"], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        port = int(process.stdout.readline()) if process.stdout else 0
        yield Stage(ground, process.pid, f"http://127.0.0.1:{port}/")
    finally:
        _end(process)


def _watch(
    stage: Stage, relay: "subprocess.Popen[bytes]", url: str, count: int, *, writes: bool
) -> Run:
    """Measure a relay from the moment that it has warmed up until all is delivered and recorded."""
    if writes:
        _execute(url, _OWE, count=_WARM_UP, due=seam.now())
    _until(relay, lambda: stage.received()["different"] >= _WARM_UP and not _owes(url))
    if writes:
        _execute(url, _OWE, count=count, due=seam.now() + int(_LEAD * seam.SECOND))
    pids = {"relay": relay.pid, "endpoint": stage.endpoint, "database": _database(stage.ground)}
    meters = Meters(stage.ground.mariadb, pids)
    before = meters.read()
    if relay.stdin:
        relay.stdin.write(b"go\n")
        relay.stdin.flush()
    _until(relay, lambda: stage.received()["different"] >= count + _WARM_UP)
    _until(relay, lambda: not _owes(url))
    after = meters.read()
    meters.close()
    received = stage.received(count)
    if received["count"] != count + _WARM_UP:
        raise Void(f"the endpoint received {received['count']} deliveries, {count} were due")
    return Run(count, received["seconds"], after - before, _pss(relay.pid))


def _execute(url: str, statement: str, **given: int) -> None:
    with _connected(url) as connection:
        connection.execute(text(statement), given)
        connection.commit()


def _owes(url: str) -> bool:
    """Return whether a delivery is not recorded yet."""
    with _connected(url) as connection:
        return connection.scalar(text(_IS_DUE)) is not None


def _check(url: str, expected: int) -> None:
    """Raise Void unless the database holds exactly ``expected`` deliveries with all that belongs to them."""
    with _connected(url) as connection:
        counts = {what: connection.scalar(text(query)) for what, query in _CHECKS.items()}
    wrong = [f"{count} {what}" for what, count in counts.items() if count != expected]
    if wrong:
        raise Void(f"{', '.join(wrong)} instead of {expected}")


def _connected(url: str) -> Connection:
    address = make_url(url).set(drivername="mysql+pymysql")
    return create_engine(address, poolclass=NullPool).connect()


def _until(relay: "subprocess.Popen[bytes]", condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; raises Void when the relay ends or takes too long."""
    until = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > until or relay.poll() is not None:
            raise Void("the relay ended, or never got ready")
        time.sleep(0.1)


def _pss(pid: int) -> int:
    """Return a process's proportional share of memory in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def _database(ground: Ground) -> int:
    return ground.mariadb.process.pid if ground.mariadb.process else 0


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(60)
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


def _table(results: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    medians = {name: _medians(runs) for name, runs in results.items()}
    columns = list(next(iter(medians.values())))
    base = medians.get("one by one")
    yield line(["relay", *columns, *(["rows/s / one by one"] if base else [])])
    yield line(["---"] * (len(columns) + 1 + bool(base)))
    for name, row in medians.items():
        ratio = [f"{row['rows/s'] / base['rows/s']:.2f}"] if base else []
        yield line([name, *(f"{value:.{_places(value)}f}" for value in row.values()), *ratio])


def _medians(runs: Sequence[Run]) -> dict[str, float]:
    figures = [run.figures for run in runs]
    return {name: median(row[name] for row in figures) for name in figures[0]}


def _places(value: float) -> int:
    return 0 if value >= 100 else 3


if __name__ == "__main__":
    sys.exit(main())
