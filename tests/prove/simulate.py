"""The whole service in virtual time, under faults drawn from a seed, before judges who share no code with it.

A run is cut into episodes of up to a thousand orders: the first has the given seed, each other the next one. Every
episode is a process of its own with its own database, so it runs the same alone as among others.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.migrated import migrated
from tests.prove.children import each_in_a_child
from tests.prove.episode import MOST_ORDERS, Episode, Outcome, prepared
from tests.prove.judge import KINDS, Finding
from tests.prove.keys import key

# Of a failure's story so many lines are told.
_MOST_LINES = 80
_last: list[Episode] = []


def main(arguments: list[str]) -> int:
    """Run the command line; return 0 when nothing was found and 1 when something was."""
    parser = argparse.ArgumentParser(prog="prove simulate", description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(Path(folder))
        outcomes = simulation.run(given.seed, given.orders)
        failed = next((o for o in outcomes if o.findings), None)
        if failed is not None:
            _tell_failure(simulation.shortest(failed))
    _say(verdict(outcomes))
    return 1 if failed else 0


class Simulation:
    """Runs episodes in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        url = f"sqlite:///{folder / 'template.db'}"
        self._template = prepared(Path(migrated(url).removeprefix("sqlite:///")))
        for name in ("app", "alipay", "stranger"):
            key(name)  # searched once, for all children
        gc.collect()
        gc.freeze()

    def run(self, seed: int, orders: int) -> list[Outcome]:
        """Run so many orders and tell what was survived."""
        began, outcomes = time.monotonic(), list[Outcome]()
        sizes = [min(MOST_ORDERS, orders - done) for done in range(0, orders, MOST_ORDERS)]
        jobs = [(seed + number, size, False) for number, size in enumerate(sizes)]
        for outcome in each_in_a_child(self._episode, jobs):
            outcomes.append(outcome)
            _progress(outcomes, len(jobs), time.monotonic() - began)
        outcomes.sort(key=lambda outcome: outcome.seed)
        _tell(outcomes, time.monotonic() - began)
        return outcomes

    def shortest(self, failed: Outcome) -> Outcome:
        """Return the shortest run of that seed that fails, with its story: found by halving."""
        passes, fails = 0, failed.orders
        while fails - passes > 1:
            middle = (passes + fails) // 2
            if self._once(failed.seed, middle).findings:
                fails = middle
            else:
                passes = middle
        return self._once(failed.seed, fails, keeps=True)

    def _once(self, seed: int, orders: int, *, keeps: bool = False) -> Outcome:
        return next(iter(each_in_a_child(self._episode, [(seed, orders, keeps)])))

    def _episode(self, seed: int, orders: int, keeps: bool) -> Outcome:
        # Collected where the episode says so, and never in the end: what died must not come to life while it is freed.
        gc.disable()
        folder = self._folder / f"{seed}-{orders}-{keeps}"
        folder.mkdir()
        episode = Episode(seed, orders, self._template, folder, keeps=keeps)
        _last.append(episode)
        return episode.run()


def verdict(outcomes: Sequence[Outcome]) -> str:
    """Return the line that says it all."""
    found = Counter(finding.kind for outcome in outcomes for finding in outcome.findings)
    return " ".join(f"{kind} {found[kind]}" for kind in KINDS)


def _tell(outcomes: Sequence[Outcome], seconds: float) -> None:
    orders = sum(outcome.orders for outcome in outcomes)
    virtual = sum(outcome.virtual_seconds for outcome in outcomes)
    cpu = sum(outcome.cpu_seconds for outcome in outcomes)
    struck = sum((outcome.struck for outcome in outcomes), Counter[str]())
    states = sum((outcome.states for outcome in outcomes), Counter[str]())
    for name, times in sorted(struck.items()):
        _say(f"{times:8} × {name}")
    stand = ", ".join(f"{times} {name}" for name, times in states.most_common())
    _say(f"{orders} purchases ended as {stand}")
    _say(
        f"{virtual / 3600:.1f} hours in {seconds:.0f} s: {orders / seconds:.0f} orders/s, "
        f"{orders / cpu:.0f} a core"
    )
    for outcome in outcomes:
        _say(f"seed {outcome.seed}: trace {outcome.digest[:32]}")


def _tell_failure(outcome: Outcome) -> None:
    _say(f"again: ./run prove simulate --seed {outcome.seed} --orders {outcome.orders}")
    for finding in outcome.findings[:10]:
        _say(f"  {finding.kind}: {finding.order_no} {finding.says}")
    for line in _story(outcome.lines, outcome.findings):
        _say(f"    {line}")


def _story(lines: Sequence[str], findings: Sequence[Finding]) -> list[str]:
    """Return what the trace says of the first order of the findings, and when processes died or stopped."""
    number = next((f.order_no for f in findings if f.order_no), "")
    told = [line for line in lines if (number and number in line) or "b'" not in line]
    return [line[:240] for line in told[-_MOST_LINES:]]


def _progress(outcomes: Sequence[Outcome], episodes: int, seconds: float) -> None:
    if sys.stderr.isatty():
        orders = sum(outcome.orders for outcome in outcomes)
        done = f"{len(outcomes)} of {episodes} episodes, {orders} orders, {orders / seconds:.0f}/s"
        end = "\n" if len(outcomes) == episodes else ""
        sys.stderr.write(f"\r{done}, {verdict(outcomes)}  {end}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
