"""The ledger: the only writer of order, payment and refund state. ``settle`` is the one way in for a verdict."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import metrics, seam
from payplat.database import Database
from payplat.decisions import Case, Result, Settled
from payplat.errors import Conflict, IdempotencyMismatch, OrderNotFound, StillRunning
from payplat.group_commit import GroupCommit
from payplat.models import DUTIES, ORDERS, PAYMENTS
from payplat.purchase import Order, State, Status, Verdict
from payplat.records import ORDERS_BY_NO, Loaded, Records, fetch
from payplat.rows import Draft, Terms, draft_row, evidence_row, order_of
from payplat.signs import Signs
from payplat.waiting import Waiting

_OWED_BACK = select(DUTIES.c.status).where(
    DUTIES.c.order_no == bindparam("order_no"), DUTIES.c.what == "refund"
)
_BY_IDEMPOTENCY_KEY = select(ORDERS).where(
    ORDERS.c.app == bindparam("app"),
    ORDERS.c.receiver == bindparam("receiver"),
    ORDERS.c.idempotency_key == bindparam("key"),
)
_STORED = ORDERS_BY_NO.with_only_columns(ORDERS.c.order_no)
# What belongs to an operator's decision, such as its record.
Then = Callable[[AsyncConnection], Awaitable[None]]
log = structlog.get_logger("payplat")
_ALERTING = (Result.MISMATCH, Result.EXCESS, Result.UNKNOWN_ORDER, Result.HELD)


class Orders:
    """The orders of this installation, in one database.

    ``terms`` says for each open channel what its configuration demands of the ledger. ``signs`` takes note of what those
    who bring verdicts learn of the channels.
    """

    def __init__(self, database: Database, terms: Mapping[str, Terms]) -> None:
        self._database, self._records = database, Records(database, terms)
        self.waiting, self.signs = Waiting(database), Signs(database)
        self._open = GroupCommit(self._open_batch)
        self._settle = GroupCommit(self._settle_batch)
        self._read: GroupCommit[str, Order] = GroupCommit(self._read_batch)

    async def open(self, draft: Draft) -> tuple[Order, bool]:
        """Store ``draft`` as a pending order; return the order and whether it is new.

        The same idempotency key of the same app and receiver returns the order it opened first. Raises
        IdempotencyMismatch when that was another request, Overloaded, DatabaseUnavailable.
        """
        await seam.reach("before_open")
        earlier = await self._open(draft)
        await seam.reach("after_open")
        if earlier is None:
            return draft.order, True
        if earlier.request_sha256 != draft.request_sha256:
            raise IdempotencyMismatch
        return order_of(earlier), False

    async def settle(self, verdict: Verdict) -> Settled:
        """Apply one verdict; the one way in.

        In one transaction: checks, compare-and-set, payment, events, deliveries, duties, timeline; both or nothing.
        Returns after COMMIT. Raises Overloaded, Draining or DatabaseUnavailable, and then the verdict must come again.
        """
        await seam.reach("before_settle")
        settled = await self._settle(verdict)
        await seam.reach("after_settle")
        if settled.result in _ALERTING:
            metrics.PUT_ASIDE.labels(verdict.kind, settled.result).inc()
            told = {"order_no": verdict.order_no, "field": settled.field}
            log.error(settled.result.value, source=verdict.evidence.source.value, **told)
        return settled

    async def get(self, order_no: str) -> Order:
        """Return the order; raises OrderNotFound."""
        return await self._read(order_no)

    async def transaction_of(self, order_no: str) -> str | None:
        """Return the id of the transaction that paid the order, None while nothing has."""
        paid_by = select(PAYMENTS.c.transaction_id).where(PAYMENTS.c.order_no == order_no)
        found = await self._database.read(lambda c: c.scalar(paid_by))
        return None if found is None else str(found)

    async def begin_preparation(self, order_no: str, seconds: float) -> None:
        """Become the one who asks the provider for ``order_no``; raises StillRunning while another one is."""
        now = seam.now()
        until = now + int(seconds * seam.SECOND)
        mine, column = ORDERS.c.order_no == order_no, ORDERS.c.preparing_until
        # The second alternative is our own claim, when only the reply to COMMIT was lost.
        alone = update(ORDERS).where(mine, (column <= now) | (column == until))
        if not await self._execute(alone.values(preparing_until=until)):
            raise StillRunning

    async def end_preparation(self, order_no: str, payment: Mapping[str, Any] | None) -> None:
        """Let others prepare again, and keep ``payment`` (what the client hands to the provider) if there is one."""
        values: dict[str, Any] = {"preparing_until": 0}
        if payment is not None:
            values["payment"] = json.dumps(payment, ensure_ascii=False)
        await self._execute(update(ORDERS).where(ORDERS.c.order_no == order_no).values(values))

    async def release(self, order_no: str, actor: str, then: Then | None = None) -> Order:
        """Deliver a held order after all, and do ``then`` in the same transaction.

        Raises OrderNotFound, or Conflict when it is not held or is owed back.
        """

        def decide(case: Case, refunds: set[str]) -> None:
            if "due" in refunds:
                raise Conflict("The money is on its way back.")
            case.release(actor)

        return await self._decide_held(order_no, decide, then)

    async def give_back(self, order_no: str, actor: str, then: Then | None = None) -> Order:
        """Owe a held order's money to its payer, once, and do ``then`` in the same transaction.

        Raises OrderNotFound, or Conflict when that cannot be.
        """

        def decide(case: Case, refunds: set[str]) -> None:
            if refunds:
                raise Conflict("There is a refund of it already: see `payplat duties list`.")
            if not case.terms.gives_back:
                raise Conflict("Only the company itself gives this money back.")
            case.give_back(actor)

        return await self._decide_held(order_no, decide, then)

    async def _decide_held(
        self, order_no: str, decide: Callable[[Case, set[str]], None], then: Then | None
    ) -> Order:
        """Let ``decide``, which gets the order and how its refunds stand, end what an order was held for."""
        written: list[set[str]] = []

        async def body(connection: AsyncConnection) -> Order:
            loaded = await self._records.load(connection, [order_no])
            case = loaded.cases.get(order_no)
            if case is None:
                raise OrderNotFound
            refunds = {r.status for r in await fetch(connection, _OWED_BACK, order_no=order_no)}
            if written and (refunds != written[0] or case.order.status is not Status.HELD):
                return case.order  # it was committed, only the reply was lost
            if case.order.status is not Status.HELD:
                raise Conflict(f"The order is {case.order.status}, not held.")
            if not case.terms.endpoints:
                raise Conflict("The order's channel is not open.")
            decide(case, refunds)
            await self._records.store(connection, loaded)
            if then is not None:
                await then(connection)
            written.append(refunds)
            return case.order

        return await self._database.transaction(body)

    async def drain(self) -> None:
        """Take no more work and finish what was taken."""
        await asyncio.gather(self._open.drain(), self._settle.drain())
        await self.signs.close()

    async def _execute(self, statement: Any) -> int:
        result = await self._database.transaction(lambda c: c.execute(statement))
        return int(result.rowcount)

    async def _read_batch(self, order_nos: list[str]) -> list[Any]:
        """Return each number's order or OrderNotFound; who asks while another one is asking shares the next question."""
        rows = await self._database.read(lambda c: fetch(c, ORDERS_BY_NO, order_nos=order_nos))
        orders = {row.order_no: order_of(row) for row in rows}
        return [orders.get(order_no) or OrderNotFound() for order_no in order_nos]

    async def _open_batch(self, drafts: list[Draft]) -> list[Row[Any] | None]:
        """Store drafts; return the orders that their idempotency keys opened before, None for those that are new."""
        rows = [draft_row(draft) for draft in drafts]

        async def body(connection: AsyncConnection) -> dict[str, Row[Any]]:
            await connection.execute(self._database.insert_new(ORDERS), rows)
            return await _earlier(connection, [d for d in drafts if d.idempotency_key is not None])

        earlier = await self._database.transaction(body)
        for draft in drafts:
            if draft.order.order_no not in earlier:
                metrics.ORDERS_OPENED.labels(draft.order.channel).inc()
        return [earlier.get(draft.order.order_no) for draft in drafts]

    async def _settle_batch(self, verdicts: list[Verdict]) -> list[Settled]:
        # Counted here: what is committed counts, also when whoever waited for it has given up.
        results = await self._settle_or_put_aside(verdicts)
        for settled in results:
            _count(settled)
        return results

    async def _settle_or_put_aside(self, verdicts: list[Verdict]) -> list[Settled]:
        try:
            return await self._database.transaction(lambda c: self._settle_all(c, verdicts))
        except IntegrityError as error:
            if len(verdicts) > 1:
                raise
            told = {"order_no": verdicts[0].order_no, "reason": str(error.orig)[:200]}
            log.error("contradicts the records", **told)
            # What it says cannot be true beside what is on record, such as another order's refund of the same name.
            return [await self._database.transaction(lambda c: self._quarantine(c, verdicts[0]))]

    async def _quarantine(self, connection: AsyncConnection, verdict: Verdict) -> Settled:
        owners = await self._records.owners(connection, [verdict])
        number = verdict.order_no or owners.get(verdict.transaction_key, "")
        loaded = await self._records.load(connection, [number])
        if case := loaded.cases.get(number):
            settled = case.quarantine(replace(verdict, order_no=number), "record")
        else:
            settled = _without_order(loaded, verdict)
        await self._records.store(connection, loaded)
        return settled

    async def _settle_all(
        self, connection: AsyncConnection, verdicts: list[Verdict]
    ) -> list[Settled]:
        owners = await self._records.owners(connection, verdicts)
        named = {v.order_no for v in verdicts if v.order_no and fits(v.order_no)}
        keys = {v.transaction_key for v in verdicts if v.transaction_id}
        with_events = any(v.notice or (v.refund and v.refund.reversed) for v in verdicts)
        loaded = await self._records.load(
            connection,
            sorted(named.union(owners.values())),
            sorted(keys),
            with_events=with_events,
        )
        results = [_settle_one(loaded, verdict) for verdict in verdicts]
        await self._records.store(connection, loaded)
        return results


