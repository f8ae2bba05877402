"""The gate: whether payplat costs what it did, beside hand-written code in the same run.

``python -m benchmarks.gate`` holds each contest of ``RATIOS`` over five interleaved rounds and compares the medians of
the processor time. The exit code is 1 when payplat needs over 40 % more than the ratio on record, and that of a contest
that could not be held. By hand, on a machine that does nothing else: other work moves even ratios.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.contest import say

# Processor time of payplat to that of the raw server, as in docs/performance.md, by the contest's arguments.
RATIOS: dict[tuple[str, ...], float] = {
    ("callback",): 0.57,
    ("create_order", "--channel", "alipay"): 0.79,
}
MARGIN = 1.4
_ROUNDS = ("--rounds", "5", "--orders", "3000", "--servers", "raw", "payplat")


def main() -> int:
    """Hold every contest and print its verdict."""
    return max(_judge(*contest, ratio=ratio) for contest, ratio in RATIOS.items())


def _judge(name: str, *arguments: str, ratio: float) -> int:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        contest = import_module(f"benchmarks.{name}")
        code = int(contest.main([*arguments, *_ROUNDS, "--results", str(results)]))
        if code != 0:
            return code
        reached = _ratio(results.read_text().splitlines())
    is_open = reached <= ratio * MARGIN
    told = f"{reached:.2f} x raw, {ratio} on record, at most {ratio * MARGIN:.2f}"
    say(f"{'open' if is_open else 'SHUT'}: {name}: {told}")
    return int(not is_open)


def _ratio(lines: Sequence[str]) -> float:
    costs = {told["server"]: told["CPU ms"] for told in map(json.loads, lines)}
    return float(costs["payplat"] / costs["raw"])


if __name__ == "__main__":
    sys.exit(main())
