"""Sweeps at the ledger: paid orders whose telling was lost are found and told, by one process at a time."""

import asyncio
import json

import pytest
from sqlalchemy import delete, update

from payplat import sweeps
from payplat.leases import Queue
from payplat.sweeps import Sweep, Sweeps, UntoldOrders
from tests.ledger.build import TABLES, TERMS, closed, paid, refund, transaction_of

EVENTS, DELIVERIES, SWEEPS = (TABLES[name] for name in ("events", "deliveries", "sweeps"))


async def sweep(ledger, position=""):
    """Look for untold orders once."""
    return await UntoldOrders(ledger.database, TERMS).run(position)


async def told(ledger):
    """Return what the merchant would receive, without what is new each time."""
    bodies = [json.loads(row["body"]) for row in await ledger.rows("events")]
    ways = sorted(row["endpoint"] for row in await ledger.rows("deliveries"))
    return sorted(json.dumps({**body, "timestamp": ""}) for body in bodies), ways


async def test_nothing_is_found_where_nothing_is_lost(ledger):
    """Orders in every state whose telling is complete are left alone."""
    orders = [await ledger.open() for _ in range(4)]
    await ledger.settle(*map(paid, orders[:2]), refund(orders[1], whole=True), closed(orders[2]))
    before = await ledger.snapshot()
    await sweep(ledger)
    assert await ledger.snapshot() == before


@pytest.mark.parametrize("lost", [[DELIVERIES], [DELIVERIES, EVENTS]], ids=["ways", "events"])
async def test_a_paid_order_is_told_again(ledger, lost):
    """Event and deliveries that were lost are made again, as they were."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    before = await told(ledger)
    for table in lost:
        await ledger.run(delete(table))
    await sweep(ledger)
    assert await told(ledger) == before
    (row,) = await ledger.rows("events")
    assert json.loads(row["body"])["data"]["transaction_id"] == transaction_of(order)
    assert {row["status"] for row in await ledger.rows("deliveries")} == {"due"}


async def test_only_what_is_lost_is_made_again(ledger):
    """Beside a lost event the events of others stay as they are."""
    orders = [await ledger.open() for _ in range(3)]
    await ledger.settle(*map(paid, orders))
    lost = orders[1].order_no
    before = {row["order_no"]: row for row in await ledger.rows("events")}
    for table in (EVENTS, DELIVERIES):
        await ledger.run(delete(table).where(table.c.order_no == lost))
    await sweep(ledger)
    after = {row["order_no"]: row for row in await ledger.rows("events")}
    assert {k for k in before if before[k] == after[k]} == before.keys() - {lost}


async def test_two_sweeps_at_once_tell_once(ledger, twin):
    """Two processes that find the same order make one event."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    for table in (EVENTS, DELIVERIES):
        await ledger.run(delete(table))
    await asyncio.gather(sweep(ledger), sweep(twin), sweep(ledger), sweep(twin))
    assert len(await ledger.rows("events")) == 1
    assert len(await ledger.rows("deliveries")) == 2


async def test_a_sweep_goes_round_in_pages(ledger, monkeypatch):
    """A run looks at a page of orders and goes on after it next time, until it begins anew."""
    monkeypatch.setattr(sweeps, "_BATCH", 2)
    orders = [await ledger.open() for _ in range(5)]
    numbers = sorted(order.order_no for order in orders)
    positions = [""]
    for _ in range(3):
        positions.append(await sweep(ledger, positions[-1]))
    assert positions == ["", numbers[1], numbers[3], ""]


# --- The schedule ---


async def run_due(ledger, schedule):
    """Claim what is due and perform it; return how many there were."""
    queue: Queue = sweeps.QUEUE
    rows = await queue.claim(ledger.database, "count", limit=5, lease=60)
    for row in rows:
        await schedule.perform(row)
    return len(rows)


async def test_a_sweep_keeps_its_time_and_place(ledger, twin, clock):
    """A sweep runs once each interval over all processes, from where it ended last."""
    seen = []

    async def count(position):
        seen.append(position)
        return f"{len(seen)}"

    schedules = [Sweeps(one.database, {"count": Sweep(60, count)}) for one in (ledger, twin)]
    await asyncio.gather(*(schedule.enrol() for schedule in schedules))
    assert [await run_due(one, schedules[0]) for one in (ledger, twin)] == [1, 0]
    clock.forward(59)
    assert await run_due(twin, schedules[1]) == 0
    clock.forward(2)
    assert await run_due(twin, schedules[1]) == 1
    assert seen == ["", "1"]


async def test_enrolling_again_changes_nothing(ledger):
    """A process that starts later does not set a sweep back."""
    schedule = Sweeps(ledger.database, {"count": Sweep(60, None)})
    await schedule.enrol()
    await ledger.run(update(SWEEPS).values(position="7", next_at=1))
    await schedule.enrol()
    (row,) = await ledger.rows("sweeps")
    assert (row["position"], row["next_at"]) == ("7", 1)
