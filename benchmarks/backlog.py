"""What a dead endpoint costs its neighbour, and how it is served once it is well again.

``python -m benchmarks.backlog`` starts a private MariaDB that syncs every commit, and in each round, for each way to be
dead in turn, a fresh database, a serve process without jobs and a worker process. The app has two endpoints. One is dead
and its deliveries wait, the other is well: measured is the time from a payment to the receipt of its event there. In the
last round the dead one is healed: what waits must come once each, and in the order in which it was due, as far as 32 at a
time permit. A run that loses or repeats an event is void and ends the benchmark. The exit code is 1 when the backlog
more than doubles the 99th percentile, or something comes out of order.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.ground import Ground, Void, lay_ground
from benchmarks.notices import make_sales, sign_notices
from benchmarks.outage import DEATHS, WARM_UP, Drain, Run, Stage, execute, seed
from benchmarks.report import surroundings
from tests.mariadb import start_mariadb

FLOOR = 2.0
IDLE = "no backlog"
_NO_CHECKS = "UPDATE orders SET next_check_at = NULL"  # there is no Alipay to ask


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 3 when the machine has no MariaDB."""
    given = _arguments(arguments)
    with tempfile.TemporaryDirectory(prefix="payplat-benchmark-") as name:
        # start_mariadb opens its folder and two above it to the server's account.
        folder = Path(name) / "files" / "mariadb"
        folder.mkdir(parents=True)
        mariadb = start_mariadb(folder, durable=True)
        if mariadb is None:
            _say("mariadbd not found: apt-get install mariadb-server-core mariadb-client-core")
            return 3
        try:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            return asyncio.run(_compare(lay_ground(folder.parent, mariadb, key), key, given))
        except Void as reason:
            _say(f"void: {reason}")
            return 1
        finally:
            mariadb.stop()


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.backlog", description=__doc__)
    parser.add_argument("--backlog", type=int, default=50_000, help="deliveries that wait")
    parser.add_argument("--payments", type=int, default=500, help="how many a run measures")
    parser.add_argument("--rate", type=float, default=25, help="payments a second")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--deaths", nargs="*", choices=DEATHS, default=list(DEATHS))
    parser.add_argument(
        "--inside", action="store_true", help="the serve process does the jobs, there is no worker"
    )
    return parser.parse_args(arguments)


async def _compare(ground: Ground, key: rsa.RSAPrivateKey, given: argparse.Namespace) -> int:
    runs: dict[str, list[Run]] = {name: [] for name in (IDLE, *given.deaths)}
    drains: dict[str, Drain] = {}
    sales = make_sales(ground.catalogue, WARM_UP + given.payments)
    notices = sign_notices(sales, key)
    async with Stage(ground, inside=given.inside).open() as stage:
        for number in range(given.rounds):
            for name, measured in runs.items():
                with ground.database(sales) as url:
                    execute(url, _NO_CHECKS)
                    if name in DEATHS:
                        seed(url, given.backlog)
                        await DEATHS[name](stage.dead)
                    measured.append(await stage.pay(url, notices, given.rate))
                    await stage.heal()
                    if name in DEATHS and number == given.rounds - 1:
                        drains[name] = await stage.drain(url)
                told = ", ".join(f"{what} {n:.2f}" for what, n in measured[-1].figures.items())
                _say(f"round {number + 1}: {name}: {told}")
    version = str(ground.mariadb.execute("SELECT version()")[0][0])
    return _tell(given, version, runs, drains)


def _tell(
    given: argparse.Namespace,
    version: str,
    runs: Mapping[str, Sequence[Run]],
    drains: Mapping[str, Drain],
) -> int:
    where = "serve does the jobs" if given.inside else "a worker does the jobs"
    told = f"{given.rounds} rounds of {given.payments} payments, {given.rate:g} a second; medians"
    _print(f"{given.backlog} deliveries wait; {where}; {told}", "", *surroundings(version), "")
    _print(*_run_table(runs), "", *_drain_table(drains))
    too_slow = any(ratio > FLOOR for ratio in _ratios(runs).values())
    return int(too_slow or any(drain.overtaken for drain in drains.values()))


def _ratios(runs: Mapping[str, Sequence[Run]]) -> dict[str, float]:
    tails = {name: median(run.figures["p99 ms"] for run in each) for name, each in runs.items()}
    return {name: tail / tails[IDLE] for name, tail in tails.items()}


def _run_table(runs: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    columns = list(runs[IDLE][0].figures)
    yield _line(["the other endpoint", *columns, f"p99 / {IDLE}"])
    yield _line(["---"] * (len(columns) + 2))
    for name, ratio in _ratios(runs).items():
        medians = (median(run.figures[column] for run in runs[name]) for column in columns)
        yield _line([name, *(f"{value:.2f}" for value in medians), f"{ratio:.2f}"])


def _drain_table(drains: Mapping[str, Drain]) -> Iterator[str]:
    yield _line(["healed after it", "deliveries", "seconds", "per second", "out of order"])
    yield _line(["---"] * 5)
    for name, drain in drains.items():
        times = f"{drain.seconds:.1f}", f"{drain.count / drain.seconds:.0f}"
        yield _line([name, str(drain.count), *times, str(drain.overtaken)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _print(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
