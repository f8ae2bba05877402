"""One episode: a fresh world, some hundred orders in trouble, then peace, then judgement."""

import asyncio
import base64
import gc
import random
import shutil
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tornado.httpclient import HTTPRequest

from payplat import seam
from payplat.registry import installed_doors
from tests.prove.alipay import Alipay
from tests.prove.customers import Customers
from tests.prove.driver import Disk
from tests.prove.faults import Faults
from tests.prove.judge import WITNESSES, Finding, Judge
from tests.prove.logs import capture_logs
from tests.prove.loop import Stuck, VirtualLoop
from tests.prove.merchant import Merchant
from tests.prove.network import Network
from tests.prove.process import Process
from tests.prove.service import SECRET, Service, configurations
from tests.prove.shortcuts import take_shortcuts
from tests.prove.trace import Trace
from tests.prove.wire import Call, Reply
from tests.prove.world import EPOCH, SimulatedWorld

# Orders of one episode; a longer run is so many of them, each with the next seed.
MOST_ORDERS = 1000
# After the last fault everything is paid and delivered within this many virtual seconds …
PATIENCE = 7200.0
# … and later where clocks were wrong by up to this much: what was put off by such a clock stays put off.
WORST_CLOCK = 7200.0
_GATEWAY = "openapi-sandbox.dl.alipaydev.com"


@dataclass
class Outcome:
    """What became of an episode."""

    seed: int
    orders: int
    cpu_seconds: float = 0.0
    digest: str = ""
    virtual_seconds: float = 0.0
    steps: int = 0
    findings: list[Finding] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)


class Episode:
    """The world of one seed, over a copy of the database ``template`` in ``folder``."""

    def __init__(
        self, seed: int, orders: int, template: Path, folder: Path, *, keeps: bool
    ) -> None:
        self.seed, self.orders = seed, orders
        name, self._chance = str(seed), random.Random(f"{seed}/episode")
        self.loop, self.faults = VirtualLoop(), Faults(name)
        self.trace = Trace(self.loop.time, keeps=keeps)
        file = folder / "payplat.db"
        shutil.copy(template, file)
        doors = installed_doors()
        self.alipay = Alipay(self.faults, name, self._clock, self._post)
        self.judge = Judge(file, self.alipay, self._clock)
        self.disk = Disk(file, f"{name}/disk", lambda *, writes: self.service.pace(writes=writes))
        self.disk.mount()
        self.service = Service(
            self.loop,
            self.disk,
            self.faults,
            self.judge,
            self.trace,
            configurations(folder, doors, self._chance),
            doors,
            name,
        )
        self.network = Network(
            self.loop,
            self.faults,
            name,
            self.trace,
            self.service.web,
            self._told,
            self.judge.replied,
        )
        seam.world = self.world = SimulatedWorld(
            self.loop, f"{name}/world", self.service.reached, self.network.client
        )
        self.merchants = [self._merchant(end, name) for end in ("main", "books")]
        self.network.hosts = {_GATEWAY: self.alipay.answer, "shop.test": self._shop}
        self.customers = Customers(name, self.faults, self.alipay, self.judge, self.network.call)
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self) -> Outcome:
        """Live through it."""
        began = time.process_time()
        take_shortcuts()
        capture_logs(self.judge)
        try:
            self.loop.run_until_complete(self._live())
        except Stuck as stuck:
            self.judge.find("unexplained", "", str(stuck))
        for problem in self.loop.problems:
            error = problem.get("exception")
            self.judge.find("unexplained", "", f"{problem.get('message')}: {error!r}")
        states = Counter(row["status"] for row in self.judge.rows("SELECT status FROM orders"))
        return Outcome(
            self.seed,
            self.orders,
            time.process_time() - began,
            self.trace.digest,
            self.loop.time(),
            self.loop.steps,
            self.judge.findings,
            self.faults.struck,
            states,
            self.trace.lines,
        )

    async def _live(self) -> None:
        self.alipay.spawn = self._spawn
        await self.service.start()
        self._spawn(self._weather())
        rate = self._chance.uniform(30, 200)
        for number in range(self.orders):
            await asyncio.sleep(self._chance.expovariate(rate))
            self._spawn(self.customers.buy(number))
            if number % 200 == 199:
                gc.collect()
        await asyncio.sleep(self._chance.uniform(20, 150))
        self.faults.end()
        await self.service.make_peace()
        self.service.rest()
        await self._until_settled()
        self.judge.close(self.merchants)

    async def _until_settled(self) -> None:
        began = self.loop.time()
        has_hours = self.faults.rates["clock put wrong by hours"]
        patience = PATIENCE + (WORST_CLOCK if has_hours else 0)
        while not self.judge.is_settled():
            await asyncio.sleep(10)
            if self.loop.time() - began > patience:
                return

    async def _weather(self) -> None:
        """Let merchants fail for a while now and then."""
        while not self.faults.is_over:
            await asyncio.sleep(1)
            for merchant in self.merchants:
                if self.faults.strikes("merchant down for a while"):
                    merchant.down_until = self._clock() + self._chance.uniform(10, 200)
        for merchant in self.merchants:
            merchant.down_until = 0.0

    def _spawn(self, coroutine: object) -> None:
        task = self.loop.create_task(coroutine)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = task.exception()
        if error is not None:
            self.loop.problems.append({"message": "in the world outside", "exception": error})

    def _merchant(self, end: str, seed: str) -> Merchant:
        return Merchant(
            f"default/{end}",
            base64.b64decode(SECRET),
            self.faults,
            seed,
            self._clock,
            self._received,
            self.judge.find,
        )

    def _received(self, event_id: str, event: dict[str, object]) -> None:
        self.judge.delivered(event_id, event)

    async def _shop(self, call: Call) -> Reply:
        name = call.target.strip("/?")
        return await next(m for m in self.merchants if m.name.endswith(name)).answer(call)

    async def _post(self, call: Call) -> Reply:
        return await self.network.call(call)

    def _told(self, process: Process, request: HTTPRequest, reply: Reply) -> None:
        event_id = request.headers.get("webhook-id")
        if event_id and 200 <= reply.status < 300 and len(reply.body) < 65536:
            endpoint = "default/" + request.url.rsplit("/", 1)[1]
            self.judge.answered(endpoint, event_id, process.name)

    def _clock(self) -> float:
        return EPOCH / 1e6 + self.loop.time()


def prepared(template: Path) -> Path:
    """Let the judge's witnesses into a database that is copied for each episode."""
    database = sqlite3.connect(template)
    database.executescript(WITNESSES)
    database.close()
    return template
