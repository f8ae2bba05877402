"""Opening orders: one key, one order, whoever asks how often; names are compared byte by byte."""

import asyncio

import pytest
from sqlalchemy.exc import StatementError

from payplat.errors import IdempotencyMismatch, OrderNotFound
from payplat.purchase import Status
from tests.ledger.build import Ledger, draft, paid

# Equal under most collations: case, accents, width, the blank at the end, a sign without width.
LOOKALIKES = ["ORD1", "ord1", "ORD1 ", "ÖRD1", "ＯＲＤ1", "ORD1\u200b"]


async def test_a_new_order_is_pending(ledger):
    """What was drafted is what is stored, waiting for its payment."""
    wanted = draft(key="k1", return_url="https://example.com/back")
    order, is_new = await ledger.orders.open(wanted)
    assert is_new
    assert order == wanted.order == await ledger.now(order)
    (row,) = await ledger.rows("orders")
    assert (row["status"], row["refunded"], row["checks"]) == ("pending", 0, 0)
    assert row["next_check_at"] == wanted.next_check_at


async def test_the_same_key_and_body_is_the_same_order(ledger):
    """A repeated request gets the order that the first one opened."""
    first, _ = await ledger.orders.open(draft(key="k1"))
    again, is_new = await ledger.orders.open(draft(key="k1"))
    assert (again, is_new) == (first, False)
    assert len(await ledger.rows("orders")) == 1


async def test_the_key_is_remembered_after_payment(ledger):
    """A repeat after the purchase gets the paid order, never a second one to pay."""
    order = await ledger.open(key="k1")
    await ledger.settle(paid(order))
    again, is_new = await ledger.orders.open(draft(key="k1"))
    assert (again.order_no, again.status, is_new) == (order.order_no, Status.PAID, False)


async def test_the_same_key_with_another_body_is_refused(ledger):
    """A key that names another request is a mistake of the caller, and changes nothing."""
    await ledger.orders.open(draft(key="k1", body="one"))
    before = await ledger.snapshot()
    with pytest.raises(IdempotencyMismatch):
        await ledger.orders.open(draft(key="k1", body="another"))
    assert await ledger.snapshot() == before


async def test_without_a_key_each_request_is_its_own(ledger):
    """Two requests without a key are two orders, however alike they are."""
    first, second = await ledger.open(), await ledger.open()
    assert first.order_no != second.order_no


@pytest.mark.parametrize("changes", [{"receiver": "player-2"}, {"app": "other"}])
async def test_keys_of_others_do_not_clash(ledger, changes):
    """A key belongs to one receiver of one app: another's same key opens another order, and each finds its own."""
    requests = [{"body": "one"}, {"body": "another", **changes}]
    opened = [await ledger.orders.open(draft(key="k1", **request)) for request in requests]
    assert [is_new for _, is_new in opened] == [True, True]
    again = [await ledger.orders.open(draft(key="k1", **request)) for request in requests]
    assert again == [(order, False) for order, _ in opened]


async def test_fifty_at_once_with_one_key_open_one_order(ledger):
    """However many ask at the same moment, one order is opened and one of them is told that it is new."""
    answers = await asyncio.gather(*(ledger.orders.open(draft(key="k1")) for _ in range(50)))
    assert len({order.order_no for order, _ in answers}) == 1
    assert sum(is_new for _, is_new in answers) == 1
    assert len(await ledger.rows("orders")) == 1


async def test_two_processes_open_one_order_for_one_key(ledger, twin):
    """Nor do two processes on one database, in ten rounds of a race."""
    for key in map(str, range(10)):
        many = [one.orders.open(draft(key=key)) for one in (ledger, twin) for _ in range(5)]
        answers = await asyncio.gather(*many)
        assert len({order.order_no for order, _ in answers}) == 1
        assert sum(is_new for _, is_new in answers) == 1
    assert len(await ledger.rows("orders")) == 10


