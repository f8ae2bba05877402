"""The merchant's samples of docs/integrate.md, run as a new user would: they take what payplat signs alone."""

import asyncio
import base64
import json
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.documents import DOCS, Reader, blocks
from tests.processes import free_port

SECRET = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
HELPERS = {"python": "verify.py", "java": "Verify.java"}
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def port() -> int:
    """Where the sample listens."""
    return free_port()


@pytest.fixture
def overrides(port) -> dict[str, str]:
    """The staged service tells the sample of payments, instead of the demo's merchant."""
    where = "PAYPLAT_APPS__DEFAULT__ENDPOINTS__MAIN__"
    return {f"{where}URL": f"http://127.0.0.1:{port}/payplat/events", f"{where}SECRET": SECRET}


def sample(language: str) -> tuple[str, str]:
    """The file's name and the code of the page's sample in a language."""
    (block,) = [
        b
        for b in blocks(DOCS / "integrate.md")
        if b.language == language and "run " in b.marks + " "
    ]
    return block.marks.removeprefix("run "), block.code


def command(folder: Path, language: str) -> list[str]:
    """Put the sample beside the file that it needs, and return what runs it; skips without its runtime."""
    file, code = sample(language)
    (folder / file).write_text(code)
    shutil.copy(DOCS / "receiver" / HELPERS[language], folder)
    if language == "python":
        return [sys.executable, file]
    if shutil.which("javac") is None:
        pytest.skip("javac not found")
    subprocess.run(["javac", "-Xlint:all", "-d", ".", file, "Verify.java"], cwd=folder, check=True)
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", ".", "Merchant"]


@asynccontextmanager
async def merchant(folder: Path, language: str, port: int):
    """Run the sample until the block ends, from when it listens."""
    folder.mkdir()
    environ = {"PATH": "/usr/bin:/bin", "PAYPLAT_SECRET": SECRET, "PORT": str(port)}
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command(folder, language), cwd=folder, env=environ, stdout=log, stderr=log
        )
    try:
        for _ in range(300):
            assert process.returncode is None, (folder / "log").read_text()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
        yield
    finally:
        process.terminate()
        await process.wait()


async def posts(port: int, body: bytes, headers: dict[str, str]) -> int:
    """POST to the sample as anybody could; return the status of its answer."""
    url = f"http://127.0.0.1:{port}/payplat/events"
    got = await AsyncHTTPClient().fetch(
        url, method="POST", body=body, headers=headers, raise_error=False
    )
    return got.code


def forged(order_no: str) -> tuple[bytes, dict[str, str]]:
    """What somebody without the secret would send."""
    data = {"order_no": order_no, "receiver": "thief", "product_id": "coins_2800", "quantity": 99}
    body = json.dumps({"type": "order.paid", "data": {**data, "status": "paid"}}).encode()
    signed = base64.b64encode(secrets.token_bytes(32)).decode()
    headers = {"webhook-id": "evt_" + "0" * 32, "webhook-timestamp": str(int(time.time()))}
    return body, {**headers, "webhook-signature": f"v1,{signed}"}


@on_sqlite
@pytest.mark.parametrize("language", HELPERS)
async def test_a_sample_takes_what_payplat_signs_and_nothing_else(
    client, stage, language, port, tmp_path
):
    """A purchase reaches the sample once and is acknowledged; a forged event gets 401 and gives nothing."""
    folder = tmp_path / "merchant"
    async with merchant(folder, language, port):
        order_no = await client.entered()
        await stage.alipay.pay(order_no)
        await client.until(lambda: client.count("deliveries", "status='delivered'"))
        body, headers = forged("f" * 32)
        assert await posts(port, body, headers) == 401
        assert await posts(port, body, {}) == 401
        if language == "python":
            books = sqlite3.connect(folder / "merchant.db")
            goods = books.execute("SELECT * FROM goods").fetchall()
            books.close()
            assert goods == [(order_no, "player-1", "coins_500", 1)]


@on_sqlite
async def test_the_pages_commands_can_be_typed(client, stage, database_url, port, tmp_path):
    """The client's requests and the backend's commands on the page are answered as it says."""
    order_no = (await client.create()).json["order_no"]
    given = {"URL": stage.url, "ORDER": order_no, "PAYPLAT_DATABASE__URL": database_url}
    reader = Reader(stage, tmp_path, given)
    answers = []
    for block in blocks(DOCS / "integrate.md"):
        for line in block.lines if (block.language, block.marks) == ("sh", "run") else []:
            ended = await reader.types(line)
            assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
            answers.append(ended.stdout)
    created, looked = map(json.loads, answers[:2])
    assert created["payment"].keys() == {"order_string"}
    assert looked["order_no"] == order_no
    assert "payplat_" in answers[2]
