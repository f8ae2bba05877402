"""What an operator types: deliveries and duties again, a test event for an endpoint."""

import asyncio
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select, text, update

from payplat import deliveries, seam, terminal
from payplat.api_keys import ApiKeys
from payplat.audit import RecordedAct, list_acts
from payplat.deliveries import Ended, resend_all
from payplat.models import DELIVERIES, DUTIES, EVENTS, TIMELINE
from payplat.rows import event_rows
from payplat.terminal import operator
from tests.ledger.build import TERMS, Clock, in_world
from tests.ledger.test_lost_commit import replies_lost
from tests.processes import run, run_here

MINUTE = 60 * seam.SECOND
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def works() -> bool:
    """Only the commands act."""
    return False


@pytest.fixture
async def order(client):
    """An order."""
    order_no = (await client.create()).json["order_no"]
    return await client.stage.platform.orders.get(order_no)


@pytest.fixture
def typed(stage, database_url):
    """Runs a payplat command in here on the stage's database."""

    async def typed(*arguments: str):
        environ = {"PAYPLAT_DATABASE__URL": database_url}
        return await asyncio.to_thread(run_here, stage, *arguments, **environ)

    return typed


@pytest.fixture
def command(stage, database_url, typed):
    """Runs a payplat command as a process on SQLite; on MariaDB, where only the database differs, in here."""
    if not database_url.startswith("sqlite"):
        return typed

    async def command(*arguments: str):
        environ = {"PAYPLAT_DATABASE__URL": database_url}
        return await asyncio.to_thread(run, stage, *arguments, **environ)

    return command


async def exhausted(stage, order, moments: list[int]) -> list[str]:
    """Write an event for each moment (microseconds), with two deliveries that were given up; return their ids."""
    events, owed = [], []
    for at in moments:
        clock = Clock()
        clock.ahead = at - seam.now()
        with in_world(clock):
            event, rows = event_rows("order.refunded", order, TERMS["shop"], "T", at, seam.new_id())
        events.append(event)
        owed += [{**row, "status": "exhausted", "failures": 20} for row in rows]
    database = stage.platform.database
    await database.transaction(lambda c: c.execute(insert(EVENTS), events))
    await database.transaction(lambda c: c.execute(insert(DELIVERIES), owed))
    return [event["event_id"] for event in events]


async def due(stage) -> list[tuple[str, str]]:
    """What is due: event id and endpoint, in order."""
    wanted = select(DELIVERIES.c.event_id, DELIVERIES.c.endpoint).where(
        DELIVERIES.c.status == "due"
    )
    rows = await stage.platform.database.read(lambda c: c.execute(wanted))
    return sorted((row.event_id, row.endpoint) for row in rows)


async def done(stage) -> Sequence[RecordedAct]:
    """What was done by command, the newest first; it was me."""
    acts = await list_acts(stage.platform.database)
    assert {act.operator for act in acts} <= {operator()}
    return acts


def written(micros: int) -> str:
    """A time as an operator types it."""
    return datetime.fromtimestamp(micros / seam.SECOND, UTC).strftime("%Y-%m-%dT%H:%MZ")


async def test_exhausted_deliveries_of_a_time_are_sent_again(client, stage, order, command, typed):
    """`deliveries resend` by time makes due what was given up then, for one endpoint or all, and says how many."""
    noon = (seam.now() - 600 * MINUTE) // MINUTE * MINUTE
    ids = await exhausted(stage, order, [noon - MINUTE, noon, noon + MINUTE, noon + 2 * MINUTE])
    span = ("--since", written(noon), "--until", written(noon + 2 * MINUTE))
    many = ("deliveries", "resend", "--status", "exhausted", *span)
    ended = await command(*many, "--endpoint", "default/main")
    assert (ended.returncode, ended.stdout) == (0, "2 deliveries are due again\n"), ended.stderr
    assert await due(stage) == [(ids[1], "default/main"), (ids[2], "default/main")]
    ended = await typed(*many)
    assert ended.stdout == "2 deliveries are due again\n"
    assert await due(stage) == [(i, f"default/{e}") for i in ids[1:3] for e in ("main", "stock")]
    assert await client.count("timeline", f"what='resent' AND actor='{operator()}'") == 4
    acts = [(act.act, act.subject, act.detail["count"]) for act in await done(stage)]
    assert acts == [("resend_all", "deliveries", 2), ("resend_all", "default/main", 2)]


