"""What a person must look at: authentic evidence that was put aside, and orders whose late money is held."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import merge
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import audit, seam
from payplat.audit import Act
from payplat.database import Database, each_value
from payplat.errors import Conflict, InvalidRequest, NotFound
from payplat.models import EVIDENCE, ORDERS, TIMELINE
from payplat.records import ORDERS_BY_NO, fetch
from payplat.rows import order_of, timeline_row

_CURSOR = re.compile(r"([0-9]{0,18})\.([0-9a-f]{32})?")


class Kind(StrEnum):
    """Why a person must look."""

    QUARANTINED = "quarantined"  # it differs from its order, or cannot be understood
    EXCESS = "excess"  # money for an order that another transaction has paid
    UNCLAIMED = "unclaimed"  # a purchase that names no order of ours
    HELD = "held"  # an order that was paid after it had closed


PUT_ASIDE = (Kind.QUARANTINED, Kind.EXCESS, Kind.UNCLAIMED)


@dataclass(frozen=True, slots=True)
class Item:
    """One of them. ``at`` is when it came (microseconds, UTC), ``amount`` what its order costs (minor units).

    ``evidence_id`` and ``sha256`` are None for a held order; ``amount`` and ``currency`` where no order is known.
    """

    kind: Kind
    at: int
    order_no: str | None
    reason: str
    amount: int | None
    currency: str | None
    evidence_id: int | None = None
    sha256: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the queue; ``next`` is where the next page begins, None when this was the last."""

    items: Sequence[Item]
    next: str | None


