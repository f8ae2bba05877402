"""POST /v1/verify/apple: what StoreKit gave the game, believed as far as Apple says so."""

import asyncio
from typing import Any

import pytest

from payplat.simulators.apple.books import FAMILY_SHARED, NON_CONSUMABLE, NON_RENEWING
from payplat.simulators.apple.forgeries import FORGERIES
from tests.doors.apple import ONCE, SEASON_PASS, SKU, Player, asked

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
TABLES = ("payments", "events", "deliveries", "evidence", "timeline", "refunds", "duties")


@pytest.fixture
def player(client) -> Player:
    """A player."""
    return Player(client)


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """Where a test is about trouble, Apple is given up soon."""
    in_trouble = "trouble" in request.node.name
    return {"PAYPLAT_CHANNELS__APPLE__TIMEOUT_SECONDS": "2"} if in_trouble else {}


async def counts(player: Player) -> dict[str, int]:
    """How many rows there are."""
    return {table: await player.client.count(table) for table in TABLES}


async def test_a_purchase_is_verified_and_notified_in_any_order(player):
    """Verify before notification or after it, by transaction or by its id: one payment, at Apple's price."""
    first, coins = await player.bought()
    second, more = await player.bought()
    verified = await player.submits(first, coins.jws)
    assert (verified.status, verified.json["status"]) == (200, "paid")
    assert (verified.json["amount"], verified.json["currency"]) == (600, "CNY")
    assert (await player.hears("ONE_TIME_CHARGE", coins)).status == 200
    assert (await player.hears("ONE_TIME_CHARGE", more)).status == 200
    before = await counts(player)
    for repeat in (
        player.submits_id(first, coins.transaction_id),
        player.submits(second, more.jws),
    ):
        assert (await repeat).json["status"] == "paid"
    assert (await player.hears("ONE_TIME_CHARGE", coins)).body == b""
    assert await counts(player) == before
    for order_no in (first, second):
        assert await player.told(order_no) == ["opened", "paid"]
        assert [event["type"] for event in await player.events(order_no)] == ["order.paid"]
    data = (await player.events(first))[0]["data"]
    assert (data["transaction_id"], data["environment"]) == (coins.transaction_id, "sandbox")


async def test_what_does_not_fit_the_order_is_kept_but_does_not_pay(player):
    """Signed by Apple and wrong in one respect: 409 that names it, evidence in quarantine, order as before."""
    wrong: dict[str, dict[str, Any]] = {
        "product": {"product_id": SKU.replace("500", "2800")},
        "quantity": {"quantity": 2},
        "consumable": {"type": NON_CONSUMABLE},
        "type": {"type": NON_RENEWING},
        "ownership": {"ownership": FAMILY_SHARED},
        "account": {"bundleId": "com.example.other"},
        "environment": {"environment": "Production"},
        "form": {"purchaseDate": None},
    }
    for number, (differs, options) in enumerate(wrong.items()):
        order_no, purchase = await player.bought(customer=f"customer-{number}", **options)
        reply = await player.submits(order_no, purchase.jws)
        assert (differs, reply.status, reply.json["code"]) == (differs, 409, "mismatch")
        assert reply.json["field"] == differs
        assert (await player.hears("ONE_TIME_CHARGE", purchase)).status == 200
        # Family Sharing gives access to what another one bought, and Apple says so by the same type.
        heard = "noticed" if differs == "ownership" else "quarantined"
        assert await player.told(order_no) == ["opened", "quarantined", heard], differs
        assert await player.status(order_no) == "pending"
    assert await player.client.count("evidence", "state='quarantined'") == 2 * len(wrong) - 1
    assert await player.client.count("payments") == await player.client.count("events") == 0


@on_sqlite
async def test_what_apple_did_not_sign_leaves_no_trace(player):
    """Every forgery that the simulator knows is 400 at both doors, and nothing is written."""
    order_no, purchase = await player.bought()
    before = await counts(player)
    payload = {**purchase.fields, "signedDate": player.apple.milliseconds}
    for name, forge in FORGERIES.items():
        forged = forge(player.apple, payload)
        for reply in (await player.submits(order_no, forged), await player.notifies(forged)):
            assert (name, reply.status, reply.json["code"]) == (name, 400, "not_authentic")
    assert await counts(player) == before
    assert not asked(player.apple)
    assert (await player.submits(order_no, purchase.jws)).json["status"] == "paid"


@on_sqlite
async def test_other_signed_data_of_apples_is_no_purchase(player):
    """A notification, a renewal or an app's download in place of a transaction pays nothing."""
    order_no, purchase = await player.bought()
    fields = purchase.fields
    renewal = {k: fields[k] for k in ("originalTransactionId", "productId", "environment")}
    renewal["appAccountToken"] = fields["appAccountToken"]
    download = {"receiptType": "Sandbox", "bundleId": fields["bundleId"], "appTransactionId": "7"}
    envelope = {"notificationType": "ONE_TIME_CHARGE", "data": {"signedTransactionInfo": "x"}}
    for other in (renewal, download, envelope):
        reply = await player.submits(order_no, player.apple.sign(other))
        assert reply.json["code"] in ("not_authentic", "mismatch"), reply.json
    assert await player.status(order_no) == "pending"


