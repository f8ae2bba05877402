"""The last hour in figures: what was opened, paid, told and acknowledged in each minute, and what waits now."""

import asyncio

import pytest
from sqlalchemy import insert, update

from payplat import seam
from payplat.attempts import Attempt, Record, record
from payplat.deliveries import QUEUE
from payplat.endpoints import pause
from payplat.models import DELIVERIES, DUTIES, ORDERS, PAUSES
from payplat.statistics import MINUTE, Sales, Statistics
from tests.ledger.build import closed, draft, paid
from tests.ledger.plans import listening


@pytest.fixture
def minute(clock) -> int:
    """The begin of a minute, a few seconds after which the clock stands."""
    clock.forward(65 - seam.now() % MINUTE / seam.SECOND)
    return seam.now() // MINUTE * MINUTE


async def by_minute(statistics) -> dict[int, object]:
    """The minutes by their begin."""
    return {each.at: each for each in await statistics.minutes()}


async def test_an_hour_is_told_minute_by_minute(ledger, clock, minute):
    """Sales are counted where they were opened and where they were paid, with median and 95th percentile."""
    statistics = Statistics(ledger.database)
    orders = [await ledger.open() for _ in range(4)]
    store = await ledger.open("store")
    # Between the first payment and the last lie a minute and a half; each is some seconds after its order.
    for order, seconds in zip(orders[:3], (1, 9, 80), strict=True):
        clock.forward(seconds)
        await ledger.settle(paid(order))
    told = await by_minute(statistics)
    assert len(told) == 60
    assert sorted(told) == [max(told) - n * MINUTE for n in reversed(range(60))]
    first, second = told[minute], told[minute + MINUTE]
    shop = first.sales["shop"]
    assert (shop.opened, shop.opened_paid, shop.paid) == (4, 3, 2)
    assert 1 <= shop.median < shop.p95 < 30
    assert first.sales["store"] == Sales(1, 0, 0, None, None)
    late = second.sales["shop"]
    assert (late.opened, late.opened_paid, late.paid) == (0, 0, 1)
    assert 90 <= late.median == late.p95 < 120
    assert (first.events, second.events) == (2, 1)
    assert store.order_no not in str(told)


async def test_percentiles_are_of_the_nearest_rank(ledger, clock, minute):
    """Of twenty payments the median is the tenth, the 95th percentile the nineteenth."""
    orders = [await ledger.open() for _ in range(20)]
    for n, order in enumerate(orders, 1):
        opened = update(ORDERS).where(ORDERS.c.order_no == order.order_no)
        await ledger.run(opened.values(created_at=seam.now() - n * seam.SECOND))
    await asyncio.gather(*(ledger.orders.settle(paid(order)) for order in orders))
    sales = (await by_minute(Statistics(ledger.database)))[minute].sales["shop"]
    assert (int(sales.median), int(sales.p95)) == (10, 19)


async def test_what_waits_is_reckoned_back(ledger, clock, minute):
    """At each minute's end as many deliveries waited as were made and not yet acknowledged."""
    for _ in range(3):
        await ledger.settle(paid(await ledger.open()))
        clock.forward(60)
    (event, *_) = await ledger.rows("events")
    for endpoint in ("default/main", "default/stock"):
        rows = await QUEUE.claim(ledger.database, endpoint, limit=9, lease=30)
        (row,) = [row for row in rows if row.event_id == event["event_id"]]
        done = Record("delivery_id", {"status": "delivered", "delivered_at": seam.now()})
        await record(ledger.database, QUEUE, row, Attempt(ok=True, milliseconds=1), done)
    told = await by_minute(Statistics(ledger.database))
    last = [told[minute + n * MINUTE] for n in range(-1, 4)]
    assert [each.waiting for each in last] == [0, 2, 4, 6, 4]
    assert [each.acknowledged for each in last] == [0, 0, 0, 0, 2]


async def test_a_look_reads_what_is_new(ledger, clock, minute):
    """Minutes that are over are not read again; what is committed late is seen while it can come, then kept out."""
    statistics = Statistics(ledger.database)
    await ledger.settle(paid(await ledger.open()))
    assert (await by_minute(statistics))[minute].sales["shop"].paid == 1
    late = draft()
    clock.forward(57)
    assert (await by_minute(statistics))[minute].sales["shop"].opened == 1
    await ledger.orders.open(late)
    assert (await by_minute(statistics))[minute].sales["shop"].opened == 2
    clock.forward(40)
    await statistics.minutes()
    with listening(ledger.database) as asked:
        await statistics.minutes()
    since = min(n for _, given in asked for n in _numbers(given) if n > minute // 2)
    assert since >= minute
    await ledger.run(ORDERS.delete().where(ORDERS.c.order_no == late.order.order_no))
    fresh = Statistics(ledger.database)
    for each, opened in ((statistics, 2), (fresh, 1)):
        assert (await by_minute(each))[minute].sales["shop"].opened == opened


def _numbers(parameters) -> list[int]:
    return [value for value in parameters if isinstance(value, int)]


async def test_kept_minutes_learn_of_later_payments(ledger, clock, minute):
    """An order of a minute that is over, and kept, counts there as paid once it is."""
    statistics, order = Statistics(ledger.database), await ledger.open()
    await statistics.minutes()
    clock.forward(180)
    assert (await by_minute(statistics))[minute].sales["shop"].opened_paid == 0
    await ledger.settle(paid(order))
    assert (await by_minute(statistics))[minute].sales["shop"] == Sales(1, 1, 0, None, None)


async def test_the_present_is_counted(ledger):
    """Orders that are open or held, evidence put aside, deliveries, pauses and duties that wait for somebody."""
    pending, late = await ledger.open(), await ledger.open("shop_hold")
    sold = await ledger.open()
    await ledger.settle(paid(sold), paid(sold, "T-wrong", amount=1), closed(late), paid(late))
    owed = {"order_no": sold.order_no, "channel": "shop", "what": "bind", "cause": "", "due_at": 1}
    owed |= {"status": "exhausted", "failures": 9, "created_at": 1}
    await ledger.run(insert(DUTIES).values(owed))
    one = DELIVERIES.c.endpoint == "default/main"
    await ledger.run(update(DELIVERIES).where(one).values(status="exhausted"))
    database = ledger.database
    await database.transaction(lambda c: pause(c, database, "default/main", "by hand"))
    told = await Statistics(database).now()
    await ledger.run(PAUSES.delete())
    assert (told.pending, told.held, told.due, told.exhausted) == (1, 1, 1, 1)
    assert told.put_aside == {"quarantined": 1, "excess": 0, "unclaimed": 0}
    assert (told.paused, told.exhausted_duties) == (1, 1)
    assert pending.status == "pending"


async def test_counts_end(ledger, monkeypatch):
    """A count is cut where it would take long."""
    monkeypatch.setattr("payplat.statistics.MOST", 3)
    for _ in range(5):
        await ledger.orders.open(draft())
    assert (await Statistics(ledger.database).now()).pending == 3
