"""A circuit breaker: who has not answered many times running is left alone for some seconds, then asked once on trial.

It spares callers the wait and a provider that comes back the rush. It decides nothing: a call that is not made tells its
caller what one without an answer tells, and the outcome stays unknown.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol, TypeVar

import structlog

from payplat import metrics
from payplat.errors import NoAnswer
from payplat.retry import Backoff

log = structlog.get_logger("payplat")
# So many calls in a row without an answer, or with a 5xx, open the circuit; then it stays open for so many seconds.
FAILURES = 10
_OPEN = Backoff(base=1, factor=2, cap=20, jitter=0.5)


class Phase(StrEnum):
    """How a circuit stands."""

    CLOSED = "closed"  # calls go out
    OPEN = "open"  # they fail at once
    TRIAL = "trial"  # the next one goes out, or is out, to see


class _Answer(Protocol):
    @property
    def status(self) -> int: ...


A = TypeVar("A", bound=_Answer)


class Circuit:
    """The circuit of one counterpart. Its times are the event loop's: a clock that is set neither opens nor holds it."""

    def __init__(self, counterpart: str) -> None:
        self.counterpart = counterpart
        self._failures, self._openings, self._until, self._is_tried = 0, 0, 0.0, False
        self._gauge = metrics.CIRCUIT_OPEN.labels(counterpart)

    @property
    def phase(self) -> Phase:
        """How it stands now; asks for a running loop."""
        if not self._openings:
            return Phase.CLOSED
        return Phase.OPEN if _now() < self._until else Phase.TRIAL

    async def through(self, call: Callable[[], Awaitable[A]]) -> A:
        """Return what ``call()`` answers; raises NoAnswer, at once and without a call while the circuit is open."""
        is_trial = self._admit()
        try:
            answer = await call()
        except NoAnswer:
            self._fail(is_trial)
            raise
        else:
            self._fail(is_trial) if answer.status >= 500 else self.close()
            return answer
        finally:
            if is_trial:
                self._is_tried = False

    def close(self) -> None:
        """Let calls go out again."""
        if self._openings:
            self._gauge.dec()
            log.info("circuit closed", counterpart=self.counterpart)
        self._failures = self._openings = 0

    def _admit(self) -> bool:
        """Let a call go out and return whether it is the trial; raises NoAnswer."""
        phase = self.phase
        if phase is Phase.OPEN or self._is_tried:
            raise NoAnswer("not asked: the last calls had no answer")
        self._is_tried = phase is Phase.TRIAL
        return self._is_tried

    def _fail(self, is_trial: bool) -> None:  # noqa: FBT001 - private
        self._failures += 1
        # Calls that went out before it opened say nothing new.
        if is_trial or (not self._openings and self._failures >= FAILURES):
            if not self._openings:
                self._gauge.inc()
            self._openings += 1
            seconds = _OPEN.delay(self._openings)
            self._until = _now() + seconds
            log.warning("circuit open", counterpart=self.counterpart, seconds=round(seconds, 1))


def _now() -> float:
    return asyncio.get_running_loop().time()
