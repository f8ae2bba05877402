"""One try to do leased work, recorded together with what came of it, or not at all when the lease is lost.

And another try of work that has ended, by an operator.
"""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database
from payplat.leases import Queue
from payplat.models import ATTEMPTS, TIMELINE


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a try ended: ``status`` is the HTTP status if one came, ``milliseconds`` how long it took."""

    ok: bool
    milliseconds: int
    status: int | None = None
    error: str = ""
    retry_after: float | None = None


@dataclass(frozen=True)
class Record:
    """What to write about a try: the row's new values, a line in the order's timeline where it matters.

    ``then`` writes what else follows from it, in the same transaction.
    """

    owner: str  # the column of attempts that names the row
    values: Mapping[str, Any]
    what: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    then: Callable[[AsyncConnection], Awaitable[object]] | None = None


async def record(
    database: Database, queue: Queue, row: Row[Any], attempt: Attempt, outcome: Record
) -> bool:
    """Write it all in one transaction if ``row``'s lease token still stands; return whether it did."""
    now = seam.now()
    tried = {"at": now, "ok": int(attempt.ok), "status": attempt.status, "error": attempt.error}
    tried |= {outcome.owner: row[0], "milliseconds": attempt.milliseconds}
    line = {"order_no": row.order_no, "at": now, "what": outcome.what, "actor": "relay"}
    detail = json.dumps(dict(outcome.detail), ensure_ascii=False)

    async def body(connection: AsyncConnection) -> bool:
        values = {**outcome.values, "lease_token": None}
        if not await queue.release(connection, row, values):
            return False
        await connection.execute(insert(ATTEMPTS), [tried])
        if outcome.what:
            await connection.execute(insert(TIMELINE), [{**line, "detail": detail}])
        if outcome.then is not None:
            await outcome.then(connection)
        return True

    await seam.reach("before_record")
    is_ours = await database.transaction(body)
    await seam.reach("after_record")
    return is_ours


async def try_again(
    connection: AsyncConnection,
    queue: Queue,
    chosen: Sequence[ColumnElement[bool]],
    ended: Collection[str],
    values: Mapping[str, Any],
    tell: Callable[[Row[Any]], Mapping[str, Any]],
) -> int:
    """Give the ``chosen`` rows whose status is one of ``ended`` the ``values`` that make them due; return how many.

    ``tell`` makes each row's line of its order's timeline.
    """
    table = queue.table
    # Ours already, when only the reply to COMMIT was lost.
    is_ours = (table.c.status == "due") & (table.c[queue.due] == values[queue.due])
    found = select(table).where(*chosen, table.c.status.in_(ended) | is_ours)
    rows = (await connection.execute(found.order_by(queue.key).with_for_update())).all()
    fresh = [row for row in rows if row.status in ended]
    if fresh:
        these = queue.key.in_([row[0] for row in fresh])
        await connection.execute(update(table).where(these).values(values))
        await connection.execute(insert(TIMELINE), [tell(row) for row in fresh])
    return len(rows)