def _count(settled: Settled) -> None:
    order = settled.order
    metrics.VERDICTS.labels(order.channel if order else "", settled.result).inc()
    if order is not None and settled.result is Result.PAID:
        took = (seam.now() - order.created_at) / seam.SECOND
        metrics.CONFIRMATION_SECONDS.labels(order.channel).observe(took)


def _settle_one(loaded: Loaded, verdict: Verdict) -> Settled:
    owner = loaded.owners.get(verdict.transaction_key)
    # A purchase without our number is known by its transaction, once that has paid an order.
    case = loaded.cases.get(verdict.order_no or owner or "")
    if case is None:
        return _without_order(loaded, verdict)
    if not verdict.order_no:
        verdict = replace(verdict, order_no=owner)
    settled = case.settle(verdict, owner)
    if case.transaction_key is not None:
        loaded.owners[case.transaction_key] = case.order.order_no
    return settled


def _without_order(loaded: Loaded, verdict: Verdict) -> Settled:
    """Keep what names no order of ours; a purchase is alerted, a refund or notice of others' business is not."""
    names_purchase = bool(verdict.order_no or verdict.transaction_id)
    told = verdict.note.encode("ascii", "replace")[:64].decode()
    state, reason = ("unclaimed", "order_no") if names_purchase else ("used", told)
    loaded.writes.evidence.append(evidence_row(verdict, seam.now(), state, reason))
    is_payment = verdict.states_payment and verdict.state is State.PAID
    is_news = is_payment or (verdict.refund is None and verdict.notice is None)
    is_alert = names_purchase and is_news
    return Settled(Result.UNKNOWN_ORDER if is_alert else Result.RECORDED, None)


