"""The servers that are compared, each a process of its own on the first processor; everything else runs on the others."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ground import ROOT, Ground

_PROCESSORS = sorted(os.sched_getaffinity(0))


# How a server is started: its command line, by the ground, the database's address and the port.
Program = Callable[[Ground, str, int], list[str]]


def payplat(_ground: Ground, _database_url: str, _port: int) -> list[str]:
    """Return how payplat is started, whose environment says the rest."""
    return [sys.executable, "-m", "payplat", "serve", "--no-worker"]


@dataclass(frozen=True)
class Contestant:
    """A server that can be started; ``writes`` says whether its payments are in the database afterwards.

    It listens with each of its ``processes``. One that is not ``alone`` on the first processor may use all of them.
    """

    name: str
    program: Program = payplat
    writes: bool = True
    checkout: Path = ROOT
    processes: int = 1
    alone: bool = True

    @contextmanager
    def running(self, ground: Ground, database_url: str) -> Iterator[tuple[int, int]]:
        """Run the server until the block ends; yields its process id and its port once it answers."""
        port = _free_port()
        environ = {**ground.environ(database_url), "PAYPLAT_SERVER__PORT": str(port)}
        command = self.program(ground, database_url, port)
        processors = _PROCESSORS[:1] if self.alone else _PROCESSORS
        told = ground.folder / f"{self.name}.log"
        with told.open("ab") as log, _on(processors):
            process = subprocess.Popen(  # noqa: S603 - our own program
                command, env=environ, cwd=self.checkout, stdout=log, stderr=log
            )
        try:
            _wait(process, port, self.processes, told)
            yield process.pid, port
        finally:
            process.terminate()
            process.wait(30)


def make_room() -> None:
    """Leave the first processor to the servers; what is started from here on inherits this."""
    if len(_PROCESSORS) > 1:
        os.sched_setaffinity(0, _PROCESSORS[1:])


@contextmanager
def _on(processors: Collection[int]) -> Iterator[None]:
    """Start processes on these processors; whatever they start themselves inherits them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, processes: int, told: Path) -> None:
    """Wait until the server listens with all its processes, which is what they do last."""
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        if _listeners(port) >= processes:
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server never listened:\n{told.read_text()[-2000:]}")


def _listeners(port: int) -> int:
    """Return how many sockets listen on ``port``; processes that share one by SO_REUSEPORT have a socket each."""
    tables = (Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
    lines = (line.split() for table in tables for line in table.splitlines()[1:])
    return sum(line[1].endswith(f":{port:04X}") and line[3] == "0A" for line in lines)
