"""Real payplat processes for tests: started from the command line, watched, stopped."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient

from payplat.demo.stage import Stage


@dataclass
class Service:
    """A running `payplat serve` (or worker) and where it listens."""

    url: str
    process: asyncio.subprocess.Process

    async def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(sign)
        return await asyncio.wait_for(self.process.wait(), 30)


@asynccontextmanager
async def payplat(folder: Path, *arguments: str, **environ: str) -> AsyncIterator[Service]:
    """Run ``payplat`` with the configuration in ``folder`` until the block ends; ready when it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {
        **os.environ,
        "PAYPLAT_CONFIG": str(folder / "payplat.toml"),
        "PAYPLAT_SERVER__PORT": str(port),
    }
    given = {name: value for name, value in given.items() if name not in _OURS} | environ
    log = (folder / f"{arguments[0]}.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "payplat", *arguments, env=given,
        stdout=asyncio.subprocess.DEVNULL, stderr=log,
    )  # fmt: skip
    service = Service(f"http://127.0.0.1:{port}", process)
    try:
        if arguments[0] == "serve":
            await _ready(service)
        yield service
    finally:
        if process.returncode is None:
            await service.stop()
        log.close()


def run(stage: Stage, *arguments: str, **environ: str) -> subprocess.CompletedProcess:
    """Run a payplat command to its end."""
    command = [sys.executable, "-m", "payplat", *arguments]
    given = {
        "PATH": "/usr/bin:/bin",
        "PAYPLAT_CONFIG": str(stage.folder / "payplat.toml"),
        **environ,
    }
    return subprocess.run(command, capture_output=True, text=True, env=given, timeout=60)


# Variables of the test run itself, which the service would call unknown keys.
_OURS = {"PAYPLAT_REQUIRE", "PAYPLAT_TEST_MYSQL_URL", "PAYPLAT_SCREENSHOTS"}


async def _ready(service: Service) -> None:
    client = AsyncHTTPClient()
    for _ in range(200):
        try:
            response = await client.fetch(f"{service.url}/readyz", raise_error=False)
        except OSError:
            pass
        else:
            if response.code == 200:
                return
        assert service.process.returncode is None, "it ended before it was ready"
        await asyncio.sleep(0.05)
    raise AssertionError("it never became ready")
