"""Found by whatever id a person has in hand: the right thing, byte by byte, without reading a table."""

import asyncio
import uuid
from dataclasses import replace

import pytest

from payplat.errors import InvalidRequest
from payplat.search import Kind, Search
from tests.ledger.build import closed, draft, paid, refund, says, transaction_of
from tests.ledger.plans import analyze, scans

ACCOUNTS = {("alipay", "sandbox", "2021/2088"), ("apple", "sandbox", "com.example.game")}


@pytest.fixture
def search(ledger) -> Search:
    """A search in the ledger."""
    return Search(ledger.database, ACCOUNTS)


async def kinds(search, text) -> list[tuple[str, str | None]]:
    """What bears the id: kind and order number."""
    return [(hit.kind.value, hit.order_no) for hit in (await search.find(text)).hits]


async def test_an_order_is_found_by_each_of_its_ids(ledger, search):
    """Number, UUID, transaction, receipt, refund, event and delivery all lead to the order, and say what they are."""
    other = await ledger.open(receiver="player-2")
    order = await ledger.open()
    await ledger.settle(paid(order, receipt="GPA.1-2"), paid(other, receipt="GPA.1-3"))
    await ledger.settle(refund(order, "back-1", part=1))
    event = (await ledger.rows("events", order))[0]
    delivery = (await ledger.rows("deliveries", order))[0]
    number = order.order_no
    ids = {
        number: "order",
        str(uuid.UUID(number)): "order",
        str(uuid.UUID(number)).upper(): "order",
        transaction_of(order): "transaction",
        "GPA.1-2": "receipt",
        "back-1": "refund",
        event["event_id"]: "event",
        str(delivery["id"]): "delivery",
        "player-1": "receiver",
    }
    for text, kind in ids.items():
        assert await kinds(search, text) == [(kind, number)], text
    (hit,) = (await search.find("back-1")).hits
    assert (hit.matched, hit.order, hit.says) == ("back-1", await ledger.now(order), "alipay")


async def test_what_paid_nothing_is_found(ledger, search):
    """Evidence put aside is found by transaction, hash and the stranger's number it names; what was used by its hash."""
    order = await ledger.open()
    good, wrong = paid(order), paid(order, "T-wrong", amount=1)
    excess, lost = (
        paid(order, "T-excess"),
        says(order, good.state, transaction_id="T-lost", amount=1),
    )
    stranger = replace(lost, order_no="somebody/else")
    await ledger.settle(good, wrong, excess, stranger)
    for text, state, number in (
        ("T-wrong", "quarantined", order.order_no),
        ("T-excess", "excess", order.order_no),
        ("T-lost", "unclaimed", "somebody/else"),
        ("somebody/else", "unclaimed", "somebody/else"),
        (good.evidence.sha256, "used", order.order_no),
    ):
        found = [h for h in (await search.find(text)).hits if h.kind is Kind.EVIDENCE]
        assert [(h.says, h.order_no) for h in found] == [(state, number)], text
    assert await kinds(Search(ledger.database, set()), "T-wrong") == []


async def test_a_refund_is_found_before_it_is_made(ledger, search):
    """The number under which we owe a refund leads to its order, though the provider has told of none."""
    order = await ledger.open("shop_refund")
    await ledger.settle(closed(order), paid(order))
    (hit,) = (await search.find(f"{order.order_no}_late")).hits
    assert (hit.kind, hit.says, hit.order_no) == (Kind.REFUND, "due", order.order_no)
    assert await kinds(search, f"{order.order_no}_operator") == []


async def test_ids_are_compared_byte_by_byte(ledger, search):
    """Another case, a space at the end, or a part of an id finds nothing, on any engine."""
    order = await ledger.open(receiver="Ann")
    await ledger.settle(
        paid(order, "Tx1", receipt="GPA.x"), refund(order, "Ref", transaction_id="Tx1", part=1)
    )
    for text in ("Tx1", "GPA.x", "Ref", "Ann"):
        assert len(await kinds(search, text)) == 1, text
        for other in (text.swapcase(), f"{text} ", f" {text}", text[:-1], f"{text}%"):
            assert await kinds(search, other) == [], other


async def test_a_receivers_orders_come_in_pages(ledger, search):
    """Of all apps, the newest first, none twice and none left out."""
    numbers = [
        (await ledger.open(app=app, receiver="ann")).order_no for app in ("default", "second") * 3
    ]
    await ledger.open(receiver="ann2")
    found, before = [], None
    for _ in range(3):
        page = await search.find("ann", before, limit=2)
        found += [hit.order_no for hit in page.hits]
        before = page.next
    assert found == sorted(numbers, reverse=True)
    assert before is None


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\ud800", "x" * 4097])
async def test_what_can_be_no_id_is_refused(search, text):
    """The refusal names the field; whatever else comes is looked for, however odd."""
    with pytest.raises(InvalidRequest) as caught:
        await search.find(text)
    assert caught.value.field == "id"
    for odd in ("x" * 4096, "金币", "%", "'; --", "9" * 19, "\x00", "{}" * 60):
        assert await kinds(search, odd) == []
    with pytest.raises(InvalidRequest) as caught:
        await search.find("ann", before="odd")
    assert caught.value.field == "before"


async def test_no_look_reads_a_table(ledger, search):
    """Each kind of id is found through an index, and so is each order that was found."""
    order = await ledger.open("shop_refund")
    await ledger.settle(closed(order), paid(order, receipt="R-1"), refund(order, "back", part=1))
    await many(ledger, 400)
    await analyze(ledger.database)
    (delivery, *_) = await ledger.rows("deliveries", order)
    (event, *_) = await ledger.rows("events", order)
    (evidence, *_) = await ledger.rows("evidence", order)
    ids = [order.order_no, f"{order.order_no}_late", transaction_of(order), "R-1", "back"]
    ids += ["player-1", delivery["event_id"], event["event_id"], evidence["sha256"]]
    for text in [*ids, str(delivery["id"])]:
        assert (await search.find(text)).hits
        assert await scans(ledger.database, search.find(text)) == []
    assert await scans(ledger.database, search.find("player-1", order.order_no)) == []


async def many(ledger, count: int) -> None:
    """Fill the tables, so that the engines find their indexes worth while."""
    drafts = [draft(receiver=f"p-{n}") for n in range(count)]
    opened = [order for order, _ in await asyncio.gather(*map(ledger.orders.open, drafts))]
    payments = [paid(order, receipt=f"R-{order.order_no}") for order in opened]
    await asyncio.gather(*map(ledger.orders.settle, payments))
    backs = [refund(order, f"b-{order.order_no}", part=1) for order in opened]
    await asyncio.gather(*map(ledger.orders.settle, backs))
