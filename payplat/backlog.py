"""The backlog as gauges: what waits and what was given up, read from the database by a few bounded looks at indexes."""

from collections.abc import Collection
from typing import Any, NamedTuple

from prometheus_client import Gauge
from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import deliveries, duties, metrics, reconcile, seam
from payplat.database import Database
from payplat.errors import DatabaseUnavailable
from payplat.leases import Queue

# Rows counted at most, and for how long what was read is told again; a scrape must not weigh on the database.
_MOST = 10_000
_FRESH = 5 * seam.SECOND


class Kind(NamedTuple):
    """Rows of a queue in one status: the gauge of their number, and of how long the longest due one has waited.

    Rows that are never due count only where ``with_idle``.
    """

    queue: Queue
    status: str
    number: Gauge
    overdue: Gauge | None = None
    with_idle: bool = False

    @property
    def statement(self) -> Select[int, Any]:
        """Count the rows of a lane and find when the first was due, by their index alone."""
        table, due = self.queue.table, self.queue.table.c[self.queue.due]
        rows = select(due.label("due")).where(
            table.c[self.queue.lane or ""] == bindparam("in_lane"), table.c.status == self.status
        )
        if not self.with_idle:
            rows = rows.where(due.is_not(None))
        first = rows.order_by(due).limit(_MOST).subquery()
        return select(func.count(), func.min(first.c.due)).select_from(first)


_DELIVERIES = (
    Kind(deliveries.QUEUE, "due", metrics.DELIVERIES_WAITING, metrics.DELIVERIES_OVERDUE),
    Kind(deliveries.QUEUE, "exhausted", metrics.DELIVERIES_EXHAUSTED),
)
CHANNELS = (
    Kind(duties.QUEUE, "due", metrics.DUTIES_WAITING, metrics.DUTIES_OVERDUE),
    Kind(duties.QUEUE, "exhausted", metrics.DUTIES_EXHAUSTED),
    Kind(reconcile.QUEUE, "pending", metrics.CHECKS_WAITING, metrics.CHECKS_OVERDUE),
    Kind(reconcile.QUEUE, "held", metrics.ORDERS_HELD, with_idle=True),
)


class Backlog:
    """The backlog of these ``endpoints`` (``app/name``) and ``channels``."""

    def __init__(
        self, database: Database, endpoints: Collection[str], channels: Collection[str]
    ) -> None:
        lanes = [(_DELIVERIES, endpoints), (CHANNELS, channels)]
        self._looks = [(kind, name) for kinds, names in lanes for kind in kinds for name in names]
        self._database, self._stale_at = database, 0

    async def refresh(self) -> None:
        """Bring the gauges up to date, unless they are fresh; without a database they tell nothing."""
        if seam.now() < self._stale_at:
            return
        self._stale_at = seam.now() + _FRESH
        try:
            found = await self._database.read(self._look)
        except DatabaseUnavailable:
            found = []
        metrics.DATABASE_UP.set(bool(found))
        self._show(found)

    async def _look(self, connection: AsyncConnection) -> list[tuple[int, int | None]]:
        looks = [(kind.statement, {"in_lane": name}) for kind, name in self._looks]
        return [tuple((await connection.execute(*look)).one()) for look in looks]

    def _show(self, found: list[tuple[int, int | None]]) -> None:
        """Set the gauges anew: what is no more configured, or could not be read, is not told."""
        for kind in (*_DELIVERIES, *CHANNELS):
            for gauge in filter(None, (kind.number, kind.overdue)):
                gauge.clear()
        now = seam.now()
        for (kind, name), (count, since) in zip(self._looks, found, strict=False):
            kind.number.labels(name).set(count)
            if kind.overdue is not None:
                late = max(0, now - since) if since is not None else 0
                kind.overdue.labels(name).set(late / seam.SECOND)
