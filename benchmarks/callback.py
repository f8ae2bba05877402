"""What a paid callback costs: payplat beside a bare Tornado handler, hand-written code and its peers, in one run.

``python -m benchmarks.callback`` starts a private MariaDB that syncs every commit, and in each round each server in turn,
on a fresh database with pending orders. Signed Alipay notices pay all of them; see ``benchmarks.contest``. ``single`` is
payplat without its group commit. With ``--sqlite`` all is in a file that syncs every commit, and the yardstick is
``core``, hand-written SQLAlchemy Core. With ``--processes`` so many of payplat's run beside one, all on all processors.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.contest import WARM_UP, Scenario, hold, parser, say
from benchmarks.fixed import PATH
from benchmarks.ground import PAID, Ground
from benchmarks.notices import Sale, make_sales, order_rows, sign_notices
from benchmarks.pace import request
from benchmarks.peers import commands as peers
from benchmarks.report import Goal
from benchmarks.servers import Contestant, make_room

_FORM = "application/x-www-form-urlencoded; charset=utf-8"
ANSWER = "success"
_GOALS = (
    Goal("req/s", "payplat", "raw", 1.2, 1.6),
    Goal("CPU ms", "payplat", "bare", 2.2, 1.5),
    Goal("CPU ms", "fastify", "payplat", 1.8, 2.5),
    Goal("CPU ms", "express", "payplat", 1.8, 2.5),
    Goal("CPU ms", "fastapi", "payplat", 4, 6),
    Goal("CPU ms", "django", "payplat", 4.5, 7),
    Goal("db CPU ms", "payplat", "django", 0.3, 0.12),
    Goal("p99 ms", "payplat", "payplat", 2.5, 2, base="p50 ms"),
    Goal("req/s", "payplat", "core", 3, 4.5),
    Goal("p50 ms", "payplat", "single", 1.5, 1.2, rate=400),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 1 when a run was void and 3 when MariaDB or a named peer is missing."""
    given = _arguments(arguments)
    if missing := " ".join(peers.absent(given.servers)):
        say(f"not installed: python -m benchmarks.peers.install {missing}")
        return 3
    if given.processes == 1:
        make_room()
    return hold(partial(_scene, given), given)


def contestant(name: str) -> Contestant:
    """Return the server of that name; raises KeyError."""
    programs = {
        "bare": bare,
        "raw": raw,
        "core": core,
        "single": single,
        **{peer: partial(peers.command, peer) for peer in peers.NEEDS},
    }
    if name == "payplat":
        return Contestant(name)
    return Contestant(name, programs[name], writes=name != "bare")


def payments(sales: Sequence[Sale], key: rsa.RSAPrivateKey, first: int = 1) -> list[bytes]:
    """Return the requests by which Alipay tells that sales are paid; their numbers there begin with ``first``."""
    return [request(PATH, _FORM, body) for body in sign_notices(sales, key, first)]


def bare(_ground: Ground, _database_url: str, port: int) -> list[str]:
    """Return how the bare server is started."""
    return [sys.executable, "-m", "benchmarks.bare", f"--port={port}"]


def raw(ground: Ground, database_url: str, port: int) -> list[str]:
    """Return how the hand-written server on MariaDB is started."""
    key = ground.folder / "alipay.pem"
    given = [f"--port={port}", f"--database={database_url}", f"--key={key}"]
    return [sys.executable, "-m", "benchmarks.raw", *given]


def core(ground: Ground, database_url: str, port: int) -> list[str]:
    """Return how the hand-written server on SQLite is started."""
    key = ground.folder / "alipay.pem"
    given = [f"--port={port}", f"--database={database_url}", f"--key={key}"]
    return [sys.executable, "-m", "benchmarks.core_sqlite", *given]


def single(_ground: Ground, _database_url: str, _port: int) -> list[str]:
    """Return how payplat without its group commit is started."""
    return [sys.executable, "-m", "benchmarks.batch_of_one", "serve", "--no-worker"]


def serving(processes: int) -> Contestant:
    """Return payplat with so many processes, on all processors."""

    def program(_ground: Ground, _database_url: str, _port: int) -> list[str]:
        command = [sys.executable, "-m", "payplat", "serve", "--no-worker"]
        return [*command, f"--processes={processes}"]

    return Contestant(f"{processes} serving", program, processes=processes, alone=False)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser("callback", __doc__)
    made.add_argument("--processes", type=int, default=1, help="so many serve beside one")
    given = made.parse_args(arguments)
    given.servers = given.servers or _usual(given)
    return given


def _usual(given: argparse.Namespace) -> list[str]:
    if given.processes > 1:
        return [serving(count).name for count in (1, given.processes)]
    if given.sqlite:
        return ["core", "payplat"]
    return ["single", "payplat"] if given.rate else ["bare", "raw", "payplat"]


def _title(given: argparse.Namespace) -> str:
    where = " on SQLite" if given.sqlite else ""
    return f"A paid callback{where}" + (", by processes" if given.processes > 1 else "")


@contextmanager
def _scene(given: argparse.Namespace, ground: Ground, key: rsa.RSAPrivateKey) -> Iterator[Scenario]:
    """Yield the contest of paying pending orders by signed notices."""
    sales = make_sales(ground.catalogue, given.orders + WARM_UP)
    one, many = serving(1), serving(given.processes)
    names = ("bare", "raw", "core", "single", "payplat", *peers.NEEDS)
    yield Scenario(
        title=_title(given),
        requests=payments(sales, key),
        status=200,
        body=ANSWER,
        rows={"orders": list(order_rows(sales))},
        checks=PAID,
        contestants=[*map(contestant, names), one, many],
        goals=[*_GOALS, Goal("req/s", many.name, one.name, 1.25, 1.5)],
    )


if __name__ == "__main__":
    sys.exit(main())
