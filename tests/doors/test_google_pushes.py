"""POST /v1/callback/google: a push only says that something has changed; each kind of it and each doubt."""

import asyncio

import pytest

from payplat import seam
from payplat.decisions import Result
from payplat.metrics import PUT_ASIDE
from payplat.simulators.google import notices
from tests.doors.google import CANCELED, Player, asked, buy, envelope, voided

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BAD_TOKENS = (
    "wrong_audience wrong_email no_email unverified_email wrong_issuer expired without_expiry from_the_future "
    "foreign_key unknown_kid hs256 unsigned no_authorization not_a_token"
).split()
POISON = "malformed_base64 data_is_not_json body_is_not_json no_message_id".split()


@pytest.fixture
def player(client) -> Player:
    """A player."""
    return Player(client)


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """Where a test is about it, our subscription is named, or Google is given up soon."""
    name = request.node.name
    named = {"PAYPLAT_CHANNELS__GOOGLE__PUSH_SUBSCRIPTION": "projects/simulator/subscriptions/play"}
    soon = {"PAYPLAT_CHANNELS__GOOGLE__TIMEOUT_SECONDS": "1"}
    return (named if "subscription" in name else {}) | (soon if "away" in name else {})


async def paid(player: Player, **fields):
    """An order that its own push has paid."""
    created = await player.opens(**fields)
    purchase = await player.buys(created, notify=True)
    assert await player.status(created["order_no"]) == "paid"
    return created["order_no"], purchase


async def refunds(player: Player, order_no: str) -> list[dict]:
    """What the merchant learned of refunds."""
    return [e["data"]["refund"] for e in await player.events(order_no) if "refund" in e["data"]]


async def test_a_push_pays_and_its_copies_change_nothing(player):
    """Without the game's help Google is asked and the order paid; copies at the same moment are 204 and no news."""
    player.google.faults.notification(copies=8, parallel=True)
    order_no, _ = await paid(player)
    assert [attempt.status for attempt in player.google.notifications] == [204] * 8
    assert await player.told(order_no) == ["opened", "paid"]
    assert await player.client.count("payments") == await player.client.count("events") == 1
    assert await player.duties(order_no) == {"acknowledge": "due", "consume": "due"}
    assert asked(player.google, "oauth.certs") == 1


@on_sqlite
async def test_who_does_not_prove_himself_is_401(player):
    """Every wrong token that the simulator knows is 401, leaves no trace and asks Google nothing about purchases."""
    order_no, purchase = await player.bought()
    before = await player.counts()
    for name in BAD_TOKENS:
        attempt = await player.google.attack(name, token=purchase.purchase_token)
        assert (name, attempt.status) == (name, 401)
    stranger = await player.posts(b"{}", Authorization="")
    assert (stranger.status, stranger.json["status"]) == (401, 401)
    assert await player.counts() == before
    assert not asked(player.google, "productsv2.get")
    assert (await player.pushes(purchase)).status == 204
    assert await player.status(order_no) == "paid"


@on_sqlite
async def test_another_subscriptions_push_is_401(player):
    """Where ours is named, the right token is not enough."""
    attempt = await player.google.attack("other_subscription")
    assert attempt.status == 401
    assert await player.client.count("evidence") == 0
    order_no, _ = await paid(player)
    assert await player.status(order_no) == "paid"


@on_sqlite
async def test_what_cannot_be_read_is_recorded_and_never_comes_again(player):
    """Poison is acknowledged with 204 and kept as it came; Google is asked nothing."""
    for name in POISON:
        assert (name, (await player.google.attack(name)).status) == (name, 204)
    assert await player.evidence() == [("used", "undecodable")] * len(POISON)
    for name in ("deeply_nested", "megabyte"):
        assert (name, (await player.google.attack(name)).status) == (name, 413)
    assert await player.client.count("evidence") == len(POISON)
    assert {received.call for received in player.google.received} == {"oauth.certs"}


@on_sqlite
async def test_whatever_else_google_may_tell_is_204_and_on_record(player):
    """Of another app, a test, a subscription, a kind that nobody knows, a review of a refund: kept, the order stays."""
    order_no, purchase = await paid(player)
    asked_before, before = len(player.google.received), await player.client.count("evidence")
    google = player.google
    for name in ("other_package", "unknown_member", "unknown_type"):
        attempt = await google.attack(name, token=purchase.purchase_token)
        assert (name, attempt.status) == (name, 204)
    await google.send_test_notification(purchase.package)
    await google.review(purchase.purchase_token)
    token = {"purchaseToken": purchase.purchase_token, "orderId": purchase.order_id}
    for member, content in (
        ("subscriptionNotification", {**token, "version": "1.0", "notificationType": 13}),
        ("voidedPurchaseNotification", {**token, "productType": 1, "refundType": 1}),
        ("voidedPurchaseNotification", {**token, "productType": 2, "refundType": 7}),
    ):
        data = notices.notification(purchase.package, google.clock.now(), member, content)
        assert (await player.posts(envelope(google, data))).status == 204
    assert {attempt.status for attempt in google.notifications} == {204}
    assert len(google.received) == asked_before
    assert await player.client.count("evidence") == before + 8
    assert {state for state, _ in await player.evidence()} == {"used"}
    assert await player.told(order_no) == ["opened", "paid"]


