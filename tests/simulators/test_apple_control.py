"""The simulator of the App Store driven from another process: `/_sim` and `/device/buy` in JSON."""

import json

import pytest
from tornado.httpclient import AsyncHTTPClient

from payplat.simulators.apple.server import AppleSimulator
from tests.simulators.apple_stage import (
    APPLE_ID,
    BUNDLE,
    ISSUER,
    KEY_ID,
    TOKEN,
    OfficialClient,
    api_key,
    opened,
    payload,
    pem,
    verifier,
)


@pytest.fixture
async def sim(inbox):
    async with opened(Sandbox=inbox.url, Production=inbox.url) as sim:
        yield sim


class Remote:
    """Another process, which has only HTTP."""

    def __init__(self, sim: AppleSimulator) -> None:
        self.sim = sim
        self.http = AsyncHTTPClient(force_instance=True)

    async def __call__(self, path: str, /, kind: str = "application/json", **wishes):
        answer = await self.http.fetch(
            self.sim.url + path,
            method="POST",
            body=json.dumps(wishes),
            headers={"Content-Type": kind},
            raise_error=False,
        )
        return answer.code, json.loads(answer.body)

    async def list(self, name: str):
        answer = await self.http.fetch(f"{self.sim.url}/_sim/{name}", raise_error=False)
        return answer.code, json.loads(answer.body)


@pytest.fixture
async def remote(sim):
    remote = Remote(sim)
    yield remote
    remote.http.close()


async def test_the_life_of_a_purchase_from_outside(sim, remote, inbox):
    """Buy, be asked, refund, reverse, decline; each answers with the purchase and is told."""
    code, bought = await remote(
        "/_sim/buy", bundle_id=BUNDLE, product_id="coins_500", app_account_token=TOKEN
    )
    number = bought["transaction_id"]
    assert (code, bought["fields"]["appAccountToken"]) == (200, TOKEN)
    assert verifier(sim).verify_and_decode_signed_transaction(bought["signed_transaction"])
    for act in ("consumption", "decline", "refund", "reverse"):
        code, now = await remote(f"/_sim/{act}", transaction_id=number)
        assert (code, "revocationDate" in now["fields"]) == (200, act == "refund")
    _, told = await remote.list("notifications")
    assert [(each["notification_type"], each["result"]) for each in told["notifications"]] == [
        ("ONE_TIME_CHARGE", "SUCCESS"),
        ("CONSUMPTION_REQUEST", "SUCCESS"),
        ("REFUND_DECLINED", "SUCCESS"),
        ("REFUND", "SUCCESS"),
        ("REFUND_REVERSED", "SUCCESS"),
    ]
    assert "signedPayload" in told["notifications"][0]["body"]
    _, books = await remote.list("purchases")
    assert [each["transaction_id"] for each in books["purchases"]] == [number]


async def test_family_and_restore_from_outside(remote):
    """What a family shared can end, what is owned can be restored."""
    wish = {"bundle_id": BUNDLE, "product_id": "castle", "type": "Non-Consumable"}
    _, shared = await remote("/_sim/buy", **wish, ownership="FAMILY_SHARED")
    _, restored = await remote("/_sim/restore", transaction_id=shared["transaction_id"])
    assert restored["original_transaction_id"] == shared["transaction_id"]
    _, revoked = await remote("/_sim/revoke", transaction_id=shared["transaction_id"])
    assert revoked["fields"]["revocationType"] == "FAMILY_REVOKE"


async def test_an_app_can_be_registered_from_outside(sim, remote):
    """What comes back is the root to trust; prices and addresses count from then on."""
    code, answer = await remote(
        "/_sim/apps",
        bundle_id="com.example.second",
        app_apple_id=APPLE_ID,
        issuer_id=ISSUER,
        key_id=KEY_ID,
        public_key_pem=pem(api_key()),
        prices={"gem": [990, "EUR"]},
    )
    assert (code, answer) == (200, {"root_pem": sim.root_pem})
    assert (await remote.list("root"))[1] == answer
    _, bought = await remote("/_sim/buy", bundle_id="com.example.second", product_id="gem")
    assert (bought["fields"]["price"], bought["fields"]["currency"]) == (990, "EUR")


async def test_answers_can_be_spoiled_from_outside(sim, remote):
    """The kinds come as a list, with a path; what was asked can be read back."""
    assert await remote("/_sim/next_answers", kinds=["503"], path="/transactions/") == (200, {})
    bought = await sim.buy(BUNDLE, "coins_500")
    client = OfficialClient(sim)
    with pytest.raises(Exception, match="503"):
        await client.ask("get_transaction_info", bought.transaction_id)
    await remote("/_sim/next_answers", kinds=["500"])
    await remote("/_sim/clear_faults")
    await client.ask("get_transaction_info", bought.transaction_id)
    _, received = await remote.list("received")
    assert [each["status"] for each in received["received"]] == [503, 200]


