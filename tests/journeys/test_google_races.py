"""The same Google purchase told by everybody at the same moment, over several processes."""

import asyncio

import pytest

from tests.doors.google import Player, asked, buy
from tests.processes import payplat
from tests.stage import Client

AT_ONCE = 50


@pytest.fixture
def works() -> bool:
    """The jobs run in a worker of their own."""
    return False


def at(service, player: Player) -> Player:
    """The same player, whose service is another process."""
    away = Player(player.client)
    away.client = Client(service)
    return away


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
async def test_fifty_tokens_and_pushes_at_once(client, stage, database_url):
    """On MariaDB over two serve processes and a worker: all is done exactly once.

    One payment, one event, one delivery, one acknowledgement and one consumption for each of two orders: one is named by
    its purchase, the other claims one of which Google has told already.
    """
    environ = {"PAYPLAT_DATABASE__URL": database_url}
    player = Player(client)
    named, purchase = await player.bought()
    claiming = (await player.opens())["order_no"]
    unnamed = await buy(stage.google, {})
    told = [(named, purchase), (claiming, unnamed)]
    async with (
        payplat(stage.folder, "serve", "--processes", "2", "--no-worker", **environ) as service,
        payplat(stage.folder, "worker", **environ),
    ):
        away = at(service, player)
        shown = [away.submits(*told[i % 2]) for i in range(AT_ONCE)]
        pushed = [away.pushes(told[i % 2][1]) for i in range(AT_ONCE)]
        replies = await asyncio.gather(*shown, *pushed)
        assert {reply.status for reply in replies[:AT_ONCE]} == {200}
        assert {reply.status for reply in replies[AT_ONCE:]} == {204}
        assert {reply.json["status"] for reply in replies[:AT_ONCE]} == {"paid"}
        await client.until(lambda: _all_done(client))
    for table in ("payments", "deliveries", "events"):
        assert await client.count(table) == 2
    assert await client.count("duties") == 4
    merchant = stage.merchant
    assert (merchant.fulfilled[named], merchant.fulfilled[claiming]) == (1, 1)
    assert len(merchant.events) == 2
    done = [r for r in stage.google.received if r.status == 204]
    for each in (purchase, unnamed):
        calls = [r.call for r in done if each.purchase_token in r.path]
        assert calls.count("products.consume") == 1
        # Consuming acknowledges too, and may be quicker.
        assert calls.count("products.acknowledge") <= 1
        assert each.acknowledged
    assert await player.told(named) == ["opened", "paid", "delivered"]


async def _all_done(client: Client) -> bool:
    return await client.count("duties", "status='done'") == 4


async def test_one_unnamed_purchase_claimed_for_many_orders_at_once(client, stage):
    """A token shown for ten orders at the same moment pays exactly one of them."""
    player = Player(client)
    orders = [(await player.opens())["order_no"] for _ in range(10)]
    purchase = await buy(stage.google, {})
    replies = await asyncio.gather(*(player.submits(order_no, purchase) for order_no in orders))
    assert sorted(reply.status for reply in replies) == [200] + [409] * 9
    assert await client.count("payments") == await client.count("events") == 1
    assert await client.count("orders", "status='paid'") == 1


async def test_a_refund_while_it_is_paid(client, stage):
    """Pushes of payment and refund and the game's token at the same moment: refunded in the end, each told once."""
    player = Player(client)
    bought = [await player.bought() for _ in range(10)]
    refunded = [stage.google.refund(purchase.purchase_token) for _, purchase in bought]
    shown = [player.submits(order_no, purchase) for order_no, purchase in bought]
    pushed = [player.pushes(purchase) for _, purchase in bought]
    await asyncio.gather(*shown, *pushed, *refunded)
    assert await client.count("orders", "status='refunded'") == len(bought)
    assert await client.count("events", "type='order.refunded'") == len(bought)
    assert await client.count("payments") == await client.count("refunds") == len(bought)
    assert asked(stage.google, "products.acknowledge") == 0
