"""No secret leaves the processes: planted in every secret setting, looked for in everything that anybody can see."""

import asyncio
import base64
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from payplat.models import Base
from tests.canaries import Canaries, of_account, of_key
from tests.processes import free_port, payplat, run_here
from tests.stage import Client, form

on_mariadb = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)


@pytest.fixture
def works() -> bool:
    """The processes under test do all the work."""
    return False


@pytest.fixture
def password(mariadb) -> Iterator[str]:
    """The password of a user at the database."""
    password = secrets.token_hex(16)
    mariadb.execute(f"CREATE USER canary@'%' IDENTIFIED BY '{password}'")
    mariadb.execute("GRANT ALL ON *.* TO canary@'%'")
    yield password
    mariadb.execute("DROP USER canary@'%'")


@pytest.fixture
def canaries(stage, password) -> Canaries:
    """Every secret setting of the stage."""

    def planted(name: str) -> str:
        return (stage.folder / "secrets" / name).read_text()

    endpoint = planted("endpoint")
    return Canaries(
        {
            "database.url": [password.encode()],
            "endpoint": [endpoint.encode(), base64.b64decode(endpoint.removeprefix("whsec_"))],
            "alipay.private_key": of_key(planted("alipay_private_key.pem")),
            "apple.private_key": of_key(planted("apple_private_key.p8")),
            "google.service_account": of_account(planted("google_service_account.json")),
            "google.account_secret": [planted("google_account_secret").encode()],
        }
    )


