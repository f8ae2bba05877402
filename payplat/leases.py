"""Claim by lease: take due rows for a while, with a token that fences off whoever held them before.

A claim moves the row's due time to the end of the lease, so a row whose holder died is simply due again. Compare-and-set
only: right on SQLite, MariaDB, Galera and TiDB, without SKIP LOCKED and without a leader.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Join, Row, Select, Table, Update, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database


@dataclass(frozen=True)
class Queue:
    """Rows of ``table`` that wait for work: those where ``waiting`` holds and the time in column ``due`` has come.

    ``lane`` is the column that keeps those apart who must not hold each other up. A claimed row comes with the columns
    ``besides`` of the table that ``beside`` joins to it: nulls, where that has no row.
    """

    table: Table
    due: str
    waiting: ColumnElement[bool]
    lane: str | None = None
    besides: tuple[ColumnElement[Any], ...] = ()
    beside: Join | None = None

    @property
    def key(self) -> ColumnElement[Any]:
        """The primary key."""
        return next(iter(self.table.primary_key.columns))

    # Made once: building a statement costs more than running it.

    @property
    def _here(self) -> list[ColumnElement[bool]]:
        lane = [] if self.lane is None else [self.table.c[self.lane] == bindparam("in_lane")]
        return [self.waiting, *lane]

    @cached_property
    def _due(self) -> Select[Any]:
        due = self.table.c[self.due]
        found = select(self.key).where(*self._here, due <= bindparam("now"))
        return found.order_by(due).limit(bindparam("most"))

    @cached_property
    def _take(self) -> Update:
        is_due = self.table.c[self.due] <= bindparam("now")
        chosen = self.key.in_(bindparam("chosen", expanding=True))
        return update(self.table).where(chosen, *self._here, is_due).values(self._by_whom)

    @cached_property
    def _taken(self) -> Select[Any]:
        """What only this claim writes: its first try may have taken effect, and the reply to COMMIT been lost."""
        mine = (self.table.c[name] == value for name, value in self._by_whom.items())
        source = self.table if self.beside is None else self.beside
        return select(self.table, *self.besides).select_from(source).where(*self._here, *mine)

    @property
    def _by_whom(self) -> dict[str, Any]:
        return {"lease_token": bindparam("by"), self.due: bindparam("until")}

    async def claim(
        self, database: Database, lane: str | None, *, limit: int, lease: float
    ) -> Sequence[Row[Any]]:
        """Take up to ``limit`` due rows of ``lane`` for ``lease`` seconds and return them, longest due first."""
        now = seam.now()
        until = now + int(lease * seam.SECOND)
        here: dict[str, Any] = {} if self.lane is None else {"in_lane": lane}
        taken = {**here, "by": seam.new_token(), "until": until}

        async def body(connection: AsyncConnection) -> Sequence[Row[Any]]:
            found = await connection.execute(self._due, {**here, "now": now, "most": limit})
            if keys := list(found.scalars()):
                await connection.execute(self._take, {**taken, "now": now, "chosen": keys})
            rows = (await connection.execute(self._taken, taken)).all()
            return sorted(rows, key=lambda row: keys.index(row[0]) if row[0] in keys else -1)

        one = {**here, "now": now, "most": 1}
        if await database.read(lambda c: c.scalar(self._due, one)) is None:
            return []
        await seam.reach("before_claim")
        rows = await database.transaction(body)
        await seam.reach("after_claim")
        return rows

    async def take(
        self, database: Database, key: str, lease: float, idle: ColumnElement[bool]
    ) -> tuple[Row[Any], int] | None:
        """Take the row of that ``key`` for ``lease`` seconds, due or not; return it, and when it was to be due.

        None when somebody holds it or not ``idle``.
        """
        token, now = seam.new_token(), seam.now()
        due, holder = self.table.c[self.due], self.table.c.lease_token
        this = [self.key == key, self.waiting, idle, holder.is_(None) | (due <= now)]
        taken = {"lease_token": token, self.due: now + int(lease * seam.SECOND)}

        async def body(connection: AsyncConnection) -> Row[Any] | None:
            await connection.execute(update(self.table).where(*this).values(taken))
            mine = select(self.table).where(self.key == key, holder == token)
            return (await connection.execute(mine)).first()

        was_due = await database.read(lambda c: c.scalar(select(due).where(*this)))
        if was_due is None:
            return None
        row = await database.transaction(body)
        return None if row is None else (row, was_due)

    async def extend(self, database: Database, rows: Sequence[Row[Any]], lease: float) -> int:
        """Hold those of ``rows`` that are still ours for another ``lease`` seconds; return how many they are."""
        until = {self.due: seam.now() + int(lease * seam.SECOND)}
        held = [
            self.key.in_([row[0] for row in rows]),
            self.table.c.lease_token.in_({row.lease_token for row in rows}),
        ]
        longer = update(self.table).where(*held).values(until)
        await seam.reach("before_extend")
        return int((await database.transaction(lambda c: c.execute(longer))).rowcount)

    async def release(
        self, connection: AsyncConnection, row: Row[Any], values: Mapping[str, Any]
    ) -> bool:
        """Write ``values`` to a claimed row if its token still stands; return whether it did."""
        return bool(await self.release_all(connection, row.lease_token, [row], values))

    async def release_all(
        self,
        connection: AsyncConnection,
        token: str,
        rows: Sequence[Row[Any]],
        values: Mapping[str, Any],
    ) -> int:
        """Write ``values`` to those of the claimed ``rows`` whose token is still ``token``; return how many they are."""
        held = [self.key.in_([row[0] for row in rows]), self.table.c.lease_token == token]
        result = await connection.execute(update(self.table).where(*held).values(values))
        return int(result.rowcount)
