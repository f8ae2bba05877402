"""Refunds and their reversals: in part, in whole, out of order, before their payment, and back again."""

import asyncio
import json
from itertools import permutations

import pytest

from payplat.decisions import Result
from payplat.purchase import Status
from tests.ledger.build import PRICE, closed, paid, payment, refund, reversal

PART, REST = 100, PRICE - 100


async def events(ledger, order):
    """Return what the merchant learned of an order: type, refund, its amount and the sum."""
    bodies = [json.loads(row["body"]) for row in await _by_creation(ledger, order)]
    refunds = [body["data"].get("refund", {}) for body in bodies]
    return [
        (body["type"], told.get("id"), told.get("amount"), told.get("total"))
        for body, told in zip(bodies, refunds, strict=True)
    ]


async def _by_creation(ledger, order):
    rows = {row["event_id"]: row for row in await ledger.rows("events", order)}
    ways = await ledger.rows("deliveries", order)
    return [rows[name] for name in dict.fromkeys(row["event_id"] for row in ways)]


async def test_a_part_leaves_the_order_paid(ledger):
    """A refund of a part is its own event, and the order stays paid."""
    order = await ledger.open()
    assert await ledger.settle(paid(order), refund(order, part=PART)) == ["paid", "refunded"]
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, PART)
    assert await events(ledger, order) == [
        ("order.paid", None, None, None),
        ("order.refunded", "r1", PART, PART),
    ]


async def test_the_whole_makes_it_refunded(ledger):
    """A refund of the whole ends the order as refunded."""
    order = await ledger.open()
    await ledger.settle(paid(order), refund(order, total=PRICE, whole=True))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.REFUNDED, PRICE)
    assert (await events(ledger, order))[1:] == [("order.refunded", "r1", PRICE, PRICE)]


async def test_parts_add_up_to_the_whole(ledger):
    """The last of several parts makes the order refunded."""
    order = await ledger.open()
    await ledger.settle(paid(order), refund(order, "r1", part=PART))
    assert (await ledger.now(order)).status is Status.PAID
    await ledger.settle(refund(order, "r2", part=REST))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.REFUNDED, PRICE)
    assert [row["amount"] for row in await ledger.rows("refunds")] == [PART, REST]


async def test_sums_are_split_into_their_parts(ledger):
    """Where a provider tells the sum so far, each refund's own part is worked out."""
    order = await ledger.open()
    totals = {"r1": PART, "r2": 250, "r3": PRICE}
    await ledger.settle(paid(order), *(refund(order, k, total=t) for k, t in totals.items()))
    assert [row["amount"] for row in await ledger.rows("refunds")] == [PART, 150, 350]
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.REFUNDED, PRICE)
    assert [told[3] for told in await events(ledger, order)] == [None, PART, 250, PRICE]


@pytest.mark.parametrize("arrival", list(permutations(["r1", "r2", "r3"])), ids="".join)
async def test_sums_may_arrive_in_any_order(ledger, arrival):
    """However the sums arrive, what went back is the greatest of them, and each is counted once."""
    order = await ledger.open()
    totals = {"r1": PART, "r2": 250, "r3": 400}
    verdicts = [refund(order, key, total=totals[key]) for key in arrival]
    await ledger.settle(paid(order), *verdicts)
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, 400)
    before = await ledger.snapshot()
    assert await ledger.settle(*verdicts) == [Result.REPEATED] * 3
    assert await ledger.snapshot() == before


async def test_the_end_of_a_trade_repeats_its_refunds(ledger):
    """After the parts, the word that all is back is no news; before them, the parts are none."""
    for is_last in (True, False):
        order = await ledger.open()
        parts = [
            refund(order, f"{order.order_no}{n}", total=t) for n, t in enumerate((PART, PRICE))
        ]
        end = refund(order, f"{order.order_no}:closed", total=PRICE, whole=True)
        await ledger.settle(paid(order), *([*parts, end] if is_last else [end, *parts]))
        order = await ledger.now(order)
        assert (order.status, order.refunded) == (Status.REFUNDED, PRICE)
        assert len(await ledger.rows("refunds", order)) == (2 if is_last else 1)


