"""Everything at the same moment: callbacks, a client's verify and a scheduled check, over several processes."""

import asyncio

import pytest
from sqlalchemy import text

from tests.processes import payplat
from tests.stage import Client


@pytest.fixture
def works() -> bool:
    """The scheduled check comes from a worker of its own."""
    return False


async def check_now(stage) -> None:
    """Make every pending order due for its scheduled check."""
    due = text("UPDATE orders SET next_check_at = 1 WHERE status = 'pending'")
    await stage.platform.database.transaction(lambda c: c.execute(due))


async def assert_paid_once(client, stage, order_no, replies) -> None:
    """One payment, one event, one delivery, and success for every notice."""
    assert [reply.body for reply in replies] == [b"success"] * 20
    for table in ("payments", "events", "deliveries"):
        assert await client.count(table) == 1
    await client.until(lambda: stage.merchant.fulfilled[order_no])
    await asyncio.sleep(0.3)
    assert stage.merchant.fulfilled[order_no] == 1
    assert len(stage.merchant.events) == 1


async def test_twenty_callbacks_a_verify_and_a_check_at_once(client, stage, database_url):
    """On MariaDB over two serve processes and a worker, on SQLite over one and a worker: paid once, delivered once."""
    processes = "1" if database_url.startswith("sqlite") else "2"
    environ = {"PAYPLAT_DATABASE__URL": database_url}
    async with (
        payplat(
            stage.folder, "serve", "--processes", processes, "--no-worker", **environ
        ) as service,
        payplat(stage.folder, "worker", **environ),
    ):
        stage.alipay.faults.notification(drop=True)
        order_no = await client.entered()
        await stage.alipay.pay(order_no)
        body = stage.alipay.notification_body(order_no)
        away = Client(service)
        *replies, verified, _ = await asyncio.gather(
            *(away.callback(body) for _ in range(20)), away.verify(order_no), check_now(stage)
        )
        assert verified.json["status"] == "paid"
        await assert_paid_once(client, stage, order_no, replies)


async def test_a_bad_verdict_among_good_ones_fails_alone(client, stage):
    """Notices that arrive together settle together; the one that does not fit its order is refused alone."""
    stage.alipay.faults.notification(drop=True, times=10)
    orders = [await client.entered() for _ in range(10)]
    for order_no in orders:
        await stage.alipay.pay(order_no)
    bodies = [stage.alipay.notification_body(order_no) for order_no in orders]
    bodies[4] = stage.alipay.notification_body(orders[4], amount_off=1)
    replies = await asyncio.gather(*(client.callback(body) for body in bodies))
    assert [r.body for r in replies] == [b"fail" if i == 4 else b"success" for i in range(10)]
    assert await client.count("payments") == 9
