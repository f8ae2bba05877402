"""Meters: processor time of processes, counters of the database, and what else the machine was doing."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pymysql

from tests.mariadb import MariaDB

_TICK = os.sysconf("SC_CLK_TCK")
_STATUS = (
    "SHOW GLOBAL STATUS WHERE variable_name IN"
    " ('Questions', 'Com_commit', 'Innodb_data_fsyncs', 'Rows_read')"
)


def cpu_seconds(pid: int) -> float:
    """Return the processor time (utime + stime) that a process and those it has started and not lost have used."""
    stats = (Path(f"/proc/{one}/stat").read_text().rpartition(")")[2] for one in process_tree(pid))
    return sum(int(ticks) for stat in stats for ticks in stat.split()[11:13]) / _TICK


def proportional_set_size(pid: int) -> int:
    """Return the memory of a process and those it has started, in bytes; what n processes share counts 1/n in each."""
    rollups = (Path(f"/proc/{one}/smaps_rollup").read_text() for one in process_tree(pid))
    lines = (line.split() for rollup in rollups for line in rollup.splitlines())
    return sum(int(line[1]) * 1024 for line in lines if line[0] == "Pss:")


def process_tree(pid: int) -> Iterator[int]:
    """Yield the ids of a process and of its children, theirs, and so on."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended
            for child in children.read_text().split():
                yield from process_tree(int(child))


def busy_seconds() -> float:
    """Return how long the machine's processors have been busy, all together."""
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, _idle, _waiting, *interrupts = map(int, line.split()[1:9])
    return (user + nice + system + sum(interrupts)) / _TICK


@dataclass(frozen=True)
class Reading:
    """All meters at one moment, or the difference of two readings; times are seconds."""

    at: float
    busy: float
    cpu: Mapping[str, float]
    counters: Mapping[str, int]

    def __sub__(self, earlier: Self) -> "Reading":
        """Return what happened between two readings."""
        return Reading(
            self.at - earlier.at,
            self.busy - earlier.busy,
            {name: value - earlier.cpu[name] for name, value in self.cpu.items()},
            {name: value - earlier.counters[name] for name, value in self.counters.items()},
        )


class Meters:
    """Reads the processor time of the named processes and the database's counters."""

    def __init__(self, mariadb: MariaDB | None, pids: Mapping[str, int]) -> None:
        """Without a database server there are no counters."""
        self._pids = pids
        self._readings = 0
        self._connection = mariadb and pymysql.connect(
            host=mariadb.host, port=mariadb.port, user=mariadb.user, password=mariadb.password
        )

    def read(self) -> Reading:
        """Read all meters; our own question does not count."""
        counters = self._counters()
        cpu = {name: cpu_seconds(pid) for name, pid in self._pids.items()}
        return Reading(time.monotonic(), busy_seconds(), cpu, counters)

    def _counters(self) -> dict[str, int]:
        if self._connection is None:
            return {}
        with self._connection.cursor() as cursor:
            cursor.execute(_STATUS)
            counters = {name: int(value) for name, value in cursor.fetchall()}
        self._readings += 1
        counters["Questions"] -= self._readings
        return counters

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


class Instructions:
    """Counts the machine instructions of a process and its children with Linux's ``perf``, if installed and allowed.

    Unlike its processor time they do not depend on what else the machine does.
    """

    def __init__(self, pid: int) -> None:
        self._perf: subprocess.Popen[str] | None = None
        program = shutil.which("perf")
        if program:
            pids = ",".join(map(str, process_tree(pid)))
            command = [program, "stat", "-x,", "-e", "instructions", "-p", pids]
            quiet = subprocess.DEVNULL
            self._perf = subprocess.Popen(  # noqa: S603 - found on the path on purpose
                command, stdout=quiet, stderr=subprocess.PIPE, text=True
            )
            time.sleep(0.5)  # it does not say when it has begun

    def stop(self) -> float | None:
        """Return how many there were since the beginning, None where nobody counted."""
        if self._perf is None:
            return None
        self._perf.send_signal(signal.SIGINT)
        told = self._perf.communicate()[1]
        with contextlib.suppress(ValueError):
            return float(told.split(",", 1)[0])
        return None
