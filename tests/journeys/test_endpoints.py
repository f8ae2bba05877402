"""Endpoints of a merchant: what each learns of, how a secret is replaced, and one that wants nothing more."""

import asyncio
import base64
import importlib.util
import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from typer.testing import CliRunner, Result

from payplat import deliveries, endpoints, seam
from payplat.app import (
    Platform,
    endpoints_of,
    make_worker,
    open_platform,
    start_worker,
    terms_of,
)
from payplat.audit import list_acts
from payplat.cli import cli
from payplat.configuration import read_settings
from payplat.database import DEADLINE
from payplat.deliveries import QUEUE, Relay
from payplat.endpoints import State, Status, states
from payplat.errors import Conflict
from payplat.lanes import LEASE, Lane
from payplat.registry import installed_doors
from payplat.sweeps import UntoldOrders
from payplat.terminal import operator
from tests.ledger.build import Clock, in_world
from tests.ledger.test_lost_commit import replies_lost
from tests.wire.scripted import LOOPBACK

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
MAIN, STOCK = "default/main", "default/stock"
VERIFY = Path(__file__).parents[2] / "docs" / "receiver" / "verify.py"


def new_secret() -> str:
    """A fresh secret."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def receiver():
    """The receiver that the documents give to merchants."""
    spec = importlib.util.spec_from_file_location("receiver", VERIFY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


verify = receiver().verify


@dataclass(frozen=True)
class Received:
    """A delivery as it came."""

    id: str
    timestamp: str
    signatures: str
    body: bytes

    def is_signed_by(self, secret: str, signatures: str | None = None) -> bool:
        """Whether who holds this secret alone believes it, or one of its signatures."""
        given = self.signatures if signatures is None else signatures
        return verify([secret], self.id, self.timestamp, given, self.body)


class Listener:
    """An endpoint that holds one ``secret``: it answers 204 to what is genuine, 401 to everything else."""

    def __init__(self) -> None:
        self.secret, self.received, self.url = new_secret(), [], ""

    @property
    def types(self) -> list[str]:
        """The types of what came."""
        return [json.loads(each.body)["type"] for each in self.received]


class Door(RequestHandler):
    """Where deliveries come in."""

    def initialize(self, listener: Listener) -> None:
        """Receive the listener."""
        self.listener = listener

    async def post(self) -> None:
        """Take a delivery."""
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        named = (self.request.headers.get(name, "") for name in names)
        received = Received(*named, self.request.body)
        self.listener.received.append(received)
        self.set_status(204 if received.is_signed_by(self.listener.secret) else 401)


@pytest.fixture
async def stock() -> AsyncIterator[Listener]:
    """A second endpoint, listening."""
    listener, sockets = Listener(), bind_sockets(0, "127.0.0.1")
    listener.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/"
    routes = [("/", Door, {"listener": listener})]
    server = HTTPServer(Application(routes, log_function=lambda _door: None))
    server.add_sockets(sockets)
    yield listener
    server.stop()
    await server.close_all_connections()


@pytest.fixture
def wants() -> dict[str, list[str]]:
    """The types that an endpoint is configured for, by its name."""
    return {}


@pytest.fixture
def overrides(request, stock, wants, monkeypatch) -> dict[str, str]:
    """Two endpoints, one delivery after the other to each, tried again soon; one that hangs is waited for."""
    monkeypatch.setattr(deliveries, "Lane", partial(Lane, slots=1))
    told = {f"{name.upper()}__TYPES": json.dumps(types) for name, types in wants.items()}
    given = {"STOCK__URL": stock.url, "STOCK__SECRET": stock.secret, **told}
    soon = {"PAYPLAT_DELIVERY__BASE_SECONDS": "0.1", "PAYPLAT_DELIVERY__CAP_SECONDS": "0.2"}
    if "hangs" in request.node.name:
        soon["PAYPLAT_DELIVERY__TIMEOUT_SECONDS"] = "60"
    return soon | {f"PAYPLAT_APPS__DEFAULT__ENDPOINTS__{key}": given[key] for key in given}


@pytest.fixture
def works(request) -> bool:
    """Where a test makes deliveries itself, the service makes none."""
    return not any(word in request.node.name for word in ("replaced", "nobody", "reply"))


async def paid(client) -> str:
    """An order paid by notification."""
    order_no = await client.entered()
    await client.stage.alipay.pay(order_no)
    return order_no


async def rows(stage, statement: str) -> list[tuple]:
    """What the database answers, bytes as text."""
    found = await stage.platform.database.read(lambda c: c.execute(text(statement)))
    plain = [[x.decode() if isinstance(x, bytes) else x for x in row] for row in found]
    return [tuple(row) for row in plain]


async def change(stage, statement: str) -> None:
    """Change the database by hand."""
    await stage.platform.database.transaction(lambda c: c.execute(text(statement)))


async def payplat(stage, environ: dict[str, str], *arguments: str) -> Result:
    """Run a payplat command to its end, in a thread: a process of its own takes seconds to start."""
    ours = {name: None for name in os.environ if name.startswith("PAYPLAT_")}
    given = {**ours, "PAYPLAT_CONFIG": str(stage.folder / "payplat.toml"), **environ}
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=given)


# --- What each learns of ---


@pytest.mark.parametrize("wants", [{"main": ["order.paid"], "stock": ["order.refunded"]}])
async def test_each_endpoint_learns_what_it_asked_for(client, stage, stock):
    """Of a payment and a refund one endpoint is told the one, the other the other, by one delivery each."""
    order_no = await paid(client)
    await stage.alipay.refund(order_no, 250, "r1")
    await client.until(lambda: stock.received and stage.merchant.fulfilled[order_no])
    await client.until(lambda: client.count("deliveries", "status='delivered'"))
    assert [json.loads(each.body)["type"] for each in stage.merchant.received] == ["order.paid"]
    assert stock.types == ["order.refunded"]
    joined = "deliveries JOIN events ON events.event_id = deliveries.event_id"
    found = await rows(stage, f"SELECT endpoint, type FROM {joined} ORDER BY endpoint")
    assert found == [(MAIN, "order.paid"), (STOCK, "order.refunded")]


async def test_an_endpoint_that_hangs_delays_no_other(client, stage, stock):
    """While one endpoint keeps its first delivery waiting, the other learns of everything."""
    stage.merchant.misbehave("slow", seconds=60, accept=False)
    for _ in range(3):
        await paid(client)
    await client.until(lambda: len(stock.received) == 3)
    assert await client.count("attempts", "ok=0") == 0
    await stage.merchant.go_down()


@pytest.mark.parametrize(
    "wants", [{"main": ["order.paid"], "stock": ["order.paid", "order.consumption_requested"]}]
)
async def test_what_nobody_wants_is_an_event_all_the_same(client, stage):
    """It can be pulled and has no delivery, and the sweep for what nobody was told of invents none."""
    order_no = await paid(client)
    await stage.alipay.refund(order_no, 250, "r1")
    clock, sweep = Clock(), UntoldOrders(stage.platform.database, terms_of(stage.settings))
    clock.forward(60)
    with in_world(clock):
        pulled = (await client.call("GET", "/v1/events")).json["events"]
    assert [event["type"] for event in pulled] == ["order.paid", "order.refunded"]
    for forgotten in ("1=0", "1=1"):
        await change(stage, f"DELETE FROM deliveries WHERE {forgotten}")
        await sweep.run("")
        found = await rows(stage, "SELECT event_id, endpoint FROM deliveries ORDER BY endpoint")
        assert found == [(pulled[0]["id"], MAIN), (pulled[0]["id"], STOCK)]


# --- Secrets ---


@asynccontextmanager
async def delivering(stage, overrides, listed: list[str]) -> AsyncIterator[Platform]:
    """The service after a restart with these secrets of the second endpoint."""
    doors = installed_doors()
    kinds = {kind: door.settings_type for kind, door in doors.items()}
    environ = {
        **overrides,
        "PAYPLAT_DATABASE__URL": stage.settings.database.url.get_secret_value(),
        "PAYPLAT_APPS__DEFAULT__ENDPOINTS__STOCK__SECRET": json.dumps(listed),
    }
    settings = read_settings(stage.folder / "payplat.toml", environ, kinds)
    async with open_platform(settings, doors) as platform:
        worker = make_worker(platform)
        await start_worker(platform, worker)
        yield platform
        await worker.stop()


async def test_a_secret_is_replaced_without_a_refusal(client, stage, stock, overrides):
    """From the old secret over both to the new one, over restarts, the endpoint may change at any time in between."""
    old, new = stock.secret, new_secret()
    for listed, held in (([old], [old]), ([new, old], [old, new]), ([new], [new])):
        async with delivering(stage, overrides, listed) as platform:
            for stock.secret in held:
                count = len(stock.received)
                await paid(client)
                platform.wake()
                await client.until(lambda count=count: len(stock.received) > count)
    await client.until(lambda: client.count("deliveries", "status='delivered'"))
    assert await client.count("attempts", "ok=0") == 0
    assert [len(each.signatures.split()) for each in stock.received] == [1, 2, 2, 1]
    both = stock.received[1]
    first, second = both.signatures.split()
    by_each = [
        (both.is_signed_by(old, one), both.is_signed_by(new, one)) for one in (first, second)
    ]
    assert by_each == [(False, True), (True, False)]
    assert (both.is_signed_by(old), both.is_signed_by(new)) == (True, True)
    assert not both.is_signed_by(new_secret())


# --- Pauses ---


async def count_is(client, table: str, where: str, count: int) -> bool:
    """Whether there are so many rows."""
    return await client.count(table, where) == count


async def test_an_endpoint_that_is_gone_is_paused(client, stage, stock):
    """After a 410 nothing more is sent there and nothing is lost, others go on; resumed, each comes once."""
    stage.merchant.next("500", "410")
    orders = [await paid(client)]
    await client.until(lambda: client.count("pauses"))
    orders += [await paid(client) for _ in range(3)]
    await client.until(lambda: count_is(client, "deliveries", "status='delivered'", 4))
    assert len(stage.merchant.received) == 2
    late = f"due_at = (100 - id) * {seam.SECOND}"
    await change(stage, f"UPDATE deliveries SET {late} WHERE endpoint = '{MAIN}'")
    waiting = f"FROM deliveries WHERE endpoint='{MAIN}' AND status='due' AND lease_token IS NULL"
    failures = await rows(stage, f"SELECT failures {waiting} ORDER BY id")
    assert failures == [(1,), (0,), (0,), (0,)]
    queued = await rows(stage, f"SELECT event_id, due_at {waiting} ORDER BY due_at")
    since = seam.rfc3339(queued[0][1])
    assert await states(stage.platform.database, endpoints_of(stage.settings)) == [
        State(MAIN, Status.PAUSED, "answered 410", 4, since, 0),
        State(STOCK, Status.OPEN, "", 0, "", 0),
    ]
    lines = (await client.order(orders[0]))["timeline"]
    (told,) = [line for line in lines if line["what"] == "endpoint_paused"]
    assert told["detail"] == {"endpoint": MAIN, "event_id": stage.merchant.received[0].id}
    await endpoints.resume(stage.platform.database, MAIN)
    await client.until(lambda: all(stage.merchant.fulfilled[order_no] for order_no in orders))
    # They are sent at once, so in no order.
    came = sorted(each.id for each in stage.merchant.received[2:])
    assert came == sorted(event_id for event_id, _ in queued)
    orders.append(await paid(client))
    await client.until(lambda: stage.merchant.fulfilled[orders[-1]])
    assert [stage.merchant.fulfilled[order_no] for order_no in orders] == [1] * 5


@on_sqlite
async def test_an_operator_pauses_and_resumes(client, stage, stock, overrides, database_url):
    """By command line an endpoint is paused, seen and resumed; what is not paused or unknown is refused in words."""
    command = partial(payplat, stage, {**overrides, "PAYPLAT_DATABASE__URL": database_url})
    ended = await command("endpoints", "pause", MAIN)
    assert (ended.exit_code, ended.stdout) == (0, f"{MAIN} is paused\n")
    order_no = await paid(client)
    await client.until(lambda: client.count("deliveries", "status='delivered'"))
    paused, is_open = json.loads((await command("endpoints", "list", "--json")).stdout)
    ((due_at,),) = await rows(stage, "SELECT due_at FROM deliveries WHERE status = 'due'")
    how = {"due": 1, "due_since": seam.rfc3339(due_at), "exhausted": 0}
    assert paused == {"endpoint": MAIN, "status": "paused", "reason": operator(), **how}
    how = {"due": 0, "due_since": "", "exhausted": 0}
    assert is_open == {"endpoint": STOCK, "status": "open", "reason": "", **how}
    table = (await command("endpoints", "list")).stdout
    assert all(word in table for word in (MAIN, "paused", operator(), STOCK, "open"))
    nobody = await command("endpoints", "pause", "default/nobody")
    assert (nobody.exit_code, MAIN in nobody.stderr) == (2, True)
    assert stage.merchant.received == []
    ended = await command("endpoints", "resume", MAIN)
    assert (ended.exit_code, ended.stdout) == (0, f"{MAIN} is open\n")
    await client.until(lambda: stage.merchant.fulfilled[order_no])
    acts = await list_acts(stage.platform.database)
    assert [(a.operator, a.act, a.subject) for a in acts] == [
        (operator(), "resume", MAIN),
        (operator(), "pause", MAIN),
    ]
    for name in (MAIN, "default/nobody"):
        again = await command("endpoints", "resume", name)
        assert (again.exit_code, again.stderr) == (1, "The endpoint is not paused.\n")


async def test_a_pause_whose_reply_is_lost(client, stage):
    """When the reply to its COMMIT is lost, the relay's pause is there once, beside the attempt that led to it."""
    database, delivery = stage.platform.database, stage.settings.delivery
    relay = Relay(database, endpoints_of(stage.settings), delivery.backoff(20), DEADLINE, LOOPBACK)
    stage.merchant.next("410")
    await paid(client)
    (row,) = await QUEUE.claim(database, MAIN, limit=9, lease=LEASE)
    with in_world(replies_lost(skip=1)):  # after the question for the event
        await relay.deliver(row)
    relay.close()
    assert await rows(stage, "SELECT endpoint, reason FROM pauses") == [(MAIN, "answered 410")]
    assert await client.count("attempts") == len(stage.merchant.received) == 1
    assert await client.count("timeline", "what='endpoint_paused'") == 1
    waits = f"status='due' AND failures=0 AND lease_token IS NULL AND due_at <= {seam.now()}"
    assert await client.count("deliveries", f"{waits} AND endpoint='{MAIN}'") == 1


async def test_an_operators_word_whose_reply_is_lost(client, stage):
    """Who pauses or resumes and gets no reply from the database is not told that it was refused."""
    database = stage.platform.database
    with in_world(replies_lost()):
        await database.transaction(lambda c: endpoints.pause(c, database, MAIN, "operator"))
    assert await client.count("pauses") == 1
    with in_world(replies_lost(skip=1)):  # after the question whether it is paused
        await endpoints.resume(database, MAIN)
    assert await client.count("pauses") == 0
    with pytest.raises(Conflict):
        await endpoints.resume(database, MAIN)
