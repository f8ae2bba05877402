"""Signs of life: counted in memory, added to the table by every process, kept while the database is down."""

import asyncio

import pytest

from payplat import seam, signs
from payplat.database import Database
from payplat.errors import ProviderMisconfigured, ProviderUnavailable
from payplat.signs import Seen, Sign, Signs, read_signs, write
from tests.processes import free_port

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def written(database: Database) -> dict[str, Seen]:
    """What the table says of the shop."""
    return (await read_signs(database)).get("shop", {})


async def test_what_was_noted_is_written_at_the_end(database):
    """Counts, the last time and the last detail stand in the table after the close, each channel's for itself."""
    noted, began = Signs(database), seam.now()
    noted.start()
    noted.note("shop", Sign.CALLBACK)
    noted.note("shop", Sign.QUERY_FAILED, "first")
    noted.note("shop", Sign.QUERY_FAILED, "x" * 1000)
    noted.note("other", Sign.FORGED)
    assert await read_signs(database) == {}
    await noted.close()
    found = await written(database)
    assert {what: seen.count for what, seen in found.items()} == {"callback": 1, "query_failed": 2}
    assert found["query_failed"].detail == "x" * 200
    assert began <= found["callback"].last_at <= seam.now()
    assert (await read_signs(database))["other"]["forged"].count == 1


async def test_what_was_noted_is_written_meanwhile(database, monkeypatch):
    """Nobody needs to end for it."""
    monkeypatch.setattr(signs, "_PERIOD", 0.05)
    noted = Signs(database)
    noted.start()
    for count in (1, 2):
        noted.note("shop", Sign.VERIFIED)
        while (await written(database)).get("verified", Seen()).count < count:
            await asyncio.sleep(0.02)
    await noted.close()
    assert (await written(database))["verified"].count == 2


async def test_processes_add_up(database):
    """Many who write the same rows at once lose no count."""
    at, both = seam.now(), [("shop", "callback"), ("shop", "forged")]
    news = [{key: Seen(1, at + n, str(n)) for key in both[:: (-1) ** n]} for n in range(8)]
    await asyncio.gather(*(write(database, each) for each in news))
    assert await written(database) == {
        "callback": Seen(8, at + 7, "7"),
        "forged": Seen(8, at + 7, "7"),
    }


async def test_an_older_sign_that_is_written_later_is_not_the_last(database):
    """Its count is added; time and detail stay those of the newest."""
    await write(database, {("shop", "forged"): Seen(1, 2000, "new")})
    await write(database, {("shop", "forged"): Seen(3, 1000, "old")})
    assert (await written(database))["forged"] == Seen(4, 2000, "new")


@on_sqlite
async def test_while_the_database_is_down_nothing_is_lost(database, monkeypatch):
    """Counts wait in memory, what comes meanwhile is added, and all of it is written afterwards."""
    monkeypatch.setattr(signs, "_PERIOD", 0.05)
    away = Database(f"mysql://payplat@127.0.0.1:{free_port()}/payplat", deadline=0.2)
    noted = Signs(away)
    noted.start()
    noted.note("shop", Sign.FORGED, "first")
    await asyncio.sleep(0.3)
    noted.note("shop", Sign.FORGED, "second")
    await asyncio.sleep(0.3)
    noted._database = database
    await noted.close()
    await away.close()
    found = (await written(database))["forged"]
    assert (found.count, found.detail) == (2, "second")


@on_sqlite
async def test_who_cannot_be_asked_is_noted_and_told(database):
    """The error goes on to whoever asked; what is no failure to ask leaves no sign."""
    noted = Signs(database)
    noted.start()
    for error in (ProviderUnavailable("down"), ProviderMisconfigured("keys"), ValueError("other")):
        with pytest.raises(type(error)), noted.asking("shop"):
            raise error
    await noted.close()
    found = await written(database)
    assert {what: seen.detail for what, seen in found.items()} == {
        "query_failed": "down",
        "misconfigured": "keys",
    }