async def test_a_purchase_belongs_to_the_order_that_it_names(player):
    """Shown for somebody else's order it is 409, pays the order that it names, and can pay no other one."""
    mine, purchase = await player.bought()
    other = (await player.opens(receiver="player-2"))["order_no"]
    for show in (
        player.submits(other, purchase.jws),
        player.submits_id(other, purchase.transaction_id),
    ):
        reply = await show
        assert (reply.status, reply.json["code"]) == (409, "another_order")
    assert (await player.status(mine), await player.status(other)) == ("paid", "pending")
    stranger = await player.apple.buy(
        purchase.bundle_id, SKU, app_account_token="7e3fb20b-4cdb-47cc-936d-99d65f608138", notify=False
    )  # fmt: skip
    reply = await player.submits(other, stranger.jws)
    assert (reply.status, reply.json["code"]) == (404, "unknown_order")
    assert await player.client.count("payments") == await player.client.count("events") == 1


async def test_a_second_purchase_for_a_paid_order_is_excess(player):
    """Paid twice by one token: the second is kept as excess and told by both doors, and delivers nothing."""
    created = await player.opens()
    order_no = created["order_no"]
    first, second = await player.buys(created), await player.buys(created)
    await player.submits(order_no, first.jws)
    reply = await player.submits(order_no, second.jws)
    assert (reply.status, reply.json["code"]) == (409, "already_paid")
    assert (await player.hears("ONE_TIME_CHARGE", second)).status == 200
    assert await player.evidence("state='excess'") == [("excess", "transaction_id")] * 2
    assert await player.client.count("payments") == await player.client.count("events") == 1
    assert await player.status(order_no) == "paid"


@on_sqlite
async def test_a_refund_since_the_devices_copy_is_seen(player):
    """The device's copy is from before the refund; Apple's is not, whichever order the copy is shown for."""
    order_no, purchase = await player.bought()
    paid = await player.opens()
    await player.submits(paid["order_no"], (await player.buys(paid)).jws)
    old = purchase.jws
    await player.apple.refund(purchase.transaction_id, notify=False)
    shown = await player.submits(paid["order_no"], old)
    assert (shown.status, shown.json["code"]) == (409, "another_order")
    reply = await player.submits(order_no, old)
    assert (reply.status, reply.json["status"]) == (200, "refunded")
    assert [event["type"] for event in await player.events(order_no)] == ["order.refunded"]


async def test_a_restored_purchase_is_no_new_payment(player):
    """What is bought once and for all is one payment by its first transaction, restored, named or not."""
    created = await player.opens(**SEASON_PASS)
    order_no = created["order_no"]
    purchase = await player.buys(created, **ONCE)
    assert (await player.submits(order_no, purchase.jws)).json["status"] == "paid"
    again = await player.apple.restore(purchase.transaction_id)
    assert again.transaction_id != purchase.transaction_id
    assert (await player.submits(order_no, again.jws)).json["status"] == "paid"
    second = (await player.opens(**SEASON_PASS))["order_no"]
    assert (await player.submits(second, again.jws)).json["code"] == "another_order"
    del again.fields["appAccountToken"]
    reply = await player.submits(second, again.jws)
    assert (reply.json["code"], reply.json["field"]) == ("mismatch", "transaction_id")
    assert await player.client.count("payments") == await player.client.count("events") == 1
    assert (await player.submits(order_no, again.jws)).json["status"] == "paid"


@on_sqlite
async def test_a_free_purchase_is_delivered_without_a_price(player):
    """An offer code may make it free: the order is paid and its amount stays unknown, with a note in the timeline."""
    order_no, purchase = await player.bought(price=0, currency="CNY")
    assert (await player.hears("ONE_TIME_CHARGE", purchase)).status == 200
    order = await player.client.order(order_no)
    assert (order["status"], order["amount"], order["currency"]) == ("paid", None, None)
    assert "price 0 milliunits of CNY" in order["timeline"][-1]["detail"]["note"]
    assert (await player.submits(order_no, purchase.jws)).json["status"] == "paid"
    await player.apple.refund(purchase.transaction_id)
    assert await player.status(order_no) == "refunded"


KINDS = (
    "timeout 429 500 500_retryable 503 401 retryable_404 not_found cut redirect html empty truncated no_fields "
    "other_transaction other_app other_environment wrong_signature expired_leaf"
).split()


