"""Refunds as stores tell them: by a share instead of an amount, and reversals that do not say of which refund."""

import asyncio
import json
from itertools import permutations

import pytest

from payplat.decisions import Result
from payplat.purchase import Refund, Status
from tests.ledger.build import PRICE, paid, refund, reversal
from tests.ledger.test_refunds import events

HALF = 50_000


def unnamed(order, at, **facts):
    """Return the verdict that whatever was refunded until ``at`` was taken back."""
    return reversal(order, "", at=at, **facts)


async def types(ledger, order):
    """Return what the merchant learned: type and refund of each event."""
    return [(kind.removeprefix("order."), key) for kind, key, *_ in await events(ledger, order)]


async def standing(ledger, order):
    """Return the keys of the order's refunds that were not taken back."""
    return [
        r["refund_key"] for r in await ledger.rows("refunds", order) if r["reversed_at"] is None
    ]


async def test_a_share_leaves_the_order_paid(ledger):
    """A refund of a share is told with it, and takes no amount that nobody stated."""
    order = await ledger.open("store")
    settled = await ledger.settle(paid(order), refund(order, share=HALF, at=10))
    assert settled == [Result.PAID, Result.REFUNDED]
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, 0)
    (row,) = await ledger.rows("refunds")
    assert (row["share"], row["type"], row["refunded_at"], row["amount"]) == (
        HALF,
        "by_hand",
        10,
        None,
    )
    assert (row["whole"], row["reversed_at"]) == (0, None)


async def test_the_event_tells_share_type_and_units(ledger):
    """The merchant learns how much or how many went back and why, also when it is taken back."""
    order = await ledger.open("store", quantity=3)
    went_back = Refund("r1", share=HALF, type="by_hand", returned=2)
    await ledger.settle(paid(order), refund(order, refund=went_back), reversal(order))
    bodies = [json.loads(row["body"]) for row in await ledger.rows("events")]
    told = {body["type"]: body["data"].get("refund") for body in bodies}
    stated = {"share": HALF, "type": "by_hand", "returned": 2}
    expected = {"id": "r1", "amount": None, "total": 0, **stated}
    assert told["order.refunded"] == told["order.refund_reversed"] == expected
    line = next(row for row in await ledger.rows("timeline") if row["what"] == "refunded")
    assert {"share": HALF, "type": "by_hand"}.items() <= json.loads(line["detail"]).items()


async def test_a_share_told_of_an_unpaid_order_waits(ledger):
    """It is told once its payment has come, with its share."""
    order = await ledger.open("store")
    await ledger.settle(refund(order, share=HALF, at=10), paid(order))
    assert await types(ledger, order) == [("paid", None), ("refunded", "r1")]
    body = json.loads(next(r["body"] for r in await ledger.rows("events") if r["cause"]))
    assert body["data"]["refund"]["share"] == HALF


async def test_an_unnamed_reversal_takes_back_what_stands(ledger):
    """Every refund until then is taken back, each by its own event, and none that came after."""
    order = await ledger.open("store")
    told = [refund(order, f"r{at}", share=HALF, at=at) for at in (10, 20, 30)]
    assert await ledger.settle(paid(order), *told, unnamed(order, 20)) == [
        Result.PAID,
        *[Result.REFUNDED] * 3,
        Result.REVERSED,
    ]
    assert await standing(ledger, order) == ["r30"]
    assert sorted((await types(ledger, order))[4:]) == [
        ("refund_reversed", "r10"),
        ("refund_reversed", "r20"),
    ]


async def test_an_unnamed_reversal_of_the_whole_pays_again(ledger):
    """The refunded order is paid again, and its money counts as not refunded."""
    order = await ledger.open("store")
    await ledger.settle(paid(order), refund(order, whole=True, at=10))
    assert (await ledger.now(order)).refunded == PRICE
    await ledger.settle(unnamed(order, 20))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, 0)
    assert await types(ledger, order) == [
        ("paid", None),
        ("refunded", "r1"),
        ("refund_reversed", "r1"),
    ]


async def test_a_reversal_may_overtake_its_refund(ledger):
    """The refund told later than its reversal is void: nothing goes back, and nobody is told."""
    order = await ledger.open("store")
    told = [paid(order), unnamed(order, 20), refund(order, whole=True, at=10)]
    assert await ledger.settle(*told) == [Result.PAID, Result.REVERSED, Result.REVERSED]
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, 0)
    assert await types(ledger, order) == [("paid", None)]
    assert await standing(ledger, order) == []


