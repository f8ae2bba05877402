"""Settling: what pays an order, what repeats, what exceeds, what does not fit, and what says nothing."""

import asyncio
import json
from itertools import pairwise

import pytest
from sqlalchemy import delete

from payplat.decisions import Result
from payplat.purchase import Source, State, Status
from payplat.sweeps import UntoldOrders
from tests.ledger.build import (
    PRICE,
    TABLES,
    TERMS,
    Crash,
    closed,
    ledger_on,
    paid,
    payment,
    reversal,
    says,
    transaction_of,
)


async def names(ledger, table, column, order=None):
    """Return one column of a table."""
    return [row[column] for row in await ledger.rows(table, order)]


async def test_a_payment_is_written_whole(ledger):
    """Order, payment, event, a delivery for each endpoint, evidence and story come into being together."""
    order = await ledger.open()
    verdict = paid(order, payer="buyer-1", paid_at=order.created_at)
    settled = await ledger.orders.settle(verdict)
    assert (settled.result, settled.field) == (Result.PAID, "")
    assert settled.order == await ledger.now(order)
    assert settled.order.status is Status.PAID
    (row,) = await ledger.rows("payments")
    stated = payment(order) | {"payer": "buyer-1", "verifier": "key:test"}
    assert stated.items() <= row.items()
    assert row["paid_at"] == order.created_at
    assert row["evidence_sha256"] == verdict.evidence.sha256
    assert await names(ledger, "events", "type") == ["order.paid"]
    assert await names(ledger, "deliveries", "endpoint") == list(TERMS["shop"].endpoints)
    assert await names(ledger, "timeline", "what") == ["paid"]


async def test_evidence_is_kept_byte_for_byte(ledger):
    """The bytes that settled an order are kept as they came, with where they came from."""
    order = await ledger.open()
    verdict = paid(order, source=Source.RECONCILE)
    await ledger.settle(verdict)
    (row,) = await ledger.rows("evidence")
    assert (row["raw"], row["sha256"]) == (verdict.evidence.raw, verdict.evidence.sha256)
    assert (row["state"], row["source"], row["order_no"]) == ("used", "reconcile", order.order_no)


async def test_the_event_tells_the_whole_order(ledger):
    """A merchant can fulfil from the event's body alone."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    (event,) = await ledger.rows("events")
    body = json.loads(event["body"])
    assert body["type"] == "order.paid"
    for name in ("order_no", "app", "channel", "environment", "product_id", "receiver", "metadata"):
        assert body["data"][name] == getattr(order, name)
    assert (body["data"]["amount"], body["data"]["currency"]) == (PRICE, "CNY")
    assert (body["data"]["status"], body["data"]["quantity"]) == ("paid", 1)
    assert body["data"]["transaction_id"] == transaction_of(order)


async def test_all_is_written_in_one_commit(ledger, crash_points):
    """Between the first and the last row of a payment there is no commit at which a crash could part them."""
    order = await ledger.open()
    crash_points.passed.clear()
    await ledger.settle(paid(order))
    assert crash_points.passed.count("after_commit") == 1


async def test_a_crash_before_the_commit_leaves_nothing(ledger, crash_points):
    """Who dies before the commit leaves no row behind, and the provider's repetition pays."""
    order = await ledger.open()
    before = await ledger.snapshot()
    with crash_points.dying_at("before_commit"), pytest.raises(Crash):
        await ledger.settle(paid(order))
    assert await ledger.snapshot() == before
    assert await ledger.settle(paid(order)) == [Result.PAID]


async def test_a_crash_after_the_commit_leaves_all(ledger, crash_points):
    """Who dies after the commit leaves the whole payment, and the provider's repetition is one."""
    order = await ledger.open()
    with crash_points.dying_at("after_commit"), pytest.raises(Crash):
        await ledger.settle(paid(order))
    assert await ledger.settle(paid(order)) == [Result.REPEATED]
    assert len(await ledger.rows("events")) == 1


@pytest.mark.parametrize("channel", TERMS)
async def test_a_repeated_verdict_changes_nothing(ledger, channel):
    """However often a provider repeats itself, no row comes, goes or changes."""
    order = await ledger.open(channel)
    assert await ledger.settle(paid(order)) == [Result.PAID]
    before = await ledger.snapshot()
    again = [paid(order), paid(order, note="again"), paid(order, source=Source.VERIFY)]
    assert await ledger.settle(*again) == [Result.REPEATED] * 3
    assert await ledger.snapshot() == before


async def test_identical_verdicts_at_once_pay_once(ledger):
    """Of fifty equal notifications that share a commit, one pays and the others repeat."""
    order = await ledger.open()
    answers = await asyncio.gather(*(ledger.orders.settle(paid(order)) for _ in range(50)))
    found = [answer.result for answer in answers]
    assert (found.count(Result.PAID), found.count(Result.REPEATED)) == (1, 49)
    assert len(await ledger.rows("events")) == len(await ledger.rows("evidence")) == 1


