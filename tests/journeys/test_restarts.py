"""Restarts under load: what was answered is in the database, and what was not comes again and is well."""

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select
from tornado.httpclient import HTTPClientError

from payplat.app import start_worker
from payplat.models import ORDERS
from payplat.simulators.alipay.server import AlipaySimulator
from tests.processes import Service, payplat
from tests.proxy import Proxy
from tests.stage import Client, Reply

NUMBER = 20
FLEET = [("serve", "--no-worker"), ("serve", "--no-worker"), ("worker",), ("worker",)]


@pytest.fixture
def works() -> bool:
    """The processes under test are others."""
    return False


@pytest.fixture
def overrides() -> dict[str, str]:
    """Scheduled checks come too late to pay what a notice did not; a busy machine may take its time to deliver."""
    return {"PAYPLAT_CHECKS__BASE_SECONDS": "60", "PAYPLAT_DELIVERY__TIMEOUT_SECONDS": "20"}


@dataclass
class Crowd:
    """Clients of the service at ``client``: the orders of which they were told something, by what that was."""

    client: Client
    opened: list[str] = field(default_factory=list)
    notified: list[str] = field(default_factory=list)
    verified: list[str] = field(default_factory=list)
    over: bool = False

    async def hear(self, call: Awaitable[Reply]) -> Reply | None:
        """Return a good answer, None when there was none; only a lost connection and 5xx may take its place."""
        try:
            reply = await call
        except (OSError, HTTPClientError):
            return None
        assert reply.status in (200, 201) or reply.status >= 500, reply.body
        return reply if reply.status < 500 else None

    async def opens(self) -> str | None:
        """Open an order."""
        if reply := await self.hear(self.client.create()):
            self.opened.append(reply.json["order_no"])
            return reply.json["payment"]["order_string"]
        return None

    async def open_orders(self) -> None:
        """Open one order after the other."""
        while not self.over:
            await self.opens()

    async def buy(self, alipay: AlipaySimulator) -> None:
        """Buy one thing after the other; an order that was opened is found."""
        while not self.over:
            if order_string := await self.opens():
                order_no = alipay.enter(order_string).out_trade_no
                await alipay.pay(order_no)
                if reply := await self.hear(self.client.call("GET", f"/v1/orders/{order_no}")):
                    assert reply.json["order_no"] == order_no
            await asyncio.sleep(0.3)

    async def notify(self, order_no: str, body: bytes) -> None:
        """Bring Alipay's notice."""
        if (reply := await self.hear(self.client.callback(body))) and reply.body == b"success":
            self.notified.append(order_no)

    async def verify(self, order_no: str) -> None:
        """Ask whether the order is paid."""
        if reply := await self.hear(self.client.verify(order_no)):
            assert reply.json["status"] == "paid"
            self.verified.append(order_no)


async def paid_unnoticed(client, stage) -> list[str]:
    """Orders that are paid at Alipay, which has not told anybody."""
    stage.alipay.faults.notification(drop=True, times=None)
    orders = await asyncio.gather(*(client.entered() for _ in range(NUMBER)))
    for order_no in orders:
        await stage.alipay.pay(order_no)
    return orders


def fulfilled(stage, orders) -> bool:
    """Whether the merchant has given the goods for each of these orders once, and for no other."""
    return stage.merchant.fulfilled == dict.fromkeys(orders, 1)


async def test_sigterm_under_load(client, stage, database_url, overrides):
    """Orders, notices, verifies and deliveries are in flight: exit code 0, and nothing that was answered is lost."""
    told, asked = await paid_unnoticed(client, stage), await paid_unnoticed(client, stage)
    bodies = {order_no: stage.alipay.notification_body(order_no) for order_no in told}
    stage.alipay.faults.answer("slow", method="alipay.trade.query", seconds=1.0, times=None)
    stage.merchant.misbehave("slow", seconds=0.5)
    environ = {"PAYPLAT_DATABASE__URL": database_url, **overrides}
    async with payplat(stage.folder, "serve", **environ) as service:
        crowd = Crowd(Client(service))
        load = [asyncio.ensure_future(crowd.open_orders()) for _ in range(4)]
        load += [asyncio.ensure_future(crowd.verify(order_no)) for order_no in asked]
        await client.until(lambda: crowd.opened and stage.alipay.received)
        load += [asyncio.ensure_future(crowd.notify(*notice)) for notice in bodies.items()]
        await client.until(lambda: crowd.notified and stage.merchant.received)
        assert await service.stop() == 0
        crowd.over = True
        await asyncio.gather(*load)
    for table in ("deliveries", "orders"):
        assert await client.count(table, "lease_token IS NOT NULL") == 0
    delivered = await client.count("deliveries", "status='delivered'")
    assert delivered == len(stage.merchant.events) > 0
    await assert_kept(stage, crowd)
    assert crowd.verified
    await assert_the_rest_follows(client, stage, [*told, *asked])


