"""Store orders: the store names the price, repeats the goods, and may not say which order a purchase pays."""

import asyncio
import json

import pytest

from payplat.decisions import Result
from payplat.metrics import PUT_ASIDE
from payplat.purchase import Source, State, Status
from tests.ledger.build import (
    PRICE,
    claimed,
    closed,
    noticed,
    paid,
    payment,
    refund,
    reversal,
    says,
)

NO_PRICE = {"amount": None, "currency": None}
NO_ORDER = {"order_no": None}


async def evidence(ledger):
    """Return state and reason of all evidence."""
    return [(row["state"], row["reason"]) for row in await ledger.rows("evidence")]


# --- The price is the store's ---


async def test_the_price_comes_with_the_payment(ledger):
    """A store order has no price until it is paid; then order and event tell the one that the store signed."""
    order = await ledger.open("store")
    assert (order.amount, order.currency) == (None, None)
    settled = await ledger.orders.settle(paid(order, amount=499, currency="JPY"))
    assert (settled.order.amount, settled.order.currency) == (499, "JPY")
    assert await ledger.now(order) == settled.order
    (event,) = await ledger.rows("events")
    told = json.loads(event["body"])["data"]
    assert (told["amount"], told["currency"]) == (499, "JPY")


async def test_the_price_need_not_be_repeated(ledger):
    """The same transaction told again without its price is the same payment."""
    order = await ledger.open("store")
    await ledger.settle(paid(order))
    before = await ledger.snapshot()
    assert await ledger.settle(paid(order, **NO_PRICE)) == [Result.REPEATED]
    assert await ledger.snapshot() == before


async def test_another_transaction_must_tell_its_price(ledger):
    """Only the transaction that paid may leave its price out; another one is put aside."""
    order = await ledger.open("store")
    await ledger.settle(paid(order))
    assert await ledger.settle(paid(order, "T2", **NO_PRICE)) == [Result.MISMATCH]
    assert (await evidence(ledger))[1:] == [("quarantined", "amount")]


async def test_a_price_told_later_contradicts(ledger):
    """The same transaction at another price is put aside, and the order keeps the price that it was paid with."""
    order = await ledger.open("store")
    await ledger.settle(paid(order))
    settled = await ledger.orders.settle(paid(order, amount=PRICE - 1))
    assert (settled.result, settled.field) == (Result.MISMATCH, "amount")
    assert (await ledger.now(order)).amount == PRICE


# --- The goods are what was ordered ---


@pytest.mark.parametrize(
    ("field", "facts"),
    [
        ("consumable", {"consumable": False}),
        ("quantity", {"quantity": 2}),
        ("product", {"product": "coins.50"}),
        ("ownership", {"objection": "ownership"}),
    ],
)
async def test_other_goods_pay_nothing(ledger, field, facts):
    """A purchase of another kind, number or product, or one that its reader objects to, pays no order."""
    order = await ledger.open("store")
    settled = await ledger.orders.settle(paid(order, **facts))
    assert (settled.result, settled.field) == (Result.MISMATCH, field)
    assert await ledger.now(order) == order
    assert await evidence(ledger) == [("quarantined", field)]


@pytest.mark.parametrize("is_consumable", [True, False])
async def test_the_kind_of_goods_is_kept_with_the_order(ledger, is_consumable):
    """What is bought once for all and what is used up are told apart as the order was opened."""
    order = await ledger.open("store", consumable=is_consumable)
    assert (await ledger.now(order)).consumable is is_consumable
    wrong = paid(order, consumable=not is_consumable)
    right = paid(order, consumable=is_consumable)
    assert await ledger.settle(wrong, right) == [Result.MISMATCH, Result.PAID]


async def test_what_differs_goes_before_an_objection(ledger):
    """The first thing that differs is the one that is named."""
    order = await ledger.open("store")
    settled = await ledger.orders.settle(paid(order, quantity=2, objection="ownership"))
    assert settled.field == "quantity"


# --- Clocks decide nothing about money ---


