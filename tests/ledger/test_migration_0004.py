"""The fourth schema version on a database that is in use at the third: nothing is lost, what is new can be kept."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from payplat import schema, seam
from payplat.database import Database
from payplat.endpoints import Status, pause, states
from payplat.models import DUTIES, ORDERS
from tests.ledger.build import fetch
from tests.ledger.test_migration_0002 import OLD, upgrade

STANDS = {"bind": "held", "consume": "due", "acknowledge": "done", "refund": "exhausted"}
# A token as the leases make them: what a worker of the old version holds while the new one starts.
HELD = {"lease_token": "f" * 32, "due_at": seam.now() + 20 * seam.SECOND, "failures": 3}
OWED = [
    {**OLD["duties"], **HELD, "id": number, "what": what, "status": status}
    for number, (what, status) in enumerate(STANDS.items(), start=7)
]
ENDPOINT = "a" * 64 + "/" + "b" * 64


@pytest.fixture
async def old(empty_url) -> AsyncIterator[Database]:
    """A database at the third version with an order and a duty in each state."""
    database = Database(empty_url)
    async with database.engine.connect() as connection:
        await connection.run_sync(upgrade, "0003")
        for table, row in (("orders", OLD["orders"]), *(("duties", duty) for duty in OWED)):
            columns, places = ", ".join(row), ", ".join(f":{column}" for column in row)
            await connection.execute(
                text(f"INSERT INTO {table} ({columns}) VALUES ({places})"), row
            )
        await connection.commit()
    yield database
    await database.close()


async def test_the_rows_survive(old):
    """Order and duties read as they were, leases and ids too, in the tables that the models say, migrated twice."""
    assert list(await schema.differences(old)) != []
    for _ in range(2):
        await schema.migrate(old)
        assert list(await schema.differences(old)) == []
    assert await schema.version(old) == schema.newest_version()
    (order,) = await fetch(old, select(ORDERS))
    assert OLD["orders"].items() <= order.items()
    assert order["checked_at"] is None
    assert await fetch(old, select(DUTIES).order_by(DUTIES.c.id)) == OWED


async def write(database, statement):
    """Run one statement."""
    await database.transaction(lambda c: c.execute(statement))


async def test_what_is_new_can_be_kept(old):
    """A duty may be void only from now on, nonsense and doubles are still refused, the longest endpoint is paused."""
    held = DUTIES.update().where(DUTIES.c.what == "bind")
    with pytest.raises(DBAPIError):
        await write(old, held.values(status="void"))
    await schema.migrate(old)
    await write(old, held.values(status="void"))
    double = {name: value for name, value in OWED[0].items() if name != "id"}
    for wrong in (held.values(status="nonsense"), insert(DUTIES).values(double)):
        with pytest.raises(DBAPIError):
            await write(old, wrong)
    await write(old, insert(DUTIES).values({**double, "cause": "another"}))
    await old.transaction(lambda c: pause(c, old, ENDPOINT, "operator"))
    another, paused = await states(old, [ENDPOINT, ENDPOINT.upper()])
    assert (another.status, paused.status) == (Status.OPEN, Status.PAUSED)