async def test_while_apple_is_in_trouble_the_receipt_waits(player):
    """No believable answer, whatever it looks like: 202, the order pending, the receipt kept for the job."""
    bought = {kind: await player.bought() for kind in KINDS}
    receipts = {order_no: purchase.jws for order_no, purchase in bought.values()}
    for kind, (_, purchase) in bought.items():
        # libcurl itself comes again when a connection that it had kept is cut.
        player.apple.next_answers(
            *[kind] * (20 if kind == "cut" else 3), path=purchase.transaction_id
        )
    shown = [player.submits(order_no, jws) for order_no, jws in receipts.items()]
    replies = dict(zip(KINDS, await asyncio.gather(*shown), strict=True))
    assert {kind: reply.status for kind, reply in replies.items()} == dict.fromkeys(KINDS, 202)
    assert {reply.json["status"] for reply in replies.values()} == {"pending"}
    assert await player.evidence() == [("waiting", "")] * len(KINDS)
    assert await player.client.count("orders", "waits=1 AND next_check_at > 0") == len(KINDS)
    assert await player.client.count("payments") == 0
    player.apple.faults.clear()
    for order_no, jws in receipts.items():
        assert (await player.submits(order_no, jws)).json["status"] == "paid"
    assert {state for state, _ in await player.evidence()} == {"used"}


@on_sqlite
async def test_an_order_keeps_a_few_receipts_in_trouble(player):
    """The same receipt waits once; too many different ones for one order are refused, to be sent again."""
    created = await player.opens()
    purchase = await player.buys(created)
    again = purchase.jws
    replies = []
    for jws in [again, again, *[purchase.jws for _ in range(8)]]:
        player.apple.next_answers("401")
        replies.append(await player.submits(created["order_no"], jws))
    assert [reply.status for reply in replies] == [202] * 9 + [503]
    assert await player.client.count("evidence", "state='waiting'") == 8


@on_sqlite
async def test_an_id_that_apple_does_not_know_is_refused(player):
    """Apple's own no to a mere id is 422, nothing is kept, and an id alone claims nobody's purchase."""
    order_no, _ = await player.bought()
    before = await counts(player)
    reply = await player.submits_id(order_no, "2000000000000001")
    assert (reply.status, reply.json["code"]) == (422, "provider_refused")
    assert await counts(player) == before
    unnamed = await player.apple.buy(_bundle(player), SKU, notify=False)
    reply = await player.submits_id(order_no, unnamed.transaction_id)
    assert (reply.status, reply.json["code"]) == (404, "unknown_order")
    assert await player.evidence() == [("unclaimed", "order_no")]
    assert await player.status(order_no) == "pending"


def _bundle(player: Player) -> str:
    return next(iter(player.apple.apps))


@on_sqlite
async def test_a_client_that_hangs_up_is_served_all_the_same(player):
    """A game that is killed right after it sent its receipt finds its order paid."""
    order_no, purchase = await player.bought()
    player.apple.knobs.slow_answer = 0.3
    player.apple.next_answers("slow")
    body = b'{"order_no":"%s","signed_transaction":"%s"}' % (
        order_no.encode(),
        purchase.jws.encode(),
    )
    host, port = player.client.stage.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/verify/apple HTTP/1.1\r\nHost: game\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await player.client.until(lambda: asked(player.apple))
    writer.close()
    await writer.wait_closed()
    await player.client.until(lambda: player.client.count("payments"))
    assert await player.told(order_no) == ["opened", "paid"]


@on_sqlite
async def test_requests_that_are_none_name_what_is_wrong(player):
    """A missing, unknown, doubled or misshaped member is 400 that names it; an unknown order is 404."""
    order_no, purchase = await player.bought()
    jws, number = purchase.jws, purchase.transaction_id
    for wrong, field in (
        ({"signed_transaction": jws}, "order_no"),
        ({"order_no": 7, "signed_transaction": jws}, "order_no"),
        ({"order_no": order_no, "signed_transaction": jws, "status": "paid"}, "status"),
        ({"order_no": order_no, "signed_transaction": ""}, "signed_transaction"),
        ({"order_no": order_no, "signed_transaction": jws + "\n"}, "signed_transaction"),
        ({"order_no": order_no, "signed_transaction": "a" * 32769}, "signed_transaction"),
        ({"order_no": order_no, "signed_transaction": None}, None),
        ({"order_no": order_no, "transaction_id": int(number)}, "transaction_id"),
        ({"order_no": order_no, "transaction_id": f"../{number}"}, "transaction_id"),
        ({"order_no": order_no, "transaction_id": "9" * 33}, "transaction_id"),
        ({"order_no": order_no, "transaction_id": "１２"}, "transaction_id"),
        ({"order_no": order_no}, None),
        ({"order_no": order_no, "signed_transaction": jws, "transaction_id": number}, None),
    ):
        reply = await player.client.call("POST", "/v1/verify/apple", wrong)
        assert (reply.status, reply.json["code"]) == (400, "invalid_request"), wrong
        named = reply.json.get("field") or reply.json["detail"]
        assert (field or "signed_transaction or transaction_id") in named
    for body in (b"", b"[]", b'{"order_no":1,"order_no":2}', b"\xff", b'{"order_no":NaN}'):
        reply = await player.client.call("POST", "/v1/verify/apple", body)
        assert (reply.status, reply.json["code"]) == (400, "invalid_request"), body
    alipay = await player.client.entered()
    for nobodys in ("0" * 32, "nonsense", order_no.upper(), alipay):
        reply = await player.submits(nobodys, jws)
        assert (reply.status, reply.json["code"]) == (404, "order_not_found")
    assert not asked(player.apple)