async def test_keys_are_made_shown_and_ended(client, stage, command, typed):
    """`keys create` shows a key once, `list` never, `rotate` makes its successor, `revoke` ends it; all take effect."""
    made = (await command("keys", "create", "--scope", "read", "--note", "shop")).stdout.strip()
    assert re.fullmatch(r"payplat_[0-9a-f]{12}_[0-9a-f]{64}", made)
    keys = ApiKeys(stage.platform.database)
    found = await keys.find(made)
    assert (found.app, found.scopes) == ("default", {"read"})
    successor = (await typed("keys", "rotate", found.key_id, "--overlap", "0")).stdout.strip()
    listed = json.loads((await typed("keys", "list", "--json")).stdout)
    assert [(row["scopes"], row["note"]) for row in listed] == [("read", "shop")] * 2
    assert sum(row["ends_at"] is None for row in listed) == 1
    assert made[-64:] not in str(listed)
    fresh = ApiKeys(stage.platform.database)
    assert await fresh.find(made) is None
    ended = await typed("keys", "revoke", (await fresh.find(successor)).key_id)
    assert ended.returncode == 0
    assert await ApiKeys(stage.platform.database).find(successor) is None
    assert (await typed("keys", "create", "--app", "nobody")).returncode == 2
    assert (await typed("keys", "revoke", "0" * 12)).returncode == 1
    ours = found.key_id
    theirs = (await fresh.find(successor)).key_id
    acts = [(act.act, act.subject) for act in await done(stage)]
    assert acts == [("revoke_key", theirs), ("rotate_key", ours), ("create_key", ours)]
    told = str(await done(stage))
    assert not any(secret in told for secret in (made[-64:], successor[-64:]))


@on_sqlite
async def test_one_delivery_is_sent_again(stage, order, typed):
    """By its id, and on record; one that has not ended is refused, and leaves no record."""
    await exhausted(stage, order, [seam.now()])
    assert (await typed("deliveries", "resend", "1")).stdout == "delivery 1 is due again\n"
    assert (await typed("deliveries", "resend", "3")).returncode == 1
    assert len(await due(stage)) == 1
    assert [(act.act, act.subject) for act in await done(stage)] == [("resend", "delivery 1")]


@on_sqlite
async def test_a_bar_shows_how_far_it_is(stage, order, typed, monkeypatch):
    """On a terminal a bar counts the deliveries while batch after batch is sent again; elsewhere there is none."""
    await exhausted(stage, order, [seam.now() - n * seam.SECOND for n in range(3)])
    monkeypatch.setattr(deliveries, "_BATCH", 1)
    since = written(seam.now() - 60 * MINUTE)
    many = ("deliveries", "resend", "--status", "exhausted", "--since", since)
    monkeypatch.setattr(terminal.out, "_force_terminal", True)
    monkeypatch.setattr(terminal.out, "is_interactive", True)
    shown = (await typed(*many)).stdout
    assert re.search(r"6 deliveries .*━.* \d+%", shown)
    assert "6 deliveries are due again\n" in shown
    monkeypatch.setattr(terminal.out, "_force_terminal", False)
    monkeypatch.setattr(terminal.out, "is_interactive", False)
    assert (await typed(*many)).stdout == "0 deliveries are due again\n"


@pytest.mark.parametrize("lost", [0, 1])
async def test_many_deliveries_are_taken_in_batches(client, stage, order, lost, monkeypatch):
    """Batches end to end are all deliveries, each once, also when the reply to a batch's commit is lost."""
    monkeypatch.setattr(deliveries, "_BATCH", 10)
    start = seam.now() - 60 * MINUTE
    await exhausted(stage, order, [start + n * seam.SECOND for n in range(35)])
    database, last = stage.platform.database, start + 30 * seam.SECOND
    again = (database, Ended.EXHAUSTED, start, last, None, "operator")
    with in_world(replies_lost(lost, skip=3)):  # after two questions and the first batch
        assert await resend_all(*again) == 60
    assert len(await due(stage)) == await client.count("timeline", "what='resent'") == 60
    fresh = "failures=0 AND status='due'"
    assert await client.count("deliveries", fresh) == 60
    assert await resend_all(*again) == 0


async def test_delivered_ones_are_sent_again_when_asked(client, stage, order):
    """What a merchant acknowledged and lost is sent again by its own status, and nothing else with it."""
    ids = await exhausted(stage, order, [seam.now()])
    database = stage.platform.database
    taken = {"status": "delivered", "delivered_at": seam.now()}
    at_main = DELIVERIES.c.endpoint == "default/main"
    await database.transaction(lambda c: c.execute(update(DELIVERIES).where(at_main).values(taken)))
    span = (seam.now() - MINUTE, seam.now() + MINUTE)
    assert await resend_all(database, Ended.DELIVERED, *span, None, "operator") == 1
    assert await due(stage) == [(ids[0], "default/main")]
    assert await client.count("deliveries", "delivered_at IS NOT NULL") == 0


