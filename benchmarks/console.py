"""How long an operator waits: search by each kind of id, the start page's figures, the queue, the list of deliveries.

``python -m benchmarks.console`` fills a private MariaDB (or a SQLite file) with a month of orders, the last hour of them
busy, and asks each question many times, one after the other. The exit code is 1 when a median is above the goal.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from sqlalchemy import ColumnElement, create_engine, make_url, select, text

from benchmarks.history import ACCOUNT, CHANCE, moments, write
from benchmarks.report import surroundings
from payplat import seam
from payplat.database import Database
from payplat.delivery_list import Filter, list_deliveries
from payplat.demo.stage import set_stage
from payplat.explanation import Explanations
from payplat.models import EVENTS, EVIDENCE, REFUNDS
from payplat.orders import Orders
from payplat.quarantine import Kind, Quarantine
from payplat.schema import migrate
from payplat.search import Search
from payplat.statistics import Statistics
from tests.mariadb import start_mariadb
from tests.people import person

GOAL = 200.0  # milliseconds
Question = Callable[[], Awaitable[Any]]
_DRIVERS = {"mariadb": "mysql+pymysql", "sqlite": "sqlite"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 3 when the machine has no MariaDB."""
    given = _arguments(arguments)
    with _engine(given.engine) as found:
        if found is None:
            _say("mariadbd not found: apt-get install mariadb-server-core mariadb-client-core")
            return 3
        url, version = found
        _say(f"writing {given.orders} orders …")
        started = time.monotonic()
        numbers = _fill(url, given.orders, given.busy)
        _say(f"written in {time.monotonic() - started:.0f} s")
        return asyncio.run(_measure(url, version, numbers, given))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.console", description=__doc__)
    parser.add_argument("--orders", type=int, default=200_000, help="how many there are")
    parser.add_argument("--busy", type=int, default=20_000, help="how many in the last hour")
    parser.add_argument("--times", type=int, default=100, help="how often each question is asked")
    parser.add_argument("--engine", choices=_DRIVERS, default="mariadb")
    return parser.parse_args(arguments)


@contextmanager
def _engine(name: str) -> Iterator[tuple[str, str] | None]:
    """Start an engine with an empty database; yields its address and version, None when it is not installed."""
    with tempfile.TemporaryDirectory(prefix="payplat-benchmark-") as folder:
        if name == "sqlite":
            yield f"sqlite:///{folder}/payplat.db", "none; SQLite"
            return
        # start_mariadb opens its folder and two above it to the server's account.
        inner = Path(folder) / "files" / "mariadb"
        inner.mkdir(parents=True)
        mariadb = start_mariadb(inner, durable=True)
        if mariadb is None:
            yield None
            return
        try:
            with mariadb.fresh_database() as url:
                yield url, str(mariadb.execute("SELECT version()")[0][0])
        finally:
            mariadb.stop()


def _fill(url: str, count: int, busy: int) -> list[str]:
    async def bring() -> None:
        database = Database(url)
        await migrate(database)
        await database.close()

    asyncio.run(bring())
    parsed = make_url(url)
    engine = create_engine(parsed.set(drivername=_DRIVERS[parsed.get_backend_name()]))
    now = seam.now()
    with engine.connect() as connection:
        numbers = write(connection, moments(count, now, min(busy, count)), now)
        if parsed.get_backend_name() != "sqlite":
            for table in "orders payments events deliveries evidence refunds".split():
                connection.execute(text(f"ANALYZE TABLE {table}"))
    engine.dispose()
    return numbers


async def _measure(
    url: str, version: str, numbers: Sequence[str], given: argparse.Namespace
) -> int:
    database = Database(url)
    questions = await _questions(database, numbers)
    results = {name: await _ask(ask, given.times) for name, ask in questions.items()}
    await database.close()
    results |= await _pages(url, numbers, given.times)
    told = f"{given.orders} orders, {given.busy} in the last hour; each asked {given.times} times"
    _print(told, "", *surroundings(version), "", *_table(results))
    return int(any(median(times) > GOAL for times in results.values()))


