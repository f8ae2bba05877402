"""Who looks at a pending order has often just paid: the provider is asked, once for all who look, and within bounds."""

import asyncio
import signal

import pytest
from sqlalchemy import text

from payplat import reconcile, seam
from payplat.app import open_platform
from payplat.lanes import LEASE
from payplat.registry import installed_doors
from tests.doors import apple, google
from tests.ledger.build import in_world
from tests.processes import payplat
from tests.stage import Client

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
UNKNOWN = "0" * 32


@pytest.fixture
def asks() -> bool:
    """Looking is what this is about."""
    return True


@pytest.fixture
def works() -> bool:
    """No job asks."""
    return False


@pytest.fixture
def overrides() -> dict[str, str]:
    """The schedule's own checks are far away, and Alipay may take its time."""
    return {
        "PAYPLAT_CHECKS__BASE_SECONDS": "600",
        "PAYPLAT_CHECKS__JITTER": "0",
        "PAYPLAT_CHANNELS__ALIPAY__TIMEOUT_SECONDS": "10",
    }


@pytest.fixture(autouse=True)
def _patience(monkeypatch) -> None:
    """Who looks waits for as long as it takes, on a slow machine too, unless a test is about that."""
    monkeypatch.setattr(reconcile, "_PATIENCE", 60.0)


@pytest.fixture
def impatient(_patience, monkeypatch) -> None:
    """Who looks waits but a moment."""
    monkeypatch.setattr(reconcile, "_PATIENCE", 0.1)


class Still(seam.World):
    """A world whose clock moves only when it is told to."""

    def __init__(self) -> None:
        self.at = seam.now()

    def now(self) -> int:
        """The time that was set."""
        return self.at

    def forward(self, seconds: float) -> None:
        """Turn the clock forward."""
        self.at += int(seconds * seam.SECOND)


@pytest.fixture
def clock():
    """A clock that stands still."""
    clock = Still()
    with in_world(clock):
        yield clock


def queries(stage) -> int:
    """How often Alipay was asked about an order."""
    return sum(received.method == "alipay.trade.query" for received in stage.alipay.received)


def asked(stage) -> list[int]:
    """How often each company was asked anything."""
    return [len(company.received) for company in (stage.alipay, stage.apple, stage.google)]


async def paid_in_silence(client) -> str:
    """An order that was paid, and no notification ever comes."""
    client.stage.alipay.faults.notification(drop=True)
    order_no = await client.entered()
    await client.stage.alipay.pay(order_no)
    return order_no


async def status(client, order_no: str) -> str:
    """Where the order stands after a look at it."""
    return (await client.order(order_no))["status"]


async def schedule(client) -> tuple[int, int]:
    """When the only order is checked next by a job, and how many checks there were."""
    statement = text("SELECT next_check_at, checks FROM orders")
    database = client.stage.platform.database
    return tuple((await database.read(lambda c: c.execute(statement))).one())


class Silence:
    """Alipay's answers, held back from ``begin`` on until ``end``."""

    def __init__(self, alipay) -> None:
        self._alipay = alipay

    def begin(self, **fault: bool) -> None:
        """Hold every answer."""
        self._alipay.faults.answer("slow", times=None, seconds=60, **fault)

    def end(self) -> None:
        """Let those come that were held, and new ones at once."""
        self._alipay.faults.clear()
        self._alipay.closing.set()


@pytest.fixture
def silence(stage):
    """Silence of Alipay, which ends with the test."""
    silence = Silence(stage.alipay)
    yield silence
    silence.end()


async def test_a_look_finds_a_payment(client, stage):
    """The notification is lost: the first look answers paid, and the delivery is there; the next asks nobody."""
    order_no = await paid_in_silence(client)
    told = await client.order(order_no)
    assert told["status"] == "paid"
    paid = [line["actor"] for line in told["timeline"] if line["what"] == "paid"]
    assert paid == ["reconcile"]
    assert await client.count("deliveries", "status='due'") == 1
    assert (await status(client, order_no), queries(stage)) == ("paid", 1)


async def test_many_who_look_at_once_ask_once(client, stage, silence):
    """Of ten who look at the same moment one asks and learns; the others are told at once how the order stood."""
    order_no = await paid_in_silence(client)
    silence.begin()
    looking = [asyncio.ensure_future(status(client, order_no)) for _ in range(10)]
    await client.until(lambda: sum(look.done() for look in looking) == 9)
    silence.end()
    assert sorted(await asyncio.gather(*looking)) == ["paid"] + ["pending"] * 9
    assert queries(stage) == 1


