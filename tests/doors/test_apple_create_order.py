"""POST /v1/create_order/ for the App Store: what the game hands to StoreKit, and what is not sold there."""

import uuid

import pytest

from payplat.demo.stage import BUNDLE_ID
from tests.doors.apple import Player

# The ledger under an order is tested with Alipay's.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def player(client) -> Player:
    """A player."""
    return Player(client)


async def test_an_order_names_what_storekit_needs(player):
    """The order number becomes the appAccountToken; price and currency stay unknown until Apple tells them."""
    created = await player.opens(quantity=3)
    assert created["payment"] == {
        "product_id": f"{BUNDLE_ID}.coins_500",
        "quantity": 3,
        "app_account_token": str(uuid.UUID(created["order_no"])),
    }
    assert (created["status"], created["environment"]) == ("pending", "sandbox")
    assert created["amount"] is created["currency"] is None
    assert not player.apple.received


async def test_the_same_key_is_the_same_order(player):
    """A repeated request gets the same token, so that a crash of the game never opens a second order."""
    first, again = [
        (await player.client.create("key-1", channel="apple")).json["payment"] for _ in range(2)
    ]
    assert first == again
    assert await player.client.count("orders") == 1


async def test_what_is_not_sold_there_opens_no_order(player):
    """An unknown product, another way to pay and a price from the client are refused by name."""
    for wrong, code, field in (
        ({"product_id": "coins_1"}, "unknown_product", "product_id"),
        ({"method": "app"}, "invalid_request", "method"),
        ({"amount": 1}, "invalid_request", "amount"),
    ):
        reply = await player.client.create(channel="apple", **wrong)
        assert (reply.json["code"], reply.json["field"]) == (code, field)
    assert await player.client.count("orders") == 0


async def test_subscriptions_are_listed_but_not_sold(player, monkeypatch):
    """A product that renews itself is refused until the platform can follow its renewals."""
    products = player.client.stage.platform.catalogue.products["default"]
    monkeypatch.setitem(
        products, "monthly", products["coins_500"].model_copy(update={"subscription": True})
    )
    reply = await player.client.create(channel="apple", product_id="monthly")
    assert (reply.status, reply.json["code"]) == (422, "unknown_product")
    assert "ubscription" in reply.json["detail"]