async def _pages(url: str, numbers: Sequence[str], times: int) -> dict[str, Sequence[float]]:
    """Open pages over HTTP, as a browser without script; service and client share this process."""
    here = {"PAYPLAT_DATABASE__URL": url}
    with tempfile.TemporaryDirectory(prefix="payplat-benchmark-") as name:
        async with set_stage(Path(name), overrides=here, work=False) as stage:
            ann = await person(stage, "ann")
            paths: Mapping[str, Callable[[], str]] = {
                "start, the first time": lambda: "",
                "start": lambda: "",
                "search": lambda: f"/search?q=player-{CHANCE.randrange(5000)}",
                "order": lambda: f"/orders/{CHANCE.choice(numbers)}",
                "deliveries": lambda: "/deliveries?status=exhausted",
                "to decide": lambda: "/quarantine",
                "channels": lambda: "/channels",
            }

            def opened(pick: Callable[[], str]) -> Question:
                async def open_it() -> None:
                    if (reply := await ann.open(pick())).status != 200:
                        raise RuntimeError(f"answered {reply.status}")

                return open_it

            return {
                f"page: {name}": await _ask(opened(pick), 2 if "first" in name else times)
                for name, pick in paths.items()
            }


async def _ask(ask: Question, count: int) -> list[float]:
    """Ask that often; return how long each answer took, in milliseconds."""
    times = []
    for _ in range(count):
        started = time.perf_counter()
        await ask()
        times.append((time.perf_counter() - started) * 1000)
    return times


async def _all(database: Database, column: ColumnElement[str]) -> Sequence[str]:
    return (await database.read(lambda c: c.execute(select(column)))).scalars().all()


async def _questions(database: Database, numbers: Sequence[str]) -> dict[str, Question]:
    events = await _all(database, EVENTS.c.event_id)
    refunds, evidence = [await _all(database, c) for c in (REFUNDS.c.refund_key, EVIDENCE.c.sha256)]
    count = len(numbers)
    ids: Mapping[str, Callable[[], str]] = {
        "order number": lambda: CHANCE.choice(numbers),
        "transaction": lambda: f"T{CHANCE.randrange(count):027}",
        "transaction put aside": lambda: f"T{10**9 + CHANCE.randrange(count):027}",
        "receipt": lambda: f"GPA.{CHANCE.randrange(count)}",
        "receiver": lambda: f"player-{CHANCE.randrange(5000)}",
        "event": lambda: CHANCE.choice(events),
        "delivery": lambda: str(CHANCE.randrange(count)),
        "refund": lambda: CHANCE.choice(refunds),
        "evidence": lambda: CHANCE.choice(evidence),
        "nothing": lambda: "nobody/knows",
    }
    search = Search(database, {ACCOUNT})

    def found(pick: Callable[[], str]) -> Question:
        return lambda: search.find(pick())

    asked = {f"search: {name}": found(pick) for name, pick in ids.items()}
    return {**asked, **_figures(database), **_lists(database), **_orders(database, numbers)}


def _figures(database: Database) -> dict[str, Question]:
    warm = Statistics(database)
    return {
        "figures: first look": lambda: Statistics(database).minutes(),
        "figures: next look": warm.minutes,
        "figures: present": warm.now,
    }


def _lists(database: Database) -> dict[str, Question]:
    queue = Quarantine(database)
    filters = {
        "all": Filter(),
        "due": Filter("due"),
        "exhausted at an endpoint": Filter("exhausted", "default/main"),
        "of a type": Filter(type="order.paid"),
    }

    def listed(chosen: Filter) -> Question:
        return lambda: list_deliveries(database, chosen)

    return {
        "queue: newest": queue.page,
        "queue: oldest": lambda: queue.page(newest_first=False),
        "queue: held": lambda: queue.page(Kind.HELD),
        **{f"deliveries: {name}": listed(chosen) for name, chosen in filters.items()},
    }


def _orders(database: Database, numbers: Sequence[str]) -> dict[str, Question]:
    orders, explanations = Orders(database, {}), Explanations(database)

    async def explain() -> None:
        await explanations.explain(await orders.get(CHANCE.choice(numbers)))

    return {"order: explained": explain}


def _table(results: Mapping[str, Sequence[float]]) -> Iterator[str]:
    yield "| question | median ms | p99 ms |"
    yield "| --- | --- | --- |"
    for name, times in results.items():
        yield f"| {name} | {median(times):.1f} | {quantiles(times, n=100)[98]:.1f} |"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _print(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
