"""Evidence that waits: what a client submitted while its provider could not tell. The job asks about it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database
from payplat.errors import Overloaded
from payplat.models import EVIDENCE, ORDERS, TIMELINE
from payplat.purchase import Evidence, Order, Source
from payplat.records import ORDERS_BY_NO, fetch
from payplat.rows import timeline_row, waiting_row

_WAITING = select(EVIDENCE).where(
    EVIDENCE.c.order_no == bindparam("order_no"), EVIDENCE.c.state == "waiting"
)
# One order's clients may leave this many receipts unexamined.
_MOST_WAITING = 8


class Waiting:
    """The waiting evidence of one database's orders."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, order: Order, evidence: Evidence, due_at: int) -> None:
        """Keep what a client submitted while its provider cannot tell; the job asks about it from ``due_at`` on.

        Raises Overloaded when too much waits for this order already.
        """

        async def body(connection: AsyncConnection) -> None:
            # Locked, so that two who keep at once count each other's.
            await fetch(connection, ORDERS_BY_NO.with_for_update(), order_nos=[order.order_no])
            known = await fetch(connection, _WAITING, order_no=order.order_no)
            if any(row.sha256 == evidence.sha256 for row in known):
                return
            if len(known) >= _MOST_WAITING:
                raise Overloaded("Too many receipts of this order wait already.")
            row = waiting_row(order, evidence, seam.now())
            await connection.execute(_wait_again(row))
            await connection.execute(self._database.insert_new(EVIDENCE), [row])
            # Whoever asks about the order now has not seen this evidence, so its claim ends here.
            soon = {"waits": 1, "next_check_at": due_at, "lease_token": None}
            mine = ORDERS.c.order_no == order.order_no
            await connection.execute(update(ORDERS).where(mine).values(soon))
            told = {"evidence": evidence.sha256}
            line = timeline_row(order, seam.now(), "evidence_waiting", evidence.source.value, told)
            await connection.execute(insert(TIMELINE), [line])

        await self._database.transaction(body)

    async def of(self, order: Order) -> list[Evidence]:
        """Return the evidence of this order that its provider must still be asked about."""
        rows = await self._database.read(
            lambda c: fetch(c, _WAITING.order_by(EVIDENCE.c.id), order_no=order.order_no)
        )
        return [Evidence(Source(row.source), bytes(row.raw)) for row in rows]

    async def answered(self, order: Order, evidence: Evidence, reason: str) -> None:
        """Say that waiting evidence needs no more asking: settled, or ``reason`` tells why it is of no use."""
        state = "quarantined" if reason else "used"
        this = (
            EVIDENCE.c.kind == order.kind,
            EVIDENCE.c.environment == order.environment,
            EVIDENCE.c.sha256 == evidence.sha256,
            EVIDENCE.c.state == "waiting",
        )
        detail = {"reason": reason, "evidence": evidence.sha256}
        line = timeline_row(order, seam.now(), "evidence_refused", "reconcile", detail)

        async def body(connection: AsyncConnection) -> None:
            changed = update(EVIDENCE).where(*this).values(state=state, reason=reason)
            if (await connection.execute(changed)).rowcount and reason:
                await connection.execute(insert(TIMELINE), [line])

        await self._database.transaction(body)


def _wait_again(row: Mapping[str, Any]) -> Any:
    """Let evidence wait that was kept before and has helped nobody: unclaimed, or put aside with this very order."""
    same = [EVIDENCE.c[name] == row[name] for name in ("kind", "environment", "sha256")]
    put_aside = (EVIDENCE.c.state == "quarantined") & (EVIDENCE.c.order_no == row["order_no"])
    waits = {"state": "waiting", "reason": "", "order_no": row["order_no"]}
    return (
        update(EVIDENCE).where(*same, (EVIDENCE.c.state == "unclaimed") | put_aside).values(waits)
    )