async def test_a_purchase_that_seems_older_than_its_order(ledger):
    """The order was opened by a process whose clock was wrong: its purchase, which names it, pays it all the same."""
    order = await ledger.open("store")
    assert await ledger.settle(paid(order, paid_at=1)) == [Result.PAID]


# --- Purchases that name no order ---


async def test_a_purchase_without_an_order_is_unclaimed(ledger):
    """It is kept for whoever claims it, and an operator learns of it."""
    order = await ledger.open("store")
    alerts = PUT_ASIDE.labels("apple", Result.UNKNOWN_ORDER)._value
    before = alerts.get()
    settled = await ledger.orders.settle(paid(order, **NO_ORDER))
    assert (settled.result, settled.order) == (Result.UNKNOWN_ORDER, None)
    assert await evidence(ledger) == [("unclaimed", "order_no")]
    assert alerts.get() == before + 1
    assert await ledger.now(order) == order


async def test_a_claim_pays(ledger):
    """The claimed order is paid, what its claim owes is due, and the unclaimed evidence has found its order."""
    order = await ledger.open("store")
    await ledger.settle(paid(order, "T1", **NO_ORDER), paid(order, "T2", **NO_ORDER))
    assert await ledger.settle(claimed(order, "T1")) == [Result.PAID]
    assert (await ledger.now(order)).status is Status.PAID
    (duty,) = await ledger.rows("duties")
    assert (duty["what"], duty["cause"], duty["status"]) == ("bind", "", "due")
    rows = await ledger.rows("evidence")
    assert [(row["state"], row["reason"], row["order_no"]) for row in rows] == [
        ("used", "claimed", order.order_no),
        ("unclaimed", "order_no", None),
        ("used", "", order.order_no),
    ]


async def test_a_claim_in_the_same_commit(ledger, crash_points):
    """Notification and claim that arrive together, in either order, give the same rows."""
    for turn in (1, -1):
        order = await ledger.open("store")
        crash_points.passed.clear()
        both = [paid(order, **NO_ORDER), claimed(order)][::turn]
        await asyncio.gather(*map(ledger.orders.settle, both))
        assert crash_points.passed.count("after_commit") == 1
        assert (await ledger.now(order)).status is Status.PAID
    assert {state for state, _ in await evidence(ledger)} == {"used"}


async def test_a_repeated_claim_changes_nothing(ledger):
    """Whoever claims again what paid the order is told that it did; nothing is owed twice."""
    order = await ledger.open("store")
    await ledger.settle(claimed(order))
    before = await ledger.snapshot()
    again = [claimed(order), paid(order), claimed(order, note="again"), paid(order, **NO_ORDER)]
    assert await ledger.settle(*again) == [Result.REPEATED] * 4
    assert await ledger.snapshot() == before


async def test_a_purchase_is_claimed_once(ledger):
    """The same purchase claimed for another order pays nothing there."""
    orders = [await ledger.open("store"), await ledger.open("store")]
    await ledger.settle(claimed(orders[0], "T1"))
    settled = await ledger.orders.settle(claimed(orders[1], "T1"))
    assert (settled.result, settled.field) == (Result.MISMATCH, "transaction_id")
    assert await ledger.now(orders[1]) == orders[1]
    assert await ledger.rows("duties", orders[1]) == []


@pytest.mark.parametrize("round_", range(3))
async def test_two_claims_at_once_pay_once(ledger, twin, round_):
    """Of claims of one purchase for eight orders in two processes, one pays and the others are put aside."""
    orders = [await ledger.open("store") for _ in range(8)]
    await ledger.settle(paid(orders[0], "T1", **NO_ORDER))
    sides = [ledger, twin] * 4
    race = [s.orders.settle(claimed(o, "T1")) for s, o in zip(sides, orders, strict=True)]
    found = [one.result for one in await asyncio.gather(*race)]
    assert (found.count(Result.PAID), found.count(Result.MISMATCH)) == (1, 7)
    assert len(await ledger.rows("payments")) == len(await ledger.rows("duties")) == 1
    states = [state for state, _ in await evidence(ledger)]
    assert (states.count("used"), states.count("quarantined")) == (2, 7), round_


