"""Events to be pulled: in one order, page by page, and none ever skipped.

An event's id begins with the time at which its transaction made it; a transaction that is tried again makes it anew. So
an id may show after younger ones, but no later than the longest transaction allows. Only older events are told.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import LONGEST_TRANSACTION, Database
from payplat.errors import NotFound
from payplat.models import DELIVERIES, EVENTS

# How old an event must be, in seconds. The clock that made its id and the one that reads may err in opposite directions.
SETTLED_AFTER = LONGEST_TRANSACTION + 2 * seam.MOST_SKEW


def first_event_id(at: int) -> str:
    """Return a text that stands before the ids of all events made at ``at`` (microseconds, UTC) or later."""
    return f"evt_{at // 1000:012x}"


def made_at(event_id: str) -> int:
    """Return when an event was made, as its id tells: microseconds, UTC, to the millisecond."""
    return int(event_id[4:16], 16) * 1000


@dataclass(frozen=True, slots=True)
class Page:
    """Some events as the API tells them, oldest first, and whether there are more that could be told now."""

    events: list[dict[str, Any]]
    has_more: bool


class Events:
    """Reads the events of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, app: str, after: str, kind: str, limit: int) -> Page:
        """Return up to ``limit`` events of ``app`` after that event id, of type ``kind``; empty texts mean any."""
        # The clock is read first: what is younger now is not told, even if it is older when the rows are read.
        settled = first_event_id(seam.now() - int(SETTLED_AFTER * seam.SECOND))
        mine = [EVENTS.c.app == app, EVENTS.c.event_id > after, EVENTS.c.event_id < settled]
        if kind:
            mine.append(EVENTS.c.type == kind)
        # Unaided, MariaDB reads an app's events from its first one on to find the cursor.
        index = "ix_events_app_type_event_id" if kind else "ix_events_app_event_id"
        wanted = select(EVENTS).with_hint(EVENTS, f"FORCE INDEX ({index})", "mysql").where(*mine)
        page = wanted.order_by(EVENTS.c.event_id).limit(limit + 1)
        rows = (await self._database.read(lambda c: c.execute(page))).all()
        return Page([_told(row) for row in rows[:limit]], has_more=len(rows) > limit)

    async def find(self, event_id: str) -> dict[str, Any]:
        """Return an event of any app as the API tells it, with its ``deliveries``; raises NotFound."""
        columns = [DELIVERIES.c[name] for name in ("id", "endpoint", "status", "failures")]

        async def body(connection: AsyncConnection) -> tuple[Any, Sequence[Any]]:
            this = select(EVENTS).where(EVENTS.c.event_id == event_id)
            theirs = select(*columns).where(DELIVERIES.c.event_id == event_id)
            row = (await connection.execute(this)).first()
            found = await connection.execute(theirs.order_by(DELIVERIES.c.id))
            return row, found.mappings().all()

        fits = re.fullmatch("evt_[0-9a-f]{32}", event_id)
        row, deliveries = await self._database.read(body) if fits else (None, ())
        if row is None:
            raise NotFound("There is no such event.")
        return {**_told(row), "deliveries": list(map(dict, deliveries))}


def _told(row: Row[Any]) -> dict[str, Any]:
    return {"id": row.event_id, "order_no": row.order_no, **json.loads(row.body)}
