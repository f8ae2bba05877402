"""The schema on both engines."""

import pytest
from sqlalchemy import event, text

from payplat import schema
from payplat.database import Database
from payplat.errors import ConfigurationError

on_mariadb = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)


async def test_migrations_make_what_the_models_say(empty_url):
    """After the migrations the tables equal the models, so that neither can drift from the other."""
    database = Database(empty_url)
    await schema.migrate(database)
    assert list(await schema.differences(database)) == []
    assert await schema.version(database) == schema.newest_version()
    await database.close()


async def test_migrating_again_changes_nothing(database):
    """A second run finds nothing to do, so that every start may try."""
    await schema.migrate(database)
    assert list(await schema.differences(database)) == []


@on_mariadb
async def test_texts_that_are_equal_but_not_the_same_stop_the_start(database):
    """A table that was converted to a collation without case is named, with its columns."""
    await schema.require_newest(database)
    loose = text("ALTER TABLE orders CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    await database.transaction(lambda c: c.execute(loose))
    with pytest.raises(ConfigurationError, match=r"^database.url: the collation of orders\."):
        await schema.require_newest(database)


@on_mariadb
async def test_a_session_that_cuts_values_stops_the_start(database):
    """A proxy or a server that gives sessions another sql_mode than we asked for is found out."""
    event.listen(
        database.engine.sync_engine, "begin", lambda c: c.exec_driver_sql("SET sql_mode = ''")
    )
    with pytest.raises(ConfigurationError, match=r"^database.url: its sql_mode is not strict"):
        await schema.require_newest(database)