@on_sqlite
async def test_while_google_is_away_the_push_comes_again(player):
    """503 without a trace when Google cannot be asked; redelivered, the same push pays."""
    order_no, purchase = await player.bought()
    google = player.google
    body = envelope(google, notices.one_time(purchase, 1, google.clock.now()))
    for kind, path in (("backendError", "/productsv2/"), ("invalid_grant", "/token")):
        google.next_answers(*[kind] * 3, path=path)
        if path == "/token":
            player.client.stage.platform.providers["google"]._tokens.forget(_token(player))
        assert (await player.posts(body)).status == 503
        google.faults.clear()
    assert await player.client.count("evidence") == 0
    assert await player.status(order_no) == "pending"
    await later(player, 6)
    assert (await player.posts(body)).status == 204
    assert await player.status(order_no) == "paid"


def _token(player: Player) -> str:
    return player.client.stage.platform.providers["google"]._tokens._token


async def later(player: Player, seconds: int) -> None:
    """A failure at the token endpoint is remembered for some seconds: let them have passed."""
    tokens = player.client.stage.platform.providers["google"]._tokens
    tokens._rest = range(tokens._rest.start - seconds, tokens._rest.stop - seconds)


@on_sqlite
async def test_without_googles_keys_nobody_is_believed(player):
    """When the keys cannot be fetched, a genuine push is 503, not 401, and comes again."""
    order_no, purchase = await player.bought()
    player.google.next_answers("backendError", path="/certs")
    assert (await player.pushes(purchase)).status == 503
    assert await player.client.count("evidence") == 0
    assert await player.status(order_no) == "pending"


async def test_no_answer_before_the_commit(player, monkeypatch):
    """When the database cannot store it, Pub/Sub hears 503 and comes again."""
    order_no, purchase = await player.bought()

    class Broken(seam.World):
        async def reach(self, point: str) -> None:
            if point == "before_commit":
                raise OSError("the database went away")

    with monkeypatch.context() as patched:
        patched.setattr(seam, "world", Broken())
        assert (await player.pushes(purchase)).status == 503
    assert await player.status(order_no) == "pending"
    assert (await player.pushes(purchase)).status == 204
    assert await player.status(order_no) == "paid"


async def test_a_whole_refund_is_told_once(player):
    """The push about the void, the one about the revocation, copies of both and the game's own question: one event."""
    order_no, purchase = await paid(player)
    player.google.faults.notification(copies=3, parallel=True, republish=1)
    await player.google.void(purchase.purchase_token, reason=7)
    order = await player.client.order(order_no)
    assert (order["status"], order["refunded"]) == ("refunded", 600)
    before = await player.counts()
    assert (await player.posts(voided(player.google, purchase))).status == 204
    assert (await player.pushes(purchase, CANCELED)).status == 204
    assert (await player.submits(order_no, purchase)).json["status"] == "refunded"
    assert await player.counts() == before
    assert await player.kinds(order_no) == ["order.paid", "order.refunded"]
    assert await player.client.count("refunds") == 1


async def test_a_part_and_then_the_rest_goes_back(player):
    """Two of five, then three: the order stays paid and then is refunded, each an event with what is back in all."""
    order_no, purchase = await paid(player, quantity=5)
    await player.google.refund(purchase.purchase_token, quantity=2)
    order = await player.client.order(order_no)
    assert (order["status"], order["amount"], order["refunded"]) == ("paid", 3000, 1200)
    assert [(r["returned"], r["amount"]) for r in await refunds(player, order_no)] == [(2, 1200)]
    assert (await player.posts(voided(player.google, purchase))).status == 204
    assert (await player.submits(order_no, purchase)).json["status"] == "paid"
    assert len(await refunds(player, order_no)) == 1
    await player.google.refund(purchase.purchase_token)
    order = await player.client.order(order_no)
    assert (order["status"], order["refunded"]) == ("refunded", 3000)
    assert sorted(r["returned"] for r in await refunds(player, order_no)) == [2, 5]
    assert await player.client.count("refunds") == 2


