"""The device and the control API: the same from outside as from inside."""

import base64
import json

import pytest

from tests.simulators.conftest import imports_of
from tests.simulators.google_stage import (
    EMAIL,
    ORDER,
    PACKAGE,
    USER,
    open_api,
    open_inbox,
    open_play,
)

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def inbox():
    async with open_inbox() as inbox:
        yield inbox


@pytest.fixture
async def play(inbox):
    async with open_play(inbox) as play:
        yield play


@pytest.fixture
async def api(play):
    async with open_api(play) as api:
        yield api


async def buy(api, **wishes):
    """As the app on the phone: status, and what Play Billing gives it."""
    text = json.dumps({"package": PACKAGE, "product_id": "castle", **wishes})
    response = await api.fetch(f"{api.sim.url}/device/buy", "POST", text, JSON)
    return response.code, json.loads(response.body)


async def test_the_device_gives_what_play_billing_gives(api, play, inbox):
    """Token, order, product and state; of a pending purchase no order."""
    status, given = await buy(api, obfuscated_account_id=USER, obfuscated_profile_id=ORDER)
    (purchase,) = play.books.purchases.values()
    assert status == 200
    assert given == {
        "purchase_token": purchase.purchase_token,
        "order_id": purchase.order_id,
        "product_id": "castle",
        "purchase_state": "PURCHASED",
    }
    await play.idle()
    assert len(inbox.bodies) == 1
    _, pending = await buy(api, pending=True)
    assert (pending["order_id"], pending["purchase_state"]) == (None, "PENDING")


async def test_the_device_refuses_as_play_billing_does(api):
    """Status 409 and a BillingResult."""
    await buy(api)
    status, told = await buy(api)
    assert (status, told["response_code"], told["response"]) == (409, 7, "ITEM_ALREADY_OWNED")
    assert (await buy(api, product_id="nothing"))[1]["response"] == "ITEM_UNAVAILABLE"
    assert (await buy(api, colour="red"))[0] == 400


async def test_a_whole_life_can_be_driven_from_outside(api, inbox):
    """Buy, complete, review, refund in parts, void; look at the books and at what was sent."""
    wish = {"package": PACKAGE, "product_id": "coins_500", "quantity": 2, "pending": True}
    token = (await api.control("buy", wish))["purchase_token"]
    assert (await api.control("complete_pending", {"token": token}))["state"] == 0
    asked = (await api.control("review", {"token": token}))["pending_refund_token"]
    assert (await api.control("reviews"))["reviews"] == {asked: None}
    part = await api.control("refund", {"token": token, "quantity": 1})
    assert (part["quantity"], part["whole"]) == (1, False)
    rest = await api.control("void", {"token": token, "reason": 7})
    assert (rest["source"], rest["reason"], rest["whole"]) == (2, 7, True)
    (purchase,) = (await api.control("purchases"))["purchases"]
    assert (purchase["state"], purchase["refundable"]) == (1, 0)
    sent = (await api.control("notifications"))["notifications"]
    events = [(each["event"], each["accepted"]) for each in sent]
    names = ["purchased", "review", "voided", "voided", "canceled"]
    assert events == [(name, True) for name in names]
    assert len(inbox.bodies) == 5


async def test_a_pending_purchase_can_be_canceled_from_outside(api):
    """Once."""
    wish = {"package": PACKAGE, "product_id": "castle", "pending": True}
    token = (await api.control("buy", wish))["purchase_token"]
    assert (await api.control("cancel_pending", {"token": token}))["state"] == 1
    refused = await api.control("cancel_pending", {"token": token}, 409)
    assert refused == {"error": "invalidPurchaseState"}


