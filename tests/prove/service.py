"""The service under test: processes over one database file, which die, pause, disagree about time and come back."""

import asyncio
import base64
import random
from dataclasses import dataclass
from pathlib import Path

import pymysql
from sqlalchemy.exc import OperationalError

from payplat import deliveries, duties, endpoints
from payplat.configuration import read_settings
from payplat.registry import Doors
from payplat.settings import Settings
from tests.prove.alipay import APP_ID, SELLER_ID
from tests.prove.driver import Disk
from tests.prove.faults import Faults
from tests.prove.judge import Judge
from tests.prove.keys import key
from tests.prove.loop import RUNNER, Stuck, VirtualLoop
from tests.prove.process import Process
from tests.prove.trace import Trace

SECRET = base64.b64encode(b"a secret of the simulated merchant").decode()
# Virtual seconds in which all processes must have started.
_START_PATIENCE = 1200.0
_PRODUCTS = """
[default.coins_500]
title = "500 金币"
prices.CNY = {price}
[default.season_pass]
title = "赛季通行证"
prices.CNY = 6800
consumable = false
"""
_CONFIGURATION = """
environment = "sandbox"
public_url = "https://pay.test"
catalogue = "{products}"
[database]
url = "sqlite:///payplat.db"
[orders]
lifetime_seconds = {lifetime}
[delivery]
base_seconds = {base}
cap_seconds = 600
attempts = {attempts}
timeout_seconds = 5
[checks]
base_seconds = {check}
cap_seconds = 300
[apps.default.endpoints.main]
url = "https://shop.test/main"
secret = "whsec_{secret}"
{more}
[channels.alipay]
app_id = "{app_id}"
seller_id = "{seller_id}"
late = "{late}"
private_key = "file:app.pem"
alipay_public_key = "file:alipay.pem"
"""
_MORE = """
[apps.default.endpoints.books]
url = "https://shop.test/books"
secret = "whsec_{secret}"
"""


def configurations(folder: Path, doors: Doors, chance: random.Random) -> list[Settings]:
    """Write and read two versions of the configuration: the processes of one service may differ in theirs."""
    (folder / "app.pem").write_text(key("app").private_pem)
    (folder / "alipay.pem").write_text(key("alipay").public_pem)
    kinds = {kind: door.settings_type for kind, door in doors.items()}
    lates = chance.choices(("deliver", "hold", "refund"), k=2)
    shared = {"lifetime": chance.randint(90, 400), "attempts": chance.randint(5, 20)}
    versions = []
    for number, late in enumerate(lates):
        products, path = f"products{number}.toml", folder / f"payplat{number}.toml"
        (folder / products).write_text(_PRODUCTS.format(price=600 + 50 * number))
        text = _CONFIGURATION.format(
            **shared,
            products=products,
            base=chance.choice((1, 2, 5)),
            check=chance.choice((3, 8, 15)),
            secret=SECRET,
            more=_MORE.format(secret=SECRET) if number else "",
            app_id=APP_ID,
            seller_id=SELLER_ID,
            late=late,
        )
        path.write_text(text)
        versions.append(read_settings(path, {}, kinds))
    return versions


@dataclass
class Slot:
    """A place where a process runs, one after the other; a machine with a clock."""

    name: str
    serves: bool
    works: bool
    clock_error: int = 0
    process: Process | None = None
    runs: int = 0


