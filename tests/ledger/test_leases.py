"""Leases: who holds a row holds it alone, whoever held it before is fenced off, and nobody holds it for ever."""

import asyncio
from functools import partial
from operator import itemgetter

import pytest
from sqlalchemy import insert, true, update

from payplat import lanes, seam
from payplat.attempts import Attempt, Record, Tried, record, record_all
from payplat.deliveries import QUEUE
from payplat.group_commit import GroupCommit
from payplat.lanes import LEASE, Lane
from payplat.leases import Queue
from payplat.models import DeliveryRow
from payplat.reconcile import QUEUE as CHECKS
from tests.ledger.build import TABLES, in_world, paid
from tests.ledger.plans import listening
from tests.ledger.test_lost_commit import replies_lost

DELIVERIES = DeliveryRow.__table__
LANE, NOBODY = "default/main", "0" * 32
DONE = Record("delivery_id", {"status": "delivered", "delivered_at": 1}, "delivered")


async def queue_up(ledger, count, endpoint=LANE):
    """Write deliveries that are due, the last one written the longest."""
    now = seam.now()
    rows = [
        {
            "event_id": f"evt_{seam.new_id()}",
            "order_no": NOBODY,
            "endpoint": endpoint,
            "status": "due",
            "due_at": now - number,
            "failures": 0,
            "created_at": now,
        }
        for number in range(count)
    ]
    await ledger.run(insert(DELIVERIES).values(rows))


@pytest.fixture
async def books_closed(ledger):
    """Take away in the end what was queued up: it tells of no event, which the check of the books would find."""
    yield
    for name in ("deliveries", "timeline"):
        await ledger.run(TABLES[name].delete().where(TABLES[name].c.order_no == NOBODY))


pytestmark = pytest.mark.usefixtures("books_closed")


async def claim(ledger, limit=10, lane=LANE):
    """Claim due rows."""
    return await QUEUE.claim(ledger.database, lane, limit=limit, lease=LEASE)


async def report(ledger, row, outcome=DONE):
    """Record a successful attempt with a claimed row."""
    return await record(ledger.database, QUEUE, row, Attempt(ok=True, milliseconds=5), outcome)


async def by_due(ledger):
    """Return the deliveries' ids, the longest due first."""
    rows = await ledger.rows("deliveries")
    return [row["id"] for row in sorted(rows, key=itemgetter("due_at"))]


async def test_the_longest_due_come_first(ledger):
    """Rows are claimed and returned in the order in which they became due."""
    await queue_up(ledger, 6)
    expected = await by_due(ledger)
    assert [row.id for row in await claim(ledger, 4)] == expected[:4]
    assert [row.id for row in await claim(ledger, 4)] == expected[4:]


async def test_the_longest_due_come_first_without_lanes(ledger):
    """So they are where a queue has no lanes, whatever index the database reads."""
    await queue_up(ledger, 6)
    other = update(DELIVERIES).where(DELIVERIES.c.id % 2 == 0).values(endpoint="a")
    await ledger.run(other)
    expected, queue = await by_due(ledger), Queue(DELIVERIES, due="due_at", waiting=true())
    rows = await queue.claim(ledger.database, None, limit=4, lease=LEASE)
    assert [row.id for row in rows] == expected[:4]


async def test_a_claim_takes_the_row_away(ledger, twin):
    """What one has claimed another does not get, until the lease ends."""
    await queue_up(ledger, 1)
    (row,) = await claim(ledger)
    assert row.lease_token
    assert await claim(twin) == []


async def test_nothing_due_is_nothing_claimed(ledger, clock):
    """A row is not claimed before its time, nor once its work has ended."""
    await queue_up(ledger, 2)
    first, second = await claim(ledger)
    later = {"due_at": clock.now() + 60 * seam.SECOND, "failures": 1}
    assert await report(ledger, first, Record("delivery_id", later))
    assert await report(ledger, second)
    clock.forward(59)
    assert await claim(ledger) == []
    clock.forward(2)
    assert [row.id for row in await claim(ledger)] == [first.id]


