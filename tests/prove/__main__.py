"""``python -m tests.prove <part>``: what is promised, put to the test; ends with 0 when it holds, 1 when not."""

import os
import sys
from collections.abc import Callable
from importlib import import_module

# Each part is a module here with a ``main(arguments)`` that returns the exit status.
PARTS = ("model", "simulate", "kill", "bugs")


def main() -> int:
    """Run the part that is named; sets that iterate in another order every time would be no proof."""
    if len(sys.argv) < 2 or sys.argv[1] not in PARTS:
        sys.stderr.write(f"prove: which part? {', '.join(PARTS)}\n")
        return 2
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.prove", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})
    part: Callable[[list[str]], int] = import_module(f"tests.prove.{sys.argv[1]}").main
    return part(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
