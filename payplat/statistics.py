"""How business goes: the last hour minute by minute, and what waits for somebody now.

All is read from the database. A minute that is over does not change once its last transaction has ended, so it is kept,
and a look reads only what came since. What becomes of a minute's orders later is known from the later minutes' payments.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database, each_value
from payplat.events import SETTLED_AFTER, first_event_id
from payplat.models import DELIVERIES, DUTIES, EVENTS, EVIDENCE, ORDERS, PAUSES, PAYMENTS

MINUTE = 60 * seam.SECOND
MINUTES = 60
# Counts of what is now end here, so that a look stays short; what waits for endpoints can be more.
MOST = 10_000
MOST_WAITING = 100_000
# An id is made a little before or after the row says it was (microseconds).
_MARGIN = 5 * seam.SECOND


@dataclass(frozen=True, slots=True)
class Sales:
    """A channel in one minute: orders opened then and how many of them are paid by now; payments that came then.

    ``median`` and ``p95`` are seconds from an order's opening to its payment, None where nothing was paid.
    """

    opened: int
    opened_paid: int
    paid: int
    median: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute; ``at`` is its begin (microseconds, UTC).

    ``waiting`` is how many deliveries waited at its end; what was sent again or given up meanwhile is not reckoned with.
    """

    at: int
    sales: Mapping[str, Sales]
    events: int
    acknowledged: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Present:
    """What waits for somebody now; each count ends at MOST, ``due`` at MOST_WAITING.

    ``put_aside`` counts evidence by its state; ``due`` and ``exhausted`` are deliveries.
    """

    pending: int
    held: int
    put_aside: Mapping[str, int]
    due: int
    exhausted: int
    paused: int
    exhausted_duties: int


@dataclass(slots=True)
class _Facts:
    """What happened in one minute; ``paid_of`` counts its payments by channel and the minute that opened their orders."""

    opened: Counter[str] = field(default_factory=Counter)
    paid_of: Counter[tuple[str, int]] = field(default_factory=Counter)
    latency: dict[str, tuple[int, int]] = field(default_factory=dict)
    events: int = 0
    made: int = 0
    acknowledged: int = 0


