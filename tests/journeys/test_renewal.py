"""A new configuration without a restart: read on SIGHUP, no request lost; one with faults changes nothing."""

import asyncio
import base64
import contextlib
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.processes import Service, payplat
from tests.stage import Client

on_mariadb = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)


@pytest.fixture
def works() -> bool:
    """Only the processes under test work."""
    return False


@pytest.fixture
def environ(database_url) -> dict[str, str]:
    """What every process is started with."""
    return {"PAYPLAT_DATABASE__URL": database_url}


def new_secret() -> str:
    """A secret of an endpoint."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def change(stage, name: str, value: object) -> None:
    """Give a key of the configuration file another value."""
    path = stage.folder / "payplat.toml"
    lines = path.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{name} ="))
    path.write_text("\n".join([*lines[:at], f"{name} = {json.dumps(value)}", *lines[at + 1 :]]))


async def renewed(client, stage, service: Service, name="serve", told="configuration changed"):
    """Send SIGHUP and wait until the log tells what came of it once more."""
    log = stage.folder / f"{name}.log"
    before = log.read_text().count(told)
    os.kill(service.process.pid, signal.SIGHUP)
    await client.until(lambda: log.read_text().count(told) > before)


@asynccontextmanager
async def shoppers(service: Service) -> AsyncIterator[list[int]]:
    """Clients who open orders without a pause; yields the statuses of their answers."""
    statuses: list[int] = []
    is_over = asyncio.Event()

    async def shop() -> None:
        away = Client(service)
        while not is_over.is_set():
            statuses.append((await away.create()).status)

    both = [asyncio.create_task(shop()) for _ in range(3)]
    yield statuses
    is_over.set()
    await asyncio.gather(*both)


async def bought(client, service: Service) -> tuple[str, bytes]:
    """An order that was paid, and what Alipay answers its notice with at that service."""
    client.stage.alipay.faults.notification(drop=True)
    order_no = await client.entered()
    await client.stage.alipay.pay(order_no)
    reply = await Client(service).callback(client.stage.alipay.notification_body(order_no))
    return order_no, reply.body


async def test_a_secret_is_replaced_under_load(client, stage, environ):
    """An endpoint's secret goes from the old one over both to the new one; every request is answered, all events come."""
    merchant, old = stage.merchant, (stage.folder / "secrets" / "endpoint").read_text()
    new = new_secret()
    async with payplat(stage.folder, "serve", **environ) as service:
        async with shoppers(service) as statuses:
            for listed in ([old], [new, old], [new]):
                change(stage, "secret", listed)
                await renewed(client, stage, service)
                if old not in listed:
                    merchant._key = base64.b64decode(new.removeprefix("whsec_"))
                order_no, answer = await bought(client, service)
                assert answer == b"success"
                await client.until(lambda n=order_no: merchant.fulfilled[n])
        assert set(statuses) == {201}
        assert await service.stop() == 0
    assert all(received.valid for received in merchant.received)
    assert await client.count("attempts", "ok=0") == 0


