"""GET /v1/events: every event once, in one order, however late its transaction commits."""

import asyncio
import json
from urllib.parse import urlencode

import pymysql
import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import OperationalError

from payplat import seam
from payplat.models import EVENTS
from payplat.rows import event_rows
from tests.ledger.build import TERMS, Clock, in_world

# Ten seconds of a transaction and two clocks that are five seconds off, in opposite directions.
SETTLED = 20.0
WRONG = [
    ("after=evt_1", "after"),
    ("after=evt_" + "g" * 32, "after"),
    ("after=evt_" + "A" * 32, "after"),
    ("after=evt_" + "0" * 32 + "%0A", "after"),
    ("after=%FF%00", "after"),
    ("after=evt_test_" + "0" * 32, "after"),
    ("limit=0", "limit"),
    ("limit=101", "limit"),
    ("limit=-1", "limit"),
    ("limit=ten", "limit"),
    ("limit=1.5", "limit"),
    ("limit=" + "9" * 5000, "limit"),
    ("limit=", "limit"),
    ("limit=1&limit=100", "limit"),
    ("type=order%20paid", "type"),
    ("type=" + "a" * 65, "type"),
    ("app=nobody", "app"),
    ("app=", "app"),
    ("aftre=evt_" + "0" * 32, "aftre"),
]


@pytest.fixture
def overrides() -> dict[str, str]:
    """A second app."""
    return {
        "PAYPLAT_APPS__OTHER__ENDPOINTS__MAIN__URL": "http://127.0.0.1:9/",
        "PAYPLAT_APPS__OTHER__ENDPOINTS__MAIN__SECRET": "file:secrets/endpoint",
    }


async def pull(client, ahead: float = SETTLED + 1, **query):
    """GET a page with a clock that is ``ahead`` seconds."""
    clock = Clock()
    clock.forward(ahead)
    with in_world(clock):
        return await client.call("GET", f"/v1/events?{urlencode(query)}")


async def pull_all(client, **query) -> list[dict]:
    """Follow the pages to their end."""
    found = []
    while True:
        page = (await pull(client, **query)).json
        found += page["events"]
        if not page["has_more"]:
            return found
        query["after"] = page["next"]


def event(order, kind: str = "order.paid", **changes) -> dict:
    """An event of that order as the ledger writes it, made now."""
    row, _ = event_rows(kind, order, TERMS["shop"], "T-1", seam.now(), cause=seam.new_id())
    return row | changes


async def write(client, *rows: dict) -> list[str]:
    """Store events; return their ids in the order of ids."""
    database = client.stage.platform.database
    await database.transaction(lambda c: c.execute(insert(EVENTS), list(rows)))
    return sorted(row["event_id"] for row in rows)


@pytest.fixture
async def order(client):
    """An order of the default app."""
    order_no = (await client.create()).json["order_no"]
    return await client.stage.platform.orders.get(order_no)


async def test_an_event_tells_what_was_delivered(client, stage):
    """The door tells type, time and data as the delivery's body does, under the id that the delivery has."""
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    page = (await pull(client)).json
    (told,) = page["events"]
    database = stage.platform.database
    row = (await database.read(lambda c: c.execute(select(EVENTS)))).one()
    assert told == {"id": told["id"], "order_no": order_no, **json.loads(row.body)}
    assert set(told) == {"id", "type", "timestamp", "order_no", "data"}
    assert (told["type"], told["data"]["order_no"]) == ("order.paid", order_no)
    assert (page["next"], page["has_more"]) == (told["id"], False)


async def test_pages_tell_everything_once(client, order):
    """Pages of any size end to end are all events, each once, in the order of their ids."""
    ids = await write(client, *(event(order) for _ in range(25)))
    for limit in (1, 7, 24, 25, 26, 100):
        assert [each["id"] for each in await pull_all(client, limit=limit)] == ids
        first = (await pull(client, limit=limit)).json
        assert len(first["events"]) == min(limit, 25)
        assert first["has_more"] is (limit < 25)


async def test_the_end_is_an_empty_page(client, order):
    """After the last event there is nothing, and no cursor that would lead back to the beginning."""
    (only,) = await write(client, event(order))
    page = (await pull(client, after=only)).json
    assert page == {"events": [], "next": None, "has_more": False}


