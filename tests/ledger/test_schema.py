"""The schema on both engines."""

from payplat import schema
from payplat.database import Database


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