async def test_a_whole_without_an_amount(ledger):
    """Where the provider only says that all is back, all is what the order and the event say."""
    order = await ledger.open("store")
    await ledger.settle(paid(order), refund(order, whole=True))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.REFUNDED, PRICE)
    assert (await events(ledger, order))[1:] == [("order.refunded", "r1", None, PRICE)]


async def test_a_whole_after_a_part_without_an_amount(ledger):
    """All is back once, however much of it came back before; and all but that part when it is taken back."""
    order = await ledger.open("store")
    await ledger.settle(
        paid(order), refund(order, "r1", part=PART), refund(order, "r2", whole=True)
    )
    assert (await ledger.now(order)).refunded == PRICE
    await ledger.settle(reversal(order, "r2"))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, PART)


async def test_a_whole_of_an_unknown_price(ledger):
    """An order whose price the store never told is refunded all the same."""
    order = await ledger.open("store")
    await ledger.settle(paid(order, amount=None, currency=None), refund(order, whole=True))
    assert (await ledger.now(order)).status is Status.REFUNDED


async def test_a_repeated_refund_changes_nothing(ledger):
    """A refund has a name; the same name again is the same refund, whatever it says."""
    order = await ledger.open()
    await ledger.settle(paid(order), refund(order, part=PART))
    before = await ledger.snapshot()
    again = [refund(order, part=PART), refund(order, part=200), refund(order, total=PART)]
    assert await ledger.settle(*again) == [Result.REPEATED] * 3
    assert await ledger.snapshot() == before


@pytest.mark.parametrize("facts", [{"part": PART}, {"total": PART}, {"part": 0}])
async def test_identical_refunds_at_once_count_once(ledger, facts):
    """Equal refund notices that share a commit give one refund and one event, those of nothing give none."""
    order = await ledger.open()
    verdicts = [paid(order)] + [refund(order, **facts)] * 20
    await asyncio.gather(*map(ledger.orders.settle, verdicts))
    expected = max(facts.values())
    assert (await ledger.now(order)).refunded == expected
    assert len(await events(ledger, order)) == 1 + bool(expected)


@pytest.mark.parametrize("has_facts", [True, False])
async def test_a_whole_before_its_payment_blocks_it(ledger, has_facts):
    """Money that was given back before it was seen to come is never delivered."""
    order = await ledger.open()
    facts = payment(order) if has_facts else {}
    verdict = refund(order, total=PRICE, whole=True, **facts)
    assert await ledger.settle(verdict) == [Result.REFUNDED]
    waits = (await ledger.now(order)).status
    assert waits is (Status.REFUNDED if has_facts else Status.PENDING)
    await ledger.settle(paid(order))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.REFUNDED, PRICE)
    assert await events(ledger, order) == [("order.refunded", "r1", PRICE, PRICE)]
    assert len(await ledger.rows("payments")) == 1


@pytest.mark.parametrize("has_facts", [True, False])
async def test_a_part_before_its_payment_is_told_after_it(ledger, has_facts):
    """The merchant learns of the payment first, then of the part that had gone back."""
    order = await ledger.open()
    facts = payment(order) if has_facts else {}
    await ledger.settle(refund(order, part=PART, **facts), paid(order))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, PART)
    assert [told[0] for told in await events(ledger, order)] == ["order.paid", "order.refunded"]
    (row,) = await ledger.rows("refunds")
    assert row["amount"] == PART


@pytest.mark.parametrize("first", range(3))
async def test_a_refund_waits_also_in_a_shared_commit(ledger, first):
    """Payment, part and rest in one commit give the same sums in any order."""
    order = await ledger.open()
    verdicts = [paid(order), refund(order, "r1", part=PART), refund(order, "r2", part=REST)]
    verdicts = verdicts[first:] + verdicts[:first]
    await asyncio.gather(*map(ledger.orders.settle, verdicts))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.REFUNDED, PRICE)


async def test_a_closed_order_waits_too(ledger):
    """A refund seen after the close and before the late payment blocks it as well."""
    order = await ledger.open()
    await ledger.settle(closed(order), refund(order, whole=True), paid(order))
    assert (await ledger.now(order)).status is Status.REFUNDED
    assert [told[0] for told in await events(ledger, order)] == ["order.refunded"]


