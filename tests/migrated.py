"""A database with the newest schema, made before any test's loop."""

import asyncio

from payplat.database import Database
from payplat.schema import migrate


def migrated(url: str) -> str:
    """Bring a database to the newest schema, on a loop that no test will see."""

    async def bring() -> None:
        database = Database(url)
        await migrate(database)
        await database.close()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(bring())
    loop.close()
    return url
