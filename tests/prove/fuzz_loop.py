"""The fuzzing loop: inputs drawn from a seed, steered by the lines that they reach, judged by what they cost and raise.

One input in sixteen runs under a tracer; one that goes from line to line as none did before becomes a parent.
"""

import sys
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from resource import RUSAGE_SELF, getrusage
from types import FrameType
from typing import Any

from payplat import seam
from tests.prove.fuzz_mutations import mutated
from tests.prove.fuzz_world import stopped

ROOT = Path(__file__).parent.parent.parent
MOST_SECONDS = 0.05
"""CPU time that an input may cost."""
MOST_BYTES = 32 * 2**20
"""Memory that an input may take."""
MOST_GROWTH = 256 * 2**10
"""KiB by which the process may grow over all inputs of a target."""

_TRACED, _MEASURED = 16, 1024
_LONGEST_PARENT = 8192
_MOST_PARENTS = 2000
_SHRINKING = 1.0  # seconds of CPU


@dataclass(frozen=True)
class Target:
    """A parser: ``check`` returns where it keeps its word with these bytes, and raises where not.

    ``sources`` begin the names of the files whose lines steer, ``now`` is the time there, in microseconds.
    """

    name: str
    check: Callable[[bytes], None]
    seeds: Sequence[bytes]
    sources: Sequence[str]
    tokens: Sequence[bytes] = ()
    now: int = 1_795_349_760 * seam.SECOND


@dataclass(frozen=True)
class Finding:
    """An input that broke a promise; ``place`` is the same for all that broke it in the same way."""

    target: str
    data: bytes
    place: str
    told: str


@dataclass
class Report:
    """What became of a target; ``seconds`` are CPU time."""

    target: str
    inputs: int = 0
    parents: int = 0
    arcs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    growth: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)


def fuzz(target: Target, inputs: int, seed: int) -> Report:
    """Run so many inputs and tell what was found, each finding once and shrunk."""
    with stopped(target.now):
        return _Loop(target, seed).run(inputs)


def replay(target: Target, data: bytes) -> Finding | None:
    """Judge one input."""
    with stopped(target.now):
        return judged(target, data)


def judged(target: Target, data: bytes) -> Finding | None:
    """Judge an input by all that it raises and costs."""
    try:
        peak = _peak(target, data)
        cost = min(_cost(target, data) for _ in range(3))
    except BaseException as error:  # noqa: BLE001 - libraries in Rust panic by it
        return _raised(target, data, error)
    if peak > MOST_BYTES:
        return Finding(target.name, data, "memory", f"it took {peak / 2**20:.0f} MiB")
    if cost > MOST_SECONDS:
        return Finding(target.name, data, "time", f"it took {cost * 1000:.0f} ms of CPU")
    return None


class _Loop:
    """One target, its parents so far, and what was found."""

    def __init__(self, target: Target, seed: int) -> None:
        self._target, self._random = target, Random(f"{seed} {target.name}")
        self._parents = list(target.seeds)
        self._arcs, self._report = _Arcs(target.sources), Report(target.name)

    def run(self, inputs: int) -> Report:
        began, size = time.process_time(), _size()
        for seed in self._target.seeds:
            self._try(seed, traced=True)
        for number in range(inputs):
            self._try(self._next(), traced=number % _TRACED == 0)
            if number % _MEASURED == 0:
                self._find(judged(self._target, self._next()))
        report = self._report
        report.inputs, report.parents, report.arcs = (
            inputs,
            len(self._parents),
            len(self._arcs.seen),
        )
        report.seconds, report.growth = time.process_time() - began, _size() - size
        if report.growth > MOST_GROWTH:
            told = f"the process grew by {report.growth // 1024} MiB"
            report.findings["growth"] = Finding(report.target, b"", "growth", told)
        return report

    def _next(self) -> bytes:
        """Make an input; later parents, which reach further, have more children."""
        pick, count = self._random.randrange, len(self._parents)
        parent, other = self._parents[max(pick(count), pick(count))], self._parents[pick(count)]
        return mutated(self._random, parent, other, self._target.tokens)

    def _try(self, data: bytes, *, traced: bool) -> None:
        began = time.process_time()
        try:
            if traced:
                self._trace(data)
            else:
                self._target.check(data)
        except BaseException as error:  # noqa: BLE001 - libraries in Rust panic by it
            self._find(_raised(self._target, data, error))
        else:
            cost = time.process_time() - began
            if cost > MOST_SECONDS and "time" not in self._report.findings:
                self._find(judged(self._target, data))  # it may have been the machine
            elif not traced:
                self._report.slowest = max(self._report.slowest, cost)

    def _trace(self, data: bytes) -> None:
        began = time.process_time()
        with self._arcs.watching() as known:
            self._target.check(data)
        # A slow parent would make all that follows slow.
        is_fast = time.process_time() - began < MOST_SECONDS
        is_new = len(self._arcs.seen) > known
        if (
            is_new
            and is_fast
            and len(data) <= _LONGEST_PARENT
            and len(self._parents) < _MOST_PARENTS
        ):
            self._parents.append(data)

    def _find(self, finding: Finding | None) -> None:
        if finding is not None and finding.place not in self._report.findings:
            self._report.findings[finding.place] = shrunk(self._target, finding)


def shrunk(target: Target, finding: Finding) -> Finding:
    """Return the same finding by a shorter input: pieces are left out, smaller and smaller ones."""
    piece, ends = max(1, len(finding.data) // 2), time.process_time() + _SHRINKING
    while piece:
        at = 0
        while at < len(finding.data) and time.process_time() < ends:
            shorter = judged(target, finding.data[:at] + finding.data[at + piece :])
            if shorter is not None and shorter.place == finding.place:
                finding = shorter
            else:
                at += piece
        piece //= 2
    return finding


def _raised(target: Target, data: bytes, error: BaseException) -> Finding:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(ROOT))
    ]
    innermost = next((f for f in reversed(frames) if "/payplat/" in f.filename), frames[-1])
    file = Path(innermost.filename).relative_to(ROOT)
    place = f"{type(error).__name__} at {file}:{innermost.lineno}"
    return Finding(target.name, data, place, f"{place}: {str(error)[:200]!r}")


def _peak(target: Target, data: bytes) -> int:
    tracemalloc.start()
    try:
        target.check(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _cost(target: Target, data: bytes) -> float:
    began = time.process_time()
    target.check(data)
    return time.process_time() - began


def _size() -> int:
    return getrusage(RUSAGE_SELF).ru_maxrss


class _Arcs:
    """Which line came after which, in the files whose names begin so."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = tuple(str(ROOT / source) for source in sources)
        self.seen: set[tuple[str, int, int]] = set()
        self._last = 0

    @contextmanager
    def watching(self) -> Iterator[int]:
        """Note all steps from here on; gives how many were known before."""
        before, self._last = sys.gettrace(), 0
        sys.settrace(self._called)
        try:
            yield len(self.seen)
        finally:
            sys.settrace(before)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._stepped if frame.f_code.co_filename.startswith(self._sources) else None

    def _stepped(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.seen.add((frame.f_code.co_filename, self._last, frame.f_lineno))
            self._last = frame.f_lineno
        return self._stepped
