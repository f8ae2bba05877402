"""A bad network between the service and its database, its provider, its merchant: nothing is lost, nothing guessed."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from urllib.parse import urlsplit

import pytest
from sqlalchemy.engine import make_url

from payplat import lanes
from payplat.database import DEADLINE, Database
from payplat.demo.stage import Stage
from payplat.group_commit import GroupCommit
from payplat.simulators.merchant import Merchant
from tests.doors.google import Player
from tests.proxy import CommitFault, Faults, Proxy
from tests.stage import Client, Reply

on_mariadb = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SECRET = "whsec_" + "9tHpJ2kqW3xZ0bVnM5rYc7LdA1fGsE8u"
# None is a port at which nobody listens.
TROUBLES = {
    "refused": None,
    "reset": Faults(cut=0, reset=True),
    "cut": Faults(cut=9),
    "black hole": Faults(black_hole=True),
    "slow drip": Faults(piece=1, latency=0.3),
}


@pytest.fixture(autouse=True)
def _deadline(monkeypatch) -> None:
    """Nobody waits for the database longer than in production."""
    monkeypatch.setitem(Database.__init__.__kwdefaults__, "deadline", DEADLINE)
    monkeypatch.setitem(GroupCommit.__init__.__kwdefaults__, "patience", DEADLINE)


@dataclass
class Network:
    """What lies between the service and each of the others."""

    database: Proxy = field(default_factory=Proxy)
    provider: Proxy = field(default_factory=Proxy)
    merchant: Proxy = field(default_factory=Proxy)

    @property
    def lines(self) -> list[Proxy]:
        """All of it."""
        return [self.database, self.provider, self.merchant]


@asynccontextmanager
async def trouble(line: Proxy, faults: Faults | None) -> AsyncIterator[None]:
    """A time in which a line suffers ``faults``."""
    if faults is None:
        await line.stop()
        yield
        await line.start()
    else:
        line.spoil(faults)
        yield
        line.heal()


@contextmanager
def impatient(stage: Stage) -> Iterator[None]:
    """A time in which the service waits for its database a second only."""
    database = stage.platform.database
    there, database._deadline = database._deadline, 1.0
    yield
    database._deadline = there


def netloc(url: str) -> str:
    """Return host and port of a URL."""
    return urlsplit(url).netloc


@pytest.fixture
async def network(database_url, alipay) -> AsyncIterator[Network]:
    """A network that works; SQLite needs none."""
    network, url = Network(), make_url(database_url)
    network.database.targets = [f"{url.host}:{url.port}"]
    network.provider.targets = [netloc(alipay.url)]
    async with AsyncExitStack() as running:
        for line in network.lines:
            await running.enter_async_context(line.running())
        yield network


@pytest.fixture
async def other() -> AsyncIterator[Merchant]:
    """A second endpoint, which is reached without a detour."""
    other = Merchant(SECRET)
    await other.start()
    yield other
    await other.stop()


@pytest.fixture
def overrides(request, database_url, network, other, monkeypatch) -> dict[str, str]:
    """The others' addresses, and little patience; no check comes where a test is about the first try."""
    if "breaks" not in request.node.name:
        monkeypatch.setattr(lanes, "LEASE", 2.0)
    url = make_url(database_url)
    through = url.set(port=network.database.port) if url.host else url
    soon = "60" if "held_back" in request.node.name else "0.3"
    return {
        "PAYPLAT_DATABASE__URL": through.render_as_string(hide_password=False),
        "PAYPLAT_CHANNELS__ALIPAY__GATEWAY": f"http://{network.provider.address}/gateway.do",
        "PAYPLAT_CHANNELS__ALIPAY__TIMEOUT_SECONDS": "0.3",
        "PAYPLAT_CHECKS__BASE_SECONDS": soon,
        "PAYPLAT_CHECKS__CAP_SECONDS": soon,
        "PAYPLAT_APPS__DEFAULT__ENDPOINTS__MAIN__URL": f"http://{network.merchant.address}/webhooks",
        "PAYPLAT_APPS__DEFAULT__ENDPOINTS__OTHER__URL": other.url,
        "PAYPLAT_APPS__DEFAULT__ENDPOINTS__OTHER__SECRET": SECRET,
        "PAYPLAT_DELIVERY__TIMEOUT_SECONDS": "0.5",
        "PAYPLAT_DELIVERY__BASE_SECONDS": "0.1",
        "PAYPLAT_DELIVERY__CAP_SECONDS": "0.3",
        "PAYPLAT_DELIVERY__ATTEMPTS": "1000",
    }


@pytest.fixture
def client(stage, network) -> Client:
    """A client of the service, whose idle lanes look often."""
    network.merchant.targets = [netloc(stage.merchant.url)]
    for lane in stage.worker._lanes:
        lane._poll = 0.1
    return Client(stage)


