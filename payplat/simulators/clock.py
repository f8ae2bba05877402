"""Simulated time: a clock that can be moved, and an agenda of what is due on it."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable

Job = Callable[[], Awaitable[object]]

_POLL = 0.02
"""Seconds between two looks at a clock that is not the machine's own and may jump unannounced."""


class Clock:
    """Seconds since the epoch (UTC): a source, and the distance it has been moved ahead."""

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self.real = source is time.time
        self._source = source
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since 1970 on this clock."""
        return self._source() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move this clock ahead by so many seconds."""
        self._ahead += seconds

    def move_to(self, at: float) -> None:
        """Move ahead to `at`; a clock never goes back."""
        self._ahead += max(0.0, at - self.now())


class Agenda:
    """Runs each job when its time has come on the clock, and knows which are under way."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._due: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._running: set[asyncio.Task[object]] = set()
        self._looked = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None

    def at(self, due: float, job: Job) -> None:
        """Do something at that time."""
        heapq.heappush(self._due, (due, next(self._order), job))
        self.wake()

    def wake(self) -> None:
        """Say that the clock or the agenda has changed."""
        self._looked.set()

    def start(self) -> None:
        """Begin to do what falls due."""
        self._runner = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Cancel what is under way; what is not yet due stays on the agenda."""
        tasks = [*self._running, *([self._runner] if self._runner else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._runner = None

    async def idle(self) -> None:
        """Wait until nothing that is due now is still to be done."""
        self._launch()
        while self._running:
            await asyncio.wait(set(self._running))
            self._launch()

    async def advance(self, seconds: float) -> None:
        """Live through `seconds` of the clock: each job runs at its own time, in order."""
        target = self.clock.now() + seconds
        await self.idle()
        while self._due and self._due[0][0] <= target:
            self.clock.move_to(self._due[0][0])
            await self.idle()
        self.clock.move_to(target)
        self.wake()

    async def _run(self) -> None:
        while True:
            self._looked.clear()
            self._launch()
            with contextlib.suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it can swallow the cancellation of stop().
                async with asyncio.timeout(self._nap()):
                    await self._looked.wait()

    def _nap(self) -> float | None:
        if not self._due:
            return None
        wait = max(0.0, self._due[0][0] - self.clock.now())
        return wait if self.clock.real else min(wait, _POLL)

    def _launch(self) -> None:
        while self._due and self._due[0][0] <= self.clock.now():
            task = asyncio.ensure_future(heapq.heappop(self._due)[2]())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
