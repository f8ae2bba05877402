"""``model``: any steps in any order over the real ledger, beside what must come of them, on both engines."""

import argparse
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from zlib import crc32

import structlog
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.ledger.invariants import RULES, WIDE_RULES
from tests.mariadb import private_mariadb
from tests.migrated import migrated
from tests.prove.model_bench import Bench, server_bench, sqlite_bench
from tests.prove.model_example import Breach, Example
from tests.prove.model_machine import LedgerMachine
from tests.prove.model_shrink import Failure, name, shrink
from tests.prove.model_words import Step, dump, load

# One example in so many is played on the other engine too.
SHARE = 20
_PROGRESS = 50


class Run:
    """Plays examples on ``bench``, and one in ``share`` of them on ``other`` too; counts what was done."""

    def __init__(self, bench: Bench, other: Bench | None = None, share: int = SHARE) -> None:
        self.bench, self.other, self.share = bench, other, share
        self.examples = self.compared = self.steps = self.faults = 0
        self.rules: Counter[str] = Counter()
        self.example = Example(bench)
        self._began = time.monotonic()

    def play(self, number: int, examples: int, steps: int) -> None:
        """Play so many examples of so many steps, chosen by a seed; raises what the first failing one does."""
        run_state_machine_as_test(
            seed(number)(self._machine()),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
                verbosity=Verbosity.quiet,
            ),
        )

    def shortest(self) -> list[Step]:
        """Return the fewest and simplest steps that fail as the last example did."""
        steps = [step for step in self.example.taken if step.rule != "peace"]
        for other in (None, self.other):
            failure = self._failure(steps, other)
            if failure is not None:
                return shrink(steps, partial(self._failure, other=other), failure)
        return steps

    def take(self, steps: list[Step], other: Bench | None) -> None:
        """Take these very steps, on the other engine too if there is one; raises what goes wrong."""
        self.example = Example(self.bench)
        for step in steps:
            self.example.take(step)
        self.example.finish()
        if other is not None:
            self.example.compare(other)

    def _failure(self, steps: list[Step], other: Bench | None) -> Failure | None:
        try:
            self.take(steps, other)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is what is looked for
            return name(error)
        return None

    def _machine(self) -> type[LedgerMachine]:
        run = self

        class Machine(LedgerMachine):
            """The machine of this run."""

            def begin(self) -> Example:
                """Begin another example."""
                run.example = Example(run.bench)
                return run.example

            def ended(self) -> None:
                """Count it."""
                run._ended(self.example)

        return Machine

    def _ended(self, example: Example) -> None:
        # By what is in it, not by its number: what is tried again is compared again.
        if self.other is not None and crc32(dump(example.taken).encode()) % self.share == 0:
            example.compare(self.other)
            self.compared += 1
        self.examples += 1
        self.steps += len(example.taken)
        self.faults += example.struck
        self.rules.update(step.rule for step in example.taken)
        if self.examples % _PROGRESS == 0:
            speed = self.steps / (time.monotonic() - self._began)
            _say(f"  {self.examples} examples, {self.steps} steps, {speed:.0f} steps/s")


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="prove model", description=__doc__)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=50, help="steps of each example")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", metavar="JSON", help="take these very steps instead")
    given = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with _benches() as (bench, other):
        run = Run(bench, other)
        try:
            if given.replay:
                run.take(load(given.replay), other)
                _say("model: these steps lead where they must: breaches 0")
            else:
                run.play(given.seed, given.examples, given.steps)
                _tell(run, given.seed)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is what is looked for
            _tell_failure(run, error)
            return 1
    return 0


@contextmanager
def _benches() -> Iterator[tuple[Bench, Bench | None]]:
    """Make a SQLite file, and a database of a server of our own where this machine has one."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        file, other = Path(folder) / "payplat.db", None
        migrated(f"sqlite:///{file}")
        server = stack.enter_context(private_mariadb())
        if server is not None:
            url = migrated(stack.enter_context(server.fresh_database()))
            other = stack.enter_context(server_bench(url))
        yield stack.enter_context(sqlite_bench(file)), other


def _tell(run: Run, number: int) -> None:
    for rule, count in run.rules.most_common():
        _say(f"  {count:7} {rule}")
    engines = (
        "no MariaDB on this machine" if run.other is None else f"{run.compared} on MariaDB too"
    )
    _say(
        f"model: {run.examples} examples ({engines}), {run.steps} steps, {run.faults} faults, "
        f"{len(RULES) + len(WIDE_RULES)} invariants and every row after each: breaches 0 (seed {number})"
    )


def _tell_failure(run: Run, error: Exception) -> None:
    _say(f"model: breach after {run.examples} examples; looking for the shortest steps …")
    steps = run.shortest()
    try:
        run.take(steps, run.other)
    except Exception as shortest:  # noqa: BLE001 - this is what is told
        error = shortest
    for step in steps:
        _say(f"  {step}")
    if not isinstance(error, Breach):
        _say("".join(traceback.format_exception(error, limit=-4)))
    _say(f"{type(error).__name__}: {error}")
    _say(f"Again: python -m tests.prove model --replay '{dump(steps)}'")
    _say("model: breaches 1")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
