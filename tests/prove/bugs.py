"""Bugs planted one by one in copies of payplat: a test that finds none of them proves nothing.

``planted.toml`` lists them, with the tests or the simulation that must find each. All these judges first try a copy
without a bug, where they must pass.
"""

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# What a copy needs to be tested.
_PARTS = ("payplat", "tests", "config", "docs", "pyproject.toml", "README.md")
_SIMULATE = "simulate "
# A bug may also make everything stop; seconds.
_PATIENCE = 900


@dataclass(frozen=True)
class Bug:
    """One edit of ``payplat/<file>``: ``old``, which stands there once, becomes ``new``; ``by`` must find it."""

    name: str
    file: str
    old: str
    new: str
    by: Sequence[str]

    def plant(self, folder: Path) -> None:
        """Plant it in a copy; raises ValueError when it is not clear where."""
        path = folder / "payplat" / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} has its text {text.count(self.old)} times")
        path.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True)
class Trial:
    """How a copy was judged: ``status`` is 0 when all passed and 1 when something was found."""

    status: int
    told: str
    seconds: float

    @property
    def finding(self) -> str:
        """What found it: the first test that failed, or the simulation's verdict."""
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)|^(lost .*)$", self.told, re.MULTILINE)
        return (failed[1] or failed[2]) if failed else ""


def main(arguments: list[str]) -> int:
    """Run the command line; return 0 when each bug was found and 1 when not."""
    parser = argparse.ArgumentParser(prog="prove bugs", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="those with this in their name")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    bugs = [bug for bug in planted() if given.only in bug.name]
    if not bugs:
        parser.error("no bug has such a name")
    if not _passes(sorted({judge for bug in bugs for judge in bug.by})):
        return 1
    return _tell(bugs, given.at_once)


def planted() -> list[Bug]:
    """Return all bugs."""
    content = tomllib.loads((Path(__file__).parent / "planted.toml").read_text())
    return [Bug(**bug) for bug in content["bug"]]


def _passes(judges: Sequence[str]) -> bool:
    """Whether nothing is found where nothing was planted: otherwise what is found later says nothing."""
    trial = _try(None, judges)
    _say(f"without a bug: {'all passed' if trial.status == 0 else trial.told}")
    return trial.status == 0


def _tell(bugs: Sequence[Bug], at_once: int) -> int:
    missed = []
    for number, (bug, trial) in enumerate(_all_tried(bugs, at_once), 1):
        found = trial.status == 1 and trial.finding
        missed += [] if found else [bug.name]
        told = f"by {trial.finding}" if found else f"NOT FOUND, status {trial.status}"
        _say(f"{number:3}/{len(bugs)} {trial.seconds:4.0f} s  {bug.name}: {told}")
    share = 100 * (len(bugs) - len(missed)) / len(bugs)
    _say(f"found {len(bugs) - len(missed)} of {len(bugs)} ({share:.0f} %)")
    return int(bool(missed))


def _all_tried(bugs: Iterable[Bug], at_once: int) -> Iterator[tuple[Bug, Trial]]:
    with ThreadPoolExecutor(at_once) as pool:
        trials = {pool.submit(_try, bug, bug.by): bug for bug in bugs}
        for trial in as_completed(trials):
            yield trials[trial], trial.result()


def _try(bug: Bug | None, judges: Sequence[str]) -> Trial:
    """Judge a copy with the bug until something is found."""
    with tempfile.TemporaryDirectory(prefix="payplat-bug-") as name:
        folder, began = Path(name), time.monotonic()
        for part in _PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
        if bug is not None:
            bug.plant(folder)
        status, told = 0, ""
        for command in _commands(judges):
            if status == 0:
                status, told = _run(folder, command)
        return Trial(status, told, time.monotonic() - began)


def _commands(judges: Sequence[str]) -> Iterator[list[str]]:
    """Yield what to run: all tests at once, then each simulation."""
    if tests := [judge for judge in judges if not judge.startswith(_SIMULATE)]:
        yield ["pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
    for judge in judges:
        if judge.startswith(_SIMULATE):
            yield ["tests.prove", *shlex.split(judge)]


def _run(folder: Path, command: Sequence[str]) -> tuple[int, str]:
    # The copy comes before the payplat that is installed, in the children that tests start too.
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        told, _ = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return -1, "it did not end"
    return process.returncode, told


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