async def test_two_claimers_never_hold_the_same(ledger, twin):
    """However many claim at once, each row has one holder and none is left out."""
    await queue_up(ledger, 60)
    claims = [claim(one, 5) for one in (ledger, twin) for _ in range(12)]
    held = [row.id for rows in await asyncio.gather(*claims) for row in rows]
    assert len(held) == len(set(held))
    while rows := await claim(ledger, 20):
        held += [row.id for row in rows]
    assert len(held) == len(set(held)) == 60


async def test_a_row_whose_holder_died_is_due_again(ledger, twin, clock):
    """When the lease has ended the next one gets the row, and not before."""
    await queue_up(ledger, 1)
    (row,) = await claim(ledger)
    clock.forward(LEASE - 1)
    assert await claim(twin) == []
    clock.forward(2)
    (again,) = await claim(twin)
    assert (again.id, again.lease_token != row.lease_token) == (row.id, True)


async def test_a_stale_holder_cannot_record(ledger, twin, clock):
    """Who slept through the end of the lease is refused: no attempt, no result, no line in the story."""
    await queue_up(ledger, 1)
    (stale,) = await claim(ledger)
    clock.forward(LEASE + 1)
    (fresh,) = await claim(twin)
    before = await ledger.snapshot()
    assert not await report(ledger, stale)
    assert await ledger.snapshot() == before
    assert await report(twin, fresh)
    assert len(await ledger.rows("attempts")) == len(await ledger.rows("timeline")) == 1


async def test_a_result_is_recorded_once(ledger):
    """A second result for the same claim is refused."""
    await queue_up(ledger, 1)
    (row,) = await claim(ledger)
    assert await report(ledger, row)
    assert not await report(ledger, row)
    (attempt,) = await ledger.rows("attempts")
    assert (attempt["delivery_id"], attempt["ok"], attempt["milliseconds"]) == (row.id, 1, 5)
    (delivery,) = await ledger.rows("deliveries")
    assert (delivery["status"], delivery["lease_token"]) == ("delivered", None)


async def test_stale_and_fresh_holder_at_once(ledger, twin, clock):
    """Of a stale and a fresh holder who report at the same moment the fresh one counts, in ten rounds."""
    await queue_up(ledger, 10)
    stale = await claim(ledger)
    clock.forward(LEASE + 1)
    fresh = {row.id: row for row in await claim(twin)}
    for row in stale:
        both = report(ledger, row), report(twin, fresh[row.id])
        assert await asyncio.gather(*both) == [False, True]
    assert len(await ledger.rows("attempts")) == 10


async def report_together(ledger, rows):
    """Record successful attempts that end at the same moment; return for each whether it counts."""
    together = GroupCommit(partial(record_all, ledger.database, QUEUE))
    tries = [Tried(row, Attempt(ok=True, milliseconds=5), DONE) for row in rows]
    return await asyncio.gather(*map(together, tries))


async def test_results_are_recorded_together(ledger):
    """What ends at the same moment is recorded in one transaction, each with its attempt and its line."""
    await queue_up(ledger, 20)
    rows = await claim(ledger, 20)
    tries = [Tried(row, Attempt(ok=True, milliseconds=5), DONE) for row in rows]
    assert await record_all(ledger.database, QUEUE, tries) == [True] * 20
    tried = {row["delivery_id"] for row in await ledger.rows("attempts")}
    assert tried == {row.id for row in rows}
    assert len(await ledger.rows("timeline")) == 20
    assert {row["status"] for row in await ledger.rows("deliveries")} == {"delivered"}


async def test_a_stale_result_fails_no_other(ledger, twin, clock):
    """Of results that end at the same moment only the stale one is refused."""
    await queue_up(ledger, 6)
    stale = await claim(ledger, 2)
    clock.forward(LEASE + 1)
    await claim(twin, 1)
    others = await claim(ledger, 5)
    answers = await report_together(ledger, [stale[0], *others])
    assert answers == [False] + [True] * len(others)
    assert len(await ledger.rows("attempts")) == len(others)


async def test_a_later_claim_of_ones_own_fences_too(ledger, clock):
    """Whoever has lost a row and claimed it again records for the later claim alone, whatever ends beside it."""
    await queue_up(ledger, 2)
    (stale,) = await claim(ledger, 1)
    clock.forward(LEASE + 1)
    fresh = {row.id: row for row in await claim(ledger)}
    again = fresh.pop(stale.id)
    (other,) = fresh.values()
    assert await report_together(ledger, [other, stale]) == [True, False]
    assert await report_together(ledger, [again, again]) == [True, False]
    assert len(await ledger.rows("attempts")) == 2


