"""What abuse costs those who behave: orders and genuine notices at a modest rate while others dawdle and forge.

``python -m benchmarks.abuse`` starts a private MariaDB and one ``payplat serve``, measures how fast that settles. Then
500 sockets send a byte a second, and forged notices come at twice that rate. The exit code is 1 when a goal is missed:
the slowest hundredth of the answers to those who behave, all of them answered as they should be, memory that stays,
a log that stays small. It is 3 when the machine has no MariaDB.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.abusers import FORM
from benchmarks.fixed import PATH
from benchmarks.ground import ROOT, Ground, Void, check, lay_ground
from benchmarks.meters import cpu_seconds
from benchmarks.notices import make_sales, sign_notices
from benchmarks.pace import Answer, Pace, request
from benchmarks.servers import Contestant, make_room
from tests.mariadb import MariaDB, start_mariadb

MOST_P99 = 0.5
# Of memory, from the time when all abusers are there; the log for each second of abuse.
MOST_GROWTH, MOST_LOG = 16 * 2**20, 1024
SETTLED = 2000
# How long the abusers may take to arrive, before anything is measured; seconds.
ARRIVING = 5.0
_ORDER = {"channel": "alipay", "product_id": "coins_500", "receiver": "player-1"}


@dataclass(frozen=True)
class Seen:
    """What a run showed, in bytes and seconds; what the abusers were told, and the server's share of a processor."""

    settles: float
    share: float
    answers: dict[str, list[Answer]]
    memory: tuple[int, int, int]
    log: int
    abusers: dict[str, object]

    def goals(self, seconds: float) -> Iterator[tuple[str, bool]]:
        """Yield each goal in words with its figure, and whether it was met."""
        for who, expected in (("orders", 201), ("notices", 200)):
            answers = self.answers[who]
            late = sorted(answer.seconds for answer in answers)[len(answers) * 99 // 100]
            yield f"{who}: p99 {late * 1000:.0f} ms, under {MOST_P99 * 1000:.0f}", late < MOST_P99
            told = Counter(answer.status for answer in answers)
            yield f"{who}: answered {dict(told)}, all {expected}", set(told) == {expected}
        before, there, after = (size / 2**20 for size in self.memory)
        flat = self.memory[2] - self.memory[1] <= MOST_GROWTH
        told = (
            f"memory: {before:.1f} MiB before, {there:.1f} with all abusers, {after:.1f} at the end"
        )
        yield f"{told}; growth under {MOST_GROWTH / 2**20:.0f}", flat
        most = int(MOST_LOG * (seconds + ARRIVING))
        yield f"log: {self.log} bytes, under {most}", self.log < most


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    given = _arguments(arguments)
    make_room()
    with tempfile.TemporaryDirectory(prefix="payplat-benchmark-") as name:
        # start_mariadb opens its folder and two above it to the server's account.
        folder = Path(name) / "files" / "mariadb"
        folder.mkdir(parents=True)
        mariadb = start_mariadb(folder, durable=True)
        if mariadb is None:
            sys.stderr.write("mariadbd not found: apt-get install mariadb-server-core\n")
            return 3
        try:
            return _judge(_measure(folder.parent, mariadb, given), given.seconds)
        except Void as reason:
            sys.stderr.write(f"void: {reason}\n")
            return 1
        finally:
            mariadb.stop()


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.abuse", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they abuse it")
    parser.add_argument("--slow", type=int, default=500, help="sockets that dawdle")
    parser.add_argument("--rate", type=float, default=20.0, help="orders and notices a second")
    return parser.parse_args(arguments)


def _judge(seen: Seen, seconds: float) -> int:
    forged = f"{seen.abusers} over {seconds + ARRIVING:.0f} s"
    lines = [f"settles {seen.settles:.0f}/s; told to the abusers: {forged}"]
    lines += [f"the server had {seen.share:.0%} of a processor under abuse"]
    goals = list(seen.goals(seconds))
    lines += [f"{'met   ' if met else 'MISSED'} {goal}" for goal, met in goals]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if all(met for _, met in goals) else 1


def _measure(folder: Path, mariadb: MariaDB, given: argparse.Namespace) -> Seen:
    """Run the server once under abuse; raises Void."""
    alipay, forger = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in "12")
    ground = lay_ground(folder, mariadb, alipay)
    sales = make_sales(ground.catalogue, SETTLED + int(given.seconds * given.rate))
    (folder / "forged").write_bytes(b"\n".join(sign_notices(sales[-100:], forger)))
    notices = [request(PATH, FORM, body) for body in sign_notices(sales, alipay)]
    with ground.database(sales) as url:
        with Contestant("payplat").running(ground, url) as (pid, port):
            seen = asyncio.run(_run(ground, (pid, port), notices, given))
        paid = [answer.body == b"success" for answer in seen.answers["notices"]]
        if all(paid):  # otherwise a goal is missed, and what was not answered may be paid or not
            check(url, SETTLED + len(paid))
    return seen


async def _run(
    ground: Ground, server: tuple[int, int], notices: list[bytes], given: argparse.Namespace
) -> Seen:
    pid, port = server
    settles = await _settles(port, notices[:SETTLED])
    log, memory = ground.folder / "payplat.log", [_memory(pid)]
    written = log.stat().st_size
    command = [sys.executable, "-m", "benchmarks.abusers", str(port), str(ground.folder / "forged")]
    command += [f"--rate={2 * settles}", f"--seconds={given.seconds + ARRIVING}"]
    abusers = await asyncio.create_subprocess_exec(
        *command, f"--slow={given.slow}", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    await asyncio.sleep(ARRIVING)
    memory.append(_memory(pid))
    began, used = time.perf_counter(), cpu_seconds(pid)
    answers = await _behave(port, notices[SETTLED:], given)
    share = (cpu_seconds(pid) - used) / (time.perf_counter() - began)
    memory.append(_memory(pid))
    told = json.loads((await abusers.communicate())[0])
    grown = log.stat().st_size - written
    return Seen(settles, share, answers, (memory[0], memory[1], memory[2]), grown, told)


async def _settles(port: int, notices: list[bytes]) -> float:
    """Return how many notices the service settles in a second, if they come as fast as it answers."""
    began = time.perf_counter()
    answers = await Pace(port, iter(notices), rate=1e9, seconds=120).run(connections=64)
    if {answer.body for answer in answers} != {b"success"} or len(answers) != len(notices):
        raise Void("not every notice was settled before the abuse")
    return len(notices) / (time.perf_counter() - began)


async def _behave(
    port: int, notices: list[bytes], given: argparse.Namespace
) -> dict[str, list[Answer]]:
    order = request("/v1/create_order/", "application/json", json.dumps(_ORDER).encode())
    orders = Pace(port, repeat(order), given.rate, given.seconds)
    paying = Pace(port, iter(notices), given.rate, given.seconds)
    opened, paid = await asyncio.gather(orders.run(connections=8), paying.run(connections=8))
    return {"orders": opened, "notices": paid}


def _memory(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


if __name__ == "__main__":
    sys.exit(main())
