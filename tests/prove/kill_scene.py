"""Everything around the kills: MariaDB, two web processes, two workers, the balancer, the companies and the merchant."""

import asyncio
import base64
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from payplat.demo.client import Game, Phone, Web
from payplat.demo.stage import PACKAGE, Companies, OurKeys, write_configuration
from payplat.simulators.merchant import Merchant
from tests.galera.nodes import free_ports
from tests.galera.patience import Failed, until
from tests.mariadb import MariaDB, start_mariadb
from tests.proxy import Proxy

# Seconds: of a lease, short enough for what a dead process held; of an order, as short as can be, so that some expire.
_LEASE, _LIFETIME = "2", "60"
_PATIENCE = 120
# What the run itself is told is no setting of the processes.
_FOREIGN = {name: value for name, value in os.environ.items() if not name.startswith("PAYPLAT_")}


@dataclass
class Server:
    """MariaDB, which can be killed and started again on the same data."""

    server: MariaDB

    async def ask(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        return await asyncio.to_thread(self.server.execute, statement, *arguments)

    def kill(self) -> None:
        """Kill -9."""
        self.server.process.kill()
        self.server.process.wait()

    async def start(self) -> None:
        """Start it again, and wait until it has recovered."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.server.process = subprocess.Popen(self.server.process.args, **quiet)
        await until("MariaDB is back", self._answers, _PATIENCE)

    async def _answers(self) -> bool:
        with suppress(pymysql.err.OperationalError):
            return bool(await self.ask("SELECT 1"))
        return False


@dataclass
class Process:
    """One of payplat's processes and, after a kill, its successors. ``said`` is in its log when it works.

    ``code`` is how the last one ended, None while it runs.
    """

    name: str
    command: tuple[str, ...]
    said: str
    folder: Path
    environ: dict[str, str]
    code: int | None = 0
    _generation: int = 0
    _pid: int = 0
    _nursery: asyncio.subprocess.Process | None = None
    _wait: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start what starts the others, and the first of them."""
        self._nursery = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.prove.kill_process", *self.command,
            env=_FOREIGN | self.environ,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the one who takes all down
        )  # fmt: skip
        await self.start()

    async def start(self) -> None:
        """Start the next one, and wait until it works."""
        self._generation += 1
        log = self.folder / f"{self.name}-{self._generation}.log"
        self._nursery.stdin.write(f"{log}\n".encode())
        self._pid, self.code = int(await self._nursery.stdout.readline()), None
        self._wait = asyncio.create_task(self._learn())
        await until(f"{self.name} works", lambda: self._works(log), _PATIENCE)

    def send(self, sign: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        with suppress(ProcessLookupError):  # it has just ended
            if self.code is None:
                os.kill(self._pid, sign)

    async def end(self, sign: signal.Signals) -> int:
        """Send it a signal and return how it ended."""
        self.send(sign)
        await asyncio.wait([self._wait], timeout=_PATIENCE)
        if self.code is None:
            raise Failed(f"{self.name} does not end")
        return self.code

    async def close(self) -> None:
        """Kill it, and end what starts them."""
        if self._wait is not None:
            await self.end(signal.SIGKILL)
        if self._nursery is not None:
            self._nursery.stdin.close()
            await self._nursery.wait()

    async def _learn(self) -> None:
        self.code = int(await self._nursery.stdout.readline())

    def _works(self, log: Path) -> bool:
        if self.code is not None:
            raise Failed(f"{self.name} ended with {self.code}: {_text(log)[-2000:]}")
        return log.exists() and self.said in _text(log)


@dataclass(frozen=True)
class Scene:
    """What is played with."""

    folder: Path
    database: Server
    processes: list[Process]
    companies: Companies
    merchant: Merchant
    game: Game
    phone: Phone

    def order(self, way: str, mark: Path) -> None:
        """Let that process end that comes first to the end of ``way``; it writes the file ``mark``."""
        (self.folder / "order").write_text(f"{mark} {way}")
        for process in self.processes:
            process.send(signal.SIGUSR1)

    def dead(self) -> list[Process]:
        """Return the processes that have ended."""
        return [process for process in self.processes if process.code is not None]

    def stacks(self) -> Iterator[str]:
        """Return the last line of each stack that payplat wrote down: it foresees all that may happen here."""
        for log in sorted(self.folder.glob("*-*.log")):
            for line in _text(log).splitlines():
                if stack := _stack(line):
                    yield f"{log.name}: {stack}"


@asynccontextmanager
async def set_scene(folder: Path) -> AsyncIterator[Scene | None]:
    """Start everything; None when this machine has no MariaDB that may be killed."""
    server = await asyncio.to_thread(start_mariadb, folder, durable=True)
    if server is None or server.process is None:
        yield None
        return
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    companies, merchant, web = Companies.usual(), Merchant(secret), Web()
    ports = free_ports(2)
    database = Server(server)
    async with AsyncExitStack() as stack:
        stack.callback(database.kill)
        await database.ask("CREATE DATABASE payplat CHARACTER SET utf8mb4")
        front = await stack.enter_async_context(
            Proxy(*(f"127.0.0.1:{port}" for port in ports)).running()
        )
        stack.callback(web.close)
        for side in (companies, merchant):
            await side.start()
            stack.push_async_callback(side.stop)
        url = f"http://{front.address}"
        write_configuration(
            folder, (url, merchant.url), companies, merchant, secret, OurKeys.fresh()
        )
        processes = list(_processes(folder, f"{server.url}/payplat", ports))
        await _migrate(folder, processes[0].environ)
        for process in processes:
            stack.push_async_callback(process.close)
        await asyncio.gather(*(process.open() for process in processes))
        phone = Phone(web, "google", companies.google.url, {"package": PACKAGE, "test": True})
        yield Scene(folder, database, processes, companies, merchant, Game(web, url), phone)


def _processes(folder: Path, database: str, ports: list[int]) -> Iterator[Process]:
    environ = {
        "PAYPLAT_CONFIG": str(folder / "payplat.toml"),
        "PAYPLAT_DATABASE__URL": database,
        "PAYPLAT_ORDERS__LIFETIME_SECONDS": _LIFETIME,
        "KILL_ORDER": str(folder / "order"),
        "KILL_LEASE": _LEASE,
    }
    for port in ports:
        mine = {**environ, "PAYPLAT_SERVER__PORT": str(port)}
        yield Process(f"web-{port}", ("serve", "--no-worker"), '"serving"', folder, mine)
    for number in (1, 2):
        yield Process(f"worker-{number}", ("worker",), '"working"', folder, environ)


async def _migrate(folder: Path, environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "payplat", "migrate"]
    ended = await asyncio.create_subprocess_exec(
        *command, env=_FOREIGN | environ, stdout=asyncio.subprocess.DEVNULL
    )
    if await ended.wait():
        raise Failed("payplat migrate failed")


def _text(file: Path) -> str:
    return file.read_text(errors="replace")


def _stack(line: str) -> str:
    try:
        told = json.loads(line)
    except ValueError:  # Python itself wrote it
        return line
    return str(told.get("exception", "")).strip().rpartition("\n")[2]