async def test_a_look_reads_no_settled_order(ledger):
    """Due orders are found by channel, status and time: a look does not go through all orders of its channel."""
    with listening(ledger.database) as asked:
        await CHECKS.claim(ledger.database, "shop", limit=1, lease=LEASE)
    ((statement, values),) = asked
    word = "EXPLAIN QUERY PLAN" if ledger.database.is_sqlite else "EXPLAIN"
    explained = await ledger.database.read(
        lambda c: c.exec_driver_sql(f"{word} {statement}", values)
    )
    plan = explained.first()
    if ledger.database.is_sqlite:
        assert "next_check_at<?" in plan.detail
    else:
        assert (plan.key, plan.type) == ("ix_orders_channel_status_next_check_at", "range")


async def test_a_holder_can_hold_on(ledger, twin, clock):
    """A lease that is extended in time keeps others away; one that was lost cannot be extended."""
    await queue_up(ledger, 1)
    (row,) = await claim(ledger)
    clock.forward(LEASE - 1)
    assert await QUEUE.extend(ledger.database, [row], LEASE) == 1
    clock.forward(LEASE - 1)
    assert await claim(twin) == []
    clock.forward(2)
    (fresh,) = await claim(twin)
    assert await QUEUE.extend(ledger.database, [row], LEASE) == 0
    assert await report(twin, fresh)


async def test_lanes_are_apart(ledger):
    """A claim in one lane takes nothing of another, however much is due there."""
    await queue_up(ledger, 20, "default/other")
    await queue_up(ledger, 1)
    assert [row.endpoint for row in await claim(ledger, 10)] == [LANE]
    assert len(await claim(ledger, 50, "default/other")) == 20


async def test_a_claim_whose_reply_was_lost(ledger, clock):
    """Rows claimed without our knowing are held by nobody, and due again when the lease ends."""
    await queue_up(ledger, 3)
    with in_world(replies_lost(skip=1)):  # the first look writes nothing
        held = await claim(ledger)
    clock.forward(LEASE + 1)
    again = await claim(ledger)
    assert len(again) == 3
    assert not {row.lease_token for row in held} & {row.lease_token for row in again}


async def test_a_result_whose_reply_was_lost(ledger):
    """A result is on record once, though the second try to record it finds the lease gone."""
    await queue_up(ledger, 1)
    (row,) = await claim(ledger)
    with in_world(replies_lost()):
        await report(ledger, row)
    assert len(await ledger.rows("attempts")) == 1
    (delivery,) = await ledger.rows("deliveries")
    assert delivery["status"] == "delivered"


async def test_a_settled_order_is_taken_from_its_checker(ledger):
    """A verdict that settles an order takes the lease of whoever is asking about it, who then changes nothing."""
    order = await ledger.open()
    due = {"next_check_at": seam.now()}
    await ledger.run(update(TABLES["orders"]).values(due))
    (row,) = await CHECKS.claim(ledger.database, "shop", limit=1, lease=LEASE)
    await ledger.settle(paid(order))
    before = await ledger.snapshot()
    late = {"next_check_at": seam.now(), "checks": 1, "lease_token": None}
    assert not await ledger.database.transaction(lambda c: CHECKS.release(c, row, late))
    assert await ledger.snapshot() == before


# --- The loops that claim ---


def lane(ledger, perform, name=LANE, **options):
    """Return a lane that looks often."""
    return Lane(ledger.database, QUEUE, name, perform, **{"poll": 0.02, **options})