async def test_money_of_another_transaction_is_excess(ledger):
    """A second payment is kept and told, and delivers nothing."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    before = await ledger.snapshot()
    settled = await ledger.orders.settle(paid(order, "T2"))
    assert settled.result is Result.EXCESS
    after = await ledger.snapshot()
    for name in TABLES.keys() - {"evidence", "timeline"}:
        assert after[name] == before[name]
    assert [row["state"] for row in after["evidence"]] == ["used", "excess"]
    assert [row["what"] for row in after["timeline"]] == ["paid", "excess"]
    assert json.loads(after["timeline"][1]["detail"])["transaction_id"] == "T2"


async def test_excess_in_the_same_commit(ledger):
    """Two transactions for one order that arrive together: one pays, the other is excess."""
    order = await ledger.open()
    both = [ledger.orders.settle(paid(order, name)) for name in ("T1", "T2")]
    assert [one.result for one in await asyncio.gather(*both)] == [Result.PAID, Result.EXCESS]
    assert await names(ledger, "payments", "transaction_id") == ["T1"]


@pytest.mark.parametrize("number", ["0" * 32, "no-number-of-ours", "x" * 200, "", None])
async def test_an_unknown_order_leaves_its_evidence(ledger, number):
    """Authentic money for an order that there is not is kept where an operator finds it."""
    order = await ledger.open()
    settled = await ledger.orders.settle(paid(order, order_no=number))
    assert (settled.result, settled.order) == (Result.UNKNOWN_ORDER, None)
    (row,) = await ledger.rows("evidence")
    assert (row["state"], row["reason"]) == ("unclaimed", "order_no")
    assert row["order_no"] == (number if number and len(number) <= 64 else None)
    assert (await ledger.now(order)).status is Status.PENDING


async def test_unclaimed_evidence_can_still_be_used(ledger):
    """A notification that overtook its order pays on its next visit, and its evidence no longer looks unclaimed."""
    order = await ledger.open()
    (row,) = await ledger.rows("orders")
    await ledger.run(delete(TABLES["orders"]))
    assert await ledger.settle(paid(order)) == [Result.UNKNOWN_ORDER]
    await ledger.run(TABLES["orders"].insert().values(row))
    assert await ledger.settle(paid(order)) == [Result.PAID]
    (evidence,) = await ledger.rows("evidence")
    assert (evidence["state"], evidence["reason"]) == ("used", "")


async def test_unclaimed_evidence_can_still_be_put_aside(ledger):
    """Wrong money that overtook its order is told in the order's story on its next visit, once, as quarantined."""
    order = await ledger.open()
    (row,) = await ledger.rows("orders")
    await ledger.run(delete(TABLES["orders"]))
    wrong = paid(order, amount=1)
    assert await ledger.settle(wrong) == [Result.UNKNOWN_ORDER]
    await ledger.run(TABLES["orders"].insert().values(row))
    assert await ledger.settle(wrong, wrong) == [Result.MISMATCH] * 2
    assert await names(ledger, "timeline", "what") == ["quarantined"]
    (evidence,) = await ledger.rows("evidence")
    assert (evidence["state"], evidence["reason"]) == ("quarantined", "amount")


async def test_used_evidence_stays_used(ledger):
    """The same bytes for another order are refused, and still prove the payment that they made."""
    orders = [await ledger.open(), await ledger.open()]
    first = paid(orders[0], "T1")
    second = paid(orders[1], "T1")
    object.__setattr__(second, "evidence", first.evidence)
    assert await ledger.settle(first, second) == [Result.PAID, Result.MISMATCH]
    assert await names(ledger, "evidence", "state") == ["used"]
    assert await names(ledger, "timeline", "what", orders[1]) == ["quarantined"]


MISMATCHES = {
    "kind": {"kind": "google"},
    "environment": {"environment": "production"},
    "account": {"account": "2021/2089"},
    "product": {"product": "coins.501"},
    "product in other case": {"product": "Coins.500"},
    "quantity": {"quantity": 2},
    "amount": {"amount": PRICE + 1},
    "amount one less": {"amount": PRICE - 1},
    "amount missing": {"amount": None},
    "currency": {"currency": "USD"},
    "currency missing": {"currency": None},
}


