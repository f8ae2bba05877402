"""The timeline: what happened to an order and why, put together from its rows, oldest first."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat.database import Database
from payplat.models import ATTEMPTS, DELIVERIES, DUTIES, TIMELINE
from payplat.purchase import Order
from payplat.seam import rfc3339


class Timeline:
    """Reads timelines from one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, order: Order) -> list[dict[str, Any]]:
        """Return ``[{at, what, actor, detail}]``; ``at`` is RFC 3339 in UTC."""

        async def body(connection: AsyncConnection) -> Sequence[Sequence[Row[Any]]]:
            statements = (
                select(TIMELINE).where(TIMELINE.c.order_no == order.order_no),
                _attempts(DELIVERIES, ATTEMPTS.c.delivery_id, DELIVERIES.c.endpoint, order),
                _attempts(DUTIES, ATTEMPTS.c.duty_id, DUTIES.c.what, order),
            )
            return [(await connection.execute(statement)).all() for statement in statements]

        rows, deliveries, duties = await self._database.read(body)
        moments = [(order.created_at, "opened", "client", {"method": order.method})]
        moments += [(row.at, row.what, row.actor, json.loads(row.detail)) for row in rows]
        moments += [
            (row.at, "delivery_attempt", "relay", _told(row, "endpoint")) for row in deliveries
        ]
        moments += [(row.at, "duty_attempt", "relay", _told(row, "duty")) for row in duties]
        moments.sort(key=lambda moment: moment[0])
        return [
            {"at": rfc3339(at), "what": what, "actor": actor, "detail": detail}
            for at, what, actor, detail in moments
        ]


def _attempts(work: Table, key: Any, name: Any, order: Order) -> Any:
    joined = work.join(ATTEMPTS, key == work.c.id)
    return (
        select(ATTEMPTS, name.label("name"))
        .select_from(joined)
        .where(work.c.order_no == order.order_no)
    )


def _told(row: Row[Any], label: str) -> dict[str, Any]:
    told = {label: row.name, "ok": bool(row.ok), "milliseconds": row.milliseconds}
    told |= {"status": row.status} if row.status else {}
    return told | ({"error": row.error} if row.error else {})
