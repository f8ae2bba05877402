"""Notices: what a provider says of a purchase that leaves money and state as they are."""

import asyncio
import json

import pytest

from payplat.decisions import Result
from payplat.purchase import Source, State, Status
from tests.ledger.build import (
    TABLES,
    claimed,
    closed,
    noticed,
    paid,
    payment,
    refund,
)

DETAIL = {"reason": "other", "answer_until": "2030-01-01T00:00:00.000Z"}


async def told(ledger, order):
    """Return the causes of what the merchant was asked, and how often the timeline tells of notices."""
    events = [row for row in await ledger.rows("events", order) if row["type"] != "order.paid"]
    lines = [row["what"] for row in await ledger.rows("timeline", order)]
    return [row["cause"] for row in events], lines.count("noticed")


async def test_a_notice_is_an_event(ledger):
    """The merchant learns of it with its name and detail, by every endpoint; the order stays as it is."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    before = await ledger.now(order)
    assert await ledger.settle(noticed(order, key="n7", detail=DETAIL)) == [Result.NOTICED]
    assert await ledger.now(order) == before
    event = next(row for row in await ledger.rows("events") if row["cause"])
    assert (event["type"], event["cause"]) == ("order.consumption_requested", "n7")
    body = json.loads(event["body"])
    assert body["data"]["notice"] == {"id": "n7", **DETAIL}
    assert body["data"]["order_no"] == order.order_no
    ways = [row for row in await ledger.rows("deliveries") if row["event_id"] == event["event_id"]]
    assert len(ways) == 2


async def test_a_notice_is_kept_and_in_the_story(ledger):
    """Its evidence is used, and the timeline names it with its detail and its proof."""
    order = await ledger.open()
    verdict = noticed(order, detail=DETAIL)
    await ledger.settle(paid(order), verdict)
    assert [row["state"] for row in await ledger.rows("evidence")] == ["used", "used"]
    line = (await ledger.rows("timeline"))[-1]
    detail = json.loads(line["detail"])
    assert (line["what"], detail["notice"]) == ("noticed", "consumption_requested")
    assert (DETAIL | {"evidence": verdict.evidence.sha256}).items() <= detail.items()


async def test_a_repeated_notice_is_no_event(ledger):
    """The same name again is the same notice, also in other bytes; another name is another one."""
    order = await ledger.open()
    await ledger.settle(paid(order), noticed(order, detail=DETAIL))
    before = await ledger.snapshot()
    again = [noticed(order, detail=DETAIL), noticed(order, detail=DETAIL, note="signed again")]
    assert await ledger.settle(*again) == [Result.REPEATED] * 2
    assert await ledger.snapshot() == before
    assert await ledger.settle(noticed(order, key="n2", detail=DETAIL)) == [Result.NOTICED]
    assert sorted((await told(ledger, order))[0]) == ["n1", "n2"]


async def test_equal_notices_at_once_are_one(ledger, twin):
    """Ten equal notices in two processes make one event."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    race = [one.orders.settle(noticed(order, detail=DETAIL)) for one in (ledger, twin) * 5]
    found = [one.result for one in await asyncio.gather(*race)]
    assert (found.count(Result.NOTICED), found.count(Result.REPEATED)) == (1, 9)
    assert await told(ledger, order) == (["n1"], 1)


async def test_a_remark_is_told_once_and_is_no_event(ledger):
    """What is not for the merchant stands in the timeline once, however often it comes."""
    order = await ledger.open()
    remark = noticed(order, "refund_declined")
    await ledger.settle(paid(order), remark)
    before = await ledger.snapshot()
    await ledger.settle(remark, remark)
    assert await ledger.snapshot() == before
    assert await told(ledger, order) == ([], 1)


async def test_a_notice_of_an_unpaid_order(ledger):
    """The merchant, who was told of no purchase, is told nothing; the story is."""
    order = await ledger.open()
    assert await ledger.settle(noticed(order, detail=DETAIL)) == [Result.NOTICED]
    assert await ledger.now(order) == order
    assert await told(ledger, order) == ([], 1)


async def test_a_notice_that_tells_of_the_payment(ledger):
    """A notice that brings the first word of its payment does both: it pays, and the merchant is asked."""
    order = await ledger.open("store")
    verdict = noticed(order, detail=DETAIL)
    object.__setattr__(verdict, "state", State.PAID)
    for name, value in payment(order).items():
        object.__setattr__(verdict, name, value)
    assert await ledger.settle(verdict) == [Result.PAID]
    assert (await ledger.now(order)).status is Status.PAID
    assert await told(ledger, order) == (["n1"], 1)
    before = await ledger.snapshot()
    assert await ledger.settle(verdict) == [Result.REPEATED]
    assert await ledger.snapshot() == before


async def test_a_notice_of_a_refunded_order_is_told(ledger):
    """Notices come also when the money has gone back."""
    order = await ledger.open("store")
    await ledger.settle(paid(order), refund(order, whole=True), noticed(order, detail=DETAIL))
    assert "n1" in (await told(ledger, order))[0]


async def test_a_notice_that_does_not_fit_is_put_aside(ledger):
    """A notice from another account is quarantined like any other verdict."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    assert await ledger.settle(noticed(order, account="other", detail=DETAIL)) == [Result.MISMATCH]
    assert await told(ledger, order) == ([], 0)


async def test_a_notice_finds_its_claimed_order(ledger):
    """A notice without an order number reaches the order that its transaction has paid."""
    order = await ledger.open("store")
    await ledger.settle(claimed(order), noticed(order, order_no=None, detail=DETAIL))
    assert await told(ledger, order) == (["n1"], 1)


@pytest.mark.parametrize("source", [Source.CALLBACK, Source.RECONCILE])
async def test_a_notice_is_not_quarantined_as_not_understood(ledger, source):
    """An understood notice with no word of the state is used evidence, not a riddle for a person."""
    order = await ledger.open()
    await ledger.settle(closed(order), noticed(order, source=source))
    assert {row["state"] for row in await ledger.rows("evidence")} == {"used"}
    assert await ledger.rows("events") == await ledger.rows(TABLES["duties"].name) == []
