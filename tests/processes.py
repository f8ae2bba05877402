"""Real payplat processes for tests: started from the command line, watched, stopped."""

import asyncio
import io
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
from tornado.httpclient import AsyncHTTPClient
from typer import rich_utils

from payplat import cli, terminal
from payplat.demo.stage import Stage


@dataclass
class Service:
    """A running `payplat serve` (or worker) and where it listens."""

    url: str
    process: asyncio.subprocess.Process

    async def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(sign)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end and return the exit code."""
        return await asyncio.wait_for(self.process.wait(), 30)


@asynccontextmanager
async def payplat(
    folder: Path, *arguments: str, module: str = "payplat", **environ: str
) -> AsyncIterator[Service]:
    """Run ``payplat`` with the configuration in ``folder`` until the block ends; ready when it answers.

    ``module`` is another one with the same command line, such as ``tests.crashing``.
    """
    given = {
        **os.environ,
        "PAYPLAT_CONFIG": str(folder / "payplat.toml"),
        "PAYPLAT_SERVER__PORT": str(free_port()),
    }
    given = {name: value for name, value in given.items() if name not in _OURS} | environ
    log = (folder / f"{arguments[0]}.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, env=given, cwd=_ROOT,
        stdout=log, stderr=log,
    )  # fmt: skip
    service = Service(f"http://127.0.0.1:{given['PAYPLAT_SERVER__PORT']}", process)
    try:
        if arguments[0] == "serve":
            await _ready(service)
        yield service
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)  # one that sleeps hears no SIGTERM
            await service.stop()
        log.close()


def free_port() -> int:
    """Return a free port that stays free while nobody listens: none of those that outgoing connections get."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def run(stage: Stage, *arguments: str, **environ: str) -> subprocess.CompletedProcess:
    """Run a payplat command to its end."""
    command = [sys.executable, "-m", "payplat", *arguments]
    given = _environ(stage, environ)
    return subprocess.run(command, capture_output=True, text=True, env=given, timeout=60)


def run_here(stage: Stage, *arguments: str, **environ: str) -> subprocess.CompletedProcess:
    """Run a payplat command like ``run`` but in this process: starting Python takes longer than most commands do."""
    out, err = io.StringIO(), io.StringIO()
    alone = patch.dict(os.environ, _environ(stage, environ), clear=True)
    with pytest.MonkeyPatch.context() as here, alone, redirect_stdout(out), redirect_stderr(err):
        here.setattr(sys, "argv", ["payplat", *arguments])
        # Decided where pytest's own output goes, which may be a terminal.
        here.setattr(terminal.out, "_color_system", None)
        here.setattr(terminal.out, "_width", int(environ.get("COLUMNS", 80)))
        here.setattr(rich_utils, "FORCE_TERMINAL", None)
        # Only a process's first thread may say what becomes of signals.
        here.setattr(signal, "signal", lambda *_: None)
        # main() adds the channels' commands to these.
        here.setattr(cli.cli, "registered_groups", list(cli.cli.registered_groups))
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return subprocess.CompletedProcess(arguments, ended.value.code, out.getvalue(), err.getvalue())


def _environ(stage: Stage, more: dict[str, str]) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "PAYPLAT_CONFIG": str(stage.folder / "payplat.toml"),
        **more,
    }


_ROOT = Path(__file__).parent.parent
# Variables of the test run itself, which the service would call unknown keys.
_OURS = {"PAYPLAT_REQUIRE", "PAYPLAT_TEST_MYSQL_URL", "PAYPLAT_SCREENSHOTS"}


async def _ready(service: Service) -> None:
    client = AsyncHTTPClient()
    for _ in range(600):
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
