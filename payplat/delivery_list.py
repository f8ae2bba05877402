"""Deliveries as operators look through them: chosen by status, endpoint, type and order, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat.database import Database, each_value
from payplat.models import DELIVERIES, EVENTS

# Few at any time; what is delivered is nearly all.
_RARE = ("due", "exhausted")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries: None means any."""

    status: str | None = None
    endpoint: str | None = None
    type: str | None = None
    order_no: str | None = None


async def list_deliveries(
    database: Database, wanted: Filter, before: int | None = None, limit: int = 100
) -> Sequence[Row[Any]]:
    """Return deliveries with their event's ``type``, the newest first, those before that id."""

    async def body(connection: AsyncConnection) -> Sequence[Row[Any]]:
        chosen = _chosen(wanted)
        if before is not None:
            chosen = chosen.where(DELIVERIES.c.id < before)
        if wanted.status in _RARE and wanted.order_no is None:
            chosen = await _by_status(connection, chosen, wanted)
        page = chosen.order_by(DELIVERIES.c.id.desc()).limit(limit)
        found: Sequence[Row[Any]] = (await connection.execute(page)).all()
        return found

    found: Sequence[Row[Any]] = await database.read(body)
    return found


def _chosen(wanted: Filter) -> Select[Any]:
    asked = {
        DELIVERIES.c.status: wanted.status,
        DELIVERIES.c.endpoint: wanted.endpoint,
        EVENTS.c.type: wanted.type,
        EVENTS.c.order_no: wanted.order_no,
    }
    joined = select(DELIVERIES, EVENTS.c.type).join(
        EVENTS, EVENTS.c.event_id == DELIVERIES.c.event_id
    )
    return joined.where(*(column == value for column, value in asked.items() if value is not None))


async def _by_status(
    connection: AsyncConnection, chosen: Select[Any], wanted: Filter
) -> Select[Any]:
    """Let the index find what is rare: read from the newest on, it might be at the other end."""
    known = [name async for name in each_value(connection, DELIVERIES.c.endpoint)]
    endpoints = [name for name in known if wanted.endpoint in (None, name)]
    index = "FORCE INDEX (ix_deliveries_endpoint_status_due_at_id)"
    return chosen.where(DELIVERIES.c.endpoint.in_(endpoints)).with_hint(DELIVERIES, index, "mysql")
