"""The contest: servers under the same load in turns, each on a fresh database that must hold exactly what they answered.

A scenario says what is asked, what an answer must look like, which rows are there before and which afterwards. Processor
time is the figure to compare: it bears other work on the machine, which requests per second and latencies do not. A run
after which the database does not hold exactly the rows that were answered for is void, and ends the contest.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.ground import ROOT, Ground, Row, Void, check, lay_ground
from benchmarks.load import SEPARATOR
from benchmarks.meters import Instructions, Meters, proportional_set_size
from benchmarks.report import Goal, Run, medians_of, surroundings, table
from benchmarks.servers import Contestant
from tests.mariadb import start_mariadb

WARM_UP = 500
_database_numbers = count(1)


@dataclass(frozen=True)
class Scenario:
    """What all contestants are asked, and what must come of it.

    ``title`` names it in the results. ``requests`` are whole HTTP requests, the first ``WARM_UP`` of them to warm up;
    each is answered ``status`` and a body that fits the pattern ``body``. ``rows`` are there before, by table; each of
    ``checks`` must count one for a request afterwards. ``asides`` are measured once a
    round, in milliseconds, for ``goals`` to compare with.
    """

    title: str
    requests: Sequence[bytes]
    status: int
    body: str
    rows: Mapping[str, Sequence[Row]]
    checks: Mapping[str, str]
    contestants: Sequence[Contestant]
    goals: Sequence[Goal] = ()
    asides: Mapping[str, Callable[[], float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """A file of requests, what is expected of each answer, and how they are sent; see ``benchmarks.load``."""

    requests: Path
    count: int
    status: int
    body: str
    connections: int
    rate: float | None = None


Scene = Callable[[Ground, rsa.RSAPrivateKey], AbstractContextManager[Scenario]]


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return the arguments that all contests have."""
    made = argparse.ArgumentParser(prog=f"benchmarks.{name}", description=description)
    made.add_argument("--orders", type=int, default=5000, help="how many are measured in a run")
    made.add_argument("--connections", type=int, default=64, help="how many send at once")
    made.add_argument("--rounds", type=int, default=3, help="how often each server runs")
    made.add_argument("--servers", nargs="+", default=[], help="which ones run")
    made.add_argument("--sqlite", action="store_true", help="in a file, without a database server")
    made.add_argument(
        "--against", type=Path, nargs="*", default=[], help="other checkouts of payplat"
    )
    made.add_argument(
        "--rate", type=float, nargs="*", default=[], help="requests a second, in runs of their own"
    )
    made.add_argument("--results", type=Path, help="a file to append the figures to, as JSON")
    return made


def hold(scene: Scene, given: argparse.Namespace) -> int:
    """Measure and print; the exit code is 1 when a run was void and 3 when the machine has no MariaDB.

    ``scene`` is entered with the ground and with Alipay's private key.
    """
    with tempfile.TemporaryDirectory(prefix="payplat-benchmark-") as name:
        # start_mariadb opens its folder and two above it to the server's account.
        folder = Path(name) / "files" / "mariadb"
        folder.mkdir(parents=True)
        mariadb = None if given.sqlite else start_mariadb(folder, durable=True)
        if mariadb is None and not given.sqlite:
            say("mariadbd not found: apt-get install mariadb-server-core mariadb-client-core")
            return 3
        try:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            ground = lay_ground(folder.parent, mariadb, key)
            with scene(ground, key) as scenario:
                _compare(ground, scenario, given)
        except Void as reason:
            say(f"void: {reason}")
            return 1
        finally:
            if mariadb is not None:
                mariadb.stop()
    return 0


