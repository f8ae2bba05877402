"""Exponential backoff: one pure schedule, slept between calls inside a request and stored as a due time by the jobs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from payplat import seam

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts: ``base``, ``base·factor``, ``base·factor²`` … seconds, none above ``cap``.

    ``jitter`` is the share of each wait that is drawn by chance (0 none, 1 all of it), so that many who failed together
    do not come back together. ``attempts`` counts all tries, the first one included.
    """

    base: float
    factor: float = 2.0
    cap: float = 3600.0
    jitter: float = 0.2
    attempts: int = 5

    def delay(self, failures: int, chance: float | None = None) -> float:
        """Return the seconds to wait after ``failures`` (from 1) failed tries; ``chance`` in [0, 1) replaces the draw."""
        # The exponent is bounded so that a row with thousands of tries cannot overflow a float.
        wait = min(self.cap, self.base * self.factor ** min(failures - 1, 64))
        return wait * (1 - self.jitter * (seam.uniform() if chance is None else chance))

    def duration(self) -> float:
        """Return the seconds from the first try to the last, at most."""
        return sum(self.delay(failures, chance=0) for failures in range(1, self.attempts))

    def due_after(self, failures: int, now: int) -> int | None:
        """Return when the next try is due (microseconds, UTC), or None when the attempts are used up."""
        if failures >= self.attempts:
            return None
        return now + int(self.delay(failures) * seam.SECOND)


async def retrying(
    call: Callable[[], Awaitable[T]], backoff: Backoff, retry_on: type[Exception]
) -> T:
    """Await ``call()`` until it returns, sleeping between tries; after the last one raise what it raised.

    Only ``retry_on`` is tried again. Use it for questions and for calls that are safe to repeat, and for nothing else.
    """
    failures = 0
    while True:
        try:
            return await call()
        except retry_on:
            failures += 1
            if failures >= backoff.attempts:
                raise
        await seam.sleep(backoff.delay(failures))
