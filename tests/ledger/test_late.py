"""Money that comes after the order was closed: delivered, held, or owed back, as the channel says."""

import asyncio

import pytest

from payplat.decisions import Result
from payplat.errors import Conflict, OrderNotFound
from payplat.models import DutyRow
from payplat.purchase import Status
from tests.ledger.build import Crash, closed, ledger_on, paid, refund, reversal

DUTIES = DutyRow.__table__


async def late(ledger, channel):
    """Return an order that was paid after its close."""
    order = await ledger.open(channel)
    await ledger.settle(closed(order), paid(order))
    return await ledger.now(order)


async def types(ledger, order):
    """Return the types of an order's events."""
    return sorted(row["type"] for row in await ledger.rows("events", order))


async def test_late_money_is_delivered(ledger):
    """By default a late payment is a payment, and the story calls it late."""
    order = await late(ledger, "shop")
    assert order.status is Status.PAID
    assert await types(ledger, order) == ["order.paid"]
    assert [row["what"] for row in await ledger.rows("timeline")] == ["closed", "paid_late"]


async def test_late_money_is_held(ledger):
    """Where an operator wants to look first, the order is held with its payment, and nobody is told."""
    order = await late(ledger, "shop_hold")
    assert order.status is Status.HELD
    assert len(await ledger.rows("payments", order)) == 1
    assert await types(ledger, order) == []
    assert await ledger.rows("duties") == []


async def test_late_money_is_owed_back(ledger):
    """Where late money is to go back, the order is held and the refund is owed, once."""
    order = await late(ledger, "shop_refund")
    assert await ledger.settle(paid(order), closed(order)) == [Result.REPEATED, Result.UNCHANGED]
    assert (await ledger.now(order)).status is Status.HELD
    (duty,) = await ledger.rows("duties")
    named = {
        "order_no": order.order_no,
        "channel": "shop_refund",
        "what": "refund",
        "cause": "late",
    }
    assert (named | {"status": "due", "failures": 0}).items() <= duty.items()


@pytest.mark.parametrize("channel", ["shop_hold", "shop_refund"])
async def test_money_in_time_is_delivered(ledger, channel):
    """The policy for late money does not touch what comes in time."""
    order = await ledger.open(channel)
    assert await ledger.settle(paid(order)) == [Result.PAID]
    assert await ledger.rows("duties") == []


async def test_a_held_order_is_released(ledger):
    """An operator delivers it after all: then the merchant is told, and the story says who did it."""
    order = await late(ledger, "shop_hold")
    released = await ledger.orders.release(order.order_no, "operator:ann")
    assert released == await ledger.now(order)
    assert released.status is Status.PAID
    assert await types(ledger, order) == ["order.paid"]
    last = (await ledger.rows("timeline"))[-1]
    assert (last["what"], last["actor"]) == ("released", "operator:ann")


async def test_only_a_held_order_is_released(ledger):
    """Releasing twice, or what is not held, is refused and changes nothing."""
    order = await late(ledger, "shop_hold")
    await ledger.orders.release(order.order_no, "operator:ann")
    before = await ledger.snapshot()
    with pytest.raises(Conflict):
        await ledger.orders.release(order.order_no, "operator:ben")
    with pytest.raises(OrderNotFound):
        await ledger.orders.release("0" * 32, "operator:ben")
    assert await ledger.snapshot() == before


async def test_a_closed_channel_releases_nothing(ledger):
    """An order whose channel is not open stays held: nobody would be told of its release."""
    order = await late(ledger, "shop_hold")
    with pytest.raises(Conflict):
        await ledger_on(ledger.database, terms={}).orders.release(order.order_no, "operator:ann")
    assert (await ledger.now(order)).status is Status.HELD


async def test_two_operators_release_once(ledger, twin):
    """Of two who release at the same moment one is refused, and the merchant is told once."""
    order = await late(ledger, "shop_hold")
    race = [one.orders.release(order.order_no, "operator") for one in (ledger, twin)]
    answers = await asyncio.gather(*race, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "Order"]
    assert await types(ledger, order) == ["order.paid"]


async def test_what_is_owed_back_is_not_delivered_as_well(ledger):
    """While the refund of late money is owed, the order cannot be released; once that was given up, it can."""
    order = await late(ledger, "shop_refund")
    with pytest.raises(Conflict):
        await ledger.orders.release(order.order_no, "operator:ann")
    assert (await ledger.now(order)).status is Status.HELD
    await ledger.run(DUTIES.update().values(status="exhausted"))
    released = await ledger.orders.release(order.order_no, "operator:ann")
    assert released.status is Status.PAID


async def test_a_crash_while_releasing_leaves_it_held(ledger, crash_points):
    """Event and status come together or not at all."""
    order = await late(ledger, "shop_hold")
    with crash_points.dying_at("before_commit"), pytest.raises(Crash):
        await ledger.orders.release(order.order_no, "operator:ann")
    assert (await ledger.now(order)).status is Status.HELD
    assert await types(ledger, order) == []


@pytest.mark.parametrize("channel", ["shop_hold", "shop_refund"])
async def test_a_held_order_is_refunded(ledger, channel):
    """When the held money has gone back, the order is refunded and was never told as paid."""
    order = await late(ledger, channel)
    assert await ledger.settle(refund(order, "back", whole=True)) == [Result.REFUNDED]
    assert (await ledger.now(order)).status is Status.REFUNDED
    assert await types(ledger, order) == ["order.refunded"]


@pytest.mark.parametrize("channel", ["shop_hold", "shop_refund"])
async def test_a_reversal_does_not_release(ledger, channel):
    """When the refund of held money is taken back, the order is held again: nobody decided to deliver it."""
    order = await late(ledger, channel)
    await ledger.settle(refund(order, whole=True), reversal(order))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.HELD, 0)
    assert "order.paid" not in await types(ledger, order)


async def test_a_part_leaves_it_held(ledger):
    """A part that goes back from held money decides nothing."""
    order = await late(ledger, "shop_hold")
    await ledger.settle(refund(order, part=100))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.HELD, 100)
