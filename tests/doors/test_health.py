"""/healthz and /readyz."""

import pytest
from tornado.testing import bind_unused_port

from payplat.database import Database, ping
from payplat.errors import DatabaseUnavailable


async def test_alive_and_ready(client):
    """A healthy process is both."""
    assert (await client.call("GET", "/healthz")).status == 200
    assert (await client.call("GET", "/readyz")).json == {"status": "ready", "reasons": {}}


async def test_unready_while_the_database_is_away(client, stage):
    """Without its database the process lives but is not ready, and says why."""
    database = stage.platform.database
    there, database._deadline = database._deadline, 0.0
    reply = await client.call("GET", "/readyz")
    assert (reply.status, "database" in reply.json["reasons"]) == (503, True)
    assert (await client.call("GET", "/healthz")).status == 200
    database._deadline = there
    assert (await client.call("GET", "/readyz")).status == 200


async def test_draining_is_not_ready(client, stage):
    """A process that shuts down says so first."""
    stage.platform.draining.set()
    reply = await client.call("GET", "/readyz")
    assert (reply.status, list(reply.json["reasons"])) == (503, ["serving"])


async def test_a_database_that_accepts_and_never_answers_costs_a_deadline():
    """A black hole is noticed by our own deadline."""
    sock, port = bind_unused_port()
    database = Database(f"mariadb://u:p@127.0.0.1:{port}/x", deadline=0.5)
    with sock, pytest.raises(DatabaseUnavailable):
        await ping(database)
    await database.close()