async def test_a_misused_key_does_not_break_its_neighbours(ledger):
    """Of requests that are stored together, the one with the wrong body is refused alone."""
    await ledger.orders.open(draft(key="k1", body="one"))
    drafts = [draft(key="k2"), draft(key="k1", body="another"), draft(key="k3")]
    answers = await asyncio.gather(*map(ledger.orders.open, drafts), return_exceptions=True)
    assert isinstance(answers.pop(1), IdempotencyMismatch)
    assert [is_new for _, is_new in answers] == [True, True]


@pytest.mark.parametrize("name", ["receiver", "key"])
async def test_lookalike_names_are_different(ledger, name):
    """Names that most databases hold for equal open different orders."""
    changes = [{"key": "k1", name: value} for value in LOOKALIKES]
    answers = [await ledger.orders.open(draft(**each)) for each in changes]
    assert all(is_new for _, is_new in answers)
    assert len(await ledger.rows("orders")) == len(LOOKALIKES)
    stored = [order.receiver for order, _ in answers]
    assert stored == ([each["receiver"] for each in changes] if name == "receiver" else stored)


async def test_lookalike_transactions_are_different(ledger):
    """Transaction ids that differ in one byte pay different orders."""
    orders = [await ledger.open() for _ in LOOKALIKES]
    for order, transaction in zip(orders, LOOKALIKES, strict=True):
        await ledger.settle(paid(order, transaction))
    assert {row["status"] for row in await ledger.rows("orders")} == {"paid"}
    stored = {row["order_no"]: row["transaction_id"] for row in await ledger.rows("payments")}
    assert [stored[order.order_no] for order in orders] == LOOKALIKES


@pytest.mark.parametrize("changes", [{"receiver": 0}, {"sku": 1.5}, {"account": b"x"}])
async def test_a_name_must_be_text(ledger, changes):
    """A number is refused where a name belongs, before a database could hold it for equal to every text."""
    with pytest.raises(StatementError, match="an id is text"):
        await ledger.open(**changes)
    assert await ledger.rows("orders") == []


async def test_nobody_is_found_by_a_number(ledger):
    """Looking for the order 0 finds none, though MySQL holds every text for equal to it."""
    await ledger.open()
    with pytest.raises(StatementError, match="an id is text"):
        await ledger.orders.get(0)


async def test_a_name_must_fit(ledger):
    """A longer name than its column is refused on each engine, not cut off and not stored."""
    with pytest.raises(StatementError, match="does not fit"):
        await ledger.open(receiver="x" * 129)
    assert await ledger.rows("orders") == []


async def test_an_unknown_number_is_not_found(ledger):
    """Asking for an order that there is not says so, in any case of its letters."""
    order = await ledger.open()
    for number in ("0" * 32, order.order_no.upper(), order.order_no[:-1]):
        with pytest.raises(OrderNotFound):
            await ledger.orders.get(number)


async def test_a_store_sets_its_own_price(ledger: Ledger):
    """Where a store sets the price, the order has none until it is paid."""
    order = await ledger.open("store")
    assert (order.amount, order.currency) == (None, None)
    await ledger.settle(paid(order, amount=499, currency="EUR"))
    order = await ledger.now(order)
    assert (order.amount, order.currency, order.status) == (499, "EUR", Status.PAID)


async def test_only_one_prepares_at_a_time(ledger, twin, clock):
    """While one asks the provider for an order, another is told to wait; after its time the next may."""
    order = await ledger.open()
    begin = [one.orders.begin_preparation(order.order_no, 20) for one in (ledger, twin)]
    answers = await asyncio.gather(*begin, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["NoneType", "StillRunning"]
    clock.forward(21)
    await twin.orders.begin_preparation(order.order_no, 20)


async def test_what_was_prepared_is_kept(ledger):
    """The parameters that the client pays with stay with the order, and the next one may prepare at once."""
    order = await ledger.open()
    await ledger.orders.begin_preparation(order.order_no, 20)
    await ledger.orders.end_preparation(order.order_no, {"qr_code": "https://qr/码"})
    await ledger.orders.begin_preparation(order.order_no, 20)
    await ledger.orders.end_preparation(order.order_no, None)
    assert (await ledger.now(order)).payment == {"qr_code": "https://qr/码"}
