"""POST /v1/create_order/ for Google Play: what the game hands to Play Billing, and what is not sold there."""

import re

import pytest

from tests.doors.google import Player

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def player(client) -> Player:
    """A player."""
    return Player(client)


async def test_an_order_names_what_play_billing_needs(player):
    """The order number becomes the profile id; price and currency stay unknown until Google tells them."""
    created = await player.opens(quantity=3)
    payment = created["payment"]
    assert sorted(payment) == ["obfuscated_account_id", "obfuscated_profile_id", "product_id"]
    assert payment["product_id"] == "coins_500"
    assert payment["obfuscated_profile_id"] == created["order_no"]
    assert (created["status"], created["environment"]) == ("pending", "sandbox")
    assert created["amount"] is created["currency"] is None
    assert not player.google.received


async def test_a_player_has_one_name_at_google(player):
    """The account id is the player's own in every order, another one's differs, and neither tells who it is."""
    receivers = ("player-1", "player-1", "player-2", "PLAYER-1")
    orders = [await player.opens(receiver=receiver) for receiver in receivers]
    first, again, other, capital = [o["payment"]["obfuscated_account_id"] for o in orders]
    assert first == again
    assert len({first, other, capital}) == 3
    assert all(re.fullmatch("[0-9a-f]{64}", name) for name in (first, other, capital))


async def test_the_same_key_is_the_same_order(player):
    """A repeated request gets the same ids, so that a crash of the game never opens a second order."""
    first, again = [
        (await player.client.create("key-1", channel="google")).json["payment"] for _ in range(2)
    ]
    assert first == again
    assert await player.client.count("orders") == 1


async def test_what_is_not_sold_there_opens_no_order(player):
    """An unknown product, another way to pay and a price from the client are refused by name."""
    for wrong, code, field in (
        ({"product_id": "coins_1"}, "unknown_product", "product_id"),
        ({"method": "storekit"}, "invalid_request", "method"),
        ({"amount": 1}, "invalid_request", "amount"),
    ):
        reply = await player.client.create(channel="google", **wrong)
        assert (reply.json["code"], reply.json["field"]) == (code, field)
    assert await player.client.count("orders") == 0