async def test_each_app_has_its_own_events(client, order):
    """An app's page holds none of another's, and the default app is what is meant without a name."""
    (other,) = await write(client, event(order._replace(app="other")))
    (mine,) = await write(client, event(order))
    assert [each["id"] for each in await pull_all(client)] == [mine]
    assert [each["id"] for each in await pull_all(client, app="other")] == [other]


async def test_events_of_one_type(client, order):
    """Pages of one type skip the others; an unknown type has none."""
    kinds = ["order.paid", "order.refunded", "order.paid", "order.refunded", "order.paid"]
    rows = [event(order, kind) for kind in kinds]
    await write(client, *rows)
    wanted = sorted(row["event_id"] for row in rows if row["type"] == "order.refunded")
    assert [each["id"] for each in await pull_all(client, type="order.refunded", limit=1)] == wanted
    assert await pull_all(client, type="order.nonsense") == []


async def test_a_cursor_is_a_place_not_a_row(client, order):
    """What comes after an id is told whether or not an event has that id, so a restored database is no dead end."""
    first, *others = await write(client, *(event(order) for _ in range(3)))
    assert [each["id"] for each in await pull_all(client, after=first)] == others
    nobodys = f"evt_{int(first[4:], 16) + 1:032x}"
    assert [each["id"] for each in await pull_all(client, after=nobodys)] == others


async def test_a_wrong_question_names_its_field(client):
    """A cursor, limit, type or app that is none, one given twice and an unknown one are 400 with the name."""
    for query, field in WRONG:
        reply = await client.call("GET", f"/v1/events?{query}")
        told = (reply.status, reply.json["code"], reply.json["field"])
        assert told == (400, "invalid_request", field), query


async def test_only_get_is_offered(client):
    """Another method is told which one there is."""
    reply = await client.call("POST", "/v1/events", {})
    assert (reply.status, reply.headers["Allow"]) == (405, "GET")


async def test_a_fresh_event_waits(client, order):
    """An event is told when it is old enough that none before it can come any more, and not earlier."""
    (only,) = await write(client, event(order))
    assert (await pull(client, ahead=0)).json["events"] == []
    assert (await pull(client, ahead=SETTLED - 1)).json["events"] == []
    assert [each["id"] for each in (await pull(client, ahead=SETTLED)).json["events"]] == [only]


async def test_a_late_commit_is_not_skipped(client, stage, order):
    """A transaction held open while a later one commits: a reader who pages all the time gets both, in order.

    On SQLite writers cannot overlap: there the later one waits.
    """
    database, made, may_end = stage.platform.database, asyncio.Event(), asyncio.Event()
    ids: list[str] = []

    async def slowly(connection):
        row = event(order)
        ids.append(row["event_id"])
        await connection.execute(insert(EVENTS), [row])
        made.set()
        await may_end.wait()

    early = asyncio.ensure_future(database.transaction(slowly))
    await made.wait()
    await asyncio.sleep(0.002)  # another millisecond
    late = asyncio.ensure_future(write(client, event(order)))
    if not database.is_sqlite:
        await late
    pulled, cursor = [], ""
    # As long as the transaction may last, by a clock that is as far ahead as it may be.
    for ahead in (0, 5, 10, 15, SETTLED - 1, None, SETTLED + 1):
        if ahead is None:
            may_end.set()
            await early
            await late
            continue
        page = (await pull(client, ahead, after=cursor)).json
        pulled += [each["id"] for each in page["events"]]
        cursor = page["next"] or cursor
    assert pulled == [*ids, *late.result()]


class Deadlock(Clock):
    """A world in which the next transaction fails at its end, four seconds later, and must be tried again."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = False

    async def reach(self, point: str) -> None:
        """Fail once at the end of the transaction that settles."""
        if point == "before_settle":
            self.armed = True
        elif point == "before_commit" and self.armed:
            self.armed = False
            self.forward(4)
            raise OperationalError("INSERT", {}, pymysql.err.OperationalError(1213, "Deadlock"))


async def test_a_repeated_transaction_makes_its_id_anew(client, stage):
    """After a deadlock the event's id is as young as the try that committed, not as the first one."""
    order_no = await client.entered()
    world = Deadlock()
    with in_world(world):
        await stage.alipay.pay(order_no)
        assert world.ahead
        committed = seam.now()
    database = stage.platform.database
    event_id = await database.read(lambda c: c.scalar(select(EVENTS.c.event_id)))
    assert 0 <= committed // 1000 - int(event_id[4:16], 16) < 2000
