"""What is owed to a provider, such as giving late money back. Leased, retried and recorded like a delivery."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import Row, select

from payplat import metrics, seam
from payplat.attempts import Attempt, Record, record, try_again
from payplat.database import Database
from payplat.decisions import Result
from payplat.errors import Conflict, DatabaseUnavailable, Draining, Overloaded, PayplatError
from payplat.lanes import Lane
from payplat.leases import Queue
from payplat.models import DUTIES
from payplat.orders import Orders
from payplat.provider import Provider
from payplat.purchase import Order, State, Status
from payplat.retry import Backoff

log = structlog.get_logger("payplat")
QUEUE = Queue(DUTIES, due="due_at", waiting=DUTIES.c.status == "due", lane="channel")
# About four days, longer than any company waits; then a person must look.
BACKOFF = Backoff(base=10, factor=3, cap=6 * 3600, jitter=0.2, attempts=24)


# A person is told well before the companies' own limits, such as Google's three days for an acknowledgement.
OVERDUE = 24 * 3600 * seam.SECOND


class Duties:
    """Does the duties of every open channel."""

    def __init__(
        self, database: Database, orders: Orders, providers: Mapping[str, Provider]
    ) -> None:
        self._database, self._orders, self._providers = database, orders, providers

    def lanes(self) -> list[Lane]:
        """Return a lane for each channel."""
        return [
            Lane(self._database, QUEUE, channel, self.perform, slots=4)
            for channel in self._providers
        ]

    async def perform(self, row: Row[Any]) -> None:
        """Try once and record it; raises DatabaseUnavailable, Overloaded or Draining, and then it was no try."""
        started = seam.now()
        try:
            order = await self._orders.get(row.order_no)
            await seam.reach("before_duty")
            with self._orders.signs.asking(row.channel):
                error = await (self._refund if row.what == "refund" else self._perform)(row, order)
        except (DatabaseUnavailable, Draining, Overloaded):
            raise  # trouble of ours is no answer of the provider's: the row is due again at the end of its lease
        except PayplatError as trouble:
            error = str(trouble)
        await seam.reach("after_duty")
        took = (seam.now() - started) // 1000
        attempt = Attempt(ok=not error, milliseconds=took, error=error)
        await record(self._database, QUEUE, row, attempt, _outcome(row, attempt))

    async def _perform(self, row: Row[Any], order: Order) -> str:
        transaction_id = str(await self._orders.transaction_of(row.order_no))
        verdict = await self._providers[row.channel].perform(row.what, order, transaction_id)
        if verdict is not None:
            await self._orders.settle(verdict)
        return ""

    async def _refund(self, row: Row[Any], order: Order) -> str:
        if order.status is Status.REFUNDED:
            return ""  # a notice or a person was first
        if order.status is not Status.HELD:
            return f"the order is {order.status}: its money stays"
        # The same key on every try: a repeat cannot give the money back twice.
        key, transaction_id = (
            f"{row.order_no}_{row.cause}",
            str(await self._orders.transaction_of(row.order_no)),
        )
        verdict = await self._providers[row.channel].refund(order, transaction_id, key)
        if verdict.state is not State.REFUNDED:
            return "the provider has not confirmed the refund yet"
        settled = await self._orders.settle(verdict)
        done = settled.result in (Result.REFUNDED, Result.REPEATED)
        return "" if done else f"the ledger says {settled.result}"


async def list_duties(
    database: Database, status: str | None = None, limit: int = 100
) -> Sequence[Row[Any]]:
    """Return duties, the newest first."""
    wanted = select(DUTIES).order_by(DUTIES.c.id.desc()).limit(limit)
    if status:
        wanted = wanted.where(DUTIES.c.status == status)
    return (await database.read(lambda c: c.execute(wanted))).all()


async def resend(database: Database, duty_id: int, actor: str) -> None:
    """Make an exhausted duty due again; raises Conflict when there is none of that id."""
    now = seam.now()
    again = {"status": "due", "due_at": now, "failures": 0}
    this = [DUTIES.c.id == duty_id]

    def line(row: Row[Any]) -> dict[str, Any]:
        told = {"what": "duty_resent", "actor": actor, "detail": json.dumps({"duty": row.what})}
        return {"order_no": row.order_no, "at": now, **told}

    if not await database.transaction(
        lambda c: try_again(c, QUEUE, this, ["exhausted"], again, line)
    ):
        raise Conflict("There is no such duty that is exhausted.")


def _outcome(row: Row[Any], attempt: Attempt) -> Record:
    if attempt.ok:
        return Record("duty_id", {"status": "done", "done_at": seam.now()})
    failures = row.failures + 1
    due_at, told = BACKOFF.due_after(failures, seam.now()), {"duty": row.what}
    if due_at is None:
        log.error("duty exhausted", order_no=row.order_no, what=row.what)
        exhausted = {"status": "exhausted", "failures": failures}
        return Record("duty_id", exhausted, "duty_exhausted", told)
    overdue = _overdue(row, attempt)
    return Record("duty_id", {"due_at": due_at, "failures": failures}, overdue, told)


def _overdue(row: Row[Any], attempt: Attempt) -> str:
    """Tell a person of a duty that fails for too long; return what the timeline is told."""
    if seam.now() - row.created_at <= OVERDUE:
        return ""
    metrics.OVERDUE_DUTIES.labels(row.channel, row.what).inc()
    log.error("duty overdue", order_no=row.order_no, what=row.what, reason=attempt.error)
    return "duty_overdue"
