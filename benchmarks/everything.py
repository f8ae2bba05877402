"""All figures of docs/performance.md: every benchmark in turn, what each prints in a file of its own, and the picture.

``python -m benchmarks.everything FOLDER`` takes about an hour on two processors, longer with ``--peers`` (which must be
installed) and ``--growth``, which writes five million old orders. The exit code is 1 when one of them failed.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.contest import say
from benchmarks.ground import ROOT
from benchmarks.peers import commands as peers

_CONTESTS = ("callback", "create_order", "verify")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them one after the other."""
    parser = argparse.ArgumentParser(prog="benchmarks.everything", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the tables go")
    parser.add_argument("--peers", action="store_true", help="beside all peers")
    parser.add_argument("--growth", action="store_true", help="beside five million old orders too")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    results = (given.folder / "results").resolve()
    results.unlink(missing_ok=True)
    failed = [
        name
        for name, command in _benchmarks(given)
        if not _run(given.folder, name, command, results)
    ]
    if results.exists():
        _run(given.folder, "picture.svg", ["picture", str(results)], None)
    say(f"failed: {', '.join(failed)}" if failed else f"all in {given.folder}")
    return int(bool(failed))


def _benchmarks(given: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    rivals = ["--servers", "bare", "raw", "payplat", *peers.NEEDS] if given.peers else []
    yield "callback", ["callback", *rivals]
    yield "callback at given rates", ["callback", "--rate", "200", "400", "800"]
    yield "callback by two processes", ["callback", "--processes", "2"]
    yield "callback on SQLite", ["callback", "--sqlite"]
    yield "create_order, a store", ["create_order", "--channel", "apple"]
    yield "create_order, order string", ["create_order", "--channel", "alipay"]
    yield "verify, Apple", ["verify", "--channel", "apple"]
    yield "verify, Google", ["verify", "--channel", "google"]
    yield "Apple's signature", ["apple_verify"]
    yield "deliveries", ["deliveries"]
    if given.growth:
        yield "growth", ["growth"]
        yield "sweep", ["sweep"]


def _run(folder: Path, name: str, command: Sequence[str], results: Path | None) -> bool:
    """Run a benchmark; return whether it went well. What it prints is kept."""
    say(f"— {name}")
    wanted = ["--results", str(results)] if results and command[0] in _CONTESTS else []
    kept = folder / (name if "." in name else f"{name}.txt")
    with kept.open("w") as file:
        call = [sys.executable, "-m", f"benchmarks.{command[0]}", *command[1:], *wanted]
        done = subprocess.run(call, cwd=ROOT, stdout=file, check=False)  # noqa: S603 - our own programs
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
