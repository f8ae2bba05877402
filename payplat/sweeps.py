"""Periodic sweeps whose schedule and position stand in the database; the first finds paid orders nobody was told of."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Row, insert, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database
from payplat.lanes import Lane
from payplat.leases import Queue
from payplat.models import DELIVERIES, EVENTS, ORDERS, PAYMENTS, SWEEPS
from payplat.rows import Terms, delivery_rows, event_rows, order_of

log = structlog.get_logger("payplat")
QUEUE = Queue(SWEEPS, due="next_at", waiting=true(), lane="name")
_BATCH = 1000


@dataclass(frozen=True)
class Sweep:
    """Work done every ``interval`` seconds; ``run`` gets the position it returned last time, first an empty text."""

    interval: float
    run: Callable[[str], Awaitable[str]]


class Sweeps:
    """Runs each sweep on its schedule, in one process at a time."""

    def __init__(self, database: Database, sweeps: Mapping[str, Sweep]) -> None:
        self._database, self._sweeps = database, sweeps

    async def enrol(self) -> None:
        """Write a row for each sweep that has none yet."""
        rows = [{"name": name, "next_at": seam.now(), "position": ""} for name in self._sweeps]
        await self._database.transaction(
            lambda c: c.execute(self._database.insert_new(SWEEPS), rows)
        )

    def lanes(self) -> list[Lane]:
        """Return a lane for each sweep."""
        return [
            Lane(self._database, QUEUE, name, self.perform, slots=1, poll=5.0)
            for name in self._sweeps
        ]

    async def perform(self, row: Row[Any]) -> None:
        """Run a claimed sweep once and set its next time."""
        sweep = self._sweeps[row.name]
        await seam.reach("before_sweep")
        position = await sweep.run(row.position)
        await seam.reach("after_sweep")
        next_at = seam.now() + int(sweep.interval * seam.SECOND)
        values = {"next_at": next_at, "position": position, "lease_token": None}
        await self._database.transaction(lambda c: QUEUE.release(c, row, values))


class UntoldOrders:
    """Finds paid orders without their ``order.paid`` event, and events without their delivery; mends both.

    The ledger writes them with the payment, so this finds nothing unless a person or a fault has removed
    rows. Bounded: ``_BATCH`` orders a run, oldest first, round and round.
    """

    def __init__(self, database: Database, terms: Mapping[str, Terms]) -> None:
        self._database, self._terms = database, terms

    async def run(self, position: str) -> str:
        """Look at the orders after ``position``; return the position for the next run."""
        return await self._database.transaction(lambda c: self._sweep(c, position))

    async def _sweep(self, connection: AsyncConnection, position: str) -> str:
        page = select(ORDERS).where(ORDERS.c.order_no > position).order_by(ORDERS.c.order_no)
        orders = (await connection.execute(page.limit(_BATCH))).all()
        paid = {
            row.order_no: row
            for row in orders
            if row.status == "paid" and row.channel in self._terms
        }
        if paid:
            await self._tell(connection, paid)
            await self._deliver(connection, paid)
        return orders[-1].order_no if len(orders) == _BATCH else ""

    async def _tell(self, connection: AsyncConnection, paid: Mapping[str, Row[Any]]) -> None:
        wanted = select(EVENTS.c.order_no).where(
            EVENTS.c.order_no.in_(list(paid)), EVENTS.c.type == "order.paid"
        )
        told = set((await connection.execute(wanted)).scalars())
        for order_no in paid.keys() - told:
            log.error("paid order without event", order_no=order_no)
            await self._make_event(connection, paid[order_no])

    async def _make_event(self, connection: AsyncConnection, row: Row[Any]) -> None:
        transaction = select(PAYMENTS.c.transaction_id).where(PAYMENTS.c.order_no == row.order_no)
        transaction_id = (await connection.execute(transaction)).scalar()
        event, deliveries = event_rows(
            "order.paid", order_of(row), self._terms[row.channel], transaction_id, seam.now()
        )
        await connection.execute(insert(EVENTS), [event])
        await connection.execute(insert(DELIVERIES), deliveries)

    async def _deliver(self, connection: AsyncConnection, paid: Mapping[str, Row[Any]]) -> None:
        missing = (
            select(EVENTS.c.event_id, EVENTS.c.type, EVENTS.c.order_no)
            .outerjoin(DELIVERIES, DELIVERIES.c.event_id == EVENTS.c.event_id)
            .where(EVENTS.c.order_no.in_(list(paid)), DELIVERIES.c.id.is_(None))
        )
        for event_id, kind, order_no in (await connection.execute(missing)).all():
            terms = self._terms[paid[order_no].channel]
            # What no endpoint wants to learn has no delivery.
            if rows := delivery_rows(event_id, kind, order_no, terms, seam.now()):
                log.error("event without delivery", order_no=order_no, event_id=event_id)
                await connection.execute(insert(DELIVERIES), rows)
