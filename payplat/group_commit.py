"""Group commit: writes that arrive while a commit is in flight share the next one.

No timer: when idle an item goes at once and alone; when busy a fraction of the statements and disk syncs is needed.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from structlog.contextvars import clear_contextvars

from payplat import metrics
from payplat.database import DEADLINE
from payplat.errors import DatabaseUnavailable, Draining, Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(Generic[Item, Result]):
    """Hands items to ``commit`` in groups of up to ``limit`` and gives each caller its own result.

    ``commit`` takes 1..n items, stores all of them in one transaction or none, and returns their results in order. When
    a group fails, each of its items is committed again alone, so that one bad item cannot fail its neighbours; it must
    therefore be safe to repeat. At most ``capacity`` items wait, none longer than ``patience`` seconds.
    """

    def __init__(
        self,
        commit: Callable[[list[Item]], Awaitable[list[Result]]],
        *,
        limit: int = 64,
        capacity: int = 2048,
        patience: float = DEADLINE,
    ) -> None:
        self._commit, self._limit, self._capacity = commit, limit, capacity
        self._patience = patience
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        # Who must have an answer until when, the first one first; one timer for all.
        self._promised: deque[tuple[float, asyncio.Future[Result]]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._draining = False

    async def __call__(self, item: Item) -> Result:
        """Return ``item``'s result after its commit; raise what its own commit raised, Overloaded or Draining.

        Raises DatabaseUnavailable when it took too long; then it may be committed all the same. Cancelling the caller
        does not cancel the commit.
        """
        if self._draining:
            raise Draining
        if len(self._waiting) >= self._capacity:
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        self._promised.append((loop.time() + self._patience, future))
        if self._alarm is None:
            self._alarm = loop.call_at(self._promised[0][0], self._give_up)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await future

    def _give_up(self) -> None:
        """Tell those who have waited too long that the database is behind: who has been told so comes again."""
        loop, late = asyncio.get_running_loop(), set()
        while self._promised and self._promised[0][0] <= loop.time():
            late.add(self._promised.popleft()[1])
        self._waiting = deque(entry for entry in self._waiting if entry[1] not in late)
        for future in late:
            _answer(future, DatabaseUnavailable())
        first = self._promised[0][0] if self._promised else None
        self._alarm = None if first is None else loop.call_at(first, self._give_up)

    def _forget_answered(self) -> None:
        while self._promised and self._promised[0][1].done():
            self._promised.popleft()

    async def drain(self) -> None:
        """Take no more items and wait until all that came are committed; cancelling the wait cancels no commit."""
        self._draining = True
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        clear_contextvars()  # it works for many requests, not for the one that began it
        while self._waiting:
            size = min(self._limit, len(self._waiting))
            group = [self._waiting.popleft() for _ in range(size)]
            metrics.GROUP_SIZE.observe(size)
            if not await self._settle(group) and len(group) > 1:
                for one in group:
                    await self._settle([one])
            self._forget_answered()

    async def _settle(self, group: list[tuple[Item, asyncio.Future[Result]]]) -> bool:
        """Commit the group and answer its callers; return False when a group of several must go one by one."""
        try:
            outcomes: Sequence[Result | Exception] = await self._commit([i for i, _ in group])
        except Exception as error:  # noqa: BLE001 - it is the caller's to handle
            if len(group) > 1 and not isinstance(error, DatabaseUnavailable):
                return False
            outcomes = [error] * len(group)
        for (_, future), outcome in zip(group, outcomes, strict=True):
            _answer(future, outcome)
        return True


def _answer(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        future.exception()  # the caller may have gone; then nobody else retrieves it
    else:
        future.set_result(outcome)
