"""The service as processes: started, stopped, refused."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.processes import payplat, run, run_here
from tests.stage import Client

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_mariadb = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)


@pytest.fixture
def works() -> bool:
    """The worker under test is another process."""
    return False


async def test_sigterm_drains(client, stage, database_url):
    """Requests in hand are answered, what was answered is durable, and the exit code is 0."""
    async with payplat(stage.folder, "serve", PAYPLAT_DATABASE__URL=database_url) as service:
        away = Client(service)
        created = [asyncio.ensure_future(away.create()) for _ in range(40)]
        await asyncio.wait(created, return_when=asyncio.FIRST_COMPLETED)
        assert await service.stop(signal.SIGTERM) == 0
        replies = await asyncio.gather(*created, return_exceptions=True)
        answered = [r for r in replies if not isinstance(r, BaseException) and r.status == 201]
    assert answered
    for reply in answered:
        assert await client.count("orders", f"order_no='{reply.json['order_no']}'") == 1


@on_sqlite  # the request waits for Alipay, not for the database
async def test_a_request_in_hand_is_answered(client, stage, database_url):
    """A request that waits for Alipay when SIGTERM comes still gets its answer."""
    stage.alipay.next_answers("slow", seconds=1.5)
    async with payplat(stage.folder, "serve", PAYPLAT_DATABASE__URL=database_url) as service:
        asked = asyncio.ensure_future(Client(service).create(method="qr"))
        await client.until(lambda: stage.alipay.received)
        assert await service.stop(signal.SIGTERM) == 0
        assert (await asked).status == 201


@on_mariadb  # SQLite takes one serve process
@pytest.mark.parametrize("method", ["app", "qr"])
async def test_one_key_over_four_processes(client, stage, database_url, method):
    """Fifty requests at once with one key, over four processes, open one order; all that are answered have the same."""
    arguments = ("serve", "--processes", "4", "--no-worker")
    async with payplat(stage.folder, *arguments, PAYPLAT_DATABASE__URL=database_url) as service:
        away = Client(service)
        replies = await asyncio.gather(*(away.create(key="k", method=method) for _ in range(50)))
        repeated = await away.create(key="k", method=method)
        other = await away.create(key="k", method=method, quantity=2)
    told = {reply.body for reply in [*replies, repeated] if reply.status == 201}
    assert len(told) == 1
    assert repeated.status == 201
    assert {r.json.get("code") for r in replies if r.status != 201} <= {"still_running"}
    assert (other.status, other.json["code"]) == (422, "idempotency_mismatch")
    assert await client.count("orders") == 1


async def test_a_worker_is_enough_to_deliver(client, stage, database_url):
    """A serve process without worker takes the payment, a worker process delivers it."""
    async with payplat(stage.folder, "worker", PAYPLAT_DATABASE__URL=database_url) as worker:
        order_no = await client.entered()
        await stage.alipay.pay(order_no)
        await client.until(lambda: stage.merchant.fulfilled[order_no])
        assert await worker.stop() == 0


@on_mariadb  # SQLite takes one serve process
async def test_a_killed_serve_process_is_replaced(client, stage, database_url):
    """Of two serve processes one is killed: another takes its place, and SIGTERM to the parent ends both with 0."""
    environ = {"PAYPLAT_DATABASE__URL": database_url}
    async with payplat(stage.folder, "serve", "--processes", "2", **environ) as service:
        children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
        first, second = children.read_text().split()
        os.kill(int(first), signal.SIGKILL)
        await client.until(lambda: len(set(children.read_text().split()) - {first}) == 2)
        assert second in children.read_text().split()
        assert (await Client(service).create()).status == 201
        assert await service.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in (first, second))


@on_sqlite
async def test_sqlite_takes_one_serve_process(stage):
    """More than one process on SQLite is refused with the reason and exit code 2."""
    ended = await asyncio.to_thread(
        run, stage, "serve", "--processes", "2", PAYPLAT_DATABASE__URL="sqlite:///x.db"
    )
    assert (ended.returncode, "SQLite takes one" in ended.stderr) == (2, True)


@on_sqlite  # no database is opened
async def test_faults_in_the_configuration_stop_the_start(stage):
    """Every fault is told by name, and the exit code is 3."""
    ended = await asyncio.to_thread(
        run, stage, "serve", PAYPLAT_SERVRE__PORT="1", PAYPLAT_ENVIRONMENT="production"
    )
    assert ended.returncode == 3
    assert "servre: unknown key" in ended.stderr
    ended = await asyncio.to_thread(run_here, stage, "serve", PAYPLAT_ENVIRONMENT="production")
    assert "auth.mode" in ended.stderr


@on_sqlite  # what the stage is on; the test brings its own MariaDB
async def test_an_old_schema_is_not_served(stage, mariadb):
    """On MariaDB the service asks for `payplat migrate` instead of guessing; after it doctor finds all well."""
    with mariadb.fresh_database() as url:
        environ = {"PAYPLAT_DATABASE__URL": url}
        ended = await asyncio.to_thread(run, stage, "serve", **environ)
        assert (ended.returncode, "payplat migrate" in ended.stderr) == (3, True)
        assert (await asyncio.to_thread(run, stage, "migrate", **environ)).returncode == 0
        ended = await asyncio.to_thread(run, stage, "doctor", **environ)
        wrong = [line for line in ended.stdout.splitlines() if line.startswith("✗")]
        # The tests' own server does not sync its commits, and doctor sees that.
        assert all(line.startswith("✗ durability") for line in wrong)
        assert "✓ channel alipay" in ended.stdout


@on_sqlite  # what is wrong is at Alipay
async def test_doctor_names_what_is_wrong(stage, database_url):
    """A key that Alipay does not know is one line of the findings, and the exit code is 1."""
    stage.alipay.apps.clear()
    ended = await asyncio.to_thread(run, stage, "doctor", PAYPLAT_DATABASE__URL=database_url)
    assert ended.returncode == 1
    assert "✗ channel alipay" in ended.stdout


async def test_exhausted_deliveries_by_command_line(client, stage, database_url):
    """`payplat deliveries` lists and resends."""
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    environ = {"PAYPLAT_DATABASE__URL": database_url}
    by = run if database_url.startswith("sqlite") else run_here
    listed = await asyncio.to_thread(by, stage, "deliveries", "list", "--json", **environ)
    assert order_no in listed.stdout
    refused = await asyncio.to_thread(run_here, stage, "deliveries", "resend", "1", **environ)
    assert refused.returncode == 1
