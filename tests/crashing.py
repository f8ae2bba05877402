"""payplat that strikes itself down at a named point: ``python -m tests.crashing serve …`` is ``payplat serve …``.

The environment says where and how, see ``Crash``; without ``CRASH_AT`` nothing happens. ``CRASH_LEASE`` is the lanes'
lease in seconds, so that a test need not wait long for what a dead process held.
"""

import os
import re
import signal
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import payplat
from payplat import lanes, seam

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


@dataclass(frozen=True)
class Crash:
    """A process sends itself SIGKILL (``kill``) or SIGSTOP (``stop``) at the end of ``way``.

    ``way`` names points that one piece of work must reach one after the other, such as ``before_settle before_commit``,
    and ``nth`` says how often its end is reached in that process. Who is struck writes its process id into the file
    ``mark``; where that exists nobody is, so that a successor and the other children of one parent live.
    """

    what: str
    way: str
    mark: Path
    nth: int = 1

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Crash | None":
        """Return what the environment asks for."""
        if "CRASH_AT" not in environ:
            return None
        mark, nth = Path(environ["CRASH_MARK"]), int(environ.get("CRASH_NTH", "1"))
        return cls(environ.get("CRASH", "kill"), environ["CRASH_AT"], mark, nth)

    def environ(self) -> dict[str, str]:
        """Return it as environment variables."""
        where = {"CRASH_AT": self.way, "CRASH_MARK": str(self.mark)}
        return {**where, "CRASH": self.what, "CRASH_NTH": str(self.nth)}

    def strike(self) -> None:
        """Send the signal, once."""
        try:
            with self.mark.open("x") as mark:
                mark.write(str(os.getpid()))
        except FileExistsError:
            return
        os.kill(os.getpid(), SIGNALS[self.what])


class CrashingWorld(seam.World):
    """The real world with one crash in it; raises ValueError when its way leads over a point that does not exist."""

    def __init__(self, crash: Crash) -> None:
        self._crash, self._way, self._times = crash, crash.way.split(), 0
        # The steps that the work in hand has taken: each request and each job counts for itself, and so do its tasks.
        self._taken: ContextVar[int] = ContextVar("taken", default=0)
        if unknown := set(self._way) - known_points():
            raise ValueError(f"payplat has no such point: {', '.join(sorted(unknown))}")

    async def reach(self, point: str) -> None:
        """Pass a named point, or end there."""
        taken = self._taken.get()
        if point != self._way[taken]:
            return
        if taken + 1 < len(self._way):
            self._taken.set(taken + 1)
            return
        self._times += 1
        if self._times == self._crash.nth:
            self._crash.strike()


def known_points() -> set[str]:
    """Return the names of all points in the source."""
    sources = Path(payplat.__file__).parent.rglob("*.py")
    return {name for file in sources for name in _REACH.findall(file.read_text("utf-8"))}


_REACH = re.compile(r'seam\.reach\("(\w+)"\)')


if __name__ == "__main__":
    # Before anybody imports it by value.
    lanes.LEASE = float(os.environ.get("CRASH_LEASE", lanes.LEASE))
    from payplat.cli import main

    if crash := Crash.read(os.environ):
        seam.world = CrashingWorld(crash)
    sys.exit(main())
