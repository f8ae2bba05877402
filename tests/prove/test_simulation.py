"""The simulation itself: it can be repeated, and under faults of every kind it finds nothing in payplat."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# Seed, number of orders, and what Python's hashes begin with.
RUNS = {"first": (4, 30, "0"), "again": (4, 30, "7"), "other": (37, 60, "0")}
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, str]]:
    """What each run told, all of them run side by side as a person runs them."""
    started = {name: start(*run) for name, run in RUNS.items()}
    yield {name: process.communicate()[0] for name, process in started.items()}
    for process in started.values():
        process.kill()


def start(seed: int, orders: int, hash_seed: str) -> subprocess.Popen[str]:
    """Start a simulation."""
    command = [sys.executable, "-m", "tests.prove", "simulate"]
    return subprocess.Popen(
        [*command, "--seed", str(seed), "--orders", str(orders)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def traces(told: str) -> list[str]:
    """The hashes of a run's episodes."""
    return re.findall(r"trace (\w{32})", told)


def test_a_seed_is_a_run(runs: dict[str, str]) -> None:
    """The same seed gives the same run to the last byte, whatever Python's hashes begin with; another seed another."""
    assert len(traces(runs["first"])) == 1, runs["first"]
    assert traces(runs["first"]) == traces(runs["again"])
    assert traces(runs["first"]) != traces(runs["other"])


@pytest.mark.parametrize("name", RUNS)
def test_nothing_is_lost(runs: dict[str, str], name: str) -> None:
    """Whatever struck, nothing is lost, double, early or unexplained, and the last line says so."""
    assert runs[name].splitlines()[-1] == "lost 0 double 0 early 0 unexplained 0", runs[name]
