"""Fixtures for all tests: a loop per test, async fixtures, a private MariaDB, both databases, and a line of lanes."""

import asyncio
import functools
import inspect
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tornado.ioloop
import tornado.testing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from payplat import reconcile
from payplat.database import Database
from payplat.demo.stage import Companies, OurKeys, Stage, set_stage
from payplat.group_commit import GroupCommit
from payplat.simulators.alipay.server import AlipaySimulator
from payplat.simulators.apple.server import AppleSimulator
from payplat.simulators.google.server import GoogleSimulator
from tests.mariadb import MariaDB, private_mariadb, roomy_memory
from tests.migrated import migrated
from tests.stage import Client

REQUIRED = set(filter(None, os.environ.get("PAYPLAT_REQUIRE", "").split(",")))

# All files of the tests lie in memory where there is room: a disk under many small databases stops for seconds at times.
if memory := roomy_memory():
    tempfile.tempdir = os.environ["TMPDIR"] = str(memory)
# So does a machine under three tests at once. Tests of these limits name their own.
Database.__init__.__kwdefaults__["deadline"] = 30.0
GroupCommit.__init__.__kwdefaults__["patience"] = 30.0


@pytest.fixture
def io_loop() -> Iterator[tornado.ioloop.IOLoop]:
    """A loop for each test."""
    with fresh_loop() as io_loop:
        yield io_loop


@contextmanager
def fresh_loop() -> Iterator[tornado.ioloop.IOLoop]:
    """A loop, without the deprecated calls of pytest-tornado's own."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    io_loop = tornado.ioloop.IOLoop.current()
    yield io_loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(_driver_threads_end())
    asyncio.set_event_loop(None)
    io_loop.close(all_fds=True)


async def _driver_threads_end() -> None:
    """Wait for SQLite's driver threads: a call that was given up still answers its loop, which must be there."""
    for _ in range(300):
        if not any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):
            return
        await asyncio.sleep(0.01)


@pytest.fixture
def _unused_port() -> Iterator[tuple[object, int]]:
    sock, port = tornado.testing.bind_unused_port()
    yield sock, port
    sock.close()


@pytest.fixture
def base_url(http_port: int) -> str:
    """The address of pytest-tornado's server."""
    return f"http://127.0.0.1:{http_port}"


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    """Run async fixtures on the test's own loop."""
    function = fixturedef.func
    is_generator = inspect.isasyncgenfunction(function)
    if not is_generator and not inspect.iscoroutinefunction(function):
        return (yield)
    io_loop = request.getfixturevalue("io_loop")

    def run(*args, **kwargs):
        if not is_generator:
            return io_loop.run_sync(lambda: function(*args, **kwargs))
        generator = function(*args, **kwargs)
        value = io_loop.run_sync(generator.__anext__)

        async def finish():
            try:
                await generator.__anext__()
            except StopAsyncIteration:
                return
            raise RuntimeError("an async fixture yielded twice")

        request.addfinalizer(lambda: io_loop.run_sync(finish))
        return value

    fixturedef.func = run
    try:
        return (yield)
    finally:
        fixturedef.func = function


def pytest_collection_modifyitems(items):
    """Mark every coroutine test for pytest-tornado."""
    for item in items:
        if inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.gen_test(timeout=240))


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A private MariaDB for this run, or one named by PAYPLAT_TEST_MYSQL_URL."""
    with private_mariadb() as server:
        if server is None:
            reason = "mariadbd not found: apt-get install mariadb-server-core mariadb-client-core"
            if "mariadb" in REQUIRED:
                pytest.fail(reason)
            pytest.skip(reason)
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory) -> Path:
    """An empty SQLite file with the newest schema, to be copied."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrated(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def mariadb_template(mariadb: MariaDB) -> Iterator[str]:
    """A MariaDB database with the newest schema, to be copied: making one takes long."""
    with mariadb.fresh_database() as url:
        yield migrated(url)


@pytest.fixture(params=["sqlite", "mariadb"])
def database_url(request, tmp_path: Path) -> Iterator[str]:
    """The address of a database with the newest schema and no row, on each engine in turn."""
    request.node.user_properties.append(("lane", request.param))
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "payplat.db")
        yield f"sqlite:///{tmp_path / 'payplat.db'}"
    else:
        template = request.getfixturevalue("mariadb_template")
        with request.getfixturevalue("mariadb").copied_database(template) as url:
            yield url


