"""docs/getting-started.md, followed line by line in a fresh folder, as somebody would who has never heard of payplat."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import DOCS, ROOT, blocks
from tests.processes import free_port

# What `./run` does but for making .venv, which takes a network.
RUN = f"""#!/bin/sh
[ "$1" = payplat ] && shift && exec {shlex.quote(sys.executable)} -m payplat "$@"
"""


@pytest.fixture
def fresh(tmp_path) -> Path:
    """A folder with what a clone has and the page needs."""
    for name in ("docs", "config"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "run").write_text(RUN)
    (tmp_path / "run").chmod(0o755)
    return tmp_path


@pytest.fixture
def shell(fresh):
    """Starts a line in the fresh folder; whatever still runs in the end is ended."""
    ports = {"8080": str(free_port()), "9000": str(free_port())}
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(fresh)}
    started: list[subprocess.Popen] = []

    def start(line: str) -> subprocess.Popen:
        for shown, here in ports.items():
            line = line.replace(shown, here)
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=fresh,
            env={**environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    start.ports = ports
    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=40)


def merchant() -> str:
    """The program that the page says to copy from another one."""
    (code,) = [b.code for b in blocks(DOCS / "integrate.md") if b.marks == "run merchant.py"]
    return code


def test_a_newcomer_gets_there(fresh, shell):
    """From nothing to a service, an endpoint that takes a signed event and refuses a forged one, and an order."""
    said: list[str] = []
    for block in blocks(DOCS / "getting-started.md"):
        if block.language == "toml":
            text = block.code
            for shown, here in shell.ports.items():
                text = text.replace(shown, here)
            (fresh / block.marks.removeprefix("run ")).write_text(text)
            (fresh / "my/merchant.py").write_text(merchant())
        elif block.marks == "run in the background":
            shell(block.code)
        elif block.marks == "run":
            for line in block.lines:
                process = shell(line)
                told, _ = process.communicate(timeout=60)
                assert process.returncode == 0, f"{line}\n{told}"
                said.append(told)
    triggered, refused, created, listed = said[-4:]
    assert "answered 204" in triggered
    assert refused.strip() == "401"
    assert '"order_string"' in created
    assert "pending" in listed
