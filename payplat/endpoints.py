"""The merchants' endpoints: where they are, what each learns of, and which are paused.

An endpoint that answers 410 Gone wants nothing more. It is paused: its deliveries wait, as new ones do, until an operator
resumes it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database, each_value
from payplat.errors import Conflict
from payplat.models import DELIVERIES, PAUSES


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a merchant learns of events; ``secrets`` are the raw keys behind its ``whsec_…``, each signs."""

    url: str
    secrets: tuple[bytes, ...] = field(repr=False)


class Status(StrEnum):
    """Whether deliveries go out."""

    OPEN = "open"
    PAUSED = "paused"
    UNKNOWN = "unknown"  # old deliveries are for it, the configuration has it no more


@dataclass(frozen=True, slots=True)
class State:
    """How an endpoint stands: how many deliveries wait since when (RFC 3339, UTC), and how many gave up."""

    endpoint: str
    status: Status
    reason: str
    due: int
    due_since: str
    exhausted: int


def is_open(name: str) -> ColumnElement[bool]:
    """Return the condition that the endpoint is not paused."""
    return ~select(PAUSES.c.endpoint).where(PAUSES.c.endpoint == name).exists()


async def pause(connection: AsyncConnection, database: Database, name: str, reason: str) -> None:
    """Let deliveries to the endpoint wait; a reason that stands already stays."""
    row = {"endpoint": name, "paused_at": seam.now(), "reason": reason}
    await connection.execute(database.insert_new(PAUSES), [row])


async def resume(database: Database, name: str) -> None:
    """Let deliveries go out again, the longest due first; raises Conflict when the endpoint is not paused."""
    mine = PAUSES.c.endpoint == name
    if await database.read(lambda c: c.scalar(select(PAUSES.c.endpoint).where(mine))) is None:
        raise Conflict("The endpoint is not paused.")
    await database.transaction(lambda c: c.execute(delete(PAUSES).where(mine)))


async def states(database: Database, configured: Collection[str]) -> list[State]:
    """Return how each endpoint stands, those that are configured and those that deliveries were made for."""

    async def body(connection: AsyncConnection) -> list[State]:
        pauses = {row.endpoint: row.reason for row in await connection.execute(select(PAUSES))}
        told = {name async for name in each_value(connection, DELIVERIES.c.endpoint)}
        names = told.union(configured)
        return [await _state(connection, name, configured, pauses) for name in sorted(names)]

    return await database.read(body)


async def _state(
    connection: AsyncConnection, name: str, configured: Collection[str], pauses: Mapping[str, str]
) -> State:
    status = Status.PAUSED if name in pauses else Status.OPEN
    waiting, since = await _count(connection, name, "due")
    exhausted, _ = await _count(connection, name, "exhausted")
    return State(
        name,
        status if name in configured else Status.UNKNOWN,
        pauses.get(name, ""),
        waiting,
        seam.rfc3339(since) if since else "",
        exhausted,
    )


async def _count(connection: AsyncConnection, name: str, status: str) -> tuple[int, int | None]:
    counted = select(func.count(), func.min(DELIVERIES.c.due_at)).where(
        DELIVERIES.c.endpoint == name, DELIVERIES.c.status == status
    )
    count, since = (await connection.execute(counted)).one()
    return count, since
