"""What is on record beside an order: its payment, refunds, deliveries, duties and proposals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat.database import Database
from payplat.models import DELIVERIES, DUTIES, EVENTS, PAYMENTS, PROPOSALS, REFUNDS

_DELIVERIES = select(DELIVERIES, EVENTS.c.type).select_from(
    DELIVERIES.join(EVENTS, EVENTS.c.event_id == DELIVERIES.c.event_id)
)


@dataclass(frozen=True, slots=True)
class Particulars:
    """Rows of one order, each kind oldest first."""

    payment: Row[Any] | None
    refunds: Sequence[Row[Any]]
    deliveries: Sequence[Row[Any]]
    duties: Sequence[Row[Any]]
    proposals: Sequence[Row[Any]]


async def particulars(database: Database, order_no: str) -> Particulars:
    """Return what is on record beside the order. Deliveries are found by their events, which have the index."""

    async def rows(
        connection: AsyncConnection, wanted: Any, of: Any, table: Any
    ) -> Sequence[Row[Any]]:
        mine = wanted.where(of.c.order_no == order_no).order_by(table.c.id)
        return (await connection.execute(mine)).all()

    async def body(connection: AsyncConnection) -> Particulars:
        payment = select(PAYMENTS).where(PAYMENTS.c.order_no == order_no)
        return Particulars(
            (await connection.execute(payment)).first(),
            await rows(connection, select(REFUNDS), REFUNDS, REFUNDS),
            await rows(connection, _DELIVERIES, EVENTS, DELIVERIES),
            await rows(connection, select(DUTIES), DUTIES, DUTIES),
            await rows(connection, select(PROPOSALS), PROPOSALS, PROPOSALS),
        )

    return await database.read(body)