async def test_a_claimed_excess_stays_unclaimed(ledger):
    """A purchase claimed for an order that another one has paid is excess there, and still looks for its order."""
    order = await ledger.open("store")
    await ledger.settle(paid(order, "T1"), paid(order, "T2", **NO_ORDER))
    assert await ledger.settle(claimed(order, "T2")) == [Result.EXCESS]
    assert await evidence(ledger) == [
        ("used", ""),
        ("unclaimed", "order_no"),
        ("excess", "transaction_id"),
    ]
    assert await ledger.rows("duties") == []


@pytest.mark.parametrize("is_together", [True, False])
async def test_a_refund_finds_its_order(ledger, is_together):
    """What a store later says of a claimed purchase needs no order number: refund, reversal and notice find it."""
    order = await ledger.open("store")
    told = [
        claimed(order),
        refund(order, whole=True, **NO_ORDER),
        reversal(order, **NO_ORDER),
        noticed(order, **NO_ORDER),
    ]
    expected = [Result.PAID, Result.REFUNDED, Result.REVERSED, Result.NOTICED]
    if is_together:
        answers = await asyncio.gather(*map(ledger.orders.settle, told))
        assert [one.result for one in answers] == expected
    else:
        assert await ledger.settle(*told) == expected
    assert (await ledger.now(order)).status is Status.PAID
    (row,) = await ledger.rows("refunds")
    assert (row["order_no"], row["reversed_at"] is None) == (order.order_no, False)


async def test_a_strangers_transaction_finds_nothing(ledger):
    """A refund of a transaction that has paid nothing is kept as unclaimed, alarms nobody, and touches no order."""
    order = await ledger.open("store")
    await ledger.settle(claimed(order, "T1"))
    other = refund(order, whole=True, transaction_id="T2", **NO_ORDER)
    elsewhere = refund(order, whole=True, transaction_id="T1", account="com.other", **NO_ORDER)
    assert await ledger.settle(other, elsewhere) == [Result.RECORDED] * 2
    assert (await evidence(ledger))[1:] == [("unclaimed", "order_no")] * 2
    assert (await ledger.now(order)).status is Status.PAID


async def test_what_the_store_answered_is_kept(ledger):
    """Evidence stands with what the store said of it when it was asked."""
    order = await ledger.open("store")
    verdict = claimed(order)
    object.__setattr__(verdict.evidence, "answer", b"signed by the store")
    await ledger.settle(verdict, paid(order, note="unasked"))
    (row,) = await ledger.rows("evidence")
    assert (row["raw"], row["answer"]) == (verdict.evidence.raw, b"signed by the store")
    assert row["transaction_key"] == verdict.transaction_key


# --- Late purchases ---


@pytest.mark.parametrize(("channel", "status"), [("store", "paid"), ("store_hold", "held")])
async def test_a_late_purchase_follows_the_policy(ledger, channel, status):
    """A store cannot be stopped from selling: what comes after the close is delivered or held."""
    order = await ledger.open(channel)
    assert await ledger.settle(closed(order, source=Source.RECONCILE)) == [Result.CLOSED]
    assert await ledger.settle(paid(order)) == [Result(status)]
    order = await ledger.now(order)
    assert (order.status, order.amount) == (Status(status), payment(order)["amount"])


async def test_what_is_about_no_purchase_is_recorded(ledger):
    """Authentic words that name neither order nor transaction are kept with what they were, and alarm nobody."""
    order = await ledger.open("store")
    test = says(order, State.UNKNOWN, note="TEST", **NO_ORDER)
    settled = await ledger.orders.settle(test)
    assert (settled.result, settled.order) == (Result.RECORDED, None)
    assert await ledger.settle(test) == [Result.RECORDED]
    assert await evidence(ledger) == [("used", "TEST")]
