"""Two people for money: what becomes of held money is proposed by one operator and decided by another.

The decision, what it does to the order, and the record of it are one transaction: a process that dies leaves all or
nothing, and of two who decide at once one is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import audit, seam
from payplat.audit import Act
from payplat.database import Database
from payplat.errors import Conflict, NotFound, NotPermitted, OrderNotFound
from payplat.models import ORDERS, PROPOSALS, TIMELINE
from payplat.orders import Orders
from payplat.purchase import Status
from payplat.records import ORDERS_BY_NO, fetch
from payplat.rows import order_of, timeline_row


class Deed(StrEnum):
    """What can become of held money."""

    RELEASE = "release"  # the order is delivered after all
    REFUND = "refund"  # the money goes back


class Decision(StrEnum):
    """What another operator says of a proposal."""

    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What an operator wants to become of an order; ``proposed_at`` is microseconds since 1970, UTC.

    ``status`` is the order's: one that is held no more can only be rejected or withdrawn.
    """

    id: int
    order_no: str
    act: Deed
    reason: str
    proposed_by: str
    proposed_at: int
    status: Status


class Proposals:
    """The proposals of one database; ``orders`` does what is approved."""

    def __init__(self, database: Database, orders: Orders) -> None:
        self._database, self._orders = database, orders

    async def propose(self, order_no: str, act: Deed, reason: str, operator: str) -> int:
        """Propose what becomes of a held order; return the proposal's id.

        Raises OrderNotFound, InvalidRequest without a reason, or Conflict when it is not held or has an open proposal.
        """
        audit.require_reason(reason)
        now = seam.now()
        values: dict[str, Any] = {"order_no": order_no, "act": act.value, "reason": reason}
        values |= {"proposed_by": operator, "proposed_at": now, "open_for": order_no}
        written: list[int] = []

        async def body(connection: AsyncConnection) -> int:
            found = await fetch(connection, ORDERS_BY_NO.with_for_update(), order_nos=[order_no])
            if not found:
                raise OrderNotFound
            known = await connection.scalar(
                select(PROPOSALS.c.id).where(PROPOSALS.c.open_for == order_no)
            )
            if known is not None and known in written:
                return int(known)  # it was committed, only the reply was lost
            if known is not None:
                raise Conflict("The order has an open proposal already.")
            if found[0].status != Status.HELD:
                raise Conflict(f"The order is {found[0].status}, not held.")
            inserted = await connection.execute(insert(PROPOSALS).values(values))
            key = inserted.inserted_primary_key
            written.append(int(key[0]) if key else 0)
            told = {"act": act.value, "reason": reason}
            await _write_line(connection, order_no, "proposed", operator, told)
            await audit.record(
                connection, Act(operator, "propose", order_no, {"proposal": written[-1], **told})
            )
            return written[-1]

        return await self._database.transaction(body)

    async def decide(self, proposal_id: int, decision: Decision, operator: str) -> None:
        """Decide about another operator's proposal; what is approved is done when this returns.

        Raises NotFound, NotPermitted to who proposed it, Conflict when it is decided or its order is not held any more.
        """
        proposal = await self._read(proposal_id)
        if proposal.proposed_by == operator:
            raise NotPermitted("Another person than the one who proposed it must decide.")
        end = _Ending(proposal, decision, operator, seam.now())
        if decision is Decision.REJECTED:
            await self._database.transaction(partial(end.without_deed, "proposal_rejected"))
            return
        deed = self._orders.release if proposal.act == Deed.RELEASE else self._orders.give_back
        await deed(proposal.order_no, operator, partial(end.write, decision.value))

    async def withdraw(self, proposal_id: int, operator: str) -> None:
        """Take back one's own proposal; raises NotFound, NotPermitted to others, Conflict when it is decided."""
        proposal = await self._read(proposal_id)
        if proposal.proposed_by != operator:
            raise NotPermitted("Only who proposed it withdraws it.")
        end = _Ending(proposal, Decision.REJECTED, operator, seam.now())
        await self._database.transaction(partial(end.without_deed, "proposal_withdrawn"))

    async def list_open(self, before: int | None = None, limit: int = 50) -> Sequence[Proposal]:
        """Return open proposals, the newest first, those before that id."""
        wanted = (
            select(PROPOSALS, ORDERS.c.status)
            .join(ORDERS, ORDERS.c.order_no == PROPOSALS.c.open_for)
            .order_by(PROPOSALS.c.id.desc())
            .limit(limit)
        )
        if before is not None:
            wanted = wanted.where(PROPOSALS.c.id < before)
        rows = (await self._database.read(lambda c: c.execute(wanted))).all()
        return [_proposal(row) for row in rows]

    async def _read(self, proposal_id: int) -> Row[Any]:
        wanted = select(PROPOSALS).where(PROPOSALS.c.id == proposal_id)
        found = (await self._database.read(lambda c: c.execute(wanted))).one_or_none()
        if found is None:
            raise NotFound("There is no such proposal.")
        if found.open_for is None:
            raise Conflict(f"The proposal is {found.decision} already.")
        return found


@dataclass(frozen=True, slots=True)
class _Ending:
    """The end of a proposal by one operator at one moment (microseconds)."""

    proposal: Row[Any]
    decision: Decision
    operator: str
    at: int

    async def write(self, act: str, connection: AsyncConnection) -> None:
        """Close the proposal, if it is open, and record the act."""
        closed: dict[str, Any] = {"open_for": None, "decision": self.decision.value}
        closed |= {"decided_by": self.operator, "decided_at": self.at}
        mine = PROPOSALS.c.id == self.proposal.id, PROPOSALS.c.open_for.is_not(None)
        result = await connection.execute(update(PROPOSALS).where(*mine).values(closed))
        if result.rowcount != 1:
            raise Conflict("The proposal is decided already.")
        told = {"proposal": self.proposal.id, "act": self.proposal.act}
        told |= {"proposed_by": self.proposal.proposed_by}
        await audit.record(connection, Act(self.operator, act, self.proposal.order_no, told))

    async def without_deed(self, what: str, connection: AsyncConnection) -> None:
        """Close the proposal and tell its order's story ``what`` happened."""
        if await self._is_written(connection):
            return  # it was committed, only the reply was lost
        await self.write(what, connection)
        told = {"act": self.proposal.act, "proposed_by": self.proposal.proposed_by}
        await _write_line(connection, self.proposal.order_no, what, self.operator, told)

    async def _is_written(self, connection: AsyncConnection) -> bool:
        mine = PROPOSALS.c.id == self.proposal.id, PROPOSALS.c.decided_at == self.at
        found = await connection.scalar(select(PROPOSALS.c.decided_by).where(*mine))
        return bool(found == self.operator)


def _proposal(row: Row[Any]) -> Proposal:
    return Proposal(
        row.id,
        row.order_no,
        Deed(row.act),
        row.reason,
        row.proposed_by,
        row.proposed_at,
        Status(row.status),
    )


async def _write_line(
    connection: AsyncConnection, order_no: str, what: str, operator: str, told: dict[str, Any]
) -> None:
    (row,) = await fetch(connection, ORDERS_BY_NO, order_nos=[order_no])
    line = timeline_row(order_of(row), seam.now(), what, operator, told)
    await connection.execute(insert(TIMELINE), [line])