@pytest.mark.parametrize("case", MISMATCHES)
async def test_what_does_not_fit_is_quarantined(ledger, case):
    """Authentic money that differs in one thing pays nothing; evidence and reason are kept."""
    order = await ledger.open()
    settled = await ledger.orders.settle(paid(order, **MISMATCHES[case]))
    assert (settled.result, settled.field) == (Result.MISMATCH, case.split()[0])
    assert await ledger.now(order) == order
    (row,) = await ledger.rows("evidence")
    assert (row["state"], row["reason"]) == ("quarantined", settled.field)
    (line,) = await ledger.rows("timeline")
    assert (line["what"], json.loads(line["detail"])["field"]) == ("quarantined", settled.field)
    for name in ("payments", "events", "deliveries", "duties"):
        assert await ledger.rows(name) == []


@pytest.mark.parametrize("case", ["product", "quantity", "environment", "account"])
async def test_a_store_purchase_must_fit_too(ledger, case):
    """Where the store sets the price, everything but the price is compared."""
    order = await ledger.open("store")
    settled = await ledger.orders.settle(paid(order, **MISMATCHES[case]))
    assert (settled.result, settled.field) == (Result.MISMATCH, case)
    assert await ledger.now(order) == order


@pytest.mark.parametrize(
    ("field", "facts"),
    [("amount", {"amount": 0}), ("amount", {"amount": -1}), ("currency", {"currency": None})],
)
async def test_a_store_price_must_be_one(ledger, field, facts):
    """A store's price that is no money is quarantined instead of failing at the database for ever."""
    order = await ledger.open("store")
    settled = await ledger.orders.settle(paid(order, **facts))
    assert (settled.result, settled.field) == (Result.MISMATCH, field)
    assert await names(ledger, "evidence", "state") == ["quarantined"]


@pytest.mark.parametrize("currency", [None, "USD"])
async def test_a_store_need_not_tell_its_price(ledger, currency):
    """A store purchase without an amount pays by its product, and the order's price stays unknown."""
    order = await ledger.open("store")
    assert await ledger.settle(paid(order, amount=None, currency=currency)) == [Result.PAID]
    order = await ledger.now(order)
    assert (order.amount, order.status) == (None, Status.PAID)


async def test_what_is_not_repeated_is_not_compared(ledger):
    """Where a provider does not repeat product and quantity, the order number that it signed stands for them."""
    order = await ledger.open()
    assert await ledger.settle(paid(order, product=None, quantity=None)) == [Result.PAID]


async def test_a_later_contradiction_does_not_unpay(ledger):
    """The same transaction with another amount is quarantined, and the order stays as it was paid."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    before = await ledger.now(order)
    assert await ledger.settle(paid(order, amount=PRICE + 1)) == [Result.MISMATCH]
    assert await ledger.now(order) == before


@pytest.mark.parametrize("state", [State.UNKNOWN, State.PENDING])
@pytest.mark.parametrize("source", Source)
async def test_no_news_changes_nothing(ledger, state, source):
    """What is pending or not understood leaves every order as it is, before and after its payment."""
    order = await ledger.open()
    said = says(order, state, source=source, transaction_id="T1", **payment(order))
    assert await ledger.settle(said) == [Result.UNCHANGED]
    assert await ledger.now(order) == order
    await ledger.settle(paid(order))
    before = {**await ledger.snapshot(), "evidence": None}
    assert await ledger.settle(said) == [Result.UNCHANGED]
    assert {**await ledger.snapshot(), "evidence": None} == before


async def test_a_notification_not_understood_is_kept(ledger):
    """A person can look at signed bytes that nobody understood; an answer to our own question is not kept."""
    order = await ledger.open()
    await ledger.settle(says(order, State.UNKNOWN, source=Source.RECONCILE))
    assert await ledger.rows("evidence") == []
    await ledger.settle(says(order, State.UNKNOWN))
    (row,) = await ledger.rows("evidence")
    assert (row["state"], row["reason"]) == ("quarantined", "state")


@pytest.mark.parametrize(
    "facts", [{"transaction_id": None}, {"amount": None, "product": None}, {"transaction_id": ""}]
)
async def test_paid_without_facts_pays_nothing(ledger, facts):
    """The word paid alone, without a transaction or without what it paid for, is put aside for a person."""
    order = await ledger.open("store")
    assert await ledger.settle(paid(order, **facts)) == [Result.MISMATCH]
    assert (await ledger.now(order)).status is Status.PENDING


async def test_closing_ends_the_waiting(ledger):
    """A closed order is asked about no more."""
    order = await ledger.open()
    assert await ledger.settle(closed(order)) == [Result.CLOSED]
    (row,) = await ledger.rows("orders")
    assert (row["status"], row["next_check_at"]) == ("closed", None)
    assert await names(ledger, "timeline", "what") == ["closed"]
    before = await ledger.snapshot()
    assert await ledger.settle(closed(order)) == [Result.UNCHANGED]
    assert await ledger.snapshot() == before


async def test_closing_never_unpays(ledger):
    """A close after the payment changes nothing but the story and its proof, which show the contradiction."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    before = await ledger.snapshot()
    assert await ledger.settle(closed(order)) == [Result.UNCHANGED]
    after = await ledger.snapshot()
    for name in TABLES.keys() - {"evidence", "timeline"}:
        assert after[name] == before[name]
    assert [row["what"] for row in after["timeline"]] == ["paid", "contradicted"]
    assert [row["state"] for row in after["evidence"]] == ["used", "quarantined"]