async def test_notifications_can_be_ruled_from_outside(remote, inbox):
    """Held, flushed, dropped, tested, invented, and retried as the clock is moved."""
    await remote("/_sim/next_notifications", hold=True)
    wish = {"bundle_id": BUNDLE, "product_id": "coins_500", "environment": "Production"}
    await remote("/_sim/buy", **wish)
    assert inbox.bodies == []
    await remote("/_sim/flush")
    assert len(inbox.bodies) == 1
    await remote("/_sim/next_notifications", lose=1)
    await remote("/_sim/buy", **wish)
    _, answer = await remote("/_sim/advance", seconds=3601)
    assert answer.keys() == {"now"}
    assert len(inbox.bodies) == 2
    code, answer = await remote("/_sim/test", bundle_id=BUNDLE)
    assert (code, answer.keys()) == (200, {"testNotificationToken"})
    await remote("/_sim/notify", notification_type="NEW", bundle_id=BUNDLE, environment="Sandbox")
    last = payload(json.loads(inbox.bodies[-1])["signedPayload"])
    assert last["notificationType"] == "NEW"


async def test_signatures_can_be_ruled_from_outside(sim, remote):
    """The leaf rotates or is revoked, and attacks are made to order."""
    bought = await sim.buy(BUNDLE, "coins_500")
    leaf = sim.authority.chain.leaf
    await remote("/_sim/revoke_leaf")
    assert leaf.certificate.serial_number in sim.authority.revoked
    await remote("/_sim/rotate_leaf")
    assert sim.authority.chain.leaf is not leaf
    _, names = await remote.list("attacks")
    assert names["attacks"] == list(sim.attacks)
    _, forged = await remote("/_sim/attack", name="other_app", transaction_id=bought.transaction_id)
    assert payload(forged["signed_transaction"])["bundleId"] != BUNDLE


async def test_knobs_can_be_turned_from_outside(sim, remote):
    """Known knobs turn; an unknown one turns nothing."""
    code, knobs = await remote("/_sim/knobs", time_factor=60, resign=False)
    assert (code, knobs["time_factor"], sim.knobs.resign) == (200, 60, False)
    code, _ = await remote("/_sim/knobs", speed=1)
    assert (code, (await remote.list("knobs"))[1]["time_factor"]) == (400, 60)


async def test_wishes_that_cannot_be_fulfilled(sim, remote):
    """Unknown acts and lists, strange types and impossible values are told, and change nothing."""
    assert (await remote("/_sim/steal"))[0] == 404
    assert (await remote.list("secrets"))[0] == 404
    assert (await remote("/_sim/flush", kind="text/plain"))[0] == 415
    assert (await remote("/_sim/refund", transaction_id="1"))[0] == 400
    assert (await remote("/_sim/buy", bundle_id=BUNDLE))[0] == 400
    assert (await remote("/_sim/next_answers", kinds=["bad luck"]))[0] == 400
    assert (await remote("/_sim/buy", bundle_id=BUNDLE, product_id="x", quantity=0))[0] == 400
    assert not sim.books.purchases


async def test_a_device_buys(sim, remote, inbox):
    """What StoreKit gives the app; the notification travels on its own, or not at all."""
    code, given = await remote(
        "/device/buy",
        bundle_id=BUNDLE,
        product_id="coins_500",
        app_account_token=TOKEN,
        quantity=2,
        storefront="CHN",
    )
    assert (code, given.keys()) == (200, {"signed_transaction", "transaction_id"})
    read = verifier(sim).verify_and_decode_signed_transaction(given["signed_transaction"])
    assert (read.transactionId, read.quantity) == (given["transaction_id"], 2)
    assert read.storefront == "CHN"
    await sim.idle()
    assert len(inbox.bodies) == 1
    await remote("/device/buy", bundle_id=BUNDLE, product_id="coins_500", notify=False)
    await sim.idle()
    assert len(inbox.bodies) == 1


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"bundle_id": "x", "product_id": "y"},
        {"bundle_id": BUNDLE, "product_id": "y", "quantity": "2"},
    ],
)
async def test_a_device_cannot_buy_what_is_not_for_sale(sim, remote, wish):
    """No app, an unknown app, a number that is none."""
    code, answer = await remote("/device/buy", **wish)
    assert (code, answer.keys(), sim.books.purchases) == (400, {"error"}, {})