@on_sqlite
async def test_parts_without_a_price_are_told_by_number(player):
    """Where Google tells no price, the merchant learns how many of how many are back."""
    player.google.faults.answer("projectNotLinked", path="/orders/", times=None)
    order_no, purchase = await paid(player, quantity=5)
    for quantity in (1, 2):
        await player.google.refund(purchase.purchase_token, quantity=quantity)
    told = await refunds(player, order_no)
    assert sorted((r["returned"], r["amount"]) for r in told) == [(1, None), (3, None)]
    assert await player.status(order_no) == "paid"


@on_sqlite
async def test_a_part_before_its_payment_is_told_with_it(player):
    """A purchase of which two of five went back already is paid, and the merchant learns both."""
    created = await player.opens(quantity=5)
    purchase = await player.buys(created)
    await player.google.refund(purchase.purchase_token, quantity=2)
    assert await player.kinds(created["order_no"]) == ["order.paid", "order.refunded"]
    assert await player.status(created["order_no"]) == "paid"


async def test_a_refund_before_its_payment_is_never_delivered(player):
    """When the push about the refund is the first we hear, the order ends refunded, and nobody is told of a payment."""
    order_no, purchase = await player.bought()
    await player.google.refund(purchase.purchase_token)
    assert await player.status(order_no) == "refunded"
    assert (await player.pushes(purchase)).status == 204
    assert (await player.submits(order_no, purchase)).json["status"] == "refunded"
    assert await player.kinds(order_no) == ["order.refunded"]
    assert await player.client.count("payments") == 1
    assert await player.client.count("duties") == 0


@on_sqlite
async def test_a_refund_is_believed_when_google_has_forgotten_the_purchase(player):
    """Google forgets tokens: what the signed push says of the whole is enough for a purchase that we know."""
    order_no, purchase = await paid(player)
    player.google.faults.answer("purchaseTokenNoLongerValid", path="/productsv2/", times=None)
    await player.google.refund(purchase.purchase_token)
    assert await player.status(order_no) == "refunded"
    assert await player.kinds(order_no) == ["order.paid", "order.refunded"]


async def test_refunds_of_what_is_not_ours_are_recorded_without_alarm(player):
    """Refunds of purchases made elsewhere are kept; nobody is woken, no order changes."""
    alarms = PUT_ASIDE.labels("google", Result.UNKNOWN_ORDER)._value
    elsewhere, before = await buy(player.google, {}), alarms.get()
    await player.google.refund(elsewhere.purchase_token)
    assert [attempt.status for attempt in player.google.notifications] == [204, 204]
    assert await player.evidence() == [("unclaimed", "order_no")] * 2
    for table in ("events", "refunds", "payments"):
        assert await player.client.count(table) == 0
    assert alarms.get() == before
    assert (await player.pushes(await buy(player.google, {}))).status == 204
    assert alarms.get() == before + 1


@on_sqlite
async def test_pushes_about_what_google_does_not_know_are_kept(player):
    """A token that is none of Google's is 204 and put on record, and pays nothing."""
    purchase = await buy(player.google, {})
    purchase.purchase_token = purchase.purchase_token[:-4] + "AAAA"
    assert (await player.pushes(purchase)).status == 204
    assert await player.evidence() == [("unclaimed", "order_no")]
    assert await player.client.count("payments") == 0


@on_sqlite
async def test_a_push_for_another_channels_order_pays_nothing(player):
    """A purchase that names an order of Alipay's, or nobody's, is put aside."""
    alipay = await player.client.entered()
    account = (await player.opens())["payment"]["obfuscated_account_id"]
    for number in (alipay, "f" * 32, "x" * 64, "😀" * 16):
        ids = {"obfuscated_account_id": account, "obfuscated_profile_id": number}
        purchase = await buy(player.google, ids)
        assert (await player.pushes(purchase)).status == 204
    assert await player.status(alipay) == "pending"
    assert await player.client.count("payments") == 0
    kept = [state for state, _ in await player.evidence()]
    assert len(kept) == 4
    assert set(kept) <= {"unclaimed", "quarantined"}


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
async def test_pushes_and_games_of_many_orders_at_once(player):
    """Twenty orders, each told five times by everybody at the same moment: each is paid once."""
    orders = [await player.bought() for _ in range(20)]
    told = [player.pushes(purchase) for _, purchase in orders for _ in range(3)]
    shown = [player.submits(order_no, purchase) for order_no, purchase in orders for _ in range(2)]
    replies = await asyncio.gather(*told, *shown)
    assert {reply.status for reply in replies} == {200, 204}
    assert await player.client.count("orders", "status='paid'") == len(orders)
    assert await player.client.count("payments") == await player.client.count("events") == 20
    assert await player.client.count("duties") == 40
