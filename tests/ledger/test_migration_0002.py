"""The second schema version on a database that is in use at the first: nothing is lost, the new rules hold."""

from collections.abc import AsyncIterator

import pytest
from alembic import command
from sqlalchemy import CheckConstraint, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError

from payplat import schema
from payplat.database import Database
from tests.ledger.build import TABLES, TERMS, fetch, ledger_on, paid
from tests.ledger.invariants import breaches

NO = "0" * 32
OLD = {
    "orders": {
        "order_no": NO,
        "app": "default",
        "channel": "shop_refund",
        "kind": "alipay",
        "environment": "sandbox",
        "account": "2021/2088",
        "method": "page",
        "product_id": "coins_500",
        "sku": "coins.500",
        "quantity": 1,
        "amount": 600,
        "currency": "CNY",
        "title": "500 coins 金币",
        "receiver": "player-1",
        "metadata": "{}",
        "return_url": None,
        "idempotency_key": None,
        "request_sha256": "1" * 64,
        "status": "pending",
        "refunded": 0,
        "payment": None,
        "preparing_until": 0,
        "created_at": 1,
        "expires_at": 2,
        "settled_at": None,
        "next_check_at": 3,
        "checks": 4,
        "lease_token": None,
    },
    "evidence": {
        "id": 3,
        "kind": "alipay",
        "environment": "sandbox",
        "sha256": "2" * 64,
        "order_no": NO,
        "source": "callback",
        "state": "used",
        "reason": "",
        "raw": b"\x00\xff",
        "created_at": 1,
    },
    "refunds": {
        "id": 5,
        "order_no": NO,
        "kind": "alipay",
        "environment": "sandbox",
        "account": "2021/2088",
        "transaction_key": "3" * 64,
        "refund_key": "r1",
        "amount": 100,
        "whole": 0,
        "created_at": 1,
        "reversed_at": None,
    },
    "duties": {
        "id": 7,
        "order_no": NO,
        "channel": "shop_refund",
        "what": "refund",
        "cause": "late",
        "status": "due",
        "due_at": 1,
        "failures": 2,
        "lease_token": None,
        "created_at": 1,
        "done_at": None,
    },
}
NEW = {
    "orders": {"consumable": 1, "waits": 0, "checked_at": None},
    "evidence": {"transaction_key": None, "answer": None, "resolution": None},
    "refunds": {"share": None, "type": "", "refunded_at": None, "returned": None},
    "duties": {},
}
DUTIES = TABLES["duties"]


def upgrade(connection, revision: str) -> None:
    """Bring the database to that version."""
    command.upgrade(schema.alembic_config(connection), revision)


@pytest.fixture
async def old(empty_url) -> AsyncIterator[Database]:
    """A database at the first version with a row in each table that the second one changes."""
    database = Database(empty_url)
    async with database.engine.connect() as connection:
        await connection.run_sync(upgrade, "0001")
        for name, row in OLD.items():
            columns, places = ", ".join(row), ", ".join(f":{column}" for column in row)
            await connection.execute(text(f"INSERT INTO {name} ({columns}) VALUES ({places})"), row)
        await connection.commit()
    yield database
    await database.close()


async def test_the_rows_survive(old):
    """Every row of before reads as it was, and its new columns say what was true of it all along."""
    assert await schema.version(old) == "0001"
    await schema.migrate(old)
    assert await schema.version(old) == schema.newest_version()
    for name, row in OLD.items():
        assert await fetch(old, select(TABLES[name])) == [row | NEW[name]]


async def test_the_tables_are_what_the_models_say(old):
    """A database that came from the first version is like one that never was there, also when migrated twice."""
    assert list(await schema.differences(old)) != []
    for _ in range(2):
        await schema.migrate(old)
        assert list(await schema.differences(old)) == []


async def add_duty(database, **changes):
    """Write another duty."""
    row = {name: value for name, value in OLD["duties"].items() if name != "id"}
    return await database.transaction(
        lambda c: c.execute(insert(DUTIES).values({**row, "cause": "", **changes}))
    )


async def test_a_duty_may_be_held(old):
    """The first version refuses a held duty, the second allows it, under an id of its own."""
    with pytest.raises(DBAPIError):
        await add_duty(old, status="held")
    await schema.migrate(old)
    await add_duty(old, status="held")
    ids = {row["id"]: row["status"] for row in await fetch(old, select(DUTIES))}
    assert sorted(ids.values()) == ["due", "held"]
    assert len(ids) == 2


@pytest.mark.parametrize("changes", [{"status": "nonsense"}, {"status": ""}, {"cause": "late"}])
async def test_nonsense_is_still_refused(old, changes):
    """Check and key of the duties hold after the change as before."""
    await schema.migrate(old)
    with pytest.raises(DBAPIError):
        await add_duty(old, **changes)


def checks_of(connection) -> dict[str, list[str | None]]:
    """Return the names of every table's checks, as the database has them."""
    found = inspect(connection)
    return {name: sorted(c["name"] for c in found.get_check_constraints(name)) for name in TABLES}


async def test_the_checks_are_those_of_the_models(old):
    """No check of before is left over and none is missing, so that a later migration can speak of each by its name."""
    await schema.migrate(old)
    said = {
        name: sorted(c.name for c in table.constraints if isinstance(c, CheckConstraint))
        for name, table in TABLES.items()
    }
    assert await old.read(lambda c: c.run_sync(checks_of)) == said


async def test_the_ledger_works_on(old):
    """An order of before is paid after the migration, and the books are right."""
    await schema.migrate(old)
    for name in ("refunds", "duties", "evidence"):
        await old.transaction(lambda c, name=name: c.execute(TABLES[name].delete()))
    ledger = ledger_on(old)
    order = await ledger.orders.get(NO)
    assert (order.consumable, order.waits) == (True, False)
    assert await ledger.settle(paid(order)) == ["paid"]
    assert breaches(await ledger.snapshot(), TERMS) == []