class Service:
    """All processes. Their configuration is one of ``versions``; in peace it is the last."""

    def __init__(
        self,
        loop: VirtualLoop,
        disk: Disk,
        faults: Faults,
        judge: Judge,
        trace: Trace,
        versions: list[Settings],
        doors: Doors,
        seed: str,
    ) -> None:
        self._loop, self._disk, self._faults = loop, disk, faults
        self._judge, self._trace, self._versions, self._doors = judge, trace, versions, doors
        self._chance = random.Random(f"{seed}/service")
        self._slots = [
            Slot("web1", serves=True, works=True),
            Slot("web2", serves=True, works=False),
            Slot("work1", serves=False, works=True),
        ]
        self._poll = self._chance.uniform(0.5, 5)
        self._died: dict[str, asyncio.Event] = {s.name: asyncio.Event() for s in self._slots}
        self._tasks: list[asyncio.Task[None]] = []

    def web(self) -> list[Process]:
        """Return the processes that listen."""
        found = (slot.process for slot in self._slots if slot.serves)
        return [process for process in found if process and process.is_ready]

    async def start(self) -> None:
        """Start all, and begin to trouble them."""
        self._tasks = [asyncio.create_task(self._keep(slot)) for slot in self._slots]
        await self._all_ready()
        self._tasks += [asyncio.create_task(self._trouble(slot)) for slot in self._slots]

    async def make_peace(self) -> None:
        """Let everything run as it should, under the newest configuration, with an operator who does his duty."""
        for slot in self._slots:
            slot.clock_error = 0
            if slot.process is not None and slot.process.is_alive:
                if slot.process.is_paused:
                    self._go_on(slot.process)
                slot.process.fuse, slot.process.clock_error = None, 0
                self._kill(slot.process)
            await self._all_ready()
        await self._operate()

    def rest(self) -> None:
        """Let idle lanes look less often: hours must pass."""
        for slot in self._slots:
            if slot.process and slot.process.worker:
                for lane in slot.process.worker._lanes:
                    lane._poll = 20

    async def _all_ready(self) -> None:
        try:
            async with asyncio.timeout(_START_PATIENCE):
                while not all(slot.process and slot.process.is_ready for slot in self._slots):
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise Stuck("A process does not start.") from None

    async def _operate(self) -> None:
        process = self._slots[0].process
        assert process is not None
        assert process.platform is not None
        database, orders = process.platform.database, process.platform.orders
        for row in self._judge.rows("SELECT endpoint FROM pauses"):
            await process.spawn(endpoints.resume(database, row["endpoint"]))
        until = 2**60
        await process.spawn(
            deliveries.resend_all(database, deliveries.Ended.EXHAUSTED, 0, until, None, "operator")
        )
        for row in self._judge.rows("SELECT id FROM duties WHERE status = 'exhausted'"):
            await process.spawn(duties.resend(database, row["id"], "operator"))
        owed = "SELECT order_no FROM duties WHERE what = 'refund'"
        held = f"SELECT order_no FROM orders WHERE status = 'held' AND order_no NOT IN ({owed})"
        for row in self._judge.rows(held):
            if self._chance.random() < 0.5:
                await process.spawn(orders.release(row["order_no"], "operator"))

    # --- Lives and deaths ---

    async def _keep(self, slot: Slot) -> None:
        """Start a process whenever there is none, as a supervisor does."""
        while True:
            slot.runs += 1
            died = self._died[slot.name] = asyncio.Event()
            process = Process(
                self._loop, f"{slot.name}.{slot.runs}", slot.clock_error, works=slot.works
            )
            process.on_death = self._kill
            slot.process = process
            self._trace.note("start", process.name)
            newest = self._faults.is_over or self._chance.random() < 0.5
            settings = self._versions[-1 if newest else 0]
            begun = process.spawn(process.start(settings, self._doors, self._poll))
            begun.add_done_callback(lambda task, p=process: self._begun(p, task))
            await died.wait()
            await asyncio.sleep(0.5 if self._faults.is_over else self._chance.uniform(0.5, 15))

    def _begun(self, process: Process, task: asyncio.Task[None]) -> None:
        error = task.exception()
        if error is not None:
            self._trace.note("failed to start", process.name, type(error).__name__)
            self._kill(process)

    def _kill(self, process: Process) -> None:
        if not process.is_alive:
            return
        self._trace.note("dies", process.name)
        self._note_trouble(process)
        process.die()
        self._disk.drop(process)
        self._died[process.name.split(".")[0]].set()

    def _note_trouble(self, process: Process | None) -> None:
        self._judge.trouble(process.name if process else "")

    async def _trouble(self, slot: Slot) -> None:
        """Make one process's life hard."""
        faults, chance = self._faults, self._chance
        while not faults.is_over:
            await asyncio.sleep(1)
            process = slot.process
            if process is None or not process.is_ready:
                continue
            if faults.strikes("killed at an await"):
                process.fuse = chance.randint(1, 300)
            elif faults.strikes("paused beyond its lease"):
                await self._pause(process)
            elif faults.strikes("stopped and started again"):
                await self._stop(process)
            elif faults.strikes("clock put wrong by seconds"):
                self._set_clock(slot, chance.uniform(-4, 4))
            elif faults.strikes("clock put wrong by hours"):
                self._set_clock(slot, chance.uniform(-7200, 7200))

    def _set_clock(self, slot: Slot, seconds: float) -> None:
        assert slot.process is not None
        slot.clock_error = slot.process.clock_error = int(seconds * 1_000_000)
        self._trace.note("clock", slot.name, f"{seconds:.3f}")
        self._note_trouble(None)

    async def _pause(self, process: Process) -> None:
        # Who is stopped while it may write stops everybody; that is let happen now and then.
        while self._disk.holds(process) and self._chance.random() < 0.9:
            await asyncio.sleep(0.001)
        if not process.is_ready:
            return
        self._trace.note("pause", process.name)
        process.pause()
        self._note_trouble(None)
        await asyncio.sleep(self._chance.uniform(20, 120))
        if process.is_paused:
            self._go_on(process)

    def _go_on(self, process: Process) -> None:
        self._trace.note("goes on", process.name)
        process.go_on()
        self._note_trouble(None)

    async def _stop(self, process: Process) -> None:
        self._trace.note("stop", process.name)
        self._note_trouble(process)
        stopping = process.spawn(process.stop())
        stopping.add_done_callback(lambda _: self._kill(process))
        await self._died[process.name.split(".")[0]].wait()

    # --- The seam's and the disk's questions ---

    async def reached(self, process: Process, point: str) -> None:
        """Decide what happens at a crash point."""
        faults = self._faults
        if point == "before_commit" and faults.strikes("COMMIT refused"):
            self._note_trouble(process)
            raise _lost()
        if point == "after_commit" and faults.strikes("COMMIT done, its reply lost"):
            self._note_trouble(process)
            raise _lost()
        if faults.strikes("killed at a crash point"):
            self._trace.note("crash point", point)
            self._kill(process)
            await self._loop.create_future()

    def pace(self, *, writes: bool) -> float:
        """Return how long a statement takes."""
        chance = self._chance
        if writes:
            if RUNNER.get() is not None and self._faults.strikes("database slow"):
                self._note_trouble(None)
                return chance.uniform(1, 9)
            return chance.uniform(0.001, 0.012)
        return chance.uniform(0.0005, 0.004) if chance.random() < 0.1 else 0.0


def _lost() -> OperationalError:
    reason = pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")
    return OperationalError("COMMIT", {}, reason)