@pytest.mark.parametrize("facts", [{"part": PRICE + 1}, {"total": PRICE + 1}])
@pytest.mark.parametrize("is_paid", [True, False])
async def test_more_than_was_paid_is_refused(ledger, facts, is_paid):
    """A refund greater than its payment is quarantined and takes nothing back, before and after payment."""
    order = await ledger.open()
    await ledger.settle(*[paid(order)] * is_paid)
    before = await ledger.now(order)
    settled = await ledger.orders.settle(refund(order, **facts))
    assert (settled.result, settled.field) == (Result.MISMATCH, "refund")
    assert await ledger.now(order) == before
    assert await ledger.rows("refunds") == []


async def test_parts_greater_than_the_whole_are_refused(ledger):
    """The part that would exceed the payment is quarantined; the parts before it stand."""
    order = await ledger.open()
    verdicts = [refund(order, f"r{number}", part=250) for number in range(3)]
    assert await ledger.settle(paid(order), *verdicts) == [
        "paid",
        "refunded",
        "refunded",
        "mismatch",
    ]
    assert (await ledger.now(order)).refunded == 500
    assert len(await ledger.rows("refunds")) == 2


@pytest.mark.parametrize("has_facts", [True, False])
async def test_a_store_refund_is_measured_by_its_payment(ledger, has_facts):
    """Where the store's payment tells the price, a refund that came with or before it cannot exceed it."""
    order = await ledger.open("store")
    facts = payment(order) if has_facts else {}
    await ledger.settle(refund(order, part=PRICE + 1, **facts), paid(order, note="later"))
    order = await ledger.now(order)
    assert order.refunded <= (order.amount or 0)
    states = [row["state"] for row in await ledger.rows("evidence")]
    assert "quarantined" in states


async def test_all_back_must_say_how(ledger):
    """A verdict of money given back that names no refund neither pays the order nor refunds it."""
    order = await ledger.open()
    said = refund(order, whole=True, **payment(order))
    object.__setattr__(said, "refund", None)
    settled = await ledger.orders.settle(said)
    assert (settled.result, settled.field) == (Result.MISMATCH, "refund")
    assert await ledger.now(order) == order


@pytest.mark.parametrize("is_paid", [True, False])
async def test_a_refund_must_name_its_transaction(ledger, is_paid):
    """A refund of nobody knows which transaction is quarantined instead of being told to the merchant."""
    order = await ledger.open()
    await ledger.settle(*[paid(order)] * is_paid)
    settled = await ledger.orders.settle(refund(order, part=PART, transaction_id=None))
    assert (settled.result, settled.field) == (Result.MISMATCH, "transaction_id")
    assert await ledger.rows("refunds") == []