class Quarantine:
    """The queue in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        kind: Kind | None = None,
        after: str | None = None,
        *,
        newest_first: bool = True,
        limit: int = 50,
    ) -> Page:
        """Return the next ``limit`` items, of one kind or all, ``after`` the ``next`` of the page before.

        Raises InvalidRequest for an ``after`` that no page has given.
        """
        position = _Position.read(after or ".")
        kinds = [kind] if kind else list(Kind)

        async def body(connection: AsyncConnection) -> Page:
            lists = [
                await _evidence(connection, each, position, limit + 1, newest_first)
                for each in kinds
                if each is not Kind.HELD
            ]
            # By their ids, of which the position speaks: a clock may have gone back.
            evidence = merge(*lists, key=_id, reverse=newest_first)
            held = (
                await _held(connection, position, limit + 1, newest_first)
                if Kind.HELD in kinds
                else ()
            )
            in_order = merge(evidence, held, key=_at, reverse=newest_first)
            items = list(islice(in_order, limit + 1))
            end = position.after(items[:limit], newest_first=newest_first)
            return Page(items[:limit], end if len(items) > limit else None)

        return await self._database.read(body)

    async def resolve(self, evidence_id: int, operator: str, reason: str) -> None:
        """Say that nothing is left to do about evidence that was put aside, and why.

        Raises NotFound, InvalidRequest without a reason, or Conflict when it is not put aside (any more).
        """
        audit.require_reason(reason)
        done: list[str] = []

        async def body(connection: AsyncConnection) -> None:
            wanted = select(*_COLUMNS).where(EVIDENCE.c.id == evidence_id)
            row = (await connection.execute(wanted.with_for_update())).one_or_none()
            if row is None:
                raise NotFound("There is no such evidence.")
            if done and (row.state, row.resolution) == ("resolved", reason):
                return  # it was committed, only the reply was lost
            if row.state not in PUT_ASIDE:
                raise Conflict(f"The evidence is {row.state}: there is nothing to resolve.")
            await _resolve(connection, row, operator, reason)
            done.append(row.state)

        await self._database.transaction(body)


# All but the bytes, which may be long.
_COLUMNS = [column for column in EVIDENCE.c if column.name not in ("raw", "answer")]


@dataclass(frozen=True, slots=True)
class _Position:
    """How far each of the two tables was read: the last evidence and the last held order."""

    evidence_id: int | None
    order_no: str | None

    @classmethod
    def read(cls, text: str) -> "_Position":
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise InvalidRequest("This is no page of the queue.", field="after")
        return cls(int(found[1]) if found[1] else None, found[2])

    def after(self, items: Iterable[Item], *, newest_first: bool) -> str:
        end = min if newest_first else max
        ids = [item.evidence_id for item in items if item.evidence_id is not None]
        numbers = [item.order_no for item in items if item.kind is Kind.HELD and item.order_no]
        evidence_id = end(ids) if ids else self.evidence_id
        return f"{evidence_id or ''}.{end(numbers) if numbers else self.order_no or ''}"


def _id(item: Item) -> int:
    return item.evidence_id or 0


def _at(item: Item) -> int:
    return item.at


async def _evidence(
    connection: AsyncConnection,
    kind: Kind,
    position: _Position,
    limit: int,
    newest_first: bool,  # noqa: FBT001 - handed on
) -> list[Item]:
    wanted = (
        select(*_COLUMNS, ORDERS.c.amount, ORDERS.c.currency)
        .outerjoin(ORDERS, ORDERS.c.order_no == EVIDENCE.c.order_no)
        .where(EVIDENCE.c.state == kind)
    )
    rows = await connection.execute(
        _next(wanted, EVIDENCE.c.id, position.evidence_id, limit, newest_first)
    )
    return [
        Item(
            kind,
            row.created_at,
            row.order_no,
            row.reason,
            row.amount,
            row.currency,
            row.id,
            row.sha256,
            row.source,
        )
        for row in rows
    ]


async def _held(
    connection: AsyncConnection,
    position: _Position,
    limit: int,
    newest_first: bool,  # noqa: FBT001 - handed on
) -> list[Item]:
    channels = [name async for name in each_value(connection, ORDERS.c.channel)]
    # Unaided, MariaDB reads all orders from one end on to find the few that are held.
    index = "FORCE INDEX (ix_orders_channel_status_next_check_at)"
    held = select(ORDERS).with_hint(ORDERS, index, "mysql")
    wanted = held.where(ORDERS.c.channel.in_(channels), ORDERS.c.status == "held")
    rows = await connection.execute(
        _next(wanted, ORDERS.c.order_no, position.order_no, limit, newest_first)
    )
    return [
        Item(Kind.HELD, row.created_at, row.order_no, "late", row.amount, row.currency)
        for row in rows
    ]


def _next(
    wanted: Select[Any],
    key: ColumnElement[Any],
    position: Any,
    limit: int,
    newest_first: bool,  # noqa: FBT001 - handed on
) -> Select[Any]:
    """Return the page of ``wanted`` in the order of ``key``, from the position on."""
    if position is not None:
        wanted = wanted.where(key < position if newest_first else key > position)
    return wanted.order_by(key.desc() if newest_first else key).limit(limit)


async def _resolve(connection: AsyncConnection, row: Row[Any], operator: str, reason: str) -> None:
    """Set the state, and tell the audit and the story of the order, if it has one."""
    resolved = {"state": "resolved", "resolution": reason}
    await connection.execute(update(EVIDENCE).where(EVIDENCE.c.id == row.id).values(resolved))
    told = {"reason": reason, "was": row.state, "order_no": row.order_no}
    act = Act(operator, "resolve_evidence", f"evidence {row.id}", told)
    await audit.record(connection, act)
    orders = await fetch(connection, ORDERS_BY_NO, order_nos=[_short(row.order_no)])
    for order in map(order_of, orders):
        detail = {"evidence": row.sha256, "was": row.state, "reason": reason}
        line = timeline_row(order, seam.now(), "evidence_resolved", operator, detail)
        await connection.execute(insert(TIMELINE), [line])


def _short(order_no: str | None) -> str:
    """Return what fits where our own numbers are; evidence may name longer ones."""
    return order_no if order_no and len(order_no.encode()) <= 32 else ""
