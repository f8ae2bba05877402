"""Fixtures for the wire: a clock that stands still, a provider, and a gateway on this machine."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from payplat import seam
from payplat.channels.alipay.keys import Keys
from payplat.channels.alipay.provider import AlipayProvider
from payplat.provider import Account
from tests.wire import alipay
from tests.wire.scripted import LOOPBACK


class StoppedWorld(seam.World):
    """It is always the moment of the vectors, and nobody waits."""

    def now(self) -> int:
        return alipay.NOW

    async def sleep(self, seconds: float) -> None:
        return


@pytest.fixture
def stopped_clock(monkeypatch) -> None:
    """It is 20:16:00 in Beijing, and stays so."""
    monkeypatch.setattr(seam, "world", StoppedWorld())


@pytest.fixture
def new_york(monkeypatch) -> Iterator[None]:
    """This machine stands in New York."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def provide(io_loop) -> Iterator[Callable[..., AlipayProvider]]:
    """Make providers of the vectors' account."""
    made: list[AlipayProvider] = []

    def provide(keys: Keys = alipay.KEYS["key"], **changes: Any) -> AlipayProvider:
        options: dict[str, Any] = {"gateway": alipay.GATEWAY, "product_codes": {}, "timeout": 5}
        made.append(
            AlipayProvider(
                Account("alipay", "production", alipay.NOTIFY_URL, LOOPBACK),
                app_id=alipay.APP_ID,
                seller_id=alipay.SELLER_ID,
                keys=keys,
                **{**options, **changes},
            )
        )
        return made[-1]

    yield provide
    for provider in made:
        io_loop.run_sync(provider.aclose)


@pytest.fixture
def provider(provide) -> AlipayProvider:
    """The provider with plain keys."""
    return provide()


@pytest.fixture
async def gateway() -> AsyncIterator[alipay.Gateway]:
    """A gateway that answers what it is told."""
    gateway = alipay.Gateway()
    sockets = bind_sockets(0, "127.0.0.1")
    gateway.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/gateway.do"
    routes = [(r"/gateway\.do", alipay.GatewayDoor, {"gateway": gateway})]
    server = HTTPServer(Application(routes, log_function=lambda _handler: None))
    server.add_sockets(sockets)
    yield gateway
    server.stop()
    await server.close_all_connections()


@pytest.fixture
def asking(provide, gateway, stopped_clock) -> AlipayProvider:
    """The provider with plain keys, in front of that gateway."""
    return provide(gateway=gateway.url)
