"""The servers that are compared, each a process of its own on the first processor; everything else runs on the others."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ground import ROOT, Ground
from benchmarks.peers import commands as peers

_PROCESSORS = sorted(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Contestant:
    """A server that can be started; ``writes`` says whether its payments are in the database afterwards."""

    name: str
    writes: bool = True
    checkout: Path = ROOT

    def command(self, ground: Ground, database_url: str, port: int) -> list[str]:
        """Return how it is started."""
        given = [f"--port={port}"]
        if self.name == "bare":
            return [sys.executable, "-m", "benchmarks.bare", *given]
        if self.name == "raw":
            given += [f"--database={database_url}", f"--key={ground.folder / 'alipay.pem'}"]
            return [sys.executable, "-m", "benchmarks.raw", *given]
        if self.name in peers.NEEDS:
            return peers.command(self.name, ground, database_url, port)
        return [sys.executable, "-m", "payplat", "serve", "--no-worker"]

    @contextmanager
    def running(self, ground: Ground, database_url: str) -> Iterator[tuple[int, int]]:
        """Run the server until the block ends; yields its process id and its port once it answers."""
        port = _free_port()
        environ = {**ground.environ(database_url), "PAYPLAT_SERVER__PORT": str(port)}
        command = self.command(ground, database_url, port)
        told = ground.folder / f"{self.name}.log"
        with told.open("ab") as log, _on(_PROCESSORS[:1]):
            process = subprocess.Popen(  # noqa: S603 - our own program
                command, env=environ, cwd=self.checkout, stdout=log, stderr=log
            )
        try:
            _wait(process, port, told)
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


def _wait(process: subprocess.Popen[bytes], port: int, told: Path) -> None:
    """Wait until the server listens, which all of them do last."""
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server never listened:\n{told.read_text()[-2000:]}")