class Statistics:
    """The figures of one database; keeps the minutes that are over."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._over: dict[int, _Facts] = {}

    async def minutes(self) -> list[Minute]:
        """Return the last sixty minutes, the present one last."""
        now = seam.now()
        last = now // MINUTE
        wanted = range(last - MINUTES + 1, last + 1)
        missing = [minute for minute in wanted if minute not in self._over]

        async def body(connection: AsyncConnection) -> tuple[dict[int, _Facts], int]:
            fresh = await _read(connection, missing[0], last + 1)
            return fresh, await _due(connection)

        fresh, due = await self._database.read(body)
        facts = {minute: self._over.get(minute) or fresh[minute] for minute in wanted}
        settled = (now - int(SETTLED_AFTER * seam.SECOND)) // MINUTE
        self._over = {minute: each for minute, each in facts.items() if minute < settled}
        return list(_told(facts, due))

    async def now(self) -> Present:
        """Return what waits for somebody now."""

        async def body(connection: AsyncConnection) -> Present:
            channels = [name async for name in each_value(connection, ORDERS.c.channel)]
            lanes = [name async for name in each_value(connection, DUTIES.c.channel)]
            order, duty = ORDERS.c.channel.in_(channels), DUTIES.c.channel.in_(lanes)
            states = ("quarantined", "excess", "unclaimed")
            return Present(
                await _count(connection, MOST, order, ORDERS.c.status == "pending"),
                await _count(connection, MOST, order, ORDERS.c.status == "held"),
                {s: await _count(connection, MOST, EVIDENCE.c.state == s) for s in states},
                await _due(connection),
                await _deliveries(connection, "exhausted", MOST),
                await _count(connection, MOST, PAUSES.c.endpoint > ""),
                await _count(connection, MOST, duty, DUTIES.c.status == "exhausted"),
            )

        return await self._database.read(body)


async def _count(connection: AsyncConnection, most: int, *where: ColumnElement[bool]) -> int:
    """Count rows by their index, up to ``most``."""
    some = select(literal_column("1")).where(*where).limit(most).subquery()
    return int(await connection.scalar(select(func.count()).select_from(some)) or 0)


async def _deliveries(connection: AsyncConnection, status: str, most: int) -> int:
    endpoints = [name async for name in each_value(connection, DELIVERIES.c.endpoint)]
    mine = DELIVERIES.c.endpoint.in_(endpoints), DELIVERIES.c.status == status
    return await _count(connection, most, *mine)


async def _due(connection: AsyncConnection) -> int:
    return await _deliveries(connection, "due", MOST_WAITING)


async def _read(connection: AsyncConnection, first: int, end: int) -> dict[int, _Facts]:
    """Read the minutes from ``first`` until before ``end``."""
    since, until = first * MINUTE, end * MINUTE
    facts = {minute: _Facts() for minute in range(first, end)}
    for minute, channel, count in await connection.execute(_opened(since, until)):
        facts[minute].opened[channel] += count
    for minute, channel, opened, count, median, p95 in await connection.execute(
        _paid(since, until)
    ):
        facts[minute].paid_of[channel, opened] += count
        known = facts[minute].latency.get(channel, (0, 0))
        facts[minute].latency[channel] = max(known[0], median or 0), max(known[1], p95 or 0)
    for minute, count in await connection.execute(_made(EVENTS, since, until)):
        facts[minute].events = count
    for minute, count in await connection.execute(_made(DELIVERIES, since, until)):
        facts[minute].made = count
    for minute, count in await connection.execute(
        _by_minute(DELIVERIES.c.delivered_at, since, until)
    ):
        facts[minute].acknowledged = count
    return facts


def _opened(since: int, until: int) -> Select[Any]:
    minute, number = ORDERS.c.created_at // MINUTE, ORDERS.c.order_no
    by_id = number >= _first_id(since - _MARGIN), number < _first_id(until + _MARGIN)
    counted = select(minute, ORDERS.c.channel, func.count()).where(*by_id)
    in_time = _within(ORDERS.c.created_at, since, until)
    return counted.where(in_time).group_by(minute, ORDERS.c.channel)


def _paid(since: int, until: int) -> Select[Any]:
    """Count payments by minute, channel and the minute that opened their orders, with the ranks' latencies."""
    latency = PAYMENTS.c.verified_at - ORDERS.c.created_at
    minute = PAYMENTS.c.verified_at // MINUTE
    group = [minute, ORDERS.c.channel]
    each = (
        select(
            minute.label("minute"),
            ORDERS.c.channel,
            (ORDERS.c.created_at // MINUTE).label("opened"),
            latency.label("latency"),
            func.row_number().over(partition_by=group, order_by=latency).label("place"),
            func.count().over(partition_by=group).label("total"),
        )
        .join(ORDERS, ORDERS.c.order_no == PAYMENTS.c.order_no)
        .where(_within(PAYMENTS.c.verified_at, since, until))
        .subquery()
    )

    def at(percent: int) -> ColumnElement[Any]:
        place = (each.c.total * percent + 99) // 100
        return func.max(case((each.c.place == place, each.c.latency)))

    keys = each.c.minute, each.c.channel, each.c.opened
    return select(*keys, func.count(), at(50), at(95)).group_by(*keys)


def _made(table: Any, since: int, until: int) -> Select[Any]:
    """Count by minute what is known by an event's id."""
    ids = table.c.event_id
    by_id = ids >= first_event_id(since - _MARGIN), ids < first_event_id(until + _MARGIN)
    return _by_minute(table.c.created_at, since, until).where(*by_id)


def _by_minute(at: Any, since: int, until: int) -> Select[Any]:
    return (
        select(at // MINUTE, func.count()).where(_within(at, since, until)).group_by(at // MINUTE)
    )


def _within(at: Any, since: int, until: int) -> ColumnElement[bool]:
    within: ColumnElement[bool] = (at >= since) & (at < until)
    return within


def _first_id(at: int) -> str:
    """Return a text that stands before the numbers of all orders opened at ``at`` or later."""
    return f"{at // 1000:012x}"


def _told(facts: Mapping[int, _Facts], due: int) -> Iterator[Minute]:
    opened_paid = sum((each.paid_of for each in facts.values()), Counter[tuple[str, int]]())
    waiting = _waiting(facts, due)
    for minute, each in facts.items():
        paid: Counter[str] = Counter()
        for (channel, _), count in each.paid_of.items():
            paid[channel] += count
        sales = {
            channel: Sales(
                each.opened[channel],
                opened_paid[channel, minute],
                paid[channel],
                *_seconds(each.latency.get(channel)),
            )
            for channel in sorted({*each.opened, *paid})
        }
        yield Minute(minute * MINUTE, sales, each.events, each.acknowledged, waiting[minute])


def _waiting(facts: Mapping[int, _Facts], due: int) -> dict[int, int]:
    """Reckon back from what waits now: what was acknowledged since waited then, what was made since did not."""
    waiting = {}
    for minute, each in reversed(list(facts.items())):
        waiting[minute] = max(due, 0)
        due += each.acknowledged - each.made
    return waiting


def _seconds(latency: tuple[int, int] | None) -> Sequence[float | None]:
    return [micros / seam.SECOND for micros in latency] if latency else [None, None]
