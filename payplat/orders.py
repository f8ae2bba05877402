"""The ledger: the only writer of order, payment and refund state. ``settle`` is the one way in for a verdict."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import Row, bindparam, insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database
from payplat.decisions import Case, Result, Settled
from payplat.errors import Conflict, IdempotencyMismatch, OrderNotFound, StillRunning
from payplat.group_commit import GroupCommit
from payplat.models import DELIVERIES, DUTIES, EVENTS, EVIDENCE, ORDERS, PAYMENTS, REFUNDS, TIMELINE
from payplat.purchase import LatePolicy, Order, Status, Verdict
from payplat.rows import Draft, KnownRefund, Terms, Writes, draft_row, evidence_row, order_of

_ORDERS_BY_NO = (
    select(ORDERS)
    .where(ORDERS.c.order_no.in_(bindparam("order_nos", expanding=True)))
    .order_by(ORDERS.c.order_no)
)
_LOCKED_ORDERS = _ORDERS_BY_NO.with_for_update()
_PAYMENTS_OF = select(
    PAYMENTS.c.order_no, PAYMENTS.c.transaction_key, PAYMENTS.c.transaction_id
).where(
    PAYMENTS.c.order_no.in_(bindparam("order_nos", expanding=True))
    | PAYMENTS.c.transaction_key.in_(bindparam("transaction_keys", expanding=True))
)
_REFUNDS_OF = select(REFUNDS).where(REFUNDS.c.order_no.in_(bindparam("order_nos", expanding=True)))
_TOLD = select(EVENTS.c.order_no).where(
    EVENTS.c.order_no.in_(bindparam("order_nos", expanding=True)), EVENTS.c.type == "order.paid"
)
_OWED_BACK = select(DUTIES.c.id).where(
    DUTIES.c.order_no == bindparam("order_no"),
    DUTIES.c.what == "refund",
    DUTIES.c.status == "due",
)
_BY_IDEMPOTENCY_KEY = select(ORDERS).where(
    ORDERS.c.app == bindparam("app"),
    ORDERS.c.receiver == bindparam("receiver"),
    ORDERS.c.idempotency_key == bindparam("key"),
)


log = structlog.get_logger("payplat")
PUT_ASIDE = Counter(
    "payplat_put_aside_total", "Authentic evidence that a person must look at.", ["kind", "result"]
)
_ALERTING = (Result.MISMATCH, Result.EXCESS, Result.UNKNOWN_ORDER, Result.HELD)
# A channel that is no longer open: its late money waits for an operator.
_CLOSED_CHANNEL = Terms(LatePolicy.HOLD, ())


class StaleBatch(Exception):
    """A compare-and-set changed fewer rows than it should: the batch is rolled back and each verdict goes alone."""


class Orders:
    """The orders of this installation, in one database.

    ``terms`` says for each open channel what its configuration demands of the ledger.
    """

    def __init__(self, database: Database, terms: Mapping[str, Terms]) -> None:
        self._database, self._terms = database, terms
        self._open = GroupCommit(self._open_batch)
        self._settle = GroupCommit(self._settle_batch)
        # Bytes that were kept before their order was there get their place, those that settle an order after all too.
        self._insert_evidence = database.insert_or_correct(
            EVIDENCE,
            key=("kind", "environment", "sha256"),
            columns=("order_no", "reason", "state"),
            when=lambda new: (
                (new.state == literal_column("'used'"))
                | (EVIDENCE.c.state == literal_column("'unclaimed'"))
            ),
        )

    async def open(self, draft: Draft) -> tuple[Order, bool]:
        """Store ``draft`` as a pending order; return the order and whether it is new.

        The same idempotency key of the same app and receiver returns the order it opened first. Raises
        IdempotencyMismatch when that was another request, Overloaded, DatabaseUnavailable.
        """
        row = await self._open(draft)
        if row.request_sha256 != draft.request_sha256:
            raise IdempotencyMismatch
        return order_of(row), row.order_no == draft.order.order_no

    async def settle(self, verdict: Verdict) -> Settled:
        """Apply one verdict; the one way in.

        In one transaction: checks, compare-and-set, payment, events, deliveries, duties, timeline; both or nothing.
        Returns after COMMIT. Raises Overloaded, Draining or DatabaseUnavailable, and then the verdict must come again.
        """
        await seam.reach("before_settle")
        settled = await self._settle(verdict)
        await seam.reach("after_settle")
        if settled.result in _ALERTING:
            PUT_ASIDE.labels(verdict.kind, settled.result).inc()
            told = {"order_no": verdict.order_no, "field": settled.field}
            log.error(settled.result.value, source=verdict.evidence.source.value, **told)
        return settled

    async def get(self, order_no: str) -> Order:
        """Return the order; raises OrderNotFound."""
        found = await self._database.read(lambda c: _fetch(c, _ORDERS_BY_NO, order_nos=[order_no]))
        if not found:
            raise OrderNotFound
        return order_of(found[0])

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

    async def release(self, order_no: str, actor: str) -> Order:
        """Deliver a held order after all; raises OrderNotFound, or Conflict when it is not held or is owed back."""
        has_written = False

        async def body(connection: AsyncConnection) -> Order:
            nonlocal has_written
            cases = await self._load(connection, [order_no], [], seam.now())
            case = cases.get(order_no)
            if case is None:
                raise OrderNotFound
            if has_written and case.order.status is Status.PAID:
                return case.order  # it was committed, only the reply was lost
            if case.order.status is not Status.HELD:
                raise Conflict(f"The order is {case.order.status}, not held.")
            if not case.terms.endpoints:
                raise Conflict("The order's channel is not open.")
            if await _fetch(connection, _OWED_BACK, order_no=order_no):
                raise Conflict("The money is on its way back.")
            before = case.order
            case.release(actor)
            await self._store(connection, {order_no: before}, cases, case.writes)
            has_written = True
            return case.order

        return await self._database.transaction(body)

    async def drain(self) -> None:
        """Take no more work and finish what was taken."""
        await asyncio.gather(self._open.drain(), self._settle.drain())

    async def _execute(self, statement: Any) -> int:
        result = await self._database.transaction(lambda c: c.execute(statement))
        return int(result.rowcount)

    async def _open_batch(self, drafts: list[Draft]) -> list[Row[Any]]:
        rows = [draft_row(draft) for draft in drafts]

        async def body(connection: AsyncConnection) -> list[Row[Any]]:
            await connection.execute(self._database.insert_new(ORDERS), rows)
            numbers = [draft.order.order_no for draft in drafts]
            stored = await _fetch(connection, _ORDERS_BY_NO, order_nos=numbers)
            mine = {row.order_no: row for row in stored}
            return [
                mine.get(draft.order.order_no) or await _first(connection, draft)
                for draft in drafts
            ]

        return await self._database.transaction(body)

    async def _settle_batch(self, verdicts: list[Verdict]) -> list[Settled]:
        try:
            return await self._database.transaction(lambda c: self._settle_all(c, verdicts))
        except IntegrityError:
            if len(verdicts) > 1:
                raise
            # What it says cannot be true beside what is on record, such as another order's refund of the same name.
            return [await self._database.transaction(lambda c: self._quarantine(c, verdicts[0]))]

    async def _quarantine(self, connection: AsyncConnection, verdict: Verdict) -> Settled:
        number = verdict.order_no or ""
        cases = await self._load(connection, [number], [], seam.now())
        before, settled = cases[number].order, cases[number].quarantine(verdict, "record")
        await self._store(connection, {number: before}, cases, cases[number].writes)
        return settled

    async def _settle_all(
        self, connection: AsyncConnection, verdicts: list[Verdict]
    ) -> list[Settled]:
        now = seam.now()
        numbers = sorted({v.order_no for v in verdicts if v.order_no and fits(v.order_no)})
        keys = sorted({v.transaction_key for v in verdicts if v.transaction_id})
        owners: dict[str, str] = {}
        cases = await self._load(connection, numbers, keys, now, owners)
        if any(v.refund and v.refund.reversed for v in verdicts):
            for row in await _fetch(connection, _TOLD, order_nos=numbers):
                cases[row.order_no].is_told = True
        before = {number: case.order for number, case in cases.items()}
        writes = next(iter(cases.values())).writes if cases else Writes()
        results = [_settle_one(cases, verdict, owners, writes, now) for verdict in verdicts]
        await self._store(connection, before, cases, writes)
        return results

    async def _load(
        self,
        connection: AsyncConnection,
        order_nos: list[str],
        transaction_keys: list[str],
        now: int,
        owners: dict[str, str] | None = None,
    ) -> dict[str, Case]:
        """Lock and read the orders with all that is on record about them; fill ``owners`` by transaction."""
        if not order_nos:
            return {}
        orders = await _fetch(connection, _LOCKED_ORDERS, order_nos=order_nos)
        payments = await _fetch(
            connection, _PAYMENTS_OF, order_nos=order_nos, transaction_keys=transaction_keys
        )
        refunds = await _fetch(connection, _REFUNDS_OF, order_nos=order_nos)
        if owners is not None:
            owners.update((row.transaction_key, row.order_no) for row in payments)
        paid_by = {row.order_no: (row.transaction_key, row.transaction_id) for row in payments}
        writes = Writes()
        return {
            row.order_no: Case(
                order_of(row),
                *paid_by.get(row.order_no, (None, None)),
                _known_refunds(refunds, row.order_no),
                self._terms.get(row.channel, _CLOSED_CHANNEL),
                now,
                writes,
            )
            for row in orders
        }

    async def _store(
        self,
        connection: AsyncConnection,
        before: Mapping[str, Order],
        cases: Mapping[str, Case],
        writes: Writes,
    ) -> None:
        await _compare_and_set(connection, before, cases)
        await _tell_once(connection, writes)
        for table, rows in (
            (PAYMENTS, writes.payments),
            (REFUNDS, writes.refunds),
            (EVENTS, writes.events),
            (DELIVERIES, writes.deliveries),
            (DUTIES, writes.duties),
            (TIMELINE, writes.timeline),
        ):
            if rows:
                await connection.execute(insert(table), rows)
        if writes.evidence:
            await connection.execute(self._insert_evidence, writes.evidence)
        for reversal in writes.reversals:
            await _reverse_refund(connection, **reversal)


def _settle_one(
    cases: Mapping[str, Case], verdict: Verdict, owners: dict[str, str], writes: Writes, now: int
) -> Settled:
    case = cases.get(verdict.order_no or "")
    if case is None:
        writes.evidence.append(evidence_row(verdict, now, "unclaimed", "order_no"))
        return Settled(Result.UNKNOWN_ORDER, None)
    settled = case.settle(verdict, owners.get(verdict.transaction_key))
    if case.transaction_key is not None:
        owners[case.transaction_key] = case.order.order_no
    return settled


async def _compare_and_set(
    connection: AsyncConnection, before: Mapping[str, Order], cases: Mapping[str, Case]
) -> None:
    """Move all orders that go the same way by one UPDATE; raises StaleBatch unless every one of them moved."""
    ways: dict[tuple[Any, ...], list[str]] = {}
    for number, case in cases.items():
        if case.order != before[number]:
            ways.setdefault(_way(before[number], case.order), []).append(number)
    for (old, new, amount, currency, refunded, settled_at), numbers in ways.items():
        values = {"status": new, "amount": amount, "currency": currency, "refunded": refunded}
        leaves = {"next_check_at": None, "lease_token": None} if new != Status.PENDING else {}
        result = await connection.execute(
            update(ORDERS)
            .where(ORDERS.c.order_no.in_(numbers), ORDERS.c.status == old)
            .values(**values, settled_at=settled_at, **leaves)
        )
        if result.rowcount != len(numbers):
            raise StaleBatch


def _way(old: Order, new: Order) -> tuple[Any, ...]:
    money = (new.amount, new.currency, new.refunded)
    return (old.status.value, new.status.value, *money, new.settled_at)


async def _tell_once(connection: AsyncConnection, writes: Writes) -> None:
    """Tell the timeline of evidence that changed nothing, unless it tells the same of it already."""
    if not writes.alerts:
        return
    alike = select(TIMELINE).where(
        TIMELINE.c.order_no.in_({line["order_no"] for line in writes.alerts}),
        TIMELINE.c.what.in_({line["what"] for line in writes.alerts}),
    )
    on_record = {_told(row._mapping) for row in await connection.execute(alike)}
    for line in writes.alerts:
        if _told(line) not in on_record:
            on_record.add(_told(line))
            writes.timeline.append(line)


def _told(line: Mapping[str, Any]) -> tuple[str, str, str]:
    return line["order_no"], line["what"], json.loads(line["detail"])["evidence"]


async def _reverse_refund(
    connection: AsyncConnection, *, refund_key: str, verdict: Verdict
) -> None:
    ours = (
        REFUNDS.c.kind == verdict.kind,
        REFUNDS.c.environment == verdict.environment,
        REFUNDS.c.account == verdict.account,
        REFUNDS.c.refund_key == refund_key,
    )
    await connection.execute(update(REFUNDS).where(*ours).values(reversed_at=seam.now()))


def _known_refunds(rows: Iterable[Row[Any]], order_no: str) -> dict[str, KnownRefund]:
    return {
        row.refund_key: KnownRefund(
            row.transaction_key, row.amount, bool(row.whole), row.reversed_at is not None
        )
        for row in rows
        if row.order_no == order_no
    }


async def _fetch(
    connection: AsyncConnection, statement: Any, **parameters: Any
) -> Sequence[Row[Any]]:
    return (await connection.execute(statement, parameters)).all()


async def _first(connection: AsyncConnection, draft: Draft) -> Row[Any]:
    """Return the order that this draft's idempotency key opened before."""
    found = await _fetch(
        connection,
        _BY_IDEMPOTENCY_KEY,
        app=draft.order.app,
        receiver=draft.order.receiver,
        key=draft.idempotency_key,
    )
    return found[0]


def fits(order_no: str) -> bool:
    """Whether this could be one of our order numbers: 32 lower-case hex characters."""
    return len(order_no) == 32 and all(c in "0123456789abcdef" for c in order_no)
