"""POST /v1/verify/google: a purchase token, of which Google alone says what it is worth."""

import asyncio
import json
from typing import Any

import pytest

from payplat.simulators.google.faults import KINDS
from tests.doors.google import CANCELED, Player, asked, buy

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def player(client) -> Player:
    """A player."""
    return Player(client)


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """Where a test is about trouble, Google is given up soon."""
    in_trouble = "trouble" in request.node.name
    return {"PAYPLAT_CHANNELS__GOOGLE__TIMEOUT_SECONDS": "2"} if in_trouble else {}


async def test_a_purchase_is_verified_and_pushed_in_any_order(player):
    """Verify before the push or after it, again and again: one payment, at the price of Google's order."""
    first, coins = await player.bought()
    second, more = await player.bought()
    verified = await player.submits(first, coins)
    assert (verified.status, verified.json["status"]) == (200, "paid")
    assert (verified.json["amount"], verified.json["currency"]) == (600, "CNY")
    assert [(await player.pushes(each)).status for each in (coins, more)] == [204, 204]
    before = await player.counts()
    for order_no, purchase in ((first, coins), (second, more)):
        assert (await player.submits(order_no, purchase)).json["status"] == "paid"
        assert (await player.pushes(purchase)).body == b""
        assert await player.told(order_no) == ["opened", "paid"]
        assert await player.duties(order_no) == {"acknowledge": "due", "consume": "due"}
        (event,) = await player.events(order_no)
        assert (event["type"], event["data"]["amount"]) == ("order.paid", 600)
        assert event["data"]["transaction_id"] == purchase.purchase_token
    assert await player.counts() == before
    assert await player.client.count("payments", "amount=600 AND verifier='query:productsv2'") == 2


@on_sqlite
async def test_a_price_that_google_does_not_tell_harms_nothing(player):
    """No permission for orders, an order that fails or is none at all: paid, the amount unknown, and so it stays."""
    faults: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
        "permission": (("projectNotLinked",), {}),
        "failure": (("internalError",) * 3, {}),
        "unreadable": (("garbage",), {}),
        "free": (("altered",), {"alter": {"total": {"currencyCode": "CNY"}}}),
        "odd": (("altered",), {"alter": {"total": {"currencyCode": "CNY", "nanos": 1}}}),
        "currency": (("altered",), {"alter": {"total": {"currencyCode": "¥", "units": "6"}}}),
    }
    for name, (kinds, more) in faults.items():
        order_no, purchase = await player.bought()
        player.google.next_answers(*kinds, path="/orders/", **more)
        reply = await player.submits(order_no, purchase)
        assert (name, reply.status, reply.json["status"]) == (name, 200, "paid")
        assert reply.json["amount"] is reply.json["currency"] is None, name
        before = await player.counts()
        assert (await player.pushes(purchase)).status == 204
        assert await player.counts() == before
        await player.google.refund(purchase.purchase_token)
        assert await player.status(order_no) == "refunded"


@on_sqlite
async def test_a_code_without_an_order_is_paid_without_a_price(player):
    """Where Google names no order, nothing was charged: it is not asked for a price, and the timeline says so."""
    order_no, purchase = await player.bought()
    player.google.next_answers("altered", path="/productsv2/", alter={"orderId": None})
    reply = await player.submits(order_no, purchase)
    assert (reply.json["status"], reply.json["amount"]) == ("paid", None)
    assert not asked(player.google, "orders.get")
    paid = (await player.client.order(order_no))["timeline"][-1]
    assert "nothing was charged" in paid["detail"]["note"]


async def test_what_does_not_fit_the_order_is_kept_but_does_not_pay(player):
    """True at Google and wrong in one respect: 409 that names it, evidence in quarantine, order as before."""
    unread = {"productLineItem": [{"productId": "coins_500"}] * 2}
    wrong: dict[str, dict[str, Any]] = {
        "product": {"product_id": "coins_2800"},
        "quantity": {"quantity": 2},
        "account_id": {"obfuscated_account_id": "a" * 64},
        "environment": {"test": False},
        "form": {},
    }
    for differs, terms in wrong.items():
        created = await player.opens()
        order_no = created["order_no"]
        purchase = await buy(player.google, created["payment"], **terms)
        kind = "altered" if differs == "form" else "slow"
        spoilt = {"alter": unread} if differs == "form" else {"seconds": 0}
        player.google.next_answers(kind, kind, path="/productsv2/", **spoilt)
        reply = await player.submits(order_no, purchase)
        assert (differs, reply.status, reply.json["code"]) == (differs, 409, "mismatch")
        assert reply.json["field"] == differs
        assert (await player.pushes(purchase)).status == 204
        assert await player.told(order_no) == ["opened", "quarantined", "quarantined"]
        assert await player.status(order_no) == "pending"
    assert await player.client.count("evidence", "state='quarantined'") == 2 * len(wrong)
    assert await player.client.count("payments") == await player.client.count("events") == 0


