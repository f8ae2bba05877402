"""Money that comes after the order was closed: delivered, held, or owed back, as the channel says."""

import asyncio

import pytest

from payplat.decisions import Result
from payplat.errors import Conflict, OrderNotFound
from payplat.models import DutyRow
from payplat.purchase import LatePolicy, Owed, Status
from payplat.rows import Terms
from tests.ledger.build import Crash, closed, in_world, ledger_on, paid, refund, reversal
from tests.ledger.test_lost_commit import Spoiler, lose_the_reply, replies_lost

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


# --- Given back by hand ---


async def owed(ledger, order):
    """Return how each duty of an order stands, by what it is and its cause."""
    rows = await ledger.rows("duties", order)
    return {(row["what"], row["cause"]): row["status"] for row in rows}


async def test_an_operator_gives_held_money_back(ledger):
    """The refund is owed once, the story says who ordered it, and the order is held until the money is back."""
    order = await late(ledger, "shop_hold")
    assert await ledger.orders.give_back(order.order_no, "operator:ann") == order
    assert await owed(ledger, order) == {("refund", "operator"): "due"}
    last = (await ledger.rows("timeline"))[-1]
    assert (last["what"], last["actor"]) == ("refund_ordered", "operator:ann")
    await ledger.settle(refund(order, "back", whole=True))
    assert (await ledger.now(order)).status is Status.REFUNDED
    assert await types(ledger, order) == ["order.refunded"]


async def refused(ledger, action, order_no):
    """An operator's action is refused and changes nothing; return the reason."""
    before = await ledger.snapshot()
    with pytest.raises((Conflict, OrderNotFound)) as caught:
        await action(order_no, "operator:ben")
    assert await ledger.snapshot() == before
    return str(caught.value)


async def test_money_on_its_way_back_is_decided(ledger):
    """Who ordered the refund can neither order it again nor deliver, and where the channel owes it nobody need."""
    ordered = await late(ledger, "shop_hold")
    await ledger.orders.give_back(ordered.order_no, "operator:ann")
    by_policy = await late(ledger, "shop_refund")
    for order in (ordered, by_policy):
        told = await refused(ledger, ledger.orders.give_back, order.order_no)
        assert "a refund of it already" in told
        assert "on its way back" in await refused(ledger, ledger.orders.release, order.order_no)


async def test_only_held_money_is_given_back(ledger):
    """Nothing goes back by hand for an order that is pending, paid, released or unknown."""
    pending, sold = [await ledger.open("shop_hold") for _ in range(2)]
    await ledger.settle(paid(sold))
    released = await late(ledger, "shop_hold")
    await ledger.orders.release(released.order_no, "operator:ann")
    for order, status in ((pending, "pending"), (sold, "paid"), (released, "paid")):
        told = await refused(ledger, ledger.orders.give_back, order.order_no)
        assert told == f"The order is {status}, not held."
    assert "no such order" in await refused(ledger, ledger.orders.give_back, "0" * 32)


async def test_some_companies_give_back_themselves(ledger):
    """Where only the company gives money back, an operator is told so; where the channel is closed, that."""
    order = await late(ledger, "store_hold")
    alone = {"store_hold": Terms(LatePolicy.HOLD, {"default/main": None}, gives_back=False)}
    for terms, told in (
        (alone, "Only the company itself gives this money back."),
        ({}, "not open"),
    ):
        other = ledger_on(ledger.database, terms)
        assert told in await refused(ledger, other.orders.give_back, order.order_no)


async def test_two_operators_decide_once(ledger, twin):
    """Of two who give back, and of two who decide differently, at the same moment, one is refused."""
    for other in (twin.orders.give_back, twin.orders.release):
        order = await late(ledger, "shop_hold")
        race = [act(order.order_no, "operator") for act in (ledger.orders.give_back, other)]
        answers = await asyncio.gather(*race, return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "Order"]
        is_delivered = (await ledger.now(order)).status is Status.PAID
        assert len(await owed(ledger, order)) + is_delivered == 1


async def test_what_a_held_purchase_owes_is_void_when_its_money_is_back(ledger):
    """What waited for a release waits no more once all of the money is back; a part of it decides nothing."""
    order = await ledger.open("store_hold")
    await ledger.settle(closed(order), paid(order, owes=(Owed("acknowledge"), Owed("consume", 60))))
    await ledger.orders.give_back(order.order_no, "operator")
    held = {("acknowledge", ""): "held", ("consume", ""): "held", ("refund", "operator"): "due"}
    assert await owed(ledger, order) == held
    await ledger.settle(refund(order, part=100))
    assert await owed(ledger, order) == held
    await ledger.settle(refund(order, "rest", whole=True))
    assert await owed(ledger, order) == {
        **dict.fromkeys(held, "void"),
        ("refund", "operator"): "due",
    }


async def test_a_refund_is_ordered_once_when_the_reply_is_lost(ledger):
    """The operator whose order of a refund took effect without a reply hears no refusal, and it is owed once."""
    order = await late(ledger, "shop_hold")
    with in_world(replies_lost()):
        await ledger.orders.give_back(order.order_no, "operator")
    assert await owed(ledger, order) == {("refund", "operator"): "due"}
    told = [row["what"] for row in await ledger.rows("timeline", order)]
    assert told.count("refund_ordered") == 1


@pytest.mark.parametrize("channel", ["shop_hold", "shop_refund"])
async def test_a_decision_that_was_rolled_back_is_taken_again(ledger, channel):
    """After a COMMIT that failed the operator is told of a release that has happened, beside a refund given up too."""
    order = await late(ledger, channel)
    await ledger.run(DUTIES.update().values(status="exhausted"))
    with in_world(Spoiler("before_commit", lose_the_reply, 1)):
        released = await ledger.orders.release(order.order_no, "operator")
    assert released.status is Status.PAID
    assert await ledger.now(order) == released
    assert await types(ledger, order) == ["order.paid"]
