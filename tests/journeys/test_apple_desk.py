"""What an operator asks and tells Apple by command line."""

import asyncio
import json
from functools import partial

import pytest

from payplat.demo.stage import BUNDLE_ID
from tests.doors.apple import Player
from tests.processes import run, run_here

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def player(client) -> Player:
    """A player with an iPhone."""
    return Player(client)


async def apple(stage, database_url: str, *arguments: str, by=run):
    """Run ``payplat apple …`` beside the staged service."""
    environ = {"PAYPLAT_DATABASE__URL": database_url}
    return await asyncio.to_thread(by, stage, "apple", *arguments, **environ)


@on_sqlite  # the command opens no database
async def test_a_test_notification_that_arrives(player, stage, database_url):
    """Apple is asked for a test notification, and says that it reached us; it is recorded, and pays nothing."""
    ended = await apple(stage, database_url, "test")
    assert (ended.returncode, "SUCCESS" in ended.stdout) == (0, True), ended.stderr
    assert await player.client.count("evidence", "state = 'used'") == 1


@on_sqlite  # the command opens no database
async def test_a_test_notification_that_does_not_arrive(stage, database_url):
    """Where nobody answers at the callback's address, the command says so and fails."""
    stage.apple.apps[BUNDLE_ID].notification_urls["Sandbox"] = "http://127.0.0.1:9/"
    ended = await apple(stage, database_url, "test", by=run_here)
    assert ended.returncode == 1
    assert "SUCCESS" not in ended.stdout


@on_sqlite  # the commands open no database
async def test_what_a_customer_bought_and_got_back(player, stage, database_url):
    """The history holds every purchase of the customer over all pages, the refunds only those given back."""
    bought = [
        await player.buys(await player.opens(receiver=f"player-{number}")) for number in range(23)
    ]
    await stage.apple.refund(bought[3].transaction_id, notify=False)
    listed = await apple(stage, database_url, "history", bought[0].transaction_id, "--json")
    assert {row["transactionId"] for row in json.loads(listed.stdout)} == {
        each.transaction_id for each in bought
    }
    back = await apple(stage, database_url, "refunds", bought[0].transaction_id)
    assert bought[3].transaction_id in back.stdout
    assert bought[4].transaction_id not in back.stdout


async def test_consumption_is_told_only_with_consent(player, stage, database_url):
    """Without the customer's consent nothing leaves this machine; with it Apple learns what the operator says."""
    by = run if database_url.startswith("sqlite") else run_here
    created = await player.opens()
    bought = await player.buys(created)
    await player.submits(created["order_no"], bought.jws)
    refused = await apple(stage, database_url, "consumption", created["order_no"], by=run_here)
    sent = [each for each in stage.apple.received if "consumption" in each.path]
    assert (refused.returncode, sent) == (2, [])
    told = await apple(
        stage, database_url, "consumption", created["order_no"], "--customer-consented",
        "--percentage", "50000", "--prefer", "DECLINE", by=by,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    sent = [each for each in stage.apple.received if "consumption" in each.path]
    assert [json.loads(each.body) for each in sent] == [
        {
            "customerConsented": True,
            "sampleContentProvided": False,
            "deliveryStatus": "DELIVERED",
            "consumptionPercentage": 50000,
            "refundPreference": "DECLINE",
        }
    ]


async def test_what_cannot_be_asked(player, stage, database_url):
    """An unpaid order, a channel that is not Apple's and an id that is no number are told in a line."""
    typed = partial(apple, stage, database_url, by=run_here)
    order_no = (await player.opens())["order_no"]
    unpaid = await typed("consumption", order_no, "--customer-consented")
    assert (unpaid.returncode, "not paid" in unpaid.stderr) == (1, True)
    other = await typed("test", "--channel", "alipay")
    assert (other.returncode, "alipay" in other.stderr) == (2, True)
    strange = await typed("history", "../1")
    assert strange.returncode == 2
