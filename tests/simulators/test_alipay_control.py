"""The control API: the same from outside as from inside."""

import json

import pytest

from tests.simulators.conftest import APP_ID, SELLER_ID, pem


@pytest.fixture
def control(sim, browse):
    """POST a wish, or GET a list."""

    async def ask(name: str, wishes: dict | None = None, status: int = 200):
        body = None if wishes is None else json.dumps(wishes)
        headers = {"Content-Type": "application/json"}
        response = await browse(f"{sim.url}/_sim/{name}", body, **headers)
        assert response.code == status, response.body
        return json.loads(response.body)

    return ask


async def test_a_whole_purchase_can_be_driven_from_outside(client, sim, inbox, control):
    """Enter, pay, refund, look at the books and at what was sent."""
    trade = await control("enter", {"order": client.page_url("ORDER1")})
    assert trade["status"] == "WAIT_BUYER_PAY"
    assert (await control("pay", {"out_trade_no": "ORDER1"}))["status"] == "TRADE_SUCCESS"
    refund = {"out_trade_no": "ORDER1", "amount": "8.00", "out_request_no": "R1"}
    assert (await control("refund", refund))["fen"] == 800
    (trade,) = (await control("trades"))["trades"]
    assert (trade["total_fen"], trade["refunded_fen"]) == (8888, 800)
    sent = (await control("notifications"))["notifications"]
    assert [(each["event"], each["answer"], each["accepted"]) for each in sent] == [
        ("paid", "success", True),
        ("refunded", "success", True),
    ]
    assert sent[0]["parameters"]["out_trade_no"] == "ORDER1"
    assert len(inbox.bodies) == 2


async def test_a_code_can_be_scanned_from_outside(client, sim, control):
    """By its address."""
    code = (await client.precreate("ORDER1")).fields["qr_code"]
    assert (await control("scan", {"qr_code": code}))["out_trade_no"] == "ORDER1"


async def test_trades_can_be_ended_from_outside(client, sim, control):
    """Expired, closed, finished."""
    for number in ("A", "B", "C"):
        sim.enter(client.page_url(number))
    assert (await control("expire", {"out_trade_no": "A"}))["status"] == "TRADE_CLOSED"
    assert (await control("close", {"out_trade_no": "B"}))["status"] == "TRADE_CLOSED"
    await control("pay", {"out_trade_no": "C"})
    assert (await control("finish", {"out_trade_no": "C"}))["status"] == "TRADE_FINISHED"


async def test_faults_can_be_ordered_from_outside(client, sim, inbox, control):
    """And cleared."""
    await control("answer_fault", {"kind": "20000", "method": "alipay.trade.query", "times": None})
    assert (await client.query("A")).code == "20000"
    await control("notification_fault", {"copies": 3, "amount_off": -1})
    sim.enter(client.page_url("A"))
    await sim.pay("A")
    assert len(inbox.bodies) == 3
    await control("clear_faults", {})
    assert (await client.query("A")).code == "10000"
    assert [each["code"] for each in (await control("received"))["received"]] == ["20000", "10000"]


async def test_time_and_deliveries_can_be_moved_from_outside(client, sim, inbox, control):
    """The clock advances, and what waits is sent."""
    inbox.answers = [(500, b"")] * 2
    sim.enter(client.page_url("A"))
    await sim.pay("A")
    await control("flush", {})
    assert len(inbox.bodies) == 2
    assert (await control("advance", {"seconds": 600}))["now"] == "2026-11-22 20:10:01"
    assert len(inbox.bodies) == 3


async def test_knobs_can_be_turned_from_outside(sim, control):
    """All or none of them."""
    assert (await control("knobs", {"profile": "legacy", "refund_delay": None}))[
        "profile"
    ] == "legacy"
    assert sim.knobs.refund_delay is None
    await control("knobs", {"profile": "current", "time_factor": -1}, status=400)
    await control("knobs", {"no_such": 1}, status=400)
    assert (await control("knobs"))["profile"] == "legacy"


async def test_deferred_refunds_can_be_completed_from_outside(client, sim, control):
    """The bank has done its part."""
    sim.knobs.refund_delay = None
    sim.enter(client.page_url("A"))
    await sim.pay("A")
    await sim.refund("A", 100, "R1")
    done = await control("complete_refund", {"out_trade_no": "A", "out_request_no": "R1"})
    assert done["done_at"] is not None


async def test_applications_can_be_added_from_outside(sim, app_key, control):
    """For a simulator that runs on its own."""
    wish = {"app_id": "2021000000000008", "seller_id": SELLER_ID, "public_key_pem": pem(app_key)}
    assert (await control("apps", wish))["public_key_pem"] == sim.public_key_pem
    assert (await control("key"))["public_key_pem"] == sim.public_key_pem
    papers = await control("certified_apps", {**wish, "app_id": "2021000000000009"})
    assert papers["root_cert_pem"].count("BEGIN CERTIFICATE") == 4
    assert set(sim.apps) == {APP_ID, "2021000000000008", "2021000000000009"}


async def test_impossible_wishes_are_explained(client, sim, control, browse):
    """In JSON, with a status that says whose fault it is."""
    assert (await control("pay", {"out_trade_no": "NONE"}, 409))[
        "sub_code"
    ] == "ACQ.TRADE_NOT_EXIST"
    assert "error" in await control("pay", {"order": "A"}, 400)
    assert "error" in await control("answer_fault", {"kind": "none"}, 400)
    assert "acts" in (await control("steal", {}, 404))["error"]
    assert "lists" in (await control("secrets", None, 404))["error"]
    response = await browse(f"{sim.url}/_sim/flush", "{}", **{"Content-Type": "text/plain"})
    assert response.code == 415
    response = await browse(f"{sim.url}/_sim/flush", "[1", **{"Content-Type": "application/json"})
    assert response.code == 400
