"""What a person must look at: all of it in one queue, each once, and what was looked at stays so."""

import asyncio
import json

import pytest

from payplat.errors import Conflict, InvalidRequest, NotFound
from payplat.explanation import Explanations
from payplat.quarantine import Kind, Quarantine
from tests.ledger.build import TABLES, Crash, closed, in_world, paid, says
from tests.ledger.plans import analyze, scans
from tests.ledger.test_lost_commit import replies_lost


@pytest.fixture
def quarantine(ledger) -> Quarantine:
    """The ledger's queue."""
    return Quarantine(ledger.database)


async def trouble(ledger):
    """One of each kind; return the orders that are paid beside it and held."""
    sold, late = await ledger.open(), await ledger.open("shop_hold")
    lost = paid(sold, "T-lost", order_no="somebody/else")
    await ledger.settle(paid(sold), paid(sold, "T-wrong", amount=1), paid(sold, "T-twice"), lost)
    await ledger.settle(closed(late), paid(late))
    return sold, late


async def walked(quarantine, limit, **asked) -> list[tuple[str, str]]:
    """The whole queue, page by page."""
    found, after = [], None
    while True:
        page = await quarantine.page(after=after, limit=limit, **asked)
        assert len(page.items) <= limit
        found += [(item.kind.value, item.order_no) for item in page.items]
        after = page.next
        if after is None:
            return found


async def test_the_queue_has_all_that_waits_for_a_person(ledger, quarantine):
    """Each kind with its order, reason and amount; used evidence and orders that are not held are none of it."""
    sold, late = await trouble(ledger)
    items = {item.kind: item for item in (await quarantine.page()).items}
    told = {kind: (i.order_no, i.reason, i.amount, i.currency) for kind, i in items.items()}
    assert told == {
        Kind.QUARANTINED: (sold.order_no, "amount", 600, "CNY"),
        Kind.EXCESS: (sold.order_no, "transaction_id", 600, "CNY"),
        Kind.UNCLAIMED: ("somebody/else", "order_no", None, None),
        Kind.HELD: (late.order_no, "late", 600, "CNY"),
    }


@pytest.mark.parametrize("newest_first", [True, False])
async def test_the_queue_comes_in_pages(ledger, quarantine, newest_first):
    """Pages of any size show each item once, in one order, of one kind where asked."""
    orders = [await ledger.open("shop_hold") for _ in range(5)]
    for order in orders:
        await ledger.settle(
            paid(order, "T-wrong", amount=1),
            says(
                order,
                paid(order).state,
                transaction_id=f"L-{order.order_no}",
                amount=1,
                order_no="x" * 33,
            ),
        )
        await ledger.settle(closed(order), paid(order))
    whole = await walked(quarantine, 50, newest_first=newest_first)
    assert len(whole) == len(orders) * 3
    for limit in (1, 2, 4):
        assert await walked(quarantine, limit, newest_first=newest_first) == whole
    for kind in (Kind.HELD, Kind.QUARANTINED):
        one = [item for item in whole if item[0] == kind]
        assert await walked(quarantine, 2, kind=kind, newest_first=newest_first) == one
    ordered = [number for kind, number in whole if kind == "held"]
    assert ordered == sorted(ordered, reverse=newest_first)
    with pytest.raises(InvalidRequest):
        await quarantine.page(after="odd")


async def test_the_queue_is_found_by_index(ledger, quarantine):
    """However many orders there are, those that are held are found without reading them all."""
    for _ in range(5):
        await trouble(ledger)
    sold = await asyncio.gather(*(ledger.open() for _ in range(300)))
    await asyncio.gather(*(ledger.orders.settle(paid(order)) for order in sold))
    await analyze(ledger.database)
    assert await scans(ledger.database, quarantine.page(limit=3)) == []
    assert await scans(ledger.database, quarantine.page(limit=3, newest_first=False)) == []


async def the(ledger, state) -> dict:
    """The one piece of evidence in that state."""
    (row,) = [row for row in await ledger.rows("evidence") if row["state"] == state]
    return row