async def test_close_and_payment_in_one_commit(ledger):
    """Whichever stands first in a shared commit, the order ends paid."""
    orders = [await ledger.open(), await ledger.open()]
    verdicts = [closed(orders[0]), paid(orders[0]), paid(orders[1]), closed(orders[1])]
    await asyncio.gather(*map(ledger.orders.settle, verdicts))
    assert {row["status"] for row in await ledger.rows("orders")} == {"paid"}


async def test_a_repeated_alert_is_told_once(ledger):
    """However often the same wrong or excess money is reported, evidence and story show it once, and another's too."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    alerts = [paid(order, amount=1), paid(order, "T2"), closed(order), paid(order, amount=2)]
    first = await ledger.settle(*alerts)
    assert first == [Result.MISMATCH, Result.EXCESS, Result.UNCHANGED, Result.MISMATCH]
    told = ["paid", "quarantined", "excess", "contradicted", "quarantined"]
    assert await names(ledger, "timeline", "what") == told
    before = await ledger.snapshot()
    assert await ledger.settle(*alerts, *alerts) == first * 2
    assert await ledger.snapshot() == before


async def test_one_transaction_pays_one_order(ledger):
    """The same transaction for a second order is quarantined there."""
    orders = [await ledger.open(), await ledger.open()]
    verdicts = [paid(order, "T1") for order in orders]
    assert await ledger.settle(*verdicts) == [Result.PAID, Result.MISMATCH]
    assert (await ledger.now(orders[1])) == orders[1]
    assert await names(ledger, "evidence", "reason", orders[1]) == ["transaction_id"]


async def test_one_transaction_pays_one_order_in_one_commit(ledger, crash_points):
    """Nor can it pay both when both verdicts share a commit, which none of them spoils."""
    orders = [await ledger.open() for _ in range(5)]
    crash_points.passed.clear()
    answers = await asyncio.gather(*(ledger.orders.settle(paid(o, "T1")) for o in orders))
    assert [one.result for one in answers] == [Result.PAID] + [Result.MISMATCH] * 4
    assert crash_points.passed.count("before_commit") == 1
    assert len(await ledger.rows("payments")) == 1


async def test_one_transaction_pays_one_order_between_processes(ledger, twin):
    """Nor when two processes settle at the same moment, in ten rounds of a race."""
    for number in range(10):
        pair = [await ledger.open(), await ledger.open()]
        race = [
            one.orders.settle(paid(order, f"T{number}"))
            for one, order in zip((ledger, twin), pair, strict=True)
        ]
        found = sorted(one.result for one in await asyncio.gather(*race))
        assert found == [Result.MISMATCH, Result.PAID]
    assert len(await ledger.rows("payments")) == 10


async def test_the_same_transaction_elsewhere_is_another(ledger):
    """Transaction ids are one company's for one account: another kind's same id pays its own order."""
    orders = [await ledger.open("shop"), await ledger.open("store")]
    orders.append(await ledger.open("shop", account="2022/2088"))
    assert await ledger.settle(*(paid(order, "T1") for order in orders)) == [Result.PAID] * 3


async def test_a_closed_channel_still_settles(ledger):
    """Money for a channel that is no longer open is kept; the sweep tells of it once the channel is open again."""
    order, late = await ledger.open(), await ledger.open()
    closing = ledger_on(ledger.database, terms={})
    await closing.settle(paid(order), closed(late), paid(late))
    assert (await ledger.now(order)).status is Status.PAID
    assert (await ledger.now(late)).status is Status.HELD
    assert await ledger.rows("deliveries") == []
    await UntoldOrders(ledger.database, TERMS).run("")
    assert len(await ledger.rows("deliveries", order)) == 2


async def test_times_are_when_it_happened(ledger, clock):
    """An order tells when it was settled; what did not settle leaves the time alone."""
    order = await ledger.open()
    clock.forward(60)
    await ledger.settle(paid(order))
    first = (await ledger.now(order)).settled_at
    assert first >= order.created_at + 60_000_000
    clock.forward(60)
    await ledger.settle(paid(order), reversal(order))
    assert (await ledger.now(order)).settled_at == first
    times = await names(ledger, "timeline", "at")
    assert all(before < after for before, after in pairwise(times))
