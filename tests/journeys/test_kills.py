"""Processes that die or freeze at the worst moments: whoever comes after them finishes, and everything happens once."""

import asyncio
import signal
from uuid import uuid4

import pytest
from sqlalchemy import text
from tornado.httpclient import HTTPClientError

from payplat import seam
from payplat.app import start_worker
from tests.crashing import Crash
from tests.processes import free_port, payplat
from tests.stage import Client

KILLED = -signal.SIGKILL
on_mariadb = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
# Starting a process takes long on a busy machine.
patiently = pytest.mark.gen_test(timeout=280)


@pytest.fixture
def works() -> bool:
    """The stage's own worker begins when the others have had their turn."""
    return False


@pytest.fixture
def overrides() -> dict[str, str]:
    """Money that comes too late goes back, orders are asked about soon, and no POST is given up."""
    return {
        "PAYPLAT_CHANNELS__ALIPAY__LATE": "refund",
        "PAYPLAT_CHECKS__BASE_SECONDS": "0.3",
        "PAYPLAT_CHECKS__CAP_SECONDS": "0.5",
        "PAYPLAT_DELIVERY__TIMEOUT_SECONDS": "60",
    }


@pytest.fixture
def environ(database_url, overrides) -> dict[str, str]:
    """The environment of all processes; notifications come to the one that serves, also after a restart."""
    port = str(free_port())
    return {
        **overrides,
        "PAYPLAT_DATABASE__URL": database_url,
        "PAYPLAT_SERVER__PORT": port,
        "PAYPLAT_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }


@pytest.fixture
def doom(stage, environ):
    """Start a process that is struck at the end of a way; what it holds is due again a second later."""

    def start(*arguments: str, way: str, what: str = "kill", nth: int = 1):
        fate = Crash(what, way, stage.folder / f"struck-{uuid4().hex}", nth).environ()
        given = {**environ, **fate, "CRASH_LEASE": "1"}
        return payplat(stage.folder, *arguments, module="tests.crashing", **given)

    return start


def is_struck(stage) -> bool:
    """Whether a process was struck."""
    return any(stage.folder.glob("struck-*"))


async def paid(client, stage) -> str:
    """An order that was paid while nobody delivers."""
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    return order_no


async def take_over(stage) -> None:
    """Let the stage's own worker begin."""
    await start_worker(stage.platform, stage.worker)


async def delivered(client, count: int = 1) -> None:
    """Wait until so many deliveries have been acknowledged, and that is on record."""

    async def are_delivered() -> bool:
        return await client.count("deliveries", "status='delivered'") == count

    await client.until(are_delivered)


async def rows(client, table: str) -> list[tuple]:
    """All rows of a table."""
    database = client.stage.platform.database
    statement = text(f"SELECT * FROM {table}")
    return [tuple(row) for row in (await database.read(lambda c: c.execute(statement))).all()]


async def assert_all_once(client, stage, order_no) -> None:
    """One payment, one event, one delivery, the goods given once."""
    for table in ("payments", "events", "deliveries", "attempts"):
        assert await client.count(table) == 1
    assert (stage.merchant.fulfilled[order_no], len(stage.merchant.received)) == (1, 1)


# --- Workers ---


@on_sqlite
@patiently
async def test_workers_killed_around_the_post(client, stage, doom):
    """Killed before the POST, during it and after the merchant's 2xx: the same event comes again, the goods go once."""
    order_no = await paid(client, stage)
    async with doom("worker", way="before_delivery") as worker:
        assert await worker.ended() == KILLED
    assert not stage.merchant.received
    stage.merchant.next("slow", seconds=60)
    async with doom("worker", way="after_delivery") as worker:
        await client.until(lambda: stage.merchant.received)
        assert await worker.stop(signal.SIGKILL) == KILLED
    async with doom("worker", way="after_delivery") as worker:
        assert await worker.ended() == KILLED
    assert await client.count("attempts") == 0
    assert await client.count("deliveries", "status='due'") == 1
    await take_over(stage)
    await delivered(client)
    assert len(stage.merchant.received) == 3
    assert len({received.id for received in stage.merchant.received}) == 1
    assert stage.merchant.fulfilled[order_no] == 1
    assert await client.count("attempts", "ok=1") == await client.count("attempts") == 1


@patiently
async def test_workers_killed_while_they_record(client, stage, doom):
    """Killed before COMMIT nothing is recorded and the event comes again; killed after it, the delivery is over."""
    order_no = await paid(client, stage)
    async with doom("worker", way="after_delivery before_commit") as worker:
        assert await worker.ended() == KILLED
    assert await client.count("attempts") == 0
    assert await client.count("deliveries", "status='due'") == 1
    async with doom("worker", way="after_delivery after_commit") as worker:
        assert await worker.ended() == KILLED
    assert await client.count("attempts", "ok=1") == 1
    assert await client.count("deliveries", "status='delivered'") == 1
    await paid(client, stage)
    await take_over(stage)
    await delivered(client, 2)
    first, second, third = (received.id for received in stage.merchant.received)
    assert first == second != third
    assert stage.merchant.fulfilled[order_no] == 1
    assert await client.count("attempts") == 2


@on_mariadb
@patiently
@pytest.mark.parametrize(
    ("way", "fate"),
    [("after_delivery", "late result refused"), ("after_delivery before_commit", "work failed")],
)
async def test_a_worker_that_slept_too_long_is_refused(client, stage, doom, way, fate):
    """Stopped beyond its lease, even within a transaction, it holds up nobody; back again its result is refused."""
    async with doom("worker", way=way, what="stop") as sleeper:
        await client.until(lambda: is_idle(client))
        order_no = await paid(client, stage)
        await client.until(lambda: is_struck(stage))
        await take_over(stage)
        await delivered(client)
        await stage.worker.stop()
        told = await rows(client, "deliveries"), await rows(client, "attempts")
        assert len(told[1]) == 1
        assert not logged(stage, fate)
        sleeper.process.send_signal(signal.SIGCONT)
        await client.until(lambda: logged(stage, fate))
        assert (await rows(client, "deliveries"), await rows(client, "attempts")) == told
        another = await paid(client, stage)
        await delivered(client, 2)
        assert await sleeper.stop() == 0
    assert (stage.merchant.fulfilled[order_no], stage.merchant.fulfilled[another]) == (1, 1)


async def is_idle(client) -> bool:
    """Whether a worker has begun, and all its sweeps are done for now."""
    done = f"lease_token IS NULL AND next_at > {seam.now()}"
    return 0 < await client.count("sweeps") == await client.count("sweeps", done)


def logged(stage, event: str) -> bool:
    """Whether a worker has told that of a delivery."""
    lines = (stage.folder / "worker.log").read_text().splitlines()
    return any(event in line and "default/main" in line for line in lines)


@on_mariadb
@patiently
async def test_a_worker_killed_in_a_scheduled_check(client, stage, doom):
    """Killed between Alipay's answer and the ledger: the order is asked about again, paid once and delivered once."""
    stage.alipay.faults.notification(drop=True)
    order_no = await paid(client, stage)
    async with doom("worker", way="before_settle") as worker:
        assert await worker.ended() == KILLED
    assert [asked.method for asked in stage.alipay.received] == ["alipay.trade.query"]
    assert await client.count("orders", "status='pending'") == 1
    await take_over(stage)
    await delivered(client)
    assert len(stage.alipay.received) == 2
    await assert_all_once(client, stage, order_no)


@on_sqlite
@patiently
async def test_a_worker_killed_after_a_refund_took_effect(client, stage, doom):
    """Killed between Alipay's refund and the ledger: asked again with the same key, the money goes back once."""
    stage.alipay.knobs.turn(refund_notices=False)
    order_no = await client.entered()
    await stage.alipay.expire(order_no)
    await client.verify(order_no)
    await stage.alipay.pay(order_no, late=True)
    trade = stage.alipay.trade(order_no)
    async with doom("worker", way="before_settle") as worker:
        assert await worker.ended() == KILLED
    assert trade.refunded_fen == 600
    assert await client.count("orders", "status='held'") == 1
    await take_over(stage)
    await client.until(lambda: client.count("duties", "status='done'"))
    assert await client.count("orders", "status='refunded'") == 1
    keys = [r.biz["out_request_no"] for r in stage.alipay.received if r.method.endswith(".refund")]
    assert len(keys) == 2
    assert set(keys) == set(trade.refunds)
    assert trade.refunded_fen == 600
    assert await client.count("refunds") == 1


# --- Web processes ---


@patiently
async def test_a_purchase_in_which_every_process_dies(client, stage, environ, doom):
    """Killed before and after the COMMIT of order and callback: each repeat finds what stands, all happens once."""
    stage.alipay.knobs.turn(time_factor=1.0)
    for way, orders in (("before_open before_commit", 0), ("before_open after_commit", 1)):
        async with doom("serve", "--no-worker", way=way) as service:
            with pytest.raises((HTTPClientError, OSError)):
                await Client(service).create("key-1")
            assert await service.ended() == KILLED
        assert await client.count("orders") == orders
    async with doom("serve", "--no-worker", way="before_settle before_commit") as service:
        created = (await Client(service).create("key-1")).json
        order_no = created["order_no"]
        assert await client.count("orders", f"order_no='{order_no}'") == 1
        stage.alipay.enter(created["payment"]["order_string"])
        await stage.alipay.pay(order_no)
        assert await service.ended() == KILLED
    assert await client.count("payments") == await client.count("events") == 0
    async with doom("serve", "--no-worker", way="before_settle after_commit") as service:
        await stage.alipay.advance(240)
        assert await service.ended() == KILLED
    assert await client.count("payments") == 1
    async with payplat(stage.folder, "serve", **environ):
        await stage.alipay.advance(600)
        await delivered(client)
    assert [told.accepted for told in stage.alipay.notifications] == [False, False, True]
    assert await client.count("orders") == 1
    await assert_all_once(client, stage, order_no)


@on_mariadb
@patiently
async def test_processes_killed_while_they_verify(client, stage, doom):
    """Killed before and after the COMMIT of a verification: the client asks once more and gets its order, paid once."""
    stage.alipay.faults.notification(drop=True)
    order_no = await paid(client, stage)
    for way, payments in (("before_settle before_commit", 0), ("before_settle after_commit", 1)):
        async with doom("serve", "--no-worker", way=way) as service:
            with pytest.raises((HTTPClientError, OSError)):
                await Client(service).verify(order_no)
            assert await service.ended() == KILLED
        assert await client.count("payments") == payments
    answered = await client.verify(order_no)
    assert (answered.status, answered.json["status"]) == (200, "paid")
    await take_over(stage)
    await delivered(client)
    await assert_all_once(client, stage, order_no)


@on_mariadb
@patiently
async def test_one_of_two_serve_processes_killed_under_load(client, stage, doom):
    """What was answered stands, what was not can be repeated with its key, and another process takes the place."""
    keys = [f"key-{n}" for n in range(40)]
    arguments = ("serve", "--processes", "2", "--no-worker")
    async with doom(*arguments, way="before_open after_commit", nth=2) as service:
        await client.until(lambda: serving(stage) == 2)
        away = Client(service)
        replies = [await away.create(keys[0])]
        replies += await asyncio.gather(*map(away.create, keys[1:]), return_exceptions=True)
        told = dict(zip(keys, replies, strict=True))
        answered = {key: reply.json["order_no"] for key, reply in told.items() if is_answer(reply)}
        await client.until(lambda: serving(stage) == 3)
        again = {key: (await away.create(key)).json["order_no"] for key in keys}
        assert await service.stop() == 0
    assert 0 < len(answered) < len(keys)
    assert answered.items() <= again.items()
    assert await client.count("orders") == len(set(again.values())) == len(keys)


def serving(stage) -> int:
    """How many processes have begun to serve."""
    return (stage.folder / "serve.log").read_text().count('"event": "serving"')


def is_answer(reply) -> bool:
    """Whether an order was answered."""
    return not isinstance(reply, BaseException) and reply.status == 201
