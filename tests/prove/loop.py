"""An event loop with virtual time: nobody sleeps, and every step may be a process's last one.

Each callback belongs to the simulated process whose context it runs in. A dead process's callbacks never run, a paused
one's wait until it goes on; that is how a process is killed or stopped at any await.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from itertools import count
from typing import Any, Protocol


class Runner(Protocol):
    """Who runs callbacks: a simulated process."""

    def admits(self, handle: asyncio.Handle) -> bool:
        """Tell whether the callback may run now; a process that dies of it says no."""


# Whose code is running; None is the world outside.
RUNNER: ContextVar[Runner | None] = ContextVar("runner", default=None)


class Stuck(Exception):
    """It does not go on; says why."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """When nothing is ready the clock jumps to the next timer; ``steps`` counts callbacks."""

    def __init__(self) -> None:
        self.steps = 0
        self.problems: list[dict[str, Any]] = []
        self._now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = count()

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call it in this instant, after what is ready already."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it at ``when``."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it after ``delay`` seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        """Return a task of this loop."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def resume(self, handles: deque[asyncio.Handle]) -> None:
        """Let callbacks run that waited."""
        self._ready.extend(handles)

    def run_until_complete(self, future: Any) -> Any:
        """Run until ``future`` is done; raises Stuck when it never will be."""
        asyncio._set_running_loop(self)
        try:
            task = asyncio.ensure_future(future, loop=self)
            while not task.done():
                self._run_once()
            return task.result()
        finally:
            asyncio._set_running_loop(None)

    def _run_once(self) -> None:
        if not self._ready:
            self._advance()
        handle = self._ready.popleft()
        if handle._cancelled:
            return
        runner = handle._context.get(RUNNER)
        if runner is None or runner.admits(handle):
            self.steps += 1
            handle._run()

    def _advance(self) -> None:
        timers = self._timers
        while timers:
            when, _, handle = heapq.heappop(timers)
            if not handle._cancelled:
                self._now = max(self._now, when)
                self._ready.append(handle)
                return
        raise Stuck("Nothing is left that could happen.")

    def get_debug(self) -> bool:
        """Return False."""
        return False

    def is_running(self) -> bool:
        """Return True."""
        return True

    def is_closed(self) -> bool:
        """Return False."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody caught."""
        self.problems.append(context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass
