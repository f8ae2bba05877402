"""What an operator asks and decides by command: search, the quarantine, and proposals about held money."""

import asyncio
import json

import pytest

from payplat.proposals import Deed, Proposals
from payplat.terminal import operator
from tests.journeys.test_held import held_at_alipay
from tests.processes import run_here


@pytest.fixture
def overrides() -> dict[str, str]:
    """Late money is held."""
    return {"PAYPLAT_CHANNELS__ALIPAY__LATE": "hold"}


@pytest.fixture
def works() -> bool:
    """Only the commands act."""
    return False


@pytest.fixture
def typed(stage, overrides, database_url):
    """Runs a payplat command on the stage's database; returns exit code and what it said."""

    async def typed(*arguments: str) -> tuple[int, str]:
        environ = {**overrides, "PAYPLAT_DATABASE__URL": database_url}
        ended = await asyncio.to_thread(run_here, stage, *arguments, **environ)
        return ended.returncode, ended.stdout + ended.stderr

    return typed


async def test_an_order_is_searched(client, stage, typed):
    """`search` finds an order by the number that the payer sees, and tells a program too; blank is wrong usage."""
    order_no = await held_at_alipay(client)
    trade_no = stage.alipay.trade(order_no).trade_no
    code, told = await typed("search", trade_no, "--json")
    (hit,) = json.loads(told)["hits"]
    assert (code, hit["kind"], hit["order_no"], hit["status"]) == (
        0,
        "transaction",
        order_no,
        "held",
    )
    code, told = await typed("search", "player-1")
    assert (code, "receiver" in told) == (0, True)
    assert (await typed("search", " "))[0] == 1


async def test_the_quarantine_is_worked_off(client, stage, typed):
    """`quarantine list` shows what was put aside and what is held; `resolve` ends the one, once, with its reason."""
    order_no = await held_at_alipay(client)
    await client.callback(stage.alipay.notification_body(order_no, amount_off=1))

    async def listed() -> dict[str, dict]:
        _, told = await typed("quarantine", "list", "--json")
        return {item["kind"]: item for item in json.loads(told)["items"]}

    items = await listed()
    assert {kind: item["order_no"] for kind, item in items.items()} == dict.fromkeys(
        ("held", "quarantined"), order_no
    )
    resolve = (
        "quarantine",
        "resolve",
        str(items["quarantined"]["evidence_id"]),
        "--reason",
        "seen",
    )
    assert (await typed(*resolve))[0] == 0
    assert (await typed(*resolve))[0] == 1
    assert (await listed()).keys() == {"held"}
    assert await client.count("audit", f"operator='{operator()}'") == 1


async def test_two_people_decide_about_money(client, stage, typed):
    """Who types may not approve alone, but may approve what another has proposed; then the order is on its way."""
    order_no = await held_at_alipay(client)
    code, told = await typed("proposals", "propose", order_no, "refund", "--reason", "why")
    assert code == 0
    own = told.split()[1]
    code, told = await typed("proposals", "approve", own)
    assert (code, "Another person" in told) == (1, True)
    assert (await typed("proposals", "withdraw", own))[0] == 0
    platform = stage.platform
    ours = Proposals(platform.database, platform.orders)
    theirs = await ours.propose(order_no, Deed.RELEASE, "why", "ann")
    _, told = await typed("proposals", "list", "--json")
    assert [(row["id"], row["proposed_by"]) for row in json.loads(told)] == [(theirs, "ann")]
    assert (await typed("proposals", "approve", str(theirs)))[0] == 0
    assert (await client.order(order_no))["status"] == "paid"
    assert (await typed("proposals", "reject", str(theirs)))[0] == 1
