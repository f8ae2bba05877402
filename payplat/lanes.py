"""Lanes: loops that claim due rows and work on them; one lane never holds up another.

Everything starts from the database. A wake-up makes a lane fast; correctness never depends on it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from sqlalchemy import Row
from structlog.contextvars import bind_contextvars

from payplat import traces
from payplat.database import Database
from payplat.errors import PayplatError
from payplat.leases import Queue

log = structlog.get_logger("payplat")
# Seconds after which the work of a process that died is due again; one that lives holds on for as long as it takes.
LEASE = 30.0
# What names a row's work in the log, where its table has it.
_IDS = ("channel", "endpoint", "order_no", "event_id")


class Lane:
    """Works on one lane of a queue: at most ``slots`` rows at once, held for ``LEASE`` seconds and longer while it works.

    ``perform`` gets a claimed row and must write its result through the queue's fence. When it fails, the row is due
    again at the end of its lease. A busy lane waits until ``batch`` slots are free before it claims: one claim for many
    rows costs little more than one for one. An idle lane looks every ``poll`` seconds.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        name: str | None,
        perform: Callable[[Row[Any]], Awaitable[object]],
        *,
        slots: int = 16,
        batch: int = 1,
        poll: float = 1.0,
    ) -> None:
        self._database, self._queue, self._name = database, queue, name
        self._perform, self._slots, self._lease, self._poll = perform, slots, LEASE, poll
        self._awake, self._stopping, self._batch = asyncio.Event(), False, batch
        self._work: dict[asyncio.Task[None], Row[Any]] = {}

    def wake(self) -> None:
        """Look for work now."""
        self._awake.set()

    async def run(self) -> None:
        """Work until ``stop`` is called; then finish what was begun."""
        heartbeat = asyncio.create_task(self._hold_on())
        try:
            while not self._stopping:
                self._awake.clear()
                found = await self._claim()
                if not found:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._awake.wait(), self._poll)
            if self._work:
                await asyncio.wait(self._work)
        finally:
            heartbeat.cancel()
            await asyncio.wait([heartbeat])

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping = True
        self._awake.set()

    async def _claim(self) -> bool:
        """Begin to work on due rows; return whether there may be more."""
        free = self._slots - len(self._work)
        if free < self._batch:
            await asyncio.wait(self._work, return_when=asyncio.FIRST_COMPLETED)
            return True
        try:
            rows = await self._queue.claim(
                self._database, self._name, limit=free, lease=self._lease
            )
        except PayplatError as error:
            log.warning("claim failed", lane=self._name, reason=str(error))
            return False
        except Exception:
            # A lane that ended would end in silence: nobody would be told until the next start.
            log.exception("claim failed", lane=self._name)
            return False
        for row in rows:
            task = asyncio.create_task(self._work_on(row))
            self._work[task] = row
            task.add_done_callback(self._work.pop)
        return len(rows) == free

    async def _hold_on(self) -> None:
        """Extend the leases of what is being worked on, in time for two more tries."""
        while True:
            await asyncio.sleep(self._lease / 3)
            if rows := list(self._work.values()):
                try:
                    await self._queue.extend(self._database, rows, self._lease)
                except PayplatError as error:
                    log.warning("leases not extended", lane=self._name, reason=str(error))
                except Exception:
                    # Without a heartbeat whatever takes long would be done twice.
                    log.exception("leases not extended", lane=self._name)

    async def _work_on(self, row: Row[Any]) -> None:
        # A task of its own: the ids stand in this row's lines and in no other's.
        ids = {name: getattr(row, name) for name in _IDS if hasattr(row, name)}
        bind_contextvars(lane=self._name, **ids)
        try:
            with traces.tracer.span(f"work {self._name}", **ids):
                await self._perform(row)
        except PayplatError as error:
            log.warning("work failed", lane=self._name, reason=str(error))
        except Exception:
            log.exception("work failed", lane=self._name)


class Worker:
    """All lanes of this process, run together."""

    def __init__(self, lanes: list[Lane]) -> None:
        self._lanes = lanes
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start every lane on the running loop."""
        self._tasks = [asyncio.create_task(lane.run()) for lane in self._lanes]

    async def stop(self, within: float = 25.0) -> None:
        """Claim nothing more and finish what was begun, for at most ``within`` seconds; leases free the rest."""
        for lane in self._lanes:
            lane.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within)
            for task in late:
                task.cancel()
