"""The same purchase told by everybody at the same moment, over several processes."""

import asyncio
from uuid import UUID

import pytest

from payplat.demo.stage import BUNDLE_ID
from tests.doors.apple import SKU, Player, notice
from tests.processes import payplat
from tests.stage import Client

AT_ONCE = 50


@pytest.fixture
def works() -> bool:
    """The jobs run in a worker of their own."""
    return False


class Away(Player):
    """A player whose service is another process."""

    def __init__(self, client: Client, service) -> None:
        super().__init__(client)
        self.client = Client(service)


async def test_fifty_receipts_and_notifications_at_once(client, stage, database_url):
    """On MariaDB over two serve processes and a worker, on SQLite over one and a worker: paid once, delivered once.

    One order is named by its purchase, the other claims one that Apple has told of already.
    """
    processes = "1" if database_url.startswith("sqlite") else "2"
    environ = {"PAYPLAT_DATABASE__URL": database_url}
    player = Player(client)
    named, purchase = await player.bought()
    claiming = (await player.opens())["order_no"]
    unnamed = await stage.apple.buy(BUNDLE_ID, SKU, notify=False)
    charges = [notice(stage.apple, "ONE_TIME_CHARGE", p.jws) for p in (purchase, unnamed)]
    receipts = [(named, purchase.jws), (claiming, unnamed.jws)]
    async with (
        payplat(
            stage.folder, "serve", "--processes", processes, "--no-worker", **environ
        ) as service,
        payplat(stage.folder, "worker", **environ),
    ):
        away = Away(client, service)
        verifying = [away.submits(*receipts[i % 2]) for i in range(AT_ONCE)]
        notifying = [away.notifies(charges[i % 2]) for i in range(AT_ONCE)]
        replies = await asyncio.gather(*verifying, *notifying)
        assert {reply.status for reply in replies} == {200}
        assert {reply.json["status"] for reply in replies[:AT_ONCE]} == {"paid"}
        merchant = stage.merchant
        await client.until(lambda: merchant.fulfilled[named] and merchant.fulfilled[claiming])
        await client.until(lambda: client.count("duties", "status='done'"))
    for table in ("payments", "deliveries", "events"):
        assert await client.count(table) == 2
    assert await client.count("events", "type='order.paid'") == 2
    assert await client.count("duties") == 1
    assert (merchant.fulfilled[named], merchant.fulfilled[claiming]) == (1, 1)
    assert len(merchant.events) == 2
    assert unnamed.fields["appAccountToken"] == str(UUID(claiming))
    assert (await player.told(named))[:2] == ["opened", "paid"]
    assert (await player.told(named)).count("paid") == 1


async def test_one_unnamed_purchase_claimed_for_many_orders_at_once(client, stage):
    """A receipt shown for ten orders at the same moment pays exactly one of them."""
    player = Player(client)
    orders = [(await player.opens())["order_no"] for _ in range(10)]
    receipt = (await stage.apple.buy(BUNDLE_ID, SKU, notify=False)).jws
    replies = await asyncio.gather(*(player.submits(order_no, receipt) for order_no in orders))
    assert sorted(reply.status for reply in replies) == [200] + [409] * 9
    assert await client.count("payments") == await client.count("events") == 1
    assert await client.count("orders", "status='paid'") == 1