UNKNOWN_WORDS: tuple[dict[str, Any], ...] = (
    {"purchaseStateContext": {"purchaseState": "PAID_ON_MARS"}},
    {"purchaseStateContext": None},
    {"purchaseStateContext": "PURCHASED"},
    {"productLineItem": None},
    {"productLineItem": [{"productId": "coins_500", "productOfferDetails": {"quantity": "1"}}]},
    {"productLineItem": [{"productOfferDetails": {"quantity": 1}}]},
)


@on_sqlite
async def test_words_that_nobody_knows_pay_nothing(player):
    """What Google says and we do not understand is put aside at both doors, neither paid nor failed."""
    order_no, purchase = await player.bought()
    for words in UNKNOWN_WORDS:
        player.google.next_answers("altered", "altered", path="/productsv2/", alter=words)
        reply = await player.submits(order_no, purchase)
        assert (reply.status, reply.json["field"]) == (409, "form"), words
        assert (await player.pushes(purchase)).status == 204
    assert await player.status(order_no) == "pending"
    assert (await player.submits(order_no, purchase)).json["status"] == "paid"


async def test_a_token_pays_the_order_that_it_names(player):
    """Shown for another order it is 409, by whomever, and can never pay it; its own order it pays."""
    mine, purchase = await player.bought()
    others = [(await player.opens(receiver=who))["order_no"] for who in ("player-1", "player-2")]
    for paid in (False, True):
        for other in others:
            reply = await player.submits(other, purchase)
            assert (reply.status, reply.json["code"]) == (409, "another_order")
        reply = await player.submits(mine, purchase)
        assert (reply.status, paid, reply.json["status"]) == (200, paid, "paid")
    assert [await player.status(other) for other in others] == ["pending", "pending"]
    assert await player.client.count("payments") == await player.client.count("events") == 1


async def test_an_unnamed_purchase_is_claimed_once(player):
    """A code redeemed in the store: the push is put on record, the first claim pays, the second is 409."""
    purchase = await buy(player.google, {})
    assert (await player.pushes(purchase)).status == 204
    assert await player.evidence() == [("unclaimed", "order_no")]
    first, second = [(await player.opens())["order_no"] for _ in range(2)]
    assert (await player.submits(first, purchase)).json["status"] == "paid"
    assert await player.evidence() == [("used", "claimed"), ("used", "")]
    reply = await player.submits(second, purchase)
    assert (reply.status, reply.json["code"]) == (409, "mismatch")
    assert reply.json["field"] == "transaction_id"
    before = await player.counts()
    assert (await player.submits(first, purchase)).json["status"] == "paid"
    assert (await player.pushes(purchase)).status == 204
    assert (await player.status(first), await player.status(second)) == ("paid", "pending")
    after = await player.counts()
    assert {name: after[name] - before[name] for name in ("payments", "events", "duties")} == {
        "payments": 0, "events": 0, "duties": 0,
    }  # fmt: skip
    await player.google.refund(purchase.purchase_token)
    assert await player.status(first) == "refunded"


@on_sqlite
async def test_goods_that_somebody_has_had_are_not_claimed(player):
    """An unnamed purchase that is consumed already, from before payplat perhaps, gives no goods a second time."""
    purchase = await buy(player.google, {})
    purchase.consume()
    order_no = (await player.opens())["order_no"]
    reply = await player.submits(order_no, purchase)
    assert (reply.status, reply.json["field"]) == (409, "consumed")
    assert await player.status(order_no) == "pending"


