"""The schema's versions: bring a database to the newest one, and tell whether it is there.

Alembic takes an eighth of what a process needs to start, and most find nothing to do: it is imported when needed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, inspect, text

from payplat.database import Database
from payplat.errors import ConfigurationError
from payplat.models import Base

_MIGRATIONS = Path(__file__).parent / "migrations"
# The session's mode, and the text columns of our tables that are not compared byte by byte.
_EXACT = text(
    "SELECT @@SESSION.sql_mode, (SELECT group_concat(table_name, '.', column_name)"
    " FROM information_schema.columns WHERE table_schema = database() AND table_name IN :tables"
    " AND collation_name <> 'utf8mb4_bin')"
).bindparams(bindparam("tables", list(Base.metadata.tables), expanding=True))


def alembic_config(connection: Connection | None = None) -> Any:
    """Return alembic's ``Config``; no ini file is needed."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


async def migrate(database: Database) -> None:
    """Run the migrations that are missing; safe to repeat."""
    if await version(database) == newest_version():
        return
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
    return await database.read(lambda c: c.run_sync(_version))


def newest_version() -> str:
    """Return the version that this code expects: migrations are named by the version that they make."""
    versions = (_MIGRATIONS / "versions").glob("[0-9]*.py")
    return max(path.name for path in versions).partition("_")[0]


async def differences(database: Database) -> Sequence[Any]:
    """Return where the database's tables differ from ``models.py``: nothing, when all is well."""
    return await database.read(lambda c: c.run_sync(_compare))


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415

    command.upgrade(alembic_config(connection), "head")


def _compare(connection: Connection) -> Sequence[Any]:
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415
    from alembic.migration import MigrationContext  # noqa: PLC0415

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))