async def until(condition):
    """Wait until a condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_slow_lane_does_not_hold_up_another(ledger):
    """While one endpoint's work hangs, another's goes on."""
    await queue_up(ledger, 5)
    await queue_up(ledger, 5, "default/other")
    gate, done = asyncio.Event(), []

    async def hang(_row):
        await gate.wait()

    async def work(row):
        await report(ledger, row)
        done.append(row.id)

    both = [lane(ledger, hang), lane(ledger, work, "default/other")]
    tasks = [asyncio.create_task(one.run()) for one in both]
    await until(lambda: len(done) == 5)
    for one in both:
        one.stop()
    gate.set()
    await asyncio.gather(*tasks)


async def test_a_lane_holds_no_more_than_its_slots(ledger):
    """Only so many rows are worked on at once; all are done in the end, each once."""
    await queue_up(ledger, 10)
    now, most, done = set(), [], []

    async def work(row):
        now.add(row.id)
        most.append(len(now))
        await report(ledger, row)
        now.discard(row.id)
        done.append(row.id)

    one = lane(ledger, work, slots=3)
    task = asyncio.create_task(one.run())
    await until(lambda: len(done) == 10)
    one.stop()
    await task
    assert max(most) <= 3
    assert len(set(done)) == 10


async def test_long_work_keeps_its_lease(ledger, twin, monkeypatch):
    """Work that takes several leases is held all the while, after its lane was told to stop too."""
    # Long enough that a busy machine cannot keep the holder from its heartbeat.
    monkeypatch.setattr(lanes, "LEASE", 3.0)
    await queue_up(ledger, 3)
    gate, begun, ended = asyncio.Event(), [], []

    async def work(row):
        begun.append(row.id)
        await gate.wait()
        ended.append(await report(ledger, row))

    first, second = lane(ledger, work), lane(twin, work)
    tasks = [asyncio.create_task(first.run())]
    await until(lambda: len(begun) == 3)
    tasks.append(asyncio.create_task(second.run()))
    first.stop()
    await asyncio.sleep(7.0)
    gate.set()
    await until(lambda: len(ended) == 3)
    second.stop()
    await asyncio.gather(*tasks)
    assert (len(begun), ended) == (3, [True] * 3)


async def test_work_that_fails_is_due_again(ledger, clock):
    """A row whose work broke is neither lost nor tried before its lease ends, and its lane goes on."""
    await queue_up(ledger, 2)
    tried = []

    async def work(row):
        tried.append(row.id)
        if len(tried) == 1:
            raise ZeroDivisionError
        await report(ledger, row)

    one = lane(ledger, work, slots=1)
    task = asyncio.create_task(one.run())
    await until(lambda: len(tried) == 2)
    await asyncio.sleep(0.05)
    assert len(tried) == 2
    clock.forward(LEASE + 1)
    await until(lambda: len(tried) == 3)
    one.stop()
    await task
    assert tried[2] == tried[0]


async def test_a_busy_lane_claims_a_batch(ledger):
    """While work is under way nothing is claimed until a batch of slots is free."""
    await queue_up(ledger, 5)
    gates, begun = [asyncio.Event() for _ in range(5)], []

    async def work(row):
        begun.append(row.id)
        await gates[len(begun) - 1].wait()
        await report(ledger, row)

    one = lane(ledger, work, slots=4, batch=2)
    task = asyncio.create_task(one.run())
    await until(lambda: len(begun) == 4)
    gates[0].set()
    await asyncio.sleep(0.3)
    assert len(begun) == 4
    for gate in gates:
        gate.set()
    await until(lambda: len(begun) == 5)
    one.stop()
    await task


async def test_a_stopped_lane_finishes_what_it_began(ledger):
    """Stopping claims nothing more, though there is room, and waits for the work in hand."""
    await queue_up(ledger, 1)
    gate, begun = asyncio.Event(), []

    async def work(row):
        begun.append(row.id)
        await gate.wait()
        await report(ledger, row)

    one = lane(ledger, work, slots=4)
    task = asyncio.create_task(one.run())
    await until(lambda: begun)
    one.stop()
    await queue_up(ledger, 1)
    await asyncio.sleep(0.05)
    assert not task.done()
    gate.set()
    await task
    states = sorted(row["status"] for row in await ledger.rows("deliveries"))
    assert states == ["delivered", "due"]


async def test_a_woken_lane_looks_at_once(ledger):
    """A wake-up spares the wait for the next look."""
    done = asyncio.Event()

    async def work(row):
        await report(ledger, row)
        done.set()

    one = lane(ledger, work, poll=60)
    task = asyncio.create_task(one.run())
    await asyncio.sleep(0.05)
    await queue_up(ledger, 1)
    one.wake()
    await asyncio.wait_for(done.wait(), 5)
    one.stop()
    await asyncio.wait_for(task, 5)