@pytest.mark.parametrize("state", ["quarantined", "excess", "unclaimed"])
async def test_a_person_resolves(ledger, quarantine, state):
    """The evidence says why, the audit who, and the story of its order both; no person is asked to look again."""
    sold, _ = await trouble(ledger)
    row = await the(ledger, state)
    await quarantine.resolve(row["id"], "ann", "paid back by hand")
    resolved = await the(ledger, "resolved")
    assert (resolved["id"], resolved["resolution"]) == (row["id"], "paid back by hand")
    (act,) = await ledger.rows("audit")
    named = (act["operator"], act["act"], act["subject"])
    assert named == ("ann", "resolve_evidence", f"evidence {row['id']}")
    assert json.loads(act["detail"])["reason"] == "paid back by hand"
    lines = await ledger.rows("timeline", sold)
    told = [json.loads(r["detail"]) for r in lines if r["what"] == "evidence_resolved"]
    expected = {"evidence": row["sha256"], "was": state, "reason": "paid back by hand"}
    assert told == ([] if state == "unclaimed" else [expected])
    assert state not in [kind for kind, _ in await walked(quarantine, 9)]


async def test_resolved_is_no_more_told(ledger, quarantine):
    """Once the last of an order's evidence is resolved, its explanation asks for no person."""
    sold, _ = await trouble(ledger)
    for state, left in (("quarantined", True), ("excess", False)):
        await quarantine.resolve((await the(ledger, state))["id"], "ann", "seen")
        told = await Explanations(ledger.database).explain(sold)
        assert ("A person must look" in told["en"]) is left


async def test_what_is_resolved_stays_resolved(ledger, quarantine):
    """The same bytes again change nothing."""
    order = await ledger.open()
    verdicts = [paid(order), paid(order, "T-wrong", amount=1), paid(order, "T-twice")]
    verdicts.append(paid(order, "T-lost", order_no="somebody/else"))
    await ledger.settle(*verdicts)
    for row in await ledger.rows("evidence"):
        if row["state"] != "used":
            await quarantine.resolve(row["id"], "ann", "seen")
    before = await ledger.snapshot()
    await ledger.settle(*verdicts)
    assert await ledger.snapshot() == before
    assert await walked(quarantine, 9) == []


async def test_resolved_evidence_can_still_pay(ledger, quarantine):
    """Evidence that was resolved too early pays its order after all: a purchase is worth more than a remark."""
    order = await ledger.open()
    (row,) = await ledger.rows("orders")
    await ledger.run(TABLES["orders"].delete())
    await ledger.settle(paid(order))
    await quarantine.resolve((await the(ledger, "unclaimed"))["id"], "ann", "seen")
    await ledger.run(TABLES["orders"].insert().values(row))
    await ledger.settle(paid(order))
    assert (await the(ledger, "used"))["order_no"] == order.order_no


async def test_only_what_is_put_aside_is_resolved_once(ledger, twin, quarantine):
    """Used evidence, none, no reason, and a second time are refused and change nothing; of two at once one is."""
    await trouble(ledger)
    aside, used = await the(ledger, "quarantined"), (await ledger.rows("evidence"))[0]
    both = [q.resolve(aside["id"], "ann", "seen") for q in (quarantine, Quarantine(twin.database))]
    answers = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "NoneType"]
    before = await ledger.snapshot()
    for evidence_id, error in ((aside["id"], Conflict), (used["id"], Conflict), (999, NotFound)):
        with pytest.raises(error):
            await quarantine.resolve(evidence_id, "ben", "seen")
    for reason in ("", "  ", "x" * 1001):
        with pytest.raises(InvalidRequest) as caught:
            await quarantine.resolve(aside["id"], "ben", reason)
        assert caught.value.field == "reason"
    assert await ledger.snapshot() == before


async def test_resolving_is_all_or_nothing(ledger, quarantine, crash_points):
    """A process that dies before its commit has resolved nothing; a reply that is lost makes no second record."""
    await trouble(ledger)
    row = await the(ledger, "excess")
    before = await ledger.snapshot()
    with crash_points.dying_at("before_commit"), pytest.raises(Crash):
        await quarantine.resolve(row["id"], "ann", "seen")
    assert await ledger.snapshot() == before
    with in_world(replies_lost()):
        await quarantine.resolve(row["id"], "ann", "seen")
    assert len(await ledger.rows("audit")) == 1
