"""Races between processes: several ledgers on one database, each with its own connections and group commit."""

import asyncio
import contextlib
from collections import Counter

import pymysql
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.engine import make_url

from payplat.decisions import Case, Result
from payplat.errors import DatabaseUnavailable
from payplat.models import OrderRow
from payplat.purchase import Status
from payplat.records import StaleBatch, compare_and_set
from payplat.refunds import RefundBook
from payplat.rows import Writes
from tests.ledger.build import PRICE, TERMS, closed, ledger_on, on_mariadb, paid, refund, reversal

ORDERS = OrderRow.__table__


def processes(*ledgers, of_each=4):
    """Return ledgers that share connections with the given ones, but no group commit."""
    return [ledger_on(one.database) for one in ledgers for _ in range(of_each)]


async def race(calls):
    """Start all calls at the same moment; count what came of them."""
    answers = await asyncio.gather(*calls)
    return Counter(answer.result for answer in answers)


async def test_twenty_payments_and_a_close(ledger, twin):
    """Twenty equal notifications in two processes and a close at the same moment: one payment, one event."""
    for _ in range(5):
        order = await ledger.open()
        verdicts = [paid(order)] * 20
        verdicts.insert(10, closed(order))
        sides = [ledger, twin] * 11
        found = await race(
            [one.orders.settle(verdict) for one, verdict in zip(sides, verdicts, strict=False)]
        )
        assert (found[Result.PAID], found[Result.REPEATED]) == (1, 19)
        assert (await ledger.now(order)).status is Status.PAID
        assert len(await ledger.rows("payments", order)) == 1
        assert len(await ledger.rows("events", order)) == 1


async def test_eight_processes_pay_once(ledger, twin):
    """Eight transactions that collide on one order end as one payment and seven repetitions."""
    for _ in range(5):
        order = await ledger.open()
        found = await race([one.orders.settle(paid(order)) for one in processes(ledger, twin)])
        assert found == {Result.PAID: 1, Result.REPEATED: 7}


async def test_eight_transactions_for_one_order(ledger, twin):
    """Of eight different transactions one pays, and seven are kept as excess."""
    order = await ledger.open()
    sides = enumerate(processes(ledger, twin))
    found = await race([one.orders.settle(paid(order, f"T{n}")) for n, one in sides])
    assert found == {Result.PAID: 1, Result.EXCESS: 7}
    states = Counter(row["state"] for row in await ledger.rows("evidence"))
    assert states == {"used": 1, "excess": 7}


async def test_close_against_payment(ledger, twin):
    """Whoever wins between a close and a payment, the money is never lost."""
    for _ in range(10):
        order = await ledger.open()
        calls = [ledger.orders.settle(closed(order)), twin.orders.settle(paid(order))]
        assert (await race(calls))[Result.PAID] == 1
        assert (await ledger.now(order)).status is Status.PAID


async def test_refunds_against_payment(ledger, twin):
    """Payment, parts and a reversal in eight processes at once give the sums they should, whoever wins."""
    for _ in range(5):
        order = await ledger.open()
        keys = [f"{order.order_no}:{number}" for number in range(3)]
        verdicts = [paid(order), paid(order), reversal(order, keys[2])]
        verdicts += [refund(order, key, part=200) for key in keys]
        verdicts += [refund(order, keys[0], part=200)]
        sides = processes(ledger, twin)
        await race([s.orders.settle(v) for s, v in zip(sides, verdicts, strict=False)])
        order = await ledger.now(order)
        assert (order.status, order.refunded) == (Status.PAID, 400)