@pytest.fixture
def environ(database_url, password) -> dict[str, str]:
    """The environment of the processes."""
    port = str(free_port())
    place = database_url.partition("@")[2]
    return {
        "PAYPLAT_DATABASE__URL": f"mariadb://canary:{password}@{place}",
        "PAYPLAT_SERVER__PORT": port,
        "PAYPLAT_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }


class Listener(Client):
    """A client that keeps all it hears."""

    def __init__(self, service) -> None:
        super().__init__(service)
        self.heard = b""

    async def call(self, *arguments, **options):
        """Make a request and keep the answer, its headers too."""
        reply = await super().call(*arguments, **options)
        self.heard += repr(dict(reply.headers)).encode() + reply.body
        return reply


async def everything_stored(stage) -> AsyncIterator[bytes]:
    """What the processes wrote into the database."""
    for table in Base.metadata.sorted_tables:
        rows = await stage.platform.database.read(lambda c, t=table: c.execute(t.select()))
        yield repr(rows.all()).encode()


@on_mariadb
def test_a_canary_is_heard_in_every_form(stage, canaries, environ):
    """Whole files, hex, Base64 at any place, wrapped and escaped: the search finds what it is to find."""
    for file in (stage.folder / "secrets").iterdir():
        raw = file.read_bytes()
        told = canaries.heard_in(raw)
        public = file.name in ("alipay_public_key.pem", "apple_root.pem")
        assert bool(told) is not public, file.name
        if not public:
            assert canaries.heard_in(repr(raw.decode()).encode()) == told
            assert canaries.heard_in(b"x" * 7 + raw[len(raw) // 3 : -40]) == told or len(raw) < 200
    for name, blobs in canaries.secrets.items():
        for blob in blobs:
            for before in (b"", b"a", b"ab"):
                for told in (blob, blob.hex().encode(), base64.b64encode(before + blob)):
                    assert name in canaries.heard_in(b"<" + told + b">")
    assert canaries.heard_in(environ["PAYPLAT_DATABASE__URL"].encode()) == ["database.url"]
    assert canaries.heard_in(secrets.token_bytes(100_000).hex().encode()) == []


@on_mariadb
@pytest.mark.gen_test(timeout=280)
async def test_no_secret_leaves_the_processes(client, stage, canaries, environ, mariadb):
    """A purchase, a forgery, failing deliveries and providers, an unexpected error, doctor: nobody learns a secret."""
    stage.merchant.next("500", "garbage", "reset")
    async with (
        payplat(stage.folder, "serve", "--no-worker", **environ) as service,
        payplat(stage.folder, "worker", **environ),
    ):
        service.alipay = stage.alipay
        away = Listener(service)
        order_no = await away.entered()
        await stage.alipay.pay(order_no)
        await client.until(lambda: stage.merchant.fulfilled[order_no])
        forged = {"out_trade_no": order_no, "sign": "AAAA", "sign_type": "RSA2"}
        assert (await away.callback(form(forged))).body == b"fail"
        stage.alipay.next_answers(*["http_500"] * 4)
        other = (await away.create()).json["order_no"]
        assert (await away.verify(other)).status >= 500
        assert (await away.call("POST", "/v1/create_order/", b"{")).status == 400
        for path in ("/readyz", "/healthz", f"/v1/orders/{order_no}", "/v1/events", "/nowhere"):
            await away.call("GET", path)
        # A table that is gone is nothing that anybody expects.
        name = environ["PAYPLAT_DATABASE__URL"].rpartition("/")[2]
        mariadb.execute(f"RENAME TABLE {name}.timeline TO {name}.gone")
        assert (await away.call("GET", f"/v1/orders/{order_no}")).status == 500
        mariadb.execute(f"RENAME TABLE {name}.gone TO {name}.timeline")
        ended = await asyncio.to_thread(run_here, stage, "doctor", **environ)
    logs = b"".join(file.read_bytes() for file in stage.folder.glob("*.log"))
    assert b"Traceback" in logs
    assert "channel google" in ended.stdout
    seen = {
        "logs": logs,
        "answers": away.heard,
        "deliveries": b"".join(received.body for received in stage.merchant.received),
        "doctor": (ended.stdout + ended.stderr).encode(),
        "database": b"".join([rows async for rows in everything_stored(stage)]),
    }
    assert all(seen.values())
    assert [(where, canaries.heard_in(what)) for where, what in seen.items()] == [
        (where, []) for where in seen
    ]


FAULTS = {
    "PAYPLAT_DATABASE__URL": lambda url: [
        url.replace("mariadb", "postgresql"),
        url.replace("127.0.0.1:", "127.0.0.1:x"),
        url.replace("@127.0.0.1", "x@127.0.0.1"),  # a wrong password
        url.replace("//canary", "//nobody"),
        url + "_no_such_database",
        url.replace("127.0.0.1", "nowhere.invalid"),
        url.removeprefix("mariadb://"),
    ],
    "PAYPLAT_APPS__DEFAULT__ENDPOINTS__MAIN__SECRET": lambda secret: [
        secret[:30],
        secret.removeprefix("whsec_"),
        secret * 2,
        f'["{secret}", ["{secret}"]]',
    ],
    "PAYPLAT_CHANNELS__ALIPAY__PRIVATE_KEY": lambda key: [key[:-200], key[200:], f'["{key[:99]}"]'],
    "PAYPLAT_CHANNELS__ALIPAY__ALIPAY_PUBLIC_KEY": lambda key: [key],
    "PAYPLAT_CHANNELS__APPLE__PRIVATE_KEY": lambda key: [key[:-60], key.replace("BEGIN", "")],
    "PAYPLAT_CHANNELS__GOOGLE__SERVICE_ACCOUNT": lambda text: [
        text[:-100],
        text.replace("-----END", "-----"),
        f"[{text}]",
        text.replace("client_email", "clientemail"),
    ],
    "PAYPLAT_CHANNELS__GOOGLE__ACCOUNT_SECRET": lambda secret: [
        secret[:20],
        f'["{secret}"]',
        f'{{"{secret}": 1}}',
    ],
}
FILES = {
    "PAYPLAT_APPS__DEFAULT__ENDPOINTS__MAIN__SECRET": "endpoint",
    "PAYPLAT_CHANNELS__ALIPAY__PRIVATE_KEY": "alipay_private_key.pem",
    "PAYPLAT_CHANNELS__ALIPAY__ALIPAY_PUBLIC_KEY": "alipay_private_key.pem",
    "PAYPLAT_CHANNELS__APPLE__PRIVATE_KEY": "apple_private_key.p8",
    "PAYPLAT_CHANNELS__GOOGLE__SERVICE_ACCOUNT": "google_service_account.json",
    "PAYPLAT_CHANNELS__GOOGLE__ACCOUNT_SECRET": "google_account_secret",
}


@on_mariadb
@pytest.mark.gen_test(timeout=280)
@pytest.mark.parametrize("name", FAULTS)
async def test_no_fault_tells_a_secret(stage, canaries, environ, name):
    """A secret that is damaged, swapped or in the wrong place stops the start by its name alone."""
    right = environ.get(name) or (stage.folder / "secrets" / FILES[name]).read_text()
    for wrong in FAULTS[name](right):
        given = {**environ, name: wrong}
        ended = await asyncio.to_thread(run_here, stage, "serve", **given)
        told = ended.stdout + ended.stderr
        assert ended.returncode in (1, 3), told
        assert canaries.heard_in(told.encode()) == []
        key = name.removeprefix("PAYPLAT_").lower().split("__")
        assert ".".join(key[:2]) in told
        assert key[-1] in told


_FAULT = """
import structlog
from payplat.logs import configure_logging
configure_logging()
try:
    canary = "".join(["can", "ary"])
    raise ValueError("boom")
except ValueError:
    structlog.get_logger("payplat").exception("work failed")
"""


def test_a_terminal_is_shown_no_variables():
    """Colours come with tracebacks, which must not show what the functions held."""
    ours, theirs = os.openpty()
    subprocess.run([sys.executable, "-W", "error", "-c", _FAULT], stderr=theirs, timeout=60)
    shown = os.read(ours, 100_000)
    os.close(ours)
    os.close(theirs)
    assert b"boom" in shown
    assert b"canary" not in shown.replace(b'"can", "ary"', b"")