async def test_nobody_is_asked_twice_within_five_seconds(client, stage, clock):
    """However often somebody looks, five seconds pass between two questions, also when no answer came."""
    order_no = (await client.create()).json["order_no"]
    stage.alipay.next_answers("http_500", "http_500", "http_500")
    for seconds, count in ((0, 3), (4.9, 3), (0.2, 4), (4.9, 4), (0.2, 5)):
        clock.forward(seconds)
        assert (await status(client, order_no), queries(stage)) == ("pending", count)


async def test_looks_leave_the_schedule_as_it_is(client, stage, clock):
    """A client that looks every six seconds does not put off the check that is due by itself."""
    order_no = (await client.create()).json["order_no"]
    due_at, checks = await schedule(client)
    for _ in range(3):
        clock.forward(6)
        assert await status(client, order_no) == "pending"
    assert queries(stage) == 3
    assert await schedule(client) == (due_at, checks)
    clock.at = due_at
    held = {"limit": 8, "lease": LEASE}
    assert len(await reconcile.QUEUE.claim(stage.platform.database, "alipay", **held)) == 1


async def test_a_silent_provider_is_not_waited_for(client, stage, silence, impatient):
    """While Alipay says nothing, who looks is soon told pending, and the schedule stays as it is."""
    order_no = await paid_in_silence(client)
    before = await schedule(client)
    silence.begin(processed=False)
    assert await status(client, order_no) == "pending"
    assert await client.count("orders", "lease_token IS NOT NULL AND checked_at IS NULL") == 1
    silence.end()
    stage.alipay.faults.answer("http_500", times=None)
    await stage.platform.reconciler.drain()
    assert await schedule(client) == before
    assert await client.count("orders", "lease_token IS NULL AND checked_at IS NOT NULL") == 1


async def test_an_answer_that_comes_late_pays(client, stage, silence, impatient):
    """Who has looked is told pending; the answer that comes after that is settled all the same."""
    order_no = await paid_in_silence(client)
    silence.begin()
    assert await status(client, order_no) == "pending"
    assert await status(client, order_no) == "pending"
    silence.end()
    await stage.platform.reconciler.drain()
    assert await client.count("orders", "status='paid'") == 1
    assert queries(stage) == 1


@on_sqlite
async def test_an_end_waits_for_those_who_ask(client, stage, silence, impatient):
    """A process that closes settles the answer to a look first, though whoever looked has gone."""
    order_no = await paid_in_silence(client)
    silence.begin()
    async with open_platform(stage.settings, installed_doors()) as platform:
        order = await platform.reconciler.refresh(await platform.orders.get(order_no))
        assert order.status == "pending"
        asyncio.get_running_loop().call_later(0.2, silence.end)
    assert await client.count("orders", "status='paid'") == 1


@on_sqlite
async def test_a_look_is_finished_before_the_end(client, stage, database_url):
    """SIGTERM while Alipay is being asked: who looked gets the answer, and the exit code is 0."""
    order_no = await paid_in_silence(client)
    stage.alipay.next_answers("slow", seconds=0.5)
    environ = {"PAYPLAT_DATABASE__URL": database_url}
    async with payplat(stage.folder, "serve", "--no-worker", **environ) as service:
        looking = asyncio.ensure_future(status(Client(service), order_no))
        await client.until(lambda: queries(stage))
        assert await service.stop(signal.SIGTERM) == 0
        assert await looking == "paid"


async def test_after_its_time_a_look_closes_what_is_surely_closed(client, stage, clock):
    """An order whose time is over is closed by a look, at Alipay first; while that cannot be asked it stays pending."""
    never_begun = (await client.create()).json["order_no"]
    left_waiting = await client.entered()
    clock.forward(1000)
    stage.alipay.faults.answer("http_500", times=None)
    assert await status(client, never_begun) == "pending"
    stage.alipay.faults.clear()
    clock.forward(6)
    for order_no in (never_begun, left_waiting):
        assert await status(client, order_no) == "closed"
    assert stage.alipay.trade(left_waiting).status == "TRADE_CLOSED"
    assert await client.count("orders", "next_check_at IS NULL") == 2