async def assert_kept(stage, crowd: Crowd) -> None:
    """What the clients and Alipay were told is in the database."""
    wanted = select(ORDERS.c.order_no, ORDERS.c.status)
    found = await stage.platform.database.read(lambda c: c.execute(wanted))
    status = {row.order_no: row.status for row in found}
    assert set(crowd.opened) <= status.keys()
    assert {status[order_no] for order_no in crowd.notified + crowd.verified} <= {"paid"}


async def assert_the_rest_follows(client, stage, orders: list[str]) -> None:
    """Alipay's notices come again, a worker starts again: all is paid and delivered once."""
    stage.alipay.faults.clear()
    stage.merchant.behave()
    for order_no in orders:
        reply = await client.callback(stage.alipay.notification_body(order_no))
        assert reply.body == b"success"
    await start_worker(stage.platform, stage.worker)
    await client.until(lambda: fulfilled(stage, orders))
    assert await client.count("payments") == len(orders)


@pytest.mark.gen_test(timeout=280)
@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
async def test_rolling_restart(client, stage, database_url, overrides):
    """Two web and two worker processes behind a balancer restart in turn: what was paid is delivered once."""
    stage.alipay.knobs.turn(time_factor=1000.0)  # a notice in vain comes again in a moment
    async with Proxy().running() as balancer, AsyncExitStack() as stack:
        url = f"http://{balancer.address}"
        environ = {"PAYPLAT_DATABASE__URL": database_url, "PAYPLAT_PUBLIC_URL": url}

        async def start(arguments: tuple[str, ...]) -> Service:
            one = payplat(stage.folder, *arguments, **environ, **overrides)
            return await stack.enter_async_context(one)

        services = [await start(arguments) for arguments in FLEET]
        balancer.targets = [urlsplit(service.url).netloc for service in services[:2]]
        crowd = Crowd(Client(SimpleNamespace(url=url)))
        load = [asyncio.ensure_future(crowd.buy(stage.alipay)) for _ in range(3)]
        for number, arguments in enumerate(FLEET):
            await some_more(client, stage)
            assert await services[number].stop() == 0
            services[number] = await start(arguments)
            balancer.targets = [urlsplit(service.url).netloc for service in services[:2]]
        await some_more(client, stage)
        crowd.over = True
        await asyncio.gather(*load)
        await assert_paid_and_delivered(client, stage)
    await assert_kept(stage, crowd)


async def some_more(client, stage) -> None:
    """Wait until the merchant has given goods a few times more."""
    enough = len(stage.merchant.fulfilled) + 5
    await client.until(lambda: len(stage.merchant.fulfilled) >= enough)


async def assert_paid_and_delivered(client, stage) -> None:
    """Every notice arrives; what Alipay took money for is paid once and delivered once, and no sending is forgotten."""
    notices = stage.alipay.herald.courier.notices
    await client.until(lambda: all(notice.state == "delivered" for notice in notices))
    paid = [t.out_trade_no for t in stage.alipay.ledger.trades.values() if t.paid_at]
    await client.until(lambda: fulfilled(stage, paid))
    await client.until(lambda: are_delivered(client))
    for table in ("payments", "events", "deliveries"):
        assert await client.count(table) == len(paid)
    assert await client.count("attempts") == len(stage.merchant.received)


async def are_delivered(client) -> bool:
    """Whether no delivery waits any more."""
    return not await client.count("deliveries", "status != 'delivered'")
