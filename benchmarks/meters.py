"""Meters: processor time of processes, counters of the database, and what else the machine was doing."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
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
    """Return the processor time that a process with all its threads has used (utime + stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


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

    def __init__(self, mariadb: MariaDB, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._readings = 0
        self._connection = pymysql.connect(
            host=mariadb.host, port=mariadb.port, user=mariadb.user, password=mariadb.password
        )

    def read(self) -> Reading:
        """Read all meters; our own question does not count."""
        with self._connection.cursor() as cursor:
            cursor.execute(_STATUS)
            counters = {name: int(value) for name, value in cursor.fetchall()}
        self._readings += 1
        counters["Questions"] -= self._readings
        cpu = {name: cpu_seconds(pid) for name, pid in self._pids.items()}
        return Reading(time.monotonic(), busy_seconds(), cpu, counters)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Instructions:
    """Counts the machine instructions of a process with Linux's ``perf``, where that is installed and allowed.

    Unlike its processor time they do not depend on what else the machine does.
    """

    def __init__(self, pid: int) -> None:
        self._perf: subprocess.Popen[str] | None = None
        program = shutil.which("perf")
        if program:
            command = [program, "stat", "-x,", "-e", "instructions", "-p", str(pid)]
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