@on_sqlite
async def test_another_players_pending_purchase_does_not_wait(player):
    """A purchase of another account that names this order is refused while it is pending too, at both doors."""
    created = await player.opens()
    stranger = (await player.opens(receiver="player-2"))["payment"]["obfuscated_account_id"]
    purchase = await player.buys(created, obfuscated_account_id=stranger, pending=True)
    reply = await player.submits(created["order_no"], purchase)
    assert (reply.status, reply.json["field"]) == (409, "account_id")
    assert (await player.pushes(purchase)).status == 204
    assert await player.client.count("evidence", "state = 'waiting'") == 0


async def test_a_second_purchase_for_a_paid_order_is_excess(player):
    """Paid twice under one number: the second is kept as excess at both doors, and owes and delivers nothing."""
    created = await player.opens()
    order_no = created["order_no"]
    first, second = await player.buys(created), await player.buys(created)
    await player.submits(order_no, first)
    reply = await player.submits(order_no, second)
    assert (reply.status, reply.json["code"]) == (409, "already_paid")
    assert (await player.pushes(second)).status == 204
    assert await player.evidence("state='excess'") == [("excess", "transaction_id")] * 2
    assert await player.client.count("payments") == await player.client.count("events") == 1
    assert await player.client.count("duties") == 2


@on_sqlite
async def test_a_purchase_that_is_consumed_pays_once_all_the_same(player):
    """A game that consumed it before we heard of it has still paid, and gets its goods once."""
    order_no, purchase = await player.bought()
    purchase.consume()
    assert (await player.submits(order_no, purchase)).json["status"] == "paid"
    assert await player.client.count("events") == 1


async def test_a_refund_before_the_verification_delivers_nothing(player):
    """What was given back before anybody told us of it ends refunded, without a payment told and without duties."""
    order_no, purchase = await player.bought()
    await player.google.refund(purchase.purchase_token, revoke=False)
    reply = await player.submits(order_no, purchase)
    assert (reply.status, reply.json["status"]) == (200, "refunded")
    assert await player.kinds(order_no) == ["order.refunded"]
    assert await player.client.count("payments") == 1
    assert await player.client.count("duties") == 0


async def test_a_pending_purchase_waits(player):
    """Cash is on its way: 202, the token kept, nothing paid or owed; when it has come, the same call pays."""
    order_no, purchase = await player.bought(pending=True)
    for _ in range(2):
        reply = await player.submits(order_no, purchase)
        assert (reply.status, reply.json["status"]) == (202, "pending")
    assert await player.evidence() == [("waiting", "")]
    assert (await player.pushes(purchase)).status == 204
    assert await player.evidence() == [("waiting", "")]
    assert await player.client.count("duties") == await player.client.count("payments") == 0
    await player.google.complete_pending(purchase.purchase_token)
    assert await player.status(order_no) == "paid"
    assert (await player.submits(order_no, purchase)).json["status"] == "paid"
    assert await player.client.count("events") == 1


async def test_a_pending_purchase_may_be_told_by_push_alone(player):
    """A push about what is not paid yet is 204, and the token is kept to be asked about."""
    order_no, purchase = await player.bought(pending=True)
    assert (await player.pushes(purchase, CANCELED)).status == 204
    assert await player.evidence() == [("waiting", "")]
    assert await player.client.count("orders", "waits=1 AND next_check_at > 0") == 1
    assert await player.told(order_no) == ["opened", "evidence_waiting"]


async def test_a_cancelled_purchase_never_pays(player):
    """The cash never came: its push closes the order, nobody is told anything, and the token stays worthless."""
    order_no, purchase = await player.bought(pending=True)
    await player.submits(order_no, purchase)
    await player.google.cancel_pending(purchase.purchase_token)
    assert await player.status(order_no) == "closed"
    reply = await player.submits(order_no, purchase)
    assert (reply.status, reply.json["status"]) == (200, "closed")
    assert await player.client.count("events") == await player.client.count("payments") == 0
    assert await player.client.count("duties") == 0


TROUBLE = sorted(set(KINDS) - {"slow", "altered"} - {
    "invalid", "parseError", "notFound", "purchaseTokenNotFound", "purchaseTokenNoLongerValid",
    "purchaseTokenDoesNotMatchProductId", "purchaseTokenDoesNotMatchPackageName",
    "invalidPurchaseState", "productNotOwnedByUser",
})  # fmt: skip


