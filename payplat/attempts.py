"""Tries to do leased work, each recorded together with what came of it, or not at all when the lease is lost.

And another try of work that has ended, by an operator.
"""

import json
from collections import defaultdict
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

    ``ended`` is the column that gets the time, where this ends the work. ``then`` writes what else follows from it, in
    the same transaction, for all rows of which it follows.
    """

    owner: str  # the column of attempts that names the row
    values: Mapping[str, Any]
    what: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    ended: str = ""
    then: Callable[[AsyncConnection, Sequence[Row[Any]]], Awaitable[object]] | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """A claimed row, how the try ended and what to write about it."""

    row: Row[Any]
    attempt: Attempt
    outcome: Record


class _LeaseLostError(Exception):
    """Somebody else holds one of the rows."""


async def record(
    database: Database, queue: Queue, row: Row[Any], attempt: Attempt, outcome: Record
) -> bool:
    """Write it all in one transaction if ``row``'s lease token still stands; return whether it did."""
    (is_ours,) = await record_all(database, queue, [Tried(row, attempt, outcome)])
    return is_ours


async def record_all(database: Database, queue: Queue, tries: Sequence[Tried]) -> list[bool]:
    """Write all tries in one transaction; return for each whether its row's lease token still stood.

    One that does not stand fails several together, so that each is written alone.
    """
    now = seam.now()

    async def body(connection: AsyncConnection) -> None:
        for (token, values), rows in _alike(tries, now).items():
            changed = await queue.release_all(connection, token, rows, dict(values))
            if changed != len(rows):
                raise _LeaseLostError
        await connection.execute(insert(ATTEMPTS), [_attempt_row(each, now) for each in tries])
        if lines := [_line(each, now) for each in tries if each.outcome.what]:
            await connection.execute(insert(TIMELINE), lines)
        for then, rows in _consequences(tries).items():
            await then(connection, rows)

    await seam.reach("before_record")
    try:
        await database.transaction(body)
    except _LeaseLostError:
        if len(tries) > 1:
            raise
        return [False]
    await seam.reach("after_record")
    return [True] * len(tries)


def _alike(tries: Sequence[Tried], now: int) -> Mapping[tuple[str, Any], list[Row[Any]]]:
    """Return the rows by the token that they were claimed with and by their new values: one statement changes them."""
    groups = defaultdict(list)
    for each in tries:
        ended = {each.outcome.ended: now} if each.outcome.ended else {}
        values = {**each.outcome.values, **ended, "lease_token": None}
        groups[each.row.lease_token, tuple(values.items())].append(each.row)
    return groups


def _consequences(tries: Sequence[Tried]) -> Mapping[Any, list[Row[Any]]]:
    groups = defaultdict(list)
    for each in tries:
        if each.outcome.then is not None:
            groups[each.outcome.then].append(each.row)
    return groups


def _attempt_row(each: Tried, now: int) -> dict[str, Any]:
    attempt = each.attempt
    tried = {"at": now, "ok": int(attempt.ok), "status": attempt.status, "error": attempt.error}
    return {**tried, each.outcome.owner: each.row[0], "milliseconds": attempt.milliseconds}


def _line(each: Tried, now: int) -> dict[str, Any]:
    detail = json.dumps(dict(each.outcome.detail), ensure_ascii=False)
    told = {"at": now, "what": each.outcome.what, "actor": "relay", "detail": detail}
    return {"order_no": each.row.order_no, **told}


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
