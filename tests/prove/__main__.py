"""``python -m tests.prove [part]``: what is promised, put to the test; ends with 0 when it holds, 1 when not.

Without a part it is all of them, one after the other, with the counts that docs/reliability.md names; hours.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module

# Each part is a module here with a ``main(arguments)`` that returns the exit status.
PARTS = ("model", "simulate", "kill", "bugs", "fuzz", "doors")


def main() -> int:
    """Run the part that is named, or all; sets that iterate in another order every time would be no proof."""
    part, arguments = (sys.argv[1:2] or ["all"])[0], sys.argv[2:]
    if part not in ("all", *PARTS):
        sys.stderr.write(f"prove: which part? all, {', '.join(PARTS)}\n")
        return 2
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.prove", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})
    chosen = PARTS if part == "all" else (part,)
    return max(_main_of(name)(list(arguments)) for name in chosen)


def _main_of(part: str) -> Callable[[list[str]], int]:
    found: Callable[[list[str]], int] = import_module(f"tests.prove.{part}").main
    return found


if __name__ == "__main__":
    sys.exit(main())