async def test_parts_never_exceed_the_whole(ledger, twin):
    """Of parts that are more than the whole, as many stand as fit, however they collide."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    sides = enumerate(processes(ledger, twin))
    found = await race([one.orders.settle(refund(order, f"r{n}", part=250)) for n, one in sides])
    assert found == {Result.REFUNDED: 2, Result.MISMATCH: 6}
    assert (await ledger.now(order)).refunded == 500


async def test_groups_that_cross(ledger, twin):
    """Two processes settle the same orders in opposite order, in groups, without a loss or a deadlock left over."""
    orders = await asyncio.gather(*(ledger.open() for _ in range(40)))
    calls = [ledger.orders.settle(paid(order)) for order in orders]
    calls += [twin.orders.settle(paid(order)) for order in reversed(orders)]
    assert await race(calls) == {Result.PAID: 40, Result.REPEATED: 40}


async def test_a_status_that_changed_meanwhile(ledger):
    """A group that would move an order from where it no longer stands is undone whole."""
    orders = [await ledger.open(), await ledger.open()]
    await ledger.settle(closed(orders[1]))
    before = {order.order_no: order for order in orders}
    settled = orders[0]._replace(status=Status.HELD, settled_at=1)
    cases = {n: Case(settled, None, None, RefundBook(), TERMS["shop"], 1, Writes()) for n in before}
    with pytest.raises(StaleBatch):
        await ledger.database.transaction(lambda c: compare_and_set(c, before, cases))
    statuses = [(await ledger.now(order)).status for order in orders]
    assert statuses == [Status.PENDING, Status.CLOSED]


# --- What MariaDB does when transactions collide ---


async def add(connection, order, amount):
    """Add to an order's refunds: a change that shows how often it was made."""
    values = {"refunded": ORDERS.c.refunded + amount}
    mine = ORDERS.c.order_no == order.order_no
    await connection.execute(update(ORDERS).where(mine).values(values))


async def refunded(ledger, *orders):
    """Return what was added, order by order, and take it away again."""
    numbers = [order.order_no for order in orders]
    wanted = select(ORDERS.c.refunded).where(ORDERS.c.order_no.in_(numbers))
    found = (await ledger.database.read(lambda c: c.execute(wanted))).scalars().all()
    await ledger.run(update(ORDERS).values(refunded=0))
    return found


@on_mariadb
async def test_a_deadlock_is_tried_again(ledger, twin):
    """Two transactions that lock two orders crosswise both end well, and each took effect exactly once."""
    one, other = await ledger.open(), await ledger.open()
    both_hold_one, tries = asyncio.Barrier(2), []

    async def crosswise(connection, first, second, amount):
        tries.append(amount)
        await add(connection, first, amount)
        if len(tries) <= 2:
            await both_hold_one.wait()
        await add(connection, second, amount)

    await asyncio.gather(
        ledger.database.transaction(lambda c: crosswise(c, one, other, 1)),
        twin.database.transaction(lambda c: crosswise(c, other, one, 10)),
    )
    assert len(tries) == 3
    assert await refunded(ledger, one, other) == [11, 11]


@contextlib.contextmanager
def locked(url, order):
    """Hold an order's row from outside; yields what lets it go."""
    address = make_url(url)
    connection = pymysql.connect(
        host=address.host,
        port=address.port,
        user=address.username,
        password=address.password or "",
        database=address.database,
    )
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM orders WHERE order_no = %s FOR UPDATE", (order.order_no,))
        yield connection.rollback


@on_mariadb
async def test_a_lock_wait_is_tried_again_whole(ledger, ledger_url):
    """When a row stays locked too long, what the transaction did before that is undone and done again, once."""
    free, busy = await ledger.open(), await ledger.open()
    tries = []

    async def body(connection):
        tries.append(1)
        await connection.execute(text("SET innodb_lock_wait_timeout = 0"))
        await add(connection, free, 1)
        if len(tries) == 3:
            let_go()
        await add(connection, busy, 1)

    with locked(ledger_url, busy) as let_go:
        await ledger.database.transaction(body)
    assert len(tries) == 3
    assert await refunded(ledger, free, busy) == [1, 1]


@on_mariadb
async def test_a_lock_that_stays_is_told_as_unavailable(ledger, ledger_url):
    """When the row stays locked over all tries nothing is kept, and the caller is told to come again."""
    free, busy = await ledger.open(), await ledger.open()

    async def body(connection):
        await connection.execute(text("SET innodb_lock_wait_timeout = 0"))
        await add(connection, free, 1)
        await add(connection, busy, 1)

    with locked(ledger_url, busy), pytest.raises(DatabaseUnavailable):
        await ledger.database.transaction(body)
    assert await refunded(ledger, free, busy) == [0, 0]


@on_mariadb
async def test_settling_waits_for_a_locked_order(ledger, ledger_url):
    """A verdict for an order that somebody holds waits, and sees what they left."""
    order = await ledger.open()
    with locked(ledger_url, order) as let_go:
        settling = asyncio.create_task(ledger.orders.settle(paid(order)))
        done, _ = await asyncio.wait([settling], timeout=0.2)
        assert not done
        let_go()
        assert (await settling).result is Result.PAID
    assert (await ledger.now(order)).amount == PRICE