async def test_a_providers_key_is_replaced(client, stage, environ):
    """A notice signed by Alipay's new key is believed as soon as that key was added, and by no other way."""
    file = stage.folder / "secrets" / "alipay_public_key.pem"
    right, other = file.read_text(), stage.folder / "secrets" / "alipay_old_key.pem"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    other.write_bytes(key.public_bytes(serialization.Encoding.PEM, form))
    file.write_text(other.read_text())
    async with payplat(stage.folder, "serve", **environ) as service, shoppers(service) as statuses:
        _, answer = await bought(client, service)
        assert answer == b"fail"
        file.write_text(right)
        change(
            stage,
            "alipay_public_key",
            ["file:secrets/alipay_old_key.pem", "file:secrets/alipay_public_key.pem"],
        )
        await renewed(client, stage, service)
        order_no, answer = await bought(client, service)
        assert answer == b"success"
    assert set(statuses) == {201}
    assert (await client.order(order_no))["status"] == "paid"


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("environment", "elsewhere", "environment"),
        ("private_key", "file:secrets/endpoint", "channels.alipay"),
        ("catalogue", "nowhere.toml", "nowhere.toml"),
    ],
)
async def test_a_broken_configuration_changes_nothing(client, stage, environ, name, value, fault):
    """With faults of any kind the service goes on as before and logs which; the next one without faults is taken."""
    path = stage.folder / "payplat.toml"
    good = path.read_text()
    async with payplat(stage.folder, "serve", **environ) as service, shoppers(service) as statuses:
        change(stage, name, value)
        await renewed(client, stage, service, told="configuration not changed")
        _, answer = await bought(client, service)
        assert answer == b"success"
        path.write_text(good)
        await renewed(client, stage, service)
        _, answer = await bought(client, service)
        assert answer == b"success"
    assert set(statuses) == {201}
    assert fault in (stage.folder / "serve.log").read_text()


async def test_a_worker_reads_it_again(client, stage, environ):
    """A worker takes a new secret too, and what it had begun with the old one is finished."""
    new = new_secret()
    async with payplat(stage.folder, "worker", **environ) as worker:
        log = stage.folder / "worker.log"
        await client.until(lambda: "working" in log.read_text())
        change(stage, "secret", [new])
        await renewed(client, stage, worker, "worker")
        stage.merchant._key = base64.b64decode(new.removeprefix("whsec_"))
        order_no = await client.entered()
        await stage.alipay.pay(order_no)
        await client.until(lambda: stage.merchant.fulfilled[order_no])
        assert await worker.stop() == 0
    assert all(received.valid for received in stage.merchant.received)


async def test_a_connection_outlives_the_configuration(client, stage, environ):
    """A connection that was idle meanwhile is answered by the new platform, long after the old one has closed."""
    async with payplat(stage.folder, "serve", **environ) as service:
        idle = HTTPConnection(service.url.removeprefix("http://"), timeout=30)
        with contextlib.closing(idle):
            assert await asyncio.to_thread(opened, idle) == 201
            await renewed(client, stage, service)
            await asyncio.sleep(0.5)  # the old one closes as soon as nothing runs there
            assert await asyncio.to_thread(opened, idle) == 201


def opened(connection: HTTPConnection) -> int:
    """The status of the answer to an order on that connection."""
    order = {"channel": "alipay", "product_id": "coins_500", "receiver": "player-1"}
    connection.request("POST", "/v1/create_order/", json.dumps(order))
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


@on_mariadb  # SQLite takes one serve process
async def test_a_parent_passes_it_on(client, stage, environ):
    """SIGHUP to the parent reaches every child, and a child that replaces a killed one begins with what was read last."""
    log, new = stage.folder / "serve.log", new_secret()
    async with payplat(stage.folder, "serve", "--processes", "2", **environ) as service:
        await client.until(lambda: log.read_text().count("serving") == 2)
        change(stage, "secret", [new])
        os.kill(service.process.pid, signal.SIGHUP)
        await client.until(lambda: log.read_text().count("configuration changed") == 2)
        change(stage, "environment", "elsewhere")
        await renewed(client, stage, service, told="configuration not changed")
        children = await asyncio.create_subprocess_exec(
            "pgrep", "-P", str(service.process.pid), stdout=asyncio.subprocess.PIPE
        )
        first = (await children.communicate())[0].split()[0]
        os.kill(int(first), signal.SIGKILL)
        await client.until(lambda: log.read_text().count('"serving"') == 3)
        stage.merchant._key = base64.b64decode(new.removeprefix("whsec_"))
        for _ in range(4):
            order_no, answer = await bought(client, service)
            assert answer == b"success"
            await client.until(lambda n=order_no: stage.merchant.fulfilled[n])
    assert all(received.valid for received in stage.merchant.received)
