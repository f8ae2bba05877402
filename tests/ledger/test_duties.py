"""What a payment owes to its provider: due, held or not owed at all, done once, and what the provider says then."""

from dataclasses import replace

import pytest

from payplat import seam
from payplat.decisions import Result
from payplat.errors import ProviderUnavailable
from payplat.purchase import LatePolicy, Owed, Status
from payplat.rows import Terms
from tests.ledger.build import (
    TERMS,
    claimed,
    closed,
    ledger_on,
    paid,
    payment,
    refund,
    reversal,
    transaction_of,
)
from tests.ledger.store import Store, perform


async def duties(ledger, order):
    """Return what is owed for the order: what and status."""
    return [(row["what"], row["status"]) for row in await ledger.rows("duties", order)]


async def held(ledger):
    """Return an order whose claimed purchase came too late and is held."""
    order = await ledger.open("store_hold")
    assert await ledger.settle(closed(order), claimed(order)) == [Result.CLOSED, Result.HELD]
    return order


async def test_a_payment_owes(ledger):
    """What the verdict names is owed with the payment, once, each at its time."""
    order = await ledger.open("store")
    owes = (Owed("bind"), Owed("consume", 3600))
    verdict = paid(order, owes=owes)
    await ledger.settle(verdict, verdict, paid(order, owes=(Owed("bind"),)))
    rows = await ledger.rows("duties")
    assert [(row["what"], row["status"]) for row in rows] == [("bind", "due"), ("consume", "due")]
    assert rows[1]["due_at"] - rows[0]["due_at"] == 3600 * seam.SECOND


async def test_what_does_not_pay_owes_nothing(ledger):
    """Excess and what does not fit owe nothing to anybody."""
    order = await ledger.open("store")
    await ledger.settle(claimed(order, "T1", quantity=2), paid(order, "T1"), claimed(order, "T2"))
    assert await duties(ledger, order) == []


async def test_a_held_payment_owes_later(ledger):
    """While nobody has decided, nothing is confirmed to the store; when it is released, it is due."""
    order = await held(ledger)
    assert await duties(ledger, order) == [("bind", "held")]
    assert await perform(ledger, Store()) == 0
    await ledger.orders.release(order.order_no, "operator:ann")
    assert await duties(ledger, order) == [("bind", "due")]


async def test_releasing_one_frees_only_its_own(ledger):
    """Another held order's duties stay held."""
    orders = [await held(ledger), await held(ledger)]
    await ledger.orders.release(orders[0].order_no, "operator:ann")
    assert await duties(ledger, orders[1]) == [("bind", "held")]


async def test_a_release_keeps_the_deadline(ledger):
    """What must be done by a time after the purchase is due by that time, however late it was released."""
    order = await ledger.open("store_hold")
    await ledger.settle(closed(order), paid(order, owes=(Owed("consume", 3600),)))
    before = [row["due_at"] for row in await ledger.rows("duties")]
    await ledger.orders.release(order.order_no, "operator:ann")
    assert [row["due_at"] for row in await ledger.rows("duties")] == before


async def test_a_held_duty_outlives_refund_and_reversal(ledger):
    """Held money that went back owes nothing; when it came again it is still held, and so is what it owes."""
    order = await held(ledger)
    await ledger.settle(refund(order, whole=True))
    assert await duties(ledger, order) == [("bind", "void")]
    await ledger.settle(reversal(order))
    assert (await ledger.now(order)).status is Status.HELD
    assert await duties(ledger, order) == [("bind", "held")]


async def test_a_duty_is_freed_when_the_order_comes_back(ledger):
    """When the channel delivers late money by now, the reversal delivers, and what was held is due."""
    order = await held(ledger)
    await ledger.settle(refund(order, whole=True))
    delivers = {**TERMS, "store_hold": Terms(LatePolicy.DELIVER, TERMS["store_hold"].endpoints)}
    await ledger_on(ledger.database, delivers).settle(reversal(order))
    assert (await ledger.now(order)).status is Status.PAID
    assert await duties(ledger, order) == [("bind", "due")]


@pytest.mark.parametrize("facts", [{}, {"is_claimed": True}])
async def test_what_was_refunded_at_once_owes_nothing(ledger, facts):
    """Money that had gone back before it was seen to come is not confirmed."""
    order = await ledger.open("store")
    told = {"owes": (Owed("bind"),), **facts, **payment(order)}
    assert await ledger.settle(refund(order, whole=True, **told)) == [Result.REFUNDED]
    assert (await ledger.now(order)).status is Status.REFUNDED
    assert await duties(ledger, order) == []


async def test_a_waiting_refund_leaves_nothing_owed(ledger):
    """So it is when the refund was told before the claim."""
    order = await ledger.open("store")
    await ledger.settle(refund(order, whole=True), claimed(order))
    assert await duties(ledger, order) == []


async def test_late_money_that_goes_back_and_its_duties(ledger):
    """Where late money is given back, that is due at once; what the payment owes waits."""
    order = await ledger.open("shop_refund")
    await ledger.settle(closed(order), paid(order, owes=(Owed("bind"),)))
    assert sorted(await duties(ledger, order)) == [("bind", "held"), ("refund", "due")]


# --- Doing them ---


async def test_a_duty_is_done_with_its_transaction(ledger):
    """The provider gets what to do, for which order and by which transaction; it is done once."""
    store, order = Store(), await ledger.open("store")
    await ledger.settle(claimed(order))
    assert [await perform(ledger, store), await perform(ledger, store)] == [1, 0]
    assert store.done == [("bind", order.order_no, transaction_of(order))]
    assert await duties(ledger, order) == [("bind", "done")]
    (attempt,) = await ledger.rows("attempts")
    assert (attempt["ok"], attempt["error"]) == (1, "")


async def test_what_the_provider_says_then_is_settled(ledger):
    """A refund that the provider tells of when the duty is done is not lost."""
    store, order = Store(), await ledger.open("store")
    await ledger.settle(claimed(order))
    store.afterwards = refund(order, whole=True)
    await perform(ledger, store)
    assert (await ledger.now(order)).status is Status.REFUNDED
    assert await duties(ledger, order) == [("bind", "done")]


async def test_a_duty_that_fails_comes_again(ledger, clock):
    """No answer is written down, and the duty is tried again after its wait."""
    store, order = Store(), await ledger.open("store")
    await ledger.settle(claimed(order))
    store.afterwards = ProviderUnavailable("away")
    assert [await perform(ledger, store), await perform(ledger, store)] == [1, 0]
    (attempt,) = await ledger.rows("attempts")
    assert (attempt["ok"], attempt["error"]) == (0, "away")
    store.afterwards = None
    clock.forward(11)
    assert await perform(ledger, store) == 1
    assert await duties(ledger, order) == [("bind", "done")]


async def test_a_claim_proves_its_payment_after_the_duty(ledger):
    """What is told again by the duty is a repetition: no event, no second duty."""
    store, order = Store(), await ledger.open("store")
    await ledger.settle(claimed(order))
    store.afterwards = replace(paid(order), owes=(Owed("bind"),))
    await perform(ledger, store)
    assert len(await ledger.rows("events")) == len(await ledger.rows("duties")) == 1
