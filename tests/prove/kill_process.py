"""One of payplat's processes, again and again: ``python -m tests.prove.kill_process serve`` is ``payplat serve``.

For each line on its input, which names a log, it forks one and says its process id, then how it ended; so a successor
need not import everything anew. On SIGUSR1 that one reads the file ``KILL_ORDER``: the file to mark, and the way to the
point where it strikes itself down, as ``tests.crashing`` has them. ``KILL_LEASE`` is the lanes' lease in seconds.
"""

import os
import signal
import sys
from pathlib import Path

from payplat import lanes, seam
from tests import crashing


def _arm(*_: object) -> None:
    mark, way = Path(os.environ["KILL_ORDER"]).read_text().split(maxsplit=1)
    seam.world = crashing.CrashingWorld(crashing.Crash("kill", way, Path(mark)))


def _main() -> None:
    signal.signal(signal.SIGUSR1, _arm)
    lanes.LEASE = float(os.environ["KILL_LEASE"])  # before anybody imports it by value
    from payplat.cli import installed_doors, main

    installed_doors()
    for line in sys.stdin:
        if not (child := os.fork()):
            _write_to(line.strip())
            main()
        _say(child)
        _say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _write_to(log: str) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for number, file in enumerate((nowhere, nowhere, errors)):
        os.dup2(file, number)


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