async def bought(client: Client, **headers: str) -> str:
    """Return an order that is paid at Alipay, of which no notification has told."""
    client.stage.alipay.faults.notification(drop=True)
    order_no = await client.entered(**headers)
    await client.stage.alipay.pay(order_no)
    return order_no


async def notified(client: Client, order_no: str) -> Reply:
    """Bring the notification that was lost."""
    return await client.callback(client.stage.alipay.notification_body(order_no))


async def answers(call: Callable[[], Awaitable[Reply]], status: int) -> bool:
    """Whether a call is answered so, and not with the only other answer there may be."""
    reply = await call()
    assert reply.status in (status, 503)
    return reply.status == status


async def acknowledged(client: Client, count: int) -> bool:
    """Whether that many deliveries have been acknowledged."""
    return await client.count("deliveries", "status='delivered'") == count


async def assert_sold_once(client: Client, other: Merchant, *order_nos: str) -> None:
    """In the end each order is paid once, and each endpoint has acknowledged it and given the goods once."""
    count = len(order_nos)
    await client.until(lambda: acknowledged(client, 2 * count))
    for table in ("payments", "events"):
        assert await client.count(table) == count
    assert await client.count("orders", "status='paid'") == count
    assert await client.count("attempts", "ok=1 AND delivery_id > 0") == 2 * count
    for merchant in (client.stage.merchant, other):
        assert merchant.fulfilled == dict.fromkeys(order_nos, 1)
        assert len(merchant.events) == len({each.id for each in merchant.received}) == count


# --- The database ---

COMMITS = {
    "create_order": b"INSERT INTO orders",
    "callback": b"INSERT INTO payments",
    "verify": b"INSERT INTO payments",
    "claim": b"UPDATE deliveries SET due_at",
    "record": b"INSERT INTO attempts",
}


@on_mariadb
@pytest.mark.parametrize("of", COMMITS)
async def test_a_commit_that_breaks(client, network, other, of):
    """Whether it took effect or not, the caller gets its success, and everything happens once."""
    order_nos = []
    for fault in (CommitFault.CUT_BEFORE, CommitFault.CUT_AFTER):
        network.database.commit_faults[COMMITS[of]] = fault
        order_nos.append(await bought(client))
        if of == "verify":
            assert (await client.verify(order_nos[-1])).json["status"] == "paid"
        else:
            assert (await notified(client, order_nos[-1])).body == b"success"
        await assert_sold_once(client, other, *order_nos)
        assert not network.database.commit_faults
    assert await client.count("orders") == 2


@on_mariadb
@pytest.mark.parametrize("kind", TROUBLES)
async def test_a_database_behind_a_bad_network(client, stage, network, other, kind):
    """Everybody is told 503 in good time; when it is over, all is paid and delivered without a hand."""
    order_no = await bought(client)
    patience = nullcontext() if kind == "black hole" else impatient(stage)
    async with trouble(network.database, TROUBLES[kind]):
        began = time.monotonic()
        with patience:
            replies = await asyncio.gather(
                notified(client, order_no),
                client.verify(order_no),
                client.create(key="k"),
                client.call("GET", f"/v1/orders/{order_no}"),
            )
        assert [reply.status for reply in replies] == [503] * 4
        assert replies[0].body == b"fail"
        assert time.monotonic() - began < 10
        assert (await client.call("GET", "/healthz")).status == 200
        with impatient(stage):
            assert (await client.call("GET", "/readyz")).status == 503
    await client.until(lambda: answers(lambda: client.call("GET", "/readyz"), 200))
    await assert_sold_once(client, other, order_no)
    await client.until(lambda: answers(lambda: client.create(key="k"), 201))
    assert await client.count("orders") == 2


@on_mariadb
async def test_a_commit_that_arrives_late(client, stage, network, other):
    """What nobody waits for any more takes effect when the network is back, and is not done again."""
    order_no = await bought(client)
    network.database.commit_faults[COMMITS["callback"]] = CommitFault.HELD_BACK
    with impatient(stage):
        while network.database.commit_faults:
            assert (await notified(client, order_no)).status == 503
    network.database.heal()
    await client.until(lambda: answers(lambda: notified(client, order_no), 200))
    await assert_sold_once(client, other, order_no)


@on_mariadb
async def test_a_transaction_whose_caller_is_lost(client, stage, network, other):
    """What a broken line leaves open on the server is soon given up there, and holds up nobody any more."""
    order_no = await bought(client)
    network.database.commit_faults[COMMITS["callback"]] = CommitFault.HELD_BACK
    while network.database.commit_faults:
        assert (await notified(client, order_no)).status == 503
    network.database.faults = Faults()
    await assert_sold_once(client, other, order_no)


@on_mariadb
async def test_idle_connections_that_are_dropped_in_silence(client, stage, network):
    """They cost time, and no answer; nobody has to meet them one by one."""
    order_no = await bought(client)
    await stage.worker.stop()
    looks = (client.call("GET", f"/v1/orders/{'0' * 32}") for _ in range(20))
    assert {reply.status for reply in await asyncio.gather(*looks)} == {404}
    network.database.spoil(Faults(black_hole=True))
    network.database.faults = Faults()
    assert (await notified(client, order_no)).body == b"success"


