"""The ledger's statements: load orders with all that is on record about them, store what was decided of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, bindparam, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database
from payplat.decisions import Case
from payplat.models import DELIVERIES, DUTIES, EVENTS, EVIDENCE, ORDERS, PAYMENTS, REFUNDS, TIMELINE
from payplat.purchase import LatePolicy, Order, Status, Verdict
from payplat.refunds import KnownRefund, RefundBook
from payplat.rows import CLAIMED, Terms, Writes, order_of

_NUMBERS: Any = bindparam("order_nos", expanding=True)
_KEYS: Any = bindparam("transaction_keys", expanding=True)
ORDERS_BY_NO = select(ORDERS).where(ORDERS.c.order_no.in_(_NUMBERS)).order_by(ORDERS.c.order_no)
_LOCKED_ORDERS = ORDERS_BY_NO.with_for_update()
_PAYMENT = select(PAYMENTS.c.order_no, PAYMENTS.c.transaction_key, PAYMENTS.c.transaction_id)
_PAYMENTS_BY_KEY = _PAYMENT.where(PAYMENTS.c.transaction_key.in_(_KEYS))
_PAYMENTS_OF = _PAYMENT.where(
    PAYMENTS.c.order_no.in_(_NUMBERS) | PAYMENTS.c.transaction_key.in_(_KEYS)
)
_REFUNDS_OF = select(REFUNDS).where(REFUNDS.c.order_no.in_(_NUMBERS))
_EVENTS_OF = select(EVENTS.c.order_no, EVENTS.c.type, EVENTS.c.cause).where(
    EVENTS.c.order_no.in_(_NUMBERS)
)
_MONEY = ("amount", "currency", "refunded")
# A channel that is no longer open: its late money waits for an operator.
_CLOSED_CHANNEL = Terms(LatePolicy.HOLD, {})


class StaleBatch(Exception):
    """A compare-and-set changed fewer rows than it should: the batch is rolled back and each verdict goes alone."""


@dataclass(slots=True)
class Loaded:
    """Orders with all that is on record about them, and which order each transaction has paid, by its key."""

    cases: dict[str, Case] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    writes: Writes = field(default_factory=Writes)
    before: dict[str, Order] = field(default_factory=dict)


class Records:
    """Reads and writes the tables of the ledger; ``terms`` are the demands of the open channels."""

    def __init__(self, database: Database, terms: Mapping[str, Terms]) -> None:
        self._terms = terms
        # Bytes that were kept before their order was there get their place; those that waited for the provider's answer
        # and those that settle an order after all too.
        self._insert_evidence = database.insert_or_correct(
            EVIDENCE,
            key=("kind", "environment", "sha256"),
            columns=("order_no", "transaction_key", "reason", "answer", "state"),
            when=lambda new: (
                (new.state == literal_column("'used'"))
                | EVIDENCE.c.state.in_([literal_column("'unclaimed'"), literal_column("'waiting'")])
            ),
        )

    async def owners(
        self, connection: AsyncConnection, verdicts: Iterable[Verdict]
    ) -> dict[str, str]:
        """Return which orders the transactions of verdicts that name no order have paid."""
        keys = {v.transaction_key for v in verdicts if v.transaction_id and not v.order_no}
        if not keys:
            return {}
        rows = await fetch(connection, _PAYMENTS_BY_KEY, transaction_keys=sorted(keys))
        return {row.transaction_key: row.order_no for row in rows}

    async def load(
        self,
        connection: AsyncConnection,
        order_nos: Sequence[str],
        transaction_keys: Sequence[str] = (),
        *,
        with_events: bool = False,
    ) -> Loaded:
        """Lock the orders, in the order of their numbers, and read what is on record about them."""
        loaded = Loaded()
        if not order_nos:
            return loaded
        orders = await fetch(connection, _LOCKED_ORDERS, order_nos=order_nos)
        payments = await fetch(
            connection, _PAYMENTS_OF, order_nos=order_nos, transaction_keys=transaction_keys
        )
        refunds = await fetch(connection, _REFUNDS_OF, order_nos=order_nos)
        events = await fetch(connection, _EVENTS_OF, order_nos=order_nos) if with_events else ()
        loaded.owners = {row.transaction_key: row.order_no for row in payments}
        paid_by = {row.order_no: (row.transaction_key, row.transaction_id) for row in payments}
        now = seam.now()
        for row in orders:
            loaded.before[row.order_no] = order_of(row)
            loaded.cases[row.order_no] = Case(
                loaded.before[row.order_no],
                *paid_by.get(row.order_no, (None, None)),
                _book(refunds, row.order_no),
                self._terms.get(row.channel, _CLOSED_CHANNEL),
                now,
                loaded.writes,
                {(e.type, e.cause) for e in events if e.order_no == row.order_no},
            )
        return loaded

    async def store(self, connection: AsyncConnection, loaded: Loaded) -> None:
        """Write what was decided; raises StaleBatch when an order is not as it was read."""
        writes = loaded.writes
        await compare_and_set(connection, loaded.before, loaded.cases)
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
        await _claim(connection, writes)
        if writes.evidence:
            await connection.execute(self._insert_evidence, writes.evidence)
        await _correct(connection, writes)


async def compare_and_set(
    connection: AsyncConnection, before: Mapping[str, Order], cases: Mapping[str, Case]
) -> None:
    """Move all orders that go the same way by one UPDATE; raises StaleBatch unless every one of them moved."""
    ways: dict[tuple[Any, ...], list[str]] = {}
    for number, case in cases.items():
        if case.order != before[number]:
            ways.setdefault(_way(before[number], case.order), []).append(number)
    for (old, *changes), numbers in ways.items():
        result = await connection.execute(
            update(ORDERS)
            .where(ORDERS.c.order_no.in_(numbers), ORDERS.c.status == old)
            .values(dict(changes))
        )
        if result.rowcount != len(numbers):
            raise StaleBatch


def _way(old: Order, new: Order) -> tuple[Any, ...]:
    """Return the status that an order comes from, and the columns that change on its way to the new one."""
    changes = [("status", new.status.value), ("settled_at", new.settled_at)]
    changes += [
        (name, getattr(new, name)) for name in _MONEY if getattr(new, name) != getattr(old, name)
    ]
    if new.status is not Status.PENDING and not new.waits:
        changes += [("next_check_at", None), ("lease_token", None)]
    return (old.status.value, *changes)


async def _tell_once(connection: AsyncConnection, writes: Writes) -> None:
    """Tell the timeline of evidence that changed nothing, unless it tells the same of it already."""
    if not writes.alerts:
        return
    alike = select(TIMELINE).where(
        TIMELINE.c.order_no.in_({line["order_no"] for line in writes.alerts}),
        TIMELINE.c.what.in_({line["what"] for line in writes.alerts}),
    )
    on_record = {
        _told(row.order_no, row.what, row.detail) for row in await connection.execute(alike)
    }
    for line in writes.alerts:
        told = _told(line["order_no"], line["what"], line["detail"])
        if told not in on_record:
            on_record.add(told)
            writes.timeline.append(line)


def _told(order_no: str, what: str, detail: str) -> tuple[str, str, str]:
    """What makes two lines the same: the provider's own name of what it says, or else the very bytes."""
    told = json.loads(detail)
    return order_no, what, told.get("key") or told["evidence"]


