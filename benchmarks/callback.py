"""What a paid callback costs: payplat beside a bare Tornado handler and beside hand-written code, in one run.

``python -m benchmarks.callback`` starts a private MariaDB that syncs every commit, and in each round each server in turn,
on a fresh database with pending orders. Signed Alipay notices pay all of them. Processor time is the figure to compare:
it bears other work on the machine, which requests per second and latencies do not. A run after which the database does
not hold exactly the payments that were answered with ``success`` is void, and ends the benchmark.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.ground import ROOT, Ground, Void, check, lay_ground
from benchmarks.meters import Instructions, Meters, proportional_set_size
from benchmarks.notices import Sale, make_sales, sign_notices
from benchmarks.peers.commands import absent
from benchmarks.report import Run, surroundings, table
from benchmarks.servers import Contestant, make_room
from tests.mariadb import start_mariadb

WARM_UP = 500


@dataclass(frozen=True)
class Load:
    """What is posted in each run, and by how many connections; the file holds one notice a line."""

    sales: Sequence[Sale]
    bodies: Path
    connections: int

    @property
    def count(self) -> int:
        """How many notices are measured."""
        return len(self.sales) - WARM_UP


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 1 when a run was void and 3 when MariaDB or a named peer is missing."""
    given = _arguments(arguments)
    if missing := " ".join(absent(given.servers)):
        _say(f"not installed: python -m benchmarks.peers.install {missing}")
        return 3
    make_room()
    with tempfile.TemporaryDirectory(prefix="payplat-benchmark-") as name:
        # start_mariadb opens its folder and two above it to the server's account.
        folder = Path(name) / "files" / "mariadb"
        folder.mkdir(parents=True)
        mariadb = start_mariadb(folder, durable=True)
        if mariadb is None or mariadb.process is None:
            _say("mariadbd not found: apt-get install mariadb-server-core mariadb-client-core")
            return 3
        try:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            ground = lay_ground(folder.parent, mariadb, key)
            return _compare(ground, _make_load(ground, key, given), given)
        except Void as reason:
            _say(f"void: {reason}")
            return 1
        finally:
            mariadb.stop()


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.callback", description=__doc__)
    parser.add_argument("--orders", type=int, default=5000, help="how many a run pays")
    parser.add_argument("--connections", type=int, default=64, help="how many post at once")
    parser.add_argument("--rounds", type=int, default=3, help="how often each server runs")
    parser.add_argument("--servers", nargs="+", default=["bare", "raw", "payplat"])
    parser.add_argument(
        "--against", type=Path, nargs="*", default=[], help="other checkouts of payplat"
    )
    return parser.parse_args(arguments)


def _make_load(ground: Ground, key: rsa.RSAPrivateKey, given: argparse.Namespace) -> Load:
    sales = make_sales(ground.catalogue, given.orders + WARM_UP)
    bodies = ground.folder / "bodies"
    bodies.write_bytes(b"\n".join(sign_notices(sales, key)))
    return Load(sales, bodies, given.connections)


def _compare(ground: Ground, load: Load, given: argparse.Namespace) -> int:
    contestants = [Contestant(name, writes=name != "bare") for name in given.servers]
    contestants += [Contestant(path.name, checkout=path.resolve()) for path in given.against]
    results: dict[str, list[Run]] = {contestant.name: [] for contestant in contestants}
    for number in range(given.rounds):
        turn = number % len(contestants)  # so that nobody always follows the same one
        for contestant in contestants[turn:] + contestants[:turn]:
            run = _measure(ground, load, contestant)
            results[contestant.name].append(run)
            cost, rate = run.figures["CPU ms"], run.figures["req/s"]
            _say(f"round {number + 1}: {contestant.name} {cost:.3f} ms CPU, {rate:.0f}/s")
    version = str(ground.mariadb.execute("SELECT version()")[0][0])
    told = f"{load.count} notices a run, {given.rounds} rounds, {load.connections} connections"
    _print(f"\n{told}; medians\n", *surroundings(version), "", *table(results))
    return 0


def _measure(ground: Ground, load: Load, contestant: Contestant) -> Run:
    """Run one server once; raises Void."""
    with ground.database(load.sales, contestant.checkout) as url:
        with contestant.running(ground, url) as (pid, port):
            run = _drive(ground, load, pid, port)
        if run.client["failures"]:
            raise Void(f"{contestant.name} failed {run.client['failures']} notices")
        if contestant.writes:
            check(url, len(load.sales))
    return run


def _drive(ground: Ground, load: Load, pid: int, port: int) -> Run:
    """Let the client warm the server up, then measure the rest."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(load.bodies)]
    command += [f"--connections={load.connections}", f"--warm-up={WARM_UP}"]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as client:
        meters = Meters(ground.mariadb, _pids(ground, client.pid, pid))
        _hear(client)
        instructions = Instructions(pid)
        before = meters.read()
        _let_go(client)
        seen = json.loads(_hear(client))
        after = meters.read()
        meters.close()
        executed, memory = instructions.stop(), proportional_set_size(pid)
    return Run(load.count, after - before, seen, executed, memory)


def _pids(ground: Ground, client: int, server: int) -> dict[str, int]:
    database = ground.mariadb.process
    return {"server": server, "client": client, "database": database.pid if database else 0}


def _hear(client: "subprocess.Popen[bytes]") -> bytes:
    line = client.stdout.readline() if client.stdout else b""
    if not line:
        raise Void("the client ended early")
    return line


def _let_go(client: "subprocess.Popen[bytes]") -> None:
    if client.stdin:
        client.stdin.write(b"go\n")
        client.stdin.flush()


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _print(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