async def test_a_refund_of_another_transaction_touches_nothing(ledger):
    """Excess money that goes back is not the order's money."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    before = await ledger.now(order)
    verdicts = [
        refund(order, "r1", part=PART, transaction_id="T2"),
        refund(order, "r2", whole=True, transaction_id="T2", **payment(order)),
    ]
    assert await ledger.settle(*verdicts) == [Result.EXCESS] * 2
    assert await ledger.now(order) == before
    assert await ledger.rows("refunds") == []


async def test_a_waiting_refund_that_becomes_excess_is_told_once(ledger):
    """A refund that waited for a transaction which then did not pay is excess when it is repeated, and told once."""
    order = await ledger.open()
    waits = refund(order, part=100, transaction_id="T2")
    await ledger.settle(waits, paid(order, "T1"))
    assert await ledger.settle(waits, waits, waits) == [Result.EXCESS] * 3
    told = [row["what"] for row in await ledger.rows("timeline")]
    assert told == ["refund_waiting", "paid", "excess"]


async def test_a_waiting_refund_of_another_transaction_does_not_block(ledger):
    """A refund that waits for one transaction does not touch the payment of another."""
    order = await ledger.open()
    await ledger.settle(refund(order, whole=True, transaction_id="T2"), paid(order, "T1"))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, 0)
    assert [told[0] for told in await events(ledger, order)] == ["order.paid"]


async def test_a_later_verdict_never_erases_a_refund(ledger):
    """The payment repeated after its refund leaves the order refunded."""
    order = await ledger.open()
    await ledger.settle(paid(order), refund(order, whole=True))
    before = await ledger.snapshot()
    assert await ledger.settle(paid(order), paid(order, note="again")) == [Result.REPEATED] * 2
    assert await ledger.snapshot() == before


async def test_a_reversal_makes_it_paid_again(ledger):
    """A refund that the provider takes back is its own event, and the order is paid again."""
    order = await ledger.open()
    await ledger.settle(paid(order), refund(order, total=PRICE, whole=True))
    assert await ledger.settle(reversal(order)) == [Result.REVERSED]
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, 0)
    types = [told[0] for told in await events(ledger, order)]
    assert types == ["order.paid", "order.refunded", "order.refund_reversed"]
    (row,) = await ledger.rows("refunds")
    assert row["reversed_at"] is not None


async def test_a_reversal_of_a_part_of_the_whole(ledger):
    """When one of the parts that made the whole is taken back, the order is paid and the other part stands."""
    order = await ledger.open()
    parts = [refund(order, "r1", part=PART), refund(order, "r2", part=REST)]
    await ledger.settle(paid(order), *parts, reversal(order, "r2"))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, PART)


async def test_a_repeated_reversal_changes_nothing(ledger):
    """A reversal is told once; its refund repeated afterwards does not come back."""
    order = await ledger.open()
    await ledger.settle(paid(order), refund(order, part=PART), reversal(order))
    before = await ledger.snapshot()
    assert await ledger.settle(reversal(order), refund(order, part=PART)) == [Result.REPEATED] * 2
    assert await ledger.snapshot() == before


@pytest.mark.parametrize("is_paid", [True, False])
async def test_a_reversal_before_its_refund(ledger, is_paid):
    """A refund whose reversal came first changes no money and is not told."""
    order = await ledger.open()
    first = [paid(order)] * is_paid
    last = [paid(order)] * (not is_paid)
    await ledger.settle(*first, reversal(order), refund(order, whole=True), *last)
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, 0)
    assert "order.refunded" not in [told[0] for told in await events(ledger, order)]


async def test_a_reversal_before_its_refund_leaves_its_proof(ledger):
    """What will make us ignore a refund is in the order's story, with its evidence."""
    order = await ledger.open()
    await ledger.settle(reversal(order))
    assert [row["what"] for row in await ledger.rows("timeline")] == ["refund_reversed"]
    assert [row["state"] for row in await ledger.rows("evidence")] == ["used"]


async def test_a_refund_taken_back_before_the_payment(ledger):
    """A waiting refund that was taken back no longer blocks the payment."""
    order = await ledger.open()
    await ledger.settle(refund(order, whole=True), reversal(order), paid(order))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, 0)
    assert [told[0] for told in await events(ledger, order)] == ["order.paid"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_reversal_tells_of_a_payment_never_told(ledger, at_once):
    """An order that was refunded before its payment and is paid by the reversal is told as paid, once."""
    order = await ledger.open()
    verdicts = [refund(order, whole=True), paid(order), reversal(order)]
    if at_once:
        await asyncio.gather(*map(ledger.orders.settle, verdicts))
    else:
        await ledger.settle(*verdicts)
    order = await ledger.now(order)
    assert order.status is Status.PAID
    types = [told[0] for told in await events(ledger, order)]
    assert types == ["order.refunded", "order.paid", "order.refund_reversed"]


async def test_a_name_used_for_another_order_is_quarantined(ledger):
    """A refund whose name another order's refund bears is kept for an operator, not refused for ever."""
    orders = [await ledger.open(), await ledger.open()]
    await ledger.settle(*map(paid, orders))
    verdicts = [refund(order, "same", part=PART) for order in orders]
    answers = await asyncio.gather(*map(ledger.orders.settle, verdicts))
    assert sorted(one.result for one in answers) == [Result.MISMATCH, Result.REFUNDED]
    assert sum([(await ledger.now(order)).refunded for order in orders]) == PART
    states = [row["state"] for row in await ledger.rows("evidence")]
    assert states.count("quarantined") == 1


async def test_a_refund_before_the_price_is_known_is_no_loss(ledger):
    """A store refund that waits is told with the sum that the payment made known."""
    order = await ledger.open("store")
    await ledger.settle(refund(order, whole=True), paid(order))
    order = await ledger.now(order)
    assert (order.status, order.amount, order.refunded) == (Status.REFUNDED, PRICE, PRICE)
    assert await events(ledger, order) == [("order.refunded", "r1", None, PRICE)]