async def _claim(connection: AsyncConnection, writes: Writes) -> None:
    """Give the evidence of claimed transactions that is on record to their orders."""
    for transaction_key, order_no in writes.claims.items():
        found = (EVIDENCE.c.transaction_key == transaction_key, EVIDENCE.c.state == "unclaimed")
        claimed = {**CLAIMED, "order_no": order_no}
        await connection.execute(update(EVIDENCE).where(*found).values(claimed))


async def _correct(connection: AsyncConnection, writes: Writes) -> None:
    """Change the rows of before that what was decided reaches; seldom anything."""
    for reversal in writes.reversals:
        await _reverse_refund(connection, **reversal)
    for order_no, status in writes.held_duties.items():
        waited = (DUTIES.c.order_no == order_no, DUTIES.c.status.in_(["held", "void"]))
        await connection.execute(update(DUTIES).where(*waited).values(status=status))


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


def _book(rows: Iterable[Row[Any]], order_no: str) -> RefundBook:
    return RefundBook(
        {
            row.refund_key: KnownRefund(
                row.transaction_key,
                row.amount,
                bool(row.whole),
                row.reversed_at is not None,
                row.share,
                row.type,
                row.refunded_at,
                row.returned,
            )
            for row in rows
            if row.order_no == order_no
        }
    )


async def fetch(
    connection: AsyncConnection, statement: Any, **parameters: Any
) -> Sequence[Row[Any]]:
    """Return all rows of a statement."""
    return (await connection.execute(statement, parameters)).all()
