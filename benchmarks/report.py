"""The result: medians over all rounds, their ratios, and where and with what they were measured."""

import os
import platform
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from math import nan
from pathlib import Path
from statistics import median

from benchmarks.meters import Reading

_PLACES = {
    "req/s": 0,
    "k instr": 0,
    "p50 ms": 1,
    "p99 ms": 1,
    "PSS MB": 1,
    "stmts/req": 2,
    "others": 2,
}
# What the others are compared with.
_BASES = ("bare", "raw", "core")
_PACKAGES = ("tornado", "SQLAlchemy", "aiomysql", "PyMySQL", "cryptography", "structlog")


@dataclass(frozen=True)
class Run:
    """One server under load once: ``count`` notices, what the meters and what the client saw.

    ``instructions`` is None where nobody counted them; ``memory`` is the server's after the load, in bytes.
    """

    count: int
    meters: Reading
    client: Mapping[str, float]
    instructions: float | None
    memory: int

    @property
    def figures(self) -> dict[str, float]:
        """The columns of the table; times are milliseconds."""
        cpu, counters = self.meters.cpu, self.meters.counters
        others = self.meters.busy - sum(cpu.values())
        return {
            "CPU ms": cpu["server"] / self.count * 1000,
            "k instr": (self.instructions or nan) / self.count / 1000,
            "db CPU ms": cpu.get("database", nan) / self.count * 1000,
            "req/s": self.count / self.client["seconds"],
            "p50 ms": self.client["p50"] * 1000,
            "p99 ms": self.client["p99"] * 1000,
            "stmts/req": counters.get("Questions", nan) / self.count,
            "commits/req": counters.get("Com_commit", nan) / self.count,
            "fsyncs/req": counters.get("Innodb_data_fsyncs", nan) / self.count,
            "PSS MB": self.memory / 1e6,
            "others": max(0.0, others / self.meters.at),
        }


@dataclass(frozen=True)
class Goal:
    """How one server's figure must stand to another's: at most ``must`` times it, or at least where ``want`` is more.

    ``rate`` is that of the requests a second at which it must, None for as many as can be. ``base`` is the figure of the
    other, where that is another one.
    """

    figure: str
    server: str
    other: str
    must: float
    want: float
    rate: float | None = None
    base: str = ""

    def judge(self, medians: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
        """Yield a line that says what was reached, where both servers ran."""
        if {self.server, self.other} <= medians.keys():
            base = self.base or self.figure
            ratio = medians[self.server][self.figure] / medians[self.other][base]
            sign = 1 if self.want > self.must else -1
            met = "MISSED" if sign * ratio < sign * self.must else "met"
            bound = "at least" if sign > 0 else "at most"
            other = f"{self.base} of {self.other}" if self.base else self.other
            told = f"{self.figure} of {self.server} / {other}: {ratio:.2f}"
            yield f"{met:6} {told}, {bound} {self.must} (wanted {self.want})"


def table(results: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """Yield the lines of a Markdown table with one row a server."""
    medians = {name: medians_of(runs) for name, runs in results.items()}
    columns = list(next(iter(medians.values())))
    bases = [base for base in _BASES if base in medians]
    header = ["server", columns[0], "range", *(f"/ {base}" for base in bases), *columns[1:]]
    yield line(header)
    yield line(["---"] * len(header))
    for name, row in medians.items():
        costs = [run.figures["CPU ms"] for run in results[name]]
        ratios = [f"{row['CPU ms'] / medians[base]['CPU ms']:.2f}" for base in bases]
        told = [f"{row[column]:.{_PLACES.get(column, 3)}f}" for column in columns]
        spread = f"{min(costs):.3f}..{max(costs):.3f}"
        yield line([name, told[0], spread, *ratios, *told[1:]])


def surroundings(mariadb_version: str | None) -> Iterator[str]:
    """Yield what the figures depend on; without a MariaDB the database is SQLite."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.platform()}"
    yield f"{os.cpu_count()} processors ({_processor()}), {memory:.0f} GiB"
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    yield f"Python {sys.version.split()[0]}, {packages}"
    if mariadb_version is None:
        yield f"SQLite {sqlite3.sqlite_version}, synchronous=FULL"
    else:
        yield f"MariaDB {mariadb_version}, innodb_flush_log_at_trx_commit=1"


def medians_of(runs: Sequence[Run]) -> dict[str, float]:
    """Return the median of each figure."""
    figures = [run.figures for run in runs]
    return {name: median(row[name] for row in figures) for name in figures[0]}


def line(cells: Sequence[str]) -> str:
    """Return cells as a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