@pytest.fixture(params=["sqlite", "mariadb"])
def empty_url(request, tmp_path: Path) -> Iterator[str]:
    """The address of a database without a table, on each engine in turn."""
    request.node.user_properties.append(("lane", request.param))
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        with request.getfixturevalue("mariadb").fresh_database() as url:
            yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty database with the newest schema, on each engine in turn."""
    database = Database(database_url)
    yield database
    await database.close()


_lanes: Counter[str] = Counter()
_skipped: set[str] = set()


def pytest_runtest_logreport(report):
    """Count what ran on which lane."""
    lane = dict(report.user_properties).get("lane", "plain")
    if report.when == "call" and report.passed:
        _lanes.update([lane])
    elif report.skipped:
        _skipped.add(lane)


INSTALL = {
    "mariadb": "mariadb-server-core mariadb-client-core",
    "browser": "chromium fonts-wqy-microhei libatomic1",
}


def pytest_terminal_summary(terminalreporter):
    """Say what ran where, in one line; a lane that could not run names the command that helps."""
    told = [f"{lane} {_lanes[lane]} passed" for lane in ("plain", "sqlite")]
    for lane, packages in INSTALL.items():
        skipped = lane in _skipped and not _lanes[lane]
        told.append(
            f"{lane} "
            + (f"SKIPPED (apt-get install {packages})" if skipped else f"{_lanes[lane]} passed")
        )
    terminalreporter.write_line("lanes: " + " | ".join(told))


def pytest_sessionfinish(session):
    """A required lane in which nothing passed fails a whole run; only who collects all reports can tell."""
    if hasattr(session.config, "workerinput"):
        return
    whole = not session.config.option.keyword and session.config.args == session.config.getini(
        "testpaths"
    )
    if whole and session.exitstatus == 0 and any(not _lanes[lane] for lane in REQUIRED):
        session.exitstatus = 1


@pytest.fixture
def overrides() -> dict[str, str]:
    """Configuration that a test module sets differently, as in the environment."""
    return {}


@pytest.fixture(scope="session")
def our_keys() -> OurKeys:
    """Our keys, made once: making keys is slow."""
    return OurKeys.fresh()


@pytest.fixture(scope="session")
def their_keys() -> tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]:
    """The keys of Alipay and Google, made once."""
    made = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    return next(made), next(made)


@pytest.fixture(scope="session", autouse=True)
def _a_key_is_checked_once() -> Iterator[None]:
    """Remember keys that were read: OpenSSL tests an RSA key's primes each time, and every stage reads the same two."""
    with pytest.MonkeyPatch.context() as patch:
        read = functools.cache(serialization.load_pem_private_key)
        patch.setattr(serialization, "load_pem_private_key", read)
        yield


@pytest.fixture
def works() -> bool:
    """Whether the staged service runs its worker."""
    return True


@pytest.fixture
async def alipay(their_keys) -> AlipaySimulator:
    """Alipay's simulator, listening."""
    simulator = AlipaySimulator(time_factor=100.0, platform_key=their_keys[0])
    await simulator.start()
    return simulator


@pytest.fixture
async def apple() -> AppleSimulator:
    """Apple's simulator, listening."""
    simulator = AppleSimulator(time_factor=100.0)
    await simulator.start()
    return simulator


@pytest.fixture
async def google(their_keys) -> GoogleSimulator:
    """Google's simulator, listening."""
    simulator = GoogleSimulator(time_factor=100.0, signing_key=their_keys[1])
    await simulator.start()
    return simulator


@pytest.fixture
def asks() -> Iterator[bool]:
    """Whether who looks at a pending order makes the provider be asked: not where a test looks at what stands there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "_MOST_LOOKS", 0)
        yield False


@pytest.fixture
async def stage(
    database_url, alipay, apple, google, overrides, works, asks, our_keys, tmp_path
) -> AsyncIterator[Stage]:
    """The whole service, simulators and a merchant, on each engine in turn."""
    given = {"PAYPLAT_DATABASE__URL": database_url, **overrides}
    async with set_stage(
        tmp_path,
        overrides=given,
        work=works,
        companies=Companies(alipay, apple, google),
        keys=our_keys,
    ) as stage:
        yield stage


@pytest.fixture
def client(stage: Stage) -> Client:
    """A client of the staged service."""
    return Client(stage)