def drive(ground: Ground, load: Load, pid: int, port: int) -> Run:
    """Let the client warm the server ``pid`` up, then measure the rest; raises Void."""
    with subprocess.Popen(  # noqa: S603 - our own program
        _command(load, port), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as client:
        meters = Meters(ground.mariadb, _pids(ground, client.pid, pid))
        _hear(client)
        instructions = Instructions(pid)
        before = meters.read()
        _let_go(client)
        seen = json.loads(_hear(client))
        after = meters.read()
        meters.close()
        executed = instructions.stop()
        memory = proportional_set_size(pid)
    return Run(load.count, after - before, seen, executed, memory)


def say(line: str) -> None:
    """Tell the user how it goes."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _compare(ground: Ground, scenario: Scenario, given: argparse.Namespace) -> None:
    runs: dict[float | None, dict[str, list[Run]]] = {}
    asides: dict[str, list[float]] = {}
    contestants = _chosen(scenario, given)
    loads = list(_loads(ground, scenario, given))
    for number in range(given.rounds):
        for name, measure in scenario.asides.items():
            asides.setdefault(name, []).append(measure())
        turn = number % len(contestants)  # so that nobody always follows the same one
        for contestant in contestants[turn:] + contestants[:turn]:
            for load in loads:
                run = _measure(ground, scenario, load, contestant)
                runs.setdefault(load.rate, {}).setdefault(contestant.name, []).append(run)
                _tell(number, contestant, load, run)
    version = ground.mariadb and str(ground.mariadb.execute("SELECT version()")[0][0])
    told = f"{given.orders} requests a run, {given.rounds} rounds, {given.connections} connections"
    show(f"\n{told}; medians\n", *surroundings(version))
    for rate, results in runs.items():
        _report(scenario, rate, {c.name: results[c.name] for c in contestants}, asides)
        if given.results:
            _append(given.results, scenario.title, rate, results)


def _chosen(scenario: Scenario, given: argparse.Namespace) -> list[Contestant]:
    known = {contestant.name: contestant for contestant in scenario.contestants}
    chosen = [known[name] for name in given.servers or known]
    return chosen + [Contestant(path.name, checkout=path.resolve()) for path in given.against]


def _loads(ground: Ground, scenario: Scenario, given: argparse.Namespace) -> Iterator[Load]:
    file = ground.folder / "requests"
    file.write_bytes(SEPARATOR.join(scenario.requests))
    measured = len(scenario.requests) - WARM_UP
    expected = (scenario.status, scenario.body)
    for rate in given.rate or [None]:
        yield Load(file, measured, *expected, given.connections, rate)


def _measure(ground: Ground, scenario: Scenario, load: Load, contestant: Contestant) -> Run:
    """Run one server once; raises Void."""
    with _fresh_database(ground) as url:
        ground.install(url, scenario.rows, contestant.checkout)
        with contestant.running(ground, url) as (pid, port):
            run = drive(ground, load, pid, port)
        if run.client["failures"]:
            raise Void(f"{contestant.name} failed {run.client['failures']} requests")
        if contestant.writes:
            check(url, len(scenario.requests), scenario.checks)
    return run


@contextmanager
def _fresh_database(ground: Ground) -> Iterator[str]:
    """Make an empty database, in a file where there is no MariaDB; yields its address."""
    if ground.mariadb is not None:
        with ground.mariadb.fresh_database() as url:
            yield url
    else:
        file = ground.folder / f"database-{next(_database_numbers)}"
        yield f"sqlite:///{file}"
        for part in ground.folder.glob(f"{file.name}*"):  # its log too
            part.unlink()


def _command(load: Load, port: int) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(load.requests)]
    command += [f"--status={load.status}", f"--body={load.body}"]
    command += [f"--connections={load.connections}", f"--warm-up={WARM_UP}"]
    return command + ([f"--rate={load.rate}"] if load.rate else [])


def _pids(ground: Ground, client: int, server: int) -> dict[str, int]:
    pids = {"server": server, "client": client}
    if ground.mariadb and ground.mariadb.process:
        pids["database"] = ground.mariadb.process.pid
    return pids


def _hear(client: "subprocess.Popen[bytes]") -> bytes:
    line = client.stdout.readline() if client.stdout else b""
    if not line:
        raise Void("the client ended early")
    return line


def _let_go(client: "subprocess.Popen[bytes]") -> None:
    if client.stdin:
        client.stdin.write(b"go\n")
        client.stdin.flush()


def _tell(number: int, contestant: Contestant, load: Load, run: Run) -> None:
    name = f"{contestant.name} at {load.rate:.0f}/s" if load.rate else contestant.name
    figures = run.figures
    told = f"{figures['CPU ms']:.3f} ms CPU, {figures['req/s']:.0f}/s, p50 {figures['p50 ms']:.1f}"
    say(f"round {number + 1}: {name}: {told}")


def _report(
    scenario: Scenario,
    rate: float | None,
    results: Mapping[str, Sequence[Run]],
    asides: Mapping[str, Sequence[float]],
) -> None:
    show("", *([f"At {rate:.0f} requests/s:", ""] if rate else []), *table(results))
    medians = {name: medians_of(runs) for name, runs in results.items()}
    for name, costs in asides.items():
        medians[name] = {"CPU ms": median(costs)}
        show("", f"{name}: {median(costs):.3f} ms CPU ({min(costs):.3f}..{max(costs):.3f})")
    judged = [line for goal in scenario.goals if goal.rate == rate for line in goal.judge(medians)]
    show("", *judged)


def _append(
    file: Path, title: str, rate: float | None, results: Mapping[str, Sequence[Run]]
) -> None:
    """Append the medians of each server, one a line."""
    with file.open("a") as lines:
        for name, runs in results.items():
            told = {"contest": title, "rate": rate, "server": name, **medians_of(runs)}
            lines.write(json.dumps(told) + "\n")


def show(*lines: str) -> None:
    """Print lines of the result."""
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
