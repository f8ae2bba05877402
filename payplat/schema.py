"""The schema's versions: bring a database to the newest one, and tell whether it is there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from payplat.database import Database
from payplat.errors import ConfigurationError
from payplat.models import Base


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
    """Raise ConfigurationError unless the schema is the newest; the SQLite default brings itself there."""
    if database.is_sqlite:
        await migrate(database)
    if await version(database) != newest_version():
        raise ConfigurationError(["database.url: run `payplat migrate` first"])


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
