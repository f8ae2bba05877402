"""The schema's versions: bring a database to the newest one, and tell whether it is there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, bindparam, text

from payplat.database import Database
from payplat.errors import ConfigurationError
from payplat.models import Base

# The session's mode, and the text columns of our tables that are not compared byte by byte.
_EXACT = text(
    "SELECT @@SESSION.sql_mode, (SELECT group_concat(table_name, '.', column_name)"
    " FROM information_schema.columns WHERE table_schema = database() AND table_name IN :tables"
    " AND collation_name <> 'utf8mb4_bin')"
).bindparams(bindparam("tables", list(Base.metadata.tables), expanding=True))


def alembic_config(connection: Connection | None = None) -> Config:
    """Return alembic's configuration; no ini file is needed."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


async def migrate(database: Database) -> None:
    """Run the migrations that are missing; safe to repeat."""
    async with database.engine.connect() as connection:
        await connection.run_sync(_upgrade)
        await connection.commit()


async def require_newest(database: Database) -> None:
    """Raise ConfigurationError unless the schema is the newest and keeps what is written to it byte by byte.

    The SQLite default brings itself there.
    """
    if database.is_sqlite:
        await migrate(database)
    if await version(database) != newest_version():
        raise ConfigurationError(["database.url: run `payplat migrate` first"])
    if not database.is_sqlite:
        await require_exact(database)


async def require_exact(database: Database) -> None:
    """Raise ConfigurationError where MariaDB or MySQL would cut values, or hold different texts for the same."""
    mode, columns = (await database.read(lambda c: c.execute(_EXACT))).one()
    faults = [] if "STRICT" in mode else ["its sql_mode is not strict: values could be cut"]
    if columns:
        faults += [f"the collation of {columns} is not utf8mb4_bin: different texts would be equal"]
    if faults:
        raise ConfigurationError([f"database.url: {fault}" for fault in faults])


async def version(database: Database) -> str | None:
    """Return the version that the database has, None when it is empty."""
    return await database.read(
        lambda c: c.run_sync(lambda s: MigrationContext.configure(s).get_current_revision())
    )


def newest_version() -> str | None:
    """Return the version that this code expects."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


async def differences(database: Database) -> Sequence[Any]:
    """Return where the database's tables differ from ``models.py``: nothing, when all is well."""
    return await database.read(lambda c: c.run_sync(_compare))


def _upgrade(connection: Connection) -> None:
    command.upgrade(alembic_config(connection), "head")


def _compare(connection: Connection) -> Sequence[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))