@on_mariadb
async def test_resets_under_load(client, stage, network, other):
    """While all connections are reset again and again, callers see success or 503, and each order is sold once."""

    async def insist(call: Callable[[], Awaitable[Reply]], status: int) -> Reply:
        while (reply := await call()).status != status:
            assert reply.status == 503
        return reply

    async def buy(key: str) -> str:
        created = await insist(lambda: client.create(key=key), 201)
        stage.alipay.faults.notification(drop=True)
        order_no = stage.alipay.enter(created.json["payment"]["order_string"]).out_trade_no
        await stage.alipay.pay(order_no)
        assert (await insist(lambda: notified(client, order_no), 200)).body == b"success"
        return order_no

    async def shop(name: str) -> list[str]:
        return [await buy(f"{name}{number}") for number in range(4)]

    async def reset() -> None:
        for _ in range(25):
            await asyncio.sleep(0.1)
            await asyncio.gather(*(line.reset() for line in network.lines))

    *baskets, _ = await asyncio.gather(*map(shop, "abcde"), reset())
    order_nos = list(chain(*baskets))
    await assert_sold_once(client, other, *order_nos)
    assert await client.count("orders") == len(order_nos)


# --- Alipay ---

AT_ALIPAY = {
    **TROUBLES,
    "latency": Faults(latency=1.5),
    "cut in the header": Faults(cut=40),
    "cut in the body": Faults(cut=400),
}


@on_sqlite
@pytest.mark.parametrize("kind", AT_ALIPAY)
async def test_a_provider_behind_a_bad_network(client, network, other, kind):
    """What is not known is neither failed nor paid, other channels sell on, and the job pays when it is over."""
    order_no, player = await bought(client), Player(client)
    async with trouble(network.provider, AT_ALIPAY[kind]):
        verified, created, (at_google, purchase) = await asyncio.gather(
            client.verify(order_no), client.create(key="k", method="qr"), player.bought()
        )
        for reply in (verified, created):
            assert (reply.status, reply.json["code"]) == (503, "provider_unavailable")
        assert (await player.submits(at_google, purchase)).json["status"] == "paid"
        await client.until(lambda: client.count("orders", "channel='alipay' AND checks > 0"))
        assert await client.count("orders", "channel='alipay' AND status='pending'") == 2
    await assert_sold_once(client, other, order_no, at_google)
    await client.until(lambda: answers(lambda: client.create(key="k", method="qr"), 201))
    assert await client.count("orders") == 3


# --- The merchant ---


@on_sqlite
@pytest.mark.parametrize("kind", TROUBLES)
async def test_a_merchant_behind_a_bad_network(client, stage, network, other, kind):
    """The same event comes again until its answer arrives, has one effect, and delays no other endpoint."""
    arrives = kind not in ("refused", "black hole")
    async with trouble(network.merchant, TROUBLES[kind]):
        order_no = await bought(client)
        assert (await notified(client, order_no)).body == b"success"
        await client.until(lambda: other.fulfilled[order_no])
        await client.until(lambda: client.count("deliveries", "failures > 0"))
        await client.until(lambda: stage.merchant.fulfilled[order_no] == arrives)
        assert not await acknowledged(client, 2)
    await assert_sold_once(client, other, order_no)
    assert len(stage.merchant.received) > arrives


# --- Everywhere ---


@on_mariadb
async def test_closes_that_are_held_back(client, stage, network, other, mariadb):
    """Idle connections that have ended unnoticed cost time, or another try, but no answer."""
    first = await bought(client)
    assert (await client.verify(first)).json["status"] == "paid"
    await assert_sold_once(client, other, first)
    network.database.spoil(Faults(linger=1))
    network.provider.spoil(Faults(linger=60))
    network.merchant.spoil(Faults(linger=60))
    await end_connections(stage, network, mariadb)
    looks = (client.call("GET", f"/v1/orders/{first}") for _ in range(8))
    assert {reply.status for reply in await asyncio.gather(*looks)} == {200}
    second = await bought(client)
    assert (await client.verify(second)).json["status"] == "paid"
    await assert_sold_once(client, other, first, second)
    assert await client.count("attempts", "ok=0")


async def end_connections(stage, network, mariadb) -> None:
    """Let everybody end the connections that stand, as after a restart."""
    own = "SELECT id FROM information_schema.processlist WHERE db = %s"
    for (number,) in mariadb.execute(own, stage.platform.database.url.database):
        mariadb.execute(f"KILL {number}")
    await stage.alipay.stop()
    await stage.alipay.start(int(network.provider.targets[0].partition(":")[2]))
    await stage.merchant.go_down()
    await stage.merchant.come_back()
