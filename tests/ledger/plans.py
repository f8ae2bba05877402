"""How the database finds what is asked: the statements of a piece of work, and those that read a whole table."""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, text

from payplat.database import Database

Asked = list[tuple[str, Any]]


@contextmanager
def listening(database: Database) -> Iterator[Asked]:
    """Collect the SELECTs of a database's connections, with their parameters."""
    asked: Asked = []

    def hear(_connection, _cursor, statement, parameters, _context, _many):
        if statement.lstrip().startswith("SELECT"):
            asked.append((statement, parameters))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", hear)


async def analyze(database: Database) -> None:
    """Let MariaDB know how many rows there are, as it finds out by itself in time; SQLite never does."""
    if not database.is_sqlite:
        for table in "orders payments refunds evidence events deliveries duties".split():
            statement = text(f"ANALYZE TABLE {table}")
            await database.transaction(lambda c, s=statement: c.execute(s))


async def scans(database: Database, work: Awaitable[Any]) -> list[str]:
    """Do the work; return which of its statements read a table or an index from end to end."""
    with listening(database) as asked:
        await work
    assert asked
    found = []
    for statement, parameters in asked:
        found += [f"{plan}: {statement}" for plan in await _full(database, statement, parameters)]
    return found


async def _full(database: Database, statement: str, parameters: Any) -> list[str]:
    word = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    rows = await database.read(
        lambda c: c.exec_driver_sql(f"{word} {statement}", parameters, execution_options={})
    )
    if database.is_sqlite:
        told = [row.detail for row in rows]
        return [line for line in told if line.startswith("SCAN") and "CONSTANT ROW" not in line]
    return [str(tuple(row)) for row in rows if row.type in ("ALL", "index")]