async def change(client, order_no: str, values: str) -> None:
    """Change an order by hand."""
    statement = text(f"UPDATE orders SET {values} WHERE order_no = '{order_no}'")
    await client.stage.platform.database.transaction(lambda c: c.execute(statement))


async def test_where_nothing_can_be_learnt_nobody_is_asked(client, stage):
    """Not about what is settled, nor a store about an order without evidence, nor for a channel that is not open."""
    orders = {"paid": await client.entered()}
    await stage.alipay.pay(orders["paid"])
    for name in ("closed", "held", "refunded", "elsewhere"):
        orders[name] = (await client.create()).json["order_no"]
        values = "channel='alipay_hk'" if name == "elsewhere" else f"status='{name}'"
        await change(client, orders[name], values)
    for channel in ("apple", "google"):
        orders[channel] = (await client.create(channel=channel)).json["order_no"]
    before = asked(stage)
    told = {name: await status(client, order_no) for name, order_no in orders.items()}
    pending = dict.fromkeys(("elsewhere", "apple", "google"), "pending")
    settled = {name: name for name in ("paid", "closed", "held", "refunded")}
    assert told == settled | pending
    for unknown in (UNKNOWN, "x"):
        assert (await client.call("GET", f"/v1/orders/{unknown}")).status == 404
    assert asked(stage) == before
    assert await client.count("orders", "checked_at IS NOT NULL OR lease_token IS NOT NULL") == 0


async def test_a_store_is_asked_about_evidence_that_waits(client):
    """What a store could not tell when it was submitted, a look learns; no job is needed."""
    iphone, android = apple.Player(client), google.Player(client)
    on_iphone, receipt = await iphone.bought()
    iphone.apple.next_answers("401", path=receipt.transaction_id)
    assert (await iphone.submits(on_iphone, receipt.jws)).status == 202
    on_android, token = await android.bought()
    android.google.next_answers(*["internalError"] * 3, path=token.purchase_token)
    assert (await android.submits(on_android, token)).status == 202
    for order_no in (on_iphone, on_android):
        assert await status(client, order_no) == "paid"
    assert await client.count("evidence", "state='used'") == 2
    assert await client.count("orders", "waits=0 AND next_check_at IS NULL") == 2


async def test_cash_on_its_way_is_looked_for(client, clock):
    """A purchase that is pending at Google stays so, on its schedule, until a look finds it paid."""
    player = google.Player(client)
    order_no, purchase = await player.bought(pending=True)
    assert (await player.submits(order_no, purchase)).status == 202
    before = await schedule(client)
    assert await status(client, order_no) == "pending"
    assert await schedule(client) == before
    assert await client.count("orders", "waits=1") == 1
    player.google.faults.notification(drop=True)
    await player.google.complete_pending(purchase.purchase_token)
    clock.forward(6)
    assert await status(client, order_no) == "paid"


async def test_too_many_who_look_are_answered_at_once(client, stage, silence, monkeypatch):
    """Of six who look at different orders two ask, as many as may; the others have their answer meanwhile."""
    monkeypatch.setattr(reconcile, "_MOST_LOOKS", 2)
    orders = [await paid_in_silence(client) for _ in range(6)]
    silence.begin()
    looking = [asyncio.ensure_future(status(client, order_no)) for order_no in orders]
    await client.until(lambda: sum(look.done() for look in looking) == 4 and queries(stage) == 2)
    silence.end()
    assert sorted(await asyncio.gather(*looking)) == ["paid"] * 2 + ["pending"] * 4
    for order_no in orders:
        assert await status(client, order_no) == "paid"


async def test_job_and_look_do_not_ask_together(client, stage, clock):
    """What a job is asking about nobody else asks; when the job has died, its lease ends, and a look asks."""
    order_no = (await client.create()).json["order_no"]
    clock.at, _ = await schedule(client)
    held = {"limit": 8, "lease": LEASE}
    (row,) = await reconcile.QUEUE.claim(stage.platform.database, "alipay", **held)
    assert (await status(client, order_no), queries(stage)) == ("pending", 0)
    clock.forward(LEASE + 1)
    assert (await status(client, order_no), queries(stage)) == ("pending", 1)
    assert await client.count("orders", f"lease_token='{row.lease_token}'") == 0