@on_sqlite
async def test_while_google_is_in_trouble_the_token_waits(player):
    """No believable answer, or none for us, whatever it looks like: 202, the order pending, the token kept."""
    kinds = [kind for kind in TROUBLE if not kind.startswith(("invalid_", "un"))]
    bought = {kind: await player.bought() for kind in [*kinds, "timeout"]}
    for kind, (_, purchase) in bought.items():
        fault = ["slow"] if kind == "timeout" else [kind] * 20
        player.google.next_answers(*fault, path=purchase.purchase_token, seconds=4)
    shown = [player.submits(order_no, purchase) for order_no, purchase in bought.values()]
    replies = dict(zip(bought, await asyncio.gather(*shown), strict=True))
    assert {kind: reply.status for kind, reply in replies.items()} == dict.fromkeys(bought, 202)
    assert await player.evidence() == [("waiting", "")] * len(bought)
    assert await player.client.count("payments") == 0
    player.google.faults.clear()
    for order_no, purchase in bought.values():
        assert (await player.submits(order_no, purchase)).json["status"] == "paid"
    assert {state for state, _ in await player.evidence()} == {"used"}


@on_sqlite
async def test_a_token_that_google_does_not_know_is_refused(player):
    """Google's own no is 422 with nothing kept: unknown, malformed, of another app, forgotten long ago."""
    order_no, purchase = await player.bought()
    unknown = purchase.purchase_token[:-4] + "AAAA"
    other = await buy(player.google, {})
    other.package = "com.example.other"
    before = await player.counts()
    for token in (unknown, "payplat", other.purchase_token):
        reply = await player.submits_token(order_no, token)
        assert (reply.status, reply.json["code"]) == (422, "provider_refused"), token
    player.google.next_answers("purchaseTokenNoLongerValid", path="/productsv2/")
    assert (await player.submits(order_no, purchase)).status == 422
    assert await player.counts() == before


@on_sqlite
async def test_a_client_that_hangs_up_is_served_all_the_same(player):
    """A game that is killed right after it sent its token finds its order paid."""
    order_no, purchase = await player.bought()
    player.google.next_answers("slow", path="/productsv2/", seconds=0.3)
    wanted = json.dumps({"order_no": order_no, "purchase_token": purchase.purchase_token})
    host, port = player.client.stage.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/verify/google HTTP/1.1\r\nHost: game\r\nContent-Length: {len(wanted)}\r\n\r\n"
    writer.write((head + wanted).encode())
    await player.client.until(lambda: asked(player.google, "productsv2.get"))
    writer.close()
    await writer.wait_closed()
    await player.client.until(lambda: player.client.count("payments"))
    assert await player.told(order_no) == ["opened", "paid"]


@on_sqlite
async def test_requests_that_are_none_name_what_is_wrong(player):
    """Whatever could lead elsewhere in an address is 400 that names its field, and Google never hears of it."""
    order_no, purchase = await player.bought()
    token = purchase.purchase_token
    for wrong in (
        "", f"{token}\n", f"{token}\r\nX-Evil: 1", f"{token}/../x", f"{token}?a=b", f"{token}:consume",
        f"{token}#x", f"{token}%2f", f"{token} ", "１２", "tökén", "a" * 5000, 7, None, [token],
        "..", ".", "../../orders",
    ):  # fmt: skip
        reply = await player.submits_token(order_no, wrong)
        assert (reply.status, reply.json["code"]) == (400, "invalid_request"), wrong
        assert reply.json["field"] == "purchase_token"
    for members, field in (
        ({"purchase_token": token}, "order_no"),
        ({"order_no": order_no}, "purchase_token"),
        ({"order_no": 7, "purchase_token": token}, "order_no"),
        ({"order_no": order_no, "purchase_token": token, "product_id": "coins_500"}, "product_id"),
    ):
        reply = await player.client.call("POST", "/v1/verify/google", members)
        assert (reply.status, reply.json["field"]) == (400, field)
    alipay = await player.client.entered()
    for nobodys in ("0" * 32, "nonsense", order_no.upper(), alipay):
        reply = await player.submits_token(nobodys, token)
        assert (reply.status, reply.json["code"]) == (404, "order_not_found")
    assert not player.google.received
    assert (await player.client.call("POST", "/v1/verify/google", b"a" * 70_000)).status == 413