WRONG = [
    ([], "name one delivery"),
    (["--status", "exhausted"], "name one delivery"),
    (["1", "--status", "exhausted"], "not both"),
    (["--status", "due", "--since", "2026-11-22T10:00Z"], "--status"),
    (["--status", "exhausted", "--since", "2026-11-22T10:00"], "zone"),
    (["--status", "exhausted", "--since", "yesterday"], "--since"),
    (["--status", "exhausted", "--since", "2026-11-22T10:00Z", "--endpoint", "x"], "default/main"),
]


@on_sqlite  # no database is opened
async def test_a_resend_that_says_too_little_or_too_much(stage, typed):
    """Neither one delivery nor a status and a time, both, or a time that is none: exit code 2, and nothing is due."""
    for arguments, told in WRONG:
        ended = await typed("deliveries", "resend", *arguments)
        assert (ended.returncode, told in ended.stderr) == (2, True), (arguments, ended.stderr)
    assert await due(stage) == []


async def test_an_exhausted_duty_is_tried_again(client, stage, order, command, typed):
    """`duties` lists what was given up and makes it due, once; one that is not exhausted is refused."""
    row = {"order_no": order.order_no, "channel": "alipay", "what": "refund", "cause": "late"}
    row |= {"status": "exhausted", "due_at": 1, "failures": 20, "created_at": 1}
    database = stage.platform.database
    await database.transaction(lambda c: c.execute(insert(DUTIES).values(row)))
    listed = await command("duties", "list", "--status", "exhausted", "--json")
    (told,) = json.loads(listed.stdout)
    assert (told["what"], told["order_no"], told["failures"]) == ("refund", order.order_no, 20)
    ended = await command("duties", "resend", str(told["id"]))
    assert (ended.returncode, "is due again" in ended.stdout) == (0, True)
    (found,) = await database.read(lambda c: c.execute(select(DUTIES)))
    assert (found.status, found.failures) == ("due", 0)
    assert abs(found.due_at - seam.now()) < 60 * seam.SECOND
    lines = await database.read(lambda c: c.execute(select(TIMELINE)))
    assert [(line.what, json.loads(line.detail)) for line in lines] == [
        ("duty_resent", {"duty": "refund"})
    ]
    listed = await typed("duties", "list", "--status", "exhausted", "--json")
    assert json.loads(listed.stdout) == []
    (act,) = await done(stage)
    assert (act.act, act.subject) == ("resend", f"duty {told['id']}")
    for duty in (told["id"], 999):
        refused = await typed("duties", "resend", str(duty))
        assert (refused.returncode, "no such duty" in refused.stderr) == (1, True)


async def rows_in(database) -> dict[str, int]:
    """How many rows each table has."""
    names = "orders payments events deliveries duties attempts timeline evidence".split()
    counts = {name: text(f"SELECT count(*) FROM {name}") for name in names}
    return {n: await database.read(lambda c, s=s: c.scalar(s)) for n, s in counts.items()}


async def test_a_test_event_reaches_its_endpoint(stage, order, command, typed):
    """`trigger` sends a signed event that says it is a test, tells status and time, and stores nothing."""
    before = await rows_in(stage.platform.database)
    ended = await command("trigger", "default/main")
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"default/main: answered 204 in \d+ ms\n", ended.stdout)
    ended = await typed(
        "trigger", "default/main", "--type", "order.refunded", "--order", order.order_no
    )
    assert ended.returncode == 0, ended.stderr
    made_up, real = stage.merchant.received
    assert made_up.valid
    assert real.valid
    assert all(each.id.startswith("evt_test_") for each in (made_up, real))
    told = json.loads(made_up.body)
    assert (told["type"], told["test"], told["data"]["app"]) == ("order.paid", True, "default")
    assert told["data"]["order_no"] != order.order_no
    told = json.loads(real.body)
    assert (told["type"], told["test"]) == ("order.refunded", True)
    assert (told["data"]["order_no"], told["data"]["refund"]["amount"]) == (order.order_no, 600)
    assert await rows_in(stage.platform.database) == before


async def test_a_test_event_that_is_not_taken(stage, typed):
    """An endpoint that answers 500, one that is down, an unknown endpoint and an unknown order all fail, each by name."""
    stage.merchant.next("500")
    ended = await typed("trigger", "default/main")
    assert (ended.returncode, "answered 500 in " in ended.stdout) == (1, True)
    ended = await typed("trigger", "default/main", "--order", "0" * 32)
    assert (ended.returncode, "no such order" in ended.stderr) == (1, True)
    ended = await typed("trigger", "default/nobody")
    assert (ended.returncode, "default/main" in ended.stderr) == (2, True)
    await stage.merchant.go_down()
    ended = await typed("trigger", "default/main")
    assert (ended.returncode, "default/main: " in ended.stdout) == (1, True)
    await stage.merchant.come_back()
