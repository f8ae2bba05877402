"""Deliveries as operators look through them."""

import pytest
from sqlalchemy import update

from payplat.delivery_list import Filter, list_deliveries
from payplat.models import DELIVERIES
from tests.ledger.build import paid, refund


@pytest.fixture
async def orders(ledger):
    """Two sold orders, one with a refund; what the first endpoint was told of the first is given up."""
    orders = [await ledger.open(), await ledger.open()]
    for order in orders:
        await ledger.settle(paid(order))
    await ledger.settle(refund(orders[1], part=1))
    (first, *_) = await ledger.rows("deliveries")
    given_up = update(DELIVERIES).where(DELIVERIES.c.id == first["id"])
    await ledger.run(given_up.values(status="exhausted"))
    return orders


async def test_deliveries_are_chosen(ledger, orders):
    """By status, endpoint, type and order, alone and together; the newest come first."""

    async def ids(**chosen) -> list[int]:
        return [row.id for row in await list_deliveries(ledger.database, Filter(**chosen))]

    rows = await ledger.rows("deliveries")
    everything = [row["id"] for row in reversed(rows)]
    first = rows[0]
    assert await ids() == everything
    assert await ids(status="exhausted") == [first["id"]]
    assert await ids(status="due") == everything[:-1]
    assert await ids(status="due", endpoint=first["endpoint"]) == [
        row["id"] for row in reversed(rows[1:]) if row["endpoint"] == first["endpoint"]
    ]
    assert await ids(type="order.refunded") == everything[:2]
    assert await ids(order_no=orders[0].order_no) == everything[-2:]
    assert await ids(order_no=orders[1].order_no, status="exhausted") == []
    assert await ids(status="due", endpoint="default/none") == []


@pytest.mark.parametrize("status", [None, "due"])
async def test_deliveries_come_in_pages(ledger, orders, status):
    """Each page begins where the one before ended."""
    chosen, found, before = Filter(status=status), [], None
    while page := await list_deliveries(ledger.database, chosen, before, limit=2):
        assert len(page) <= 2
        found += [row.id for row in page]
        before = found[-1]
    assert found == [row.id for row in await list_deliveries(ledger.database, chosen)]