async def test_a_new_refund_counts_again(ledger):
    """After refund and reversal the store may refund once more: that one stands."""
    order = await ledger.open("store")
    told = [refund(order, "a", whole=True, at=10), unnamed(order, 20)]
    await ledger.settle(paid(order), *told, refund(order, "b", whole=True, at=30))
    assert (await ledger.now(order)).status is Status.REFUNDED
    assert await standing(ledger, order) == ["b"]
    assert (await types(ledger, order))[1:] == [
        ("refunded", "a"),
        ("refund_reversed", "a"),
        ("refunded", "b"),
    ]
    # Neither the old reversal nor the old refund, told again, changes that.
    before = await ledger.snapshot()
    assert await ledger.settle(*told) == [Result.REPEATED] * 2
    assert await ledger.snapshot() == before


async def test_each_reversal_is_its_own_event(ledger):
    """Two refunds, each taken back, are two reversals to the merchant."""
    order = await ledger.open("store")
    first = [refund(order, "a", whole=True, at=10), unnamed(order, 20)]
    second = [refund(order, "b", whole=True, at=30), unnamed(order, 40)]
    await ledger.settle(paid(order), *first, *second)
    assert (await ledger.now(order)).status is Status.PAID
    assert (await types(ledger, order))[1:] == [
        ("refunded", "a"),
        ("refund_reversed", "a"),
        ("refunded", "b"),
        ("refund_reversed", "b"),
    ]


@pytest.mark.parametrize("comes_first", ["refund", "reversal"])
async def test_a_repeated_unnamed_reversal_changes_nothing(ledger, comes_first):
    """A reversal told again is no news, whether its refund was there before it or not."""
    order = await ledger.open("store")
    told = [refund(order, whole=True, at=10), unnamed(order, 20)]
    await ledger.settle(paid(order), *told[:: 1 if comes_first == "refund" else -1])
    before = await ledger.snapshot()
    again = [unnamed(order, 20), unnamed(order, 20, note="again"), told[0]]
    assert await ledger.settle(*again) == [Result.REPEATED] * 3
    assert await ledger.snapshot() == before


@pytest.mark.parametrize(
    "arrival", list(permutations(range(4))), ids=lambda a: "".join(map(str, a))
)
async def test_any_arrival_ends_the_same(ledger, arrival):
    """Two refunds, a reversal between them and the payment in any order: the later refund stands, the others do not."""
    order = await ledger.open("store")
    told = [
        paid(order),
        refund(order, "a", part=100, at=10),
        unnamed(order, 20),
        refund(order, "b", part=250, at=30),
    ]
    await ledger.settle(*(told[number] for number in arrival))
    order = await ledger.now(order)
    assert (order.status, order.refunded) == (Status.PAID, 250)
    assert await standing(ledger, order) == ["b"]


@pytest.mark.parametrize(
    "arrival", list(permutations(range(3))), ids=lambda a: "".join(map(str, a))
)
async def test_a_reversal_takes_back_also_what_is_told_later(ledger, arrival):
    """One reversal after two refunds takes both back, also where one of them is told after it."""
    order = await ledger.open("store")
    told = [
        refund(order, "a", part=100, at=10),
        refund(order, "b", part=250, at=15),
        unnamed(order, 20),
    ]
    await ledger.settle(paid(order), *(told[number] for number in arrival))
    assert (await ledger.now(order)).refunded == 0
    assert await standing(ledger, order) == []


async def test_an_unnamed_reversal_is_of_one_transaction(ledger):
    """A reversal of money that did not pay the order is excess and leaves its refund alone."""
    order = await ledger.open("store")
    await ledger.settle(paid(order), refund(order, whole=True, at=10))
    assert await ledger.settle(unnamed(order, 20, transaction_id="T2")) == [Result.EXCESS]
    assert (await ledger.now(order)).status is Status.REFUNDED


async def test_reversals_at_once(ledger, twin):
    """Equal reversals in two processes at the same moment take each refund back once."""
    order = await ledger.open("store")
    await ledger.settle(paid(order), refund(order, whole=True, at=10))
    race = [one.orders.settle(unnamed(order, 20)) for one in (ledger, twin) * 4]
    found = [one.result for one in await asyncio.gather(*race)]
    assert (found.count(Result.REVERSED), found.count(Result.REPEATED)) == (1, 7)
    assert (await types(ledger, order))[2:] == [("refund_reversed", "r1")]
