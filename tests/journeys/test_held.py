"""Money that came too late and is held: an operator gives it back, or lets the order through, and not both."""

from functools import partial

import pytest

from payplat.audit import list_acts
from payplat.terminal import operator
from tests.doors import apple, google
from tests.journeys.test_endpoints import payplat
from tests.journeys.test_google_duties import perform_due

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def overrides() -> dict[str, str]:
    """Late money is held in every channel."""
    return {f"PAYPLAT_CHANNELS__{name}__LATE": "hold" for name in ("ALIPAY", "APPLE", "GOOGLE")}


@pytest.fixture
def works(request) -> bool:
    """Only where a test does the duties itself does the service do none."""
    return "google" not in request.node.name


@pytest.fixture
def command(stage, overrides, database_url):
    """Runs `payplat orders …` to its end."""
    environ = {**overrides, "PAYPLAT_DATABASE__URL": database_url}
    return partial(payplat, stage, environ, "orders")


async def close_all(client) -> None:
    """Let every order's time be over."""
    await google.Player(client).does("UPDATE orders SET status='closed', next_check_at=NULL")


async def held_at_alipay(client) -> str:
    """An order that was paid after its close."""
    order_no = await client.entered()
    await close_all(client)
    await client.stage.alipay.pay(order_no)
    assert (await client.order(order_no))["status"] == "held"
    return order_no


async def test_held_money_is_given_back_by_hand(client, stage, command):
    """`payplat orders refund` has Alipay give it back, once; the story says who ordered it, the game of no payment."""
    order_no = await held_at_alipay(client)
    ended = await command("refund", order_no)
    assert (ended.exit_code, order_no in ended.stdout) == (0, True), ended.stderr
    await client.until(lambda: client.count("duties", "status='done'"))
    for refused in (await command("refund", order_no), await command("release", order_no)):
        told = (refused.exit_code, refused.stdout, refused.stderr)
        assert told == (1, "", "The order is refunded, not held.\n")
    order = await client.order(order_no)
    assert (order["status"], order["refunded"]) == ("refunded", 600)
    (line,) = [line for line in order["timeline"] if line["what"] == "refund_ordered"]
    assert line["actor"] == operator()
    (act,) = await list_acts(stage.platform.database, subject=order_no)
    assert (act.operator, act.act) == (operator(), "refund")
    asked = [
        each.biz["out_request_no"] for each in stage.alipay.received if "refund" in each.method
    ]
    assert asked == [f"{order_no}_operator"]
    assert stage.alipay.trade(order_no).refunded_fen == 600
    await client.until(lambda: client.count("deliveries", "status='delivered'"))
    assert {event["type"] for event in stage.merchant.events.values()} == {"order.refunded"}


@on_sqlite
async def test_what_cannot_be_given_back_by_hand(client, command):
    """What Apple holds, what is not held, and what is unknown: exit code 1 with the reason, and nothing is owed."""
    player = apple.Player(client)
    created = await player.opens()
    await close_all(client)
    await player.buys(created, notify=True)
    assert await player.status(created["order_no"]) == "held"
    pending = (await client.create()).json["order_no"]
    reasons = {
        created["order_no"]: "Only the company itself gives this money back.",
        pending: "The order is pending, not held.",
        "0" * 32: "There is no such order.",
    }
    for order_no, reason in reasons.items():
        ended = await command("refund", order_no)
        assert (ended.exit_code, ended.stdout, ended.stderr) == (1, "", f"{reason}\n")
    assert await client.count("duties", "what='refund'") == 0
    assert (await command("release", created["order_no"])).exit_code == 0
    acts = await list_acts(client.stage.platform.database)
    assert [(act.act, act.subject) for act in acts] == [("release", created["order_no"])]
    assert await player.status(created["order_no"]) == "paid"


async def test_what_google_was_owed_is_void(client, stage):
    """A held purchase that is given back is revoked at Google, never acknowledged or consumed, and nothing is due."""
    player = google.Player(client)
    created = await player.opens()
    await close_all(client)
    purchase = await player.buys(created, notify=True)
    order_no = created["order_no"]
    assert await player.duties(order_no) == {"acknowledge": "held", "consume": "held"}
    await stage.platform.orders.give_back(order_no, "operator")
    assert await perform_due(player) == 1
    assert await player.status(order_no) == "refunded"
    void = {"acknowledge": "void", "consume": "void", "refund": "done"}
    assert await player.duties(order_no) == void
    assert len(purchase.refunds) == google.asked(player.google, "orders.refund") == 1
    await player.does("UPDATE duties SET due_at = 1")
    assert await perform_due(player) == 0
    assert (purchase.acknowledged, purchase.consumed) == (False, False)
    assert await player.kinds(order_no) == ["order.refunded"]