async def test_pushes_can_be_ordered_from_outside(api, inbox):
    """A test, raw bytes, an attack, a token, another key."""
    await api.control("test_notification", {"package": PACKAGE})
    assert "testNotification" in inbox.told[0]
    raw = {"body_base64": base64.b64encode(b"poison").decode(), "headers": {"X-Odd": "1"}}
    assert (await api.control("raw_notification", raw))["status"] == 204
    assert (inbox.bodies[1], inbox.headers[1]["X-Odd"]) == (b"poison", "1")
    names = (await api.control("attacks"))["attacks"]
    assert len(names) > 20
    for name in names:
        assert (await api.control("attack", {"name": name}))["event"] == name
    assert len(inbox.bodies) == 2 + len(names)
    assert len((await api.control("notifications"))["notifications"]) == 2 + len(names)
    token = (await api.control("id_token", {"aud": "me", "alg": "none"}))["id_token"]
    assert token.endswith(".")
    assert len((await api.control("rotate_keys", {}))["keys"]) == 2


async def test_faults_can_be_ordered_from_outside(api, play, inbox):
    """And cleared."""
    await api.control("answer_fault", {"kind": "backendError", "path": "voided", "times": None})
    await api.control("notification_fault", {"copies": 3})
    await play.buy(PACKAGE, "castle")
    assert len(inbox.bodies) == 3
    assert (await api.ask("/purchases/voidedpurchases")).code == 503
    await api.control("clear_faults", {})
    assert await api.get("/purchases/voidedpurchases") == {}
    received = (await api.control("received"))["received"]
    assert [each["status"] for each in received] == [200, 503, 200]


async def test_time_can_be_moved_from_outside(api, play, inbox):
    """The clock advances, what waits is sent, knobs are turned: all or none of them."""
    inbox.answers = [500, 500]
    await play.buy(PACKAGE, "castle")
    await api.control("flush", {})
    assert len(inbox.bodies) == 2
    assert (await api.control("advance", {"seconds": 20}))["now"] == 1_790_000_020
    assert len(inbox.bodies) == 3
    assert (await api.control("knobs", {"pending_seconds": 5}))["pending_seconds"] == 5
    await api.control("knobs", {"pending_seconds": 9, "time_factor": 0}, 400)
    await api.control("knobs", {"no_such": 1}, 400)
    assert (await api.control("knobs"))["pending_seconds"] == 5


async def test_apps_and_accounts_can_be_added_from_outside(api, play, inbox):
    """For a simulator that runs on its own."""
    wish = {
        "package": "com.second",
        "products": {"gem": {"micros": 990_000, "regions": {"JP": [120_000_000, "JPY"]}}},
        "push_url": inbox.url,
        "push_audience": "",
        "push_email": "pusher@example.com",
    }
    assert (await api.control("apps", wish))["subscription"].startswith("projects/")
    purchase = await play.buy("com.second", "gem", region="JP")
    assert (purchase.micros, purchase.currency) == (120_000_000, "JPY")
    file = await api.control("service_accounts", {"email": EMAIL, "permissions": []})
    assert file["private_key"] != api.file["private_key"]
    assert (await api.grant(api.assertion())).code == 400


async def test_impossible_wishes_are_explained(api, play):
    """In JSON, with a status that says whose fault it is."""
    assert "error" in await api.control("buy", {"package": PACKAGE}, 400)
    assert "error" in await api.control("answer_fault", {"kind": "none"}, 400)
    unknown = {"package": PACKAGE, "product_id": "nothing"}
    assert (await api.control("buy", unknown, 409))["response"] == "ITEM_UNAVAILABLE"
    assert await api.control("refund", {"token": "none"}, 409) == {"error": "invalid"}
    assert "acts" in (await api.control("steal", {}, 404))["error"]
    assert "lists" in (await api.control("secrets", None, 404))["error"]
    for body, kind, status in (("{}", "text/plain", 415), ("[1", "application/json", 400)):
        headers = {"Content-Type": kind}
        response = await api.fetch(f"{play.url}/_sim/flush", "POST", body, headers)
        assert response.code == status


def test_it_shares_nothing_with_what_it_tests():
    """Of payplat it knows the simulators only, and no library for tokens."""
    used = set(imports_of("payplat/simulators/google"))
    assert all(name.startswith("payplat.simulators") for name in used)
