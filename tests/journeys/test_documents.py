"""The documents, followed as a reader would: their commands are typed, their samples are run."""

import shutil
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from payplat.database import Database
from payplat.models import EVENTS, ORDERS
from tests.documents import DOCS, Reader, blocks


@pytest.fixture
def works(request) -> bool:
    """The operator of docs/operating.md has stopped the jobs."""
    return "operating" not in request.node.name


@pytest.fixture
def synced(request, database_url):
    """A MariaDB that syncs its commits as docs/operating.md demands; the tests' own does not, to be fast."""
    if database_url.startswith("sqlite"):
        yield
        return
    server = request.getfixturevalue("mariadb")
    ((_, before),) = server.execute("SHOW VARIABLES LIKE 'innodb_flush_log_at_trx_commit'")
    server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    yield
    server.execute(f"SET GLOBAL innodb_flush_log_at_trx_commit = {before}")


@pytest.fixture
def named(request, database_url, tmp_path):
    """The variables of docs/operating.md, and the file with the database's user and password."""
    if database_url.startswith("sqlite"):
        if shutil.which("sqlite3") is None:
            pytest.skip("sqlite3 not found: apt-get install sqlite3")
        yield {"PAYPLAT_DATABASE__URL": database_url, "DATABASE": database_url[10:]}
        return
    url = urlsplit(database_url)
    account = {"host": url.hostname, "port": url.port, "user": url.username}
    account |= {"password": url.password} if url.password else {}
    lines = "".join(f"{name}={value}\n" for name, value in account.items())
    (tmp_path / "backup.cnf").write_text(f"[client]\n{lines}")
    with request.getfixturevalue("mariadb").fresh_database() as restored:
        yield {
            "PAYPLAT_DATABASE__URL": database_url,
            "DATABASE": url.path.strip("/"),
            "RESTORED": restored.rpartition("/")[2],
            "RESTORED_URL": restored,
        }


async def paid_events(url: str, order_no: str) -> list[str]:
    """The ids of the events that tell of an order's payment, in the database at ``url``."""
    database = Database(url)
    told = select(EVENTS.c.event_id).where(
        EVENTS.c.order_no == order_no, EVENTS.c.type == "order.paid"
    )
    found = list((await database.read(lambda c: c.execute(told))).scalars())
    await database.close()
    return found


async def status(url: str, order_no: str) -> str:
    """How an order stands in the database at ``url``."""
    database = Database(url)
    asked = select(ORDERS.c.status).where(ORDERS.c.order_no == order_no)
    found = (await database.read(lambda c: c.execute(asked))).scalar_one()
    await database.close()
    return found


@pytest.mark.gen_test(timeout=280)
async def test_operating_says_what_can_be_typed(
    client, stage, database_url, synced, named, tmp_path
):
    """Every command marked `run` ends well, and a payment after the backup is found again in what was restored."""
    order_no = await client.entered()
    reader = Reader(stage, tmp_path, {**named, "ORDER": order_no})
    engine = "sqlite" if database_url.startswith("sqlite") else "mariadb"
    first = []
    for block in blocks(DOCS / "operating.md"):
        if block.language != "sh" or block.marks not in ("run", f"run {engine}"):
            continue
        for line in block.lines:
            ended = await reader.types(line)
            assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
            if "backup" in line and not first:
                await stage.alipay.pay(order_no)
                assert await status(database_url, order_no) == "paid"
                first = await paid_events(database_url, order_no)
            if line.endswith("payplat migrate") and first:
                reader.given["PAYPLAT_DATABASE__URL"] = named.get("RESTORED_URL", database_url)
                assert await status(reader.given["PAYPLAT_DATABASE__URL"], order_no) == "pending"
    restored = reader.given["PAYPLAT_DATABASE__URL"]
    assert await status(restored, order_no) == "paid"
    again = await paid_events(restored, order_no)
    assert len(first) == len(again) == 1
    assert first != again