async def _earlier(connection: AsyncConnection, drafts: list[Draft]) -> dict[str, Row[Any]]:
    """Return what the keys of drafts that were not stored had opened before, by the drafts' numbers.

    Without a key nothing stands in the way of an order: its number is its own.
    """
    if not drafts:
        return {}
    numbers = [draft.order.order_no for draft in drafts]
    stored = {row.order_no for row in await fetch(connection, _STORED, order_nos=numbers)}
    return {
        draft.order.order_no: await _first(connection, draft)
        for draft in drafts
        if draft.order.order_no not in stored
    }


async def _first(connection: AsyncConnection, draft: Draft) -> Row[Any]:
    """Return the order that this draft's idempotency key opened before."""
    found = await fetch(
        connection,
        _BY_IDEMPOTENCY_KEY,
        app=draft.order.app,
        receiver=draft.order.receiver,
        key=draft.idempotency_key,
    )
    return found[0]


async def list_orders(
    database: Database, status: Status | None, receiver: str | None, limit: int
) -> Sequence[Row[Any]]:
    """Return orders, the newest first."""
    wanted = select(ORDERS).order_by(ORDERS.c.order_no.desc()).limit(limit)
    if status is not None:
        wanted = wanted.where(ORDERS.c.status == status)
    if receiver is not None:
        wanted = wanted.where(ORDERS.c.receiver == receiver)
    return (await database.read(lambda c: c.execute(wanted))).all()


def fits(order_no: str) -> bool:
    """Whether this could be one of our order numbers: 32 lower-case hex characters."""
    return len(order_no) == 32 and all(c in "0123456789abcdef" for c in order_no)
