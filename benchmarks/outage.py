"""An outage: one of an app's two endpoints is dead and its deliveries wait, the other is well; then both are."""

import asyncio
import json
import sys
import time
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from socket import socket
from statistics import median

from sqlalchemy import create_engine, make_url, text
from tornado.httpclient import AsyncHTTPClient

from benchmarks.fixed import PATH
from benchmarks.ground import ROOT, Ground, Void
from benchmarks.meters import cpu_seconds
from payplat import seam
from payplat.simulators.merchant import Merchant

WARM_UP = 50
# Deliveries to one endpoint that a process has under way at once.
SLOTS = 32
PATIENCE = 3600.0
_MORE = """\
[server]
port = {port}
[apps.default.endpoints.well]
url = "{url}"
secret = "file:endpoint"
"""
_BODY = {
    "type": "order.paid",
    "timestamp": "2026-01-01T00:00:00.000Z",
    "data": {
        "order_no": "ORDER",
        "app": "default",
        "channel": "alipay",
        "environment": "sandbox",
        "product_id": "coins_500",
        "quantity": 1,
        "receiver": "player-1",
        "amount": 600,
        "currency": "CNY",
        "status": "paid",
        "transaction_id": "2026010122001400000000000001",
        "metadata": {"server": "eu-1", "role": "4711"},
    },
}
# Due one a millisecond.
_EVENTS = """\
INSERT INTO events (event_id, order_no, app, type, cause, body, created_at)
SELECT concat('evt_', lpad(seq, 32, '0')), lpad(seq, 32, '0'), 'default', 'order.paid', '',
    replace(:body, 'ORDER', lpad(seq, 32, '0')), :since + seq * 1000
FROM seq_1_to_{count}
"""
_DELIVERIES = """\
INSERT INTO deliveries (event_id, order_no, endpoint, status, due_at, failures, created_at)
SELECT event_id, order_no, 'default/main', 'due', created_at, 0, created_at FROM events
"""
_WAITING = (
    "SELECT event_id, due_at FROM deliveries WHERE endpoint = 'default/main' AND status = 'due'"
)
_MADE = "SELECT event_id, created_at FROM events WHERE created_at > :since"
_TRIES = """\
SELECT 'tries', count(*) FROM attempts JOIN deliveries ON deliveries.id = delivery_id
WHERE endpoint = 'default/main' AND at > :since
"""


async def _be_silent(merchant: Merchant) -> None:
    merchant.misbehave("slow", seconds=60, accept=False)


async def _fail(merchant: Merchant) -> None:
    merchant.misbehave("500")


DEATHS: dict[str, Callable[[Merchant], Awaitable[None]]] = {
    "refuses connections": Merchant.go_down,
    "never answers": _be_silent,
    "answers 500": _fail,
}


