"""Claim by lease: take due rows for a while, with a token that fences off whoever held them before.

A claim moves the row's due time to the end of the lease, so a row whose holder died is simply due again. Compare-and-set
only: right on SQLite, MariaDB, Galera and TiDB, without SKIP LOCKED and without a leader.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database


@dataclass(frozen=True)
class Queue:
    """Rows of ``table`` that wait for work: those where ``waiting`` holds and the time in column ``due`` has come.

    ``lane`` is the column that keeps those apart who must not hold each other up.
    """

    table: Table
    due: str
    waiting: ColumnElement[bool]
    lane: str | None = None

    @property
    def key(self) -> ColumnElement[Any]:
        """The primary key."""
        return next(iter(self.table.primary_key.columns))

    async def claim(
        self, database: Database, lane: str | None, *, limit: int, lease: float
    ) -> Sequence[Row[Any]]:
        """Take up to ``limit`` due rows of ``lane`` for ``lease`` seconds and return them, longest due first."""
        token, now = seam.new_token(), seam.now()
        due = self.table.c[self.due]
        is_due = [self.waiting, due <= now]
        if self.lane is not None:
            is_due.append(self.table.c[self.lane] == lane)
        candidates = select(self.key).where(*is_due).order_by(due).limit(limit)

        async def body(connection: AsyncConnection) -> Sequence[Row[Any]]:
            keys = list((await connection.execute(candidates)).scalars())
            if not keys:
                return []
            taken = {"lease_token": token, self.due: now + int(lease * seam.SECOND)}
            await connection.execute(
                update(self.table).where(self.key.in_(keys), *is_due).values(taken)
            )
            mine = select(self.table).where(self.key.in_(keys), self.table.c.lease_token == token)
            rows = (await connection.execute(mine)).all()
            return sorted(rows, key=lambda row: keys.index(row[0]))

        if not await database.read(lambda c: _any(c, candidates)):
            return []
        return await database.transaction(body)

    async def take(
        self, database: Database, key: str, lease: float, idle: ColumnElement[bool]
    ) -> Row[Any] | None:
        """Take the row of that ``key`` for ``lease`` seconds, due or not; None when somebody holds it or not ``idle``."""
        token, now = seam.new_token(), seam.now()
        due, holder = self.table.c[self.due], self.table.c.lease_token
        this = [self.key == key, self.waiting, idle, holder.is_(None) | (due <= now)]
        taken = {"lease_token": token, self.due: now + int(lease * seam.SECOND)}

        async def body(connection: AsyncConnection) -> Row[Any] | None:
            await connection.execute(update(self.table).where(*this).values(taken))
            mine = select(self.table).where(self.key == key, holder == token)
            return (await connection.execute(mine)).first()

        if await database.read(lambda c: c.scalar(select(self.key).where(*this))) is None:
            return None
        return await database.transaction(body)

    async def extend(self, database: Database, rows: Sequence[Row[Any]], lease: float) -> int:
        """Hold those of ``rows`` that are still ours for another ``lease`` seconds; return how many they are."""
        until = {self.due: seam.now() + int(lease * seam.SECOND)}
        held = [
            self.key.in_([row[0] for row in rows]),
            self.table.c.lease_token.in_({row.lease_token for row in rows}),
        ]
        longer = update(self.table).where(*held).values(until)
        return int((await database.transaction(lambda c: c.execute(longer))).rowcount)

    async def release(
        self, connection: AsyncConnection, row: Row[Any], values: Mapping[str, Any]
    ) -> bool:
        """Write ``values`` to a claimed row if its token still stands; return whether it did."""
        held = [self.key == row[0], self.table.c.lease_token == row.lease_token]
        result = await connection.execute(update(self.table).where(*held).values(values))
        return bool(result.rowcount)


async def _any(connection: AsyncConnection, candidates: Any) -> bool:
    return (await connection.execute(candidates.limit(1))).first() is not None