@dataclass(frozen=True)
class Run:
    """Seconds from each payment to its receipt, tries at the other endpoint, processor time of who delivers; in all."""

    latencies: Sequence[float]
    seconds: float
    tries: int
    cpu: float

    @property
    def figures(self) -> dict[str, float]:
        """The columns of the table."""
        ordered = sorted(self.latencies)
        return {
            "p50 ms": median(ordered) * 1000,
            "p99 ms": ordered[len(ordered) * 99 // 100] * 1000,
            "tries/s there": self.tries / self.seconds,
            "CPU": self.cpu / self.seconds,
        }


@dataclass(frozen=True)
class Drain:
    """How a backlog went out; ``overtaken`` counts what more slots than there are would be needed to explain."""

    count: int
    seconds: float
    overtaken: int


class Stage:
    """Both endpoints, and the processes on the ground; ``inside`` has the serve process do the jobs of a worker."""

    def __init__(self, ground: Ground, *, inside: bool) -> None:
        secret = (ground.folder / "endpoint").read_text()
        self.dead, self.well = Merchant(secret), Merchant(secret)
        self._ground, self._inside = ground, inside
        with socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Stage"]:
        """Let the endpoints listen until the block ends, and write into the configuration where."""
        await self.dead.start()
        await self.well.start()
        path = self._ground.folder / "payplat.toml"
        named = path.read_text().replace('url = "http://127.0.0.1:1/"', f'url = "{self.dead.url}"')
        path.write_text(named + _MORE.format(port=self._port, url=self.well.url))
        yield self
        await self.dead.stop()
        await self.well.stop()

    async def pay(self, url: str, notices: Sequence[bytes], rate: float) -> Run:
        """Pay ``rate`` orders a second, warm up with the first ones, and measure the rest."""
        for merchant in (self.dead, self.well):
            merchant.received.clear()
        async with self._serving(url) as worker:
            await self._post(notices[:WARM_UP], rate)
            await _until(lambda: len(self.well.received) >= WARM_UP)
            since, cpu, began = seam.now(), cpu_seconds(worker), time.monotonic()
            await self._post(notices[WARM_UP:], rate)
            await _until(lambda: len(self.well.received) >= len(notices))
            seconds, cpu = time.monotonic() - began, cpu_seconds(worker) - cpu
        tries = select(url, _TRIES, since=since)["tries"]
        return Run(self._latencies(select(url, _MADE, since=since)), seconds, tries, cpu)

    async def heal(self) -> None:
        """Let the dead endpoint be well."""
        self.dead.behave()
        if self.dead.closing.is_set():
            await self.dead.come_back()

    async def drain(self, url: str) -> Drain:
        """Let a worker deliver all that waits; raises Void unless each comes once."""
        due = select(url, _WAITING)
        self.dead.received.clear()
        async with self._process(url, "worker"):
            await _until(lambda: len(self.dead.received) >= len(due))
            await asyncio.sleep(2)  # whoever comes twice has the time to
        came = [each.id for each in self.dead.received]
        if Counter(came) != Counter(list(due)) or select(url, _WAITING):
            raise Void("the healed endpoint did not get each event once")
        seconds = self.dead.received[-1].at - self.dead.received[0].at
        return Drain(len(due), seconds, _overtaken(came, due))

    def _latencies(self, made: Mapping[str, int]) -> list[float]:
        came = {each.id: each.at for each in self.well.received}
        if len(came) != len(self.well.received) or not made.keys() <= came.keys():
            raise Void("the endpoint that is well did not get each event once")
        return [came[event_id] - at / seam.SECOND for event_id, at in made.items()]

    async def _post(self, notices: Sequence[bytes], rate: float) -> None:
        """Post notices at that rate, whatever becomes of those before."""
        client, began = AsyncHTTPClient(force_instance=True, max_clients=200), time.monotonic()
        url, posts = f"http://127.0.0.1:{self._port}{PATH}", []
        for number, body in enumerate(notices):
            await asyncio.sleep(began + number / rate - time.monotonic())
            posting = client.fetch(url, method="POST", body=body, raise_error=False)
            posts.append(asyncio.ensure_future(posting))
        replies = await asyncio.gather(*posts, return_exceptions=True)
        failed = sum(getattr(reply, "body", b"") != b"success" for reply in replies)
        if failed:
            raise Void(f"{failed} notices failed")
        client.close()

    @asynccontextmanager
    async def _serving(self, url: str) -> AsyncIterator[int]:
        """Serve until the block ends; yields the id of the process that delivers."""
        async with AsyncExitStack() as stack:
            commands = [["serve"]] if self._inside else [["worker"], ["serve", "--no-worker"]]
            started = [self._process(url, *command) for command in commands]
            pids = [await stack.enter_async_context(process) for process in started]
            await _until(self._listens)
            yield pids[0]

    def _listens(self) -> bool:
        with socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    @asynccontextmanager
    async def _process(self, url: str, *arguments: str) -> AsyncIterator[int]:
        """Run payplat until the block ends; yields the process's id."""
        command = [sys.executable, "-m", "payplat", *arguments]
        environ = self._ground.environ(url)
        with (self._ground.folder / "payplat.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command, env=environ, cwd=ROOT, stdout=log, stderr=log
            )
        try:
            yield process.pid
        finally:
            process.terminate()
            if await process.wait():
                raise Void(f"{arguments[0]} ended with {process.returncode}")


def seed(url: str, count: int) -> None:
    """Let so many deliveries to the dead endpoint wait, the last one due an hour ago or less."""
    body, since = json.dumps(_BODY, separators=(",", ":")), seam.now() - 3600 * seam.SECOND
    execute(url, _EVENTS.format(count=count), body=body, since=since)
    execute(url, _DELIVERIES)
    execute(url, "ANALYZE TABLE events, deliveries")


def execute(url: str, statement: str, **parameters: object) -> None:
    """Run one statement and commit."""
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
    with engine.begin() as connection:
        connection.execute(text(statement), parameters)
    engine.dispose()


def select(url: str, query: str, **parameters: object) -> dict[str, int]:
    """Return a query's names and numbers."""
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
    with engine.connect() as connection:
        found = connection.execute(text(query), parameters).all()
    engine.dispose()
    return {n.decode() if isinstance(n, bytes) else n: number for n, number in found}


def _overtaken(came: Sequence[str], due: Mapping[str, int]) -> int:
    """Count the receipts before which more of those due earlier were missing than can be under way."""
    rank = {event_id: number for number, event_id in enumerate(sorted(due, key=due.__getitem__))}
    before: list[int] = []
    count = 0
    for event_id in came:
        missing = rank[event_id] - bisect_left(before, rank[event_id])
        count += missing >= SLOTS
        insort(before, rank[event_id])
    return count


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Void("it took too long")
        await asyncio.sleep(0.05)
