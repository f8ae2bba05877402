"""POST /v1/callback/apple: App Store Server Notifications, each kind and each doubt."""

import asyncio
import json

import pytest

from payplat import seam
from payplat.demo.stage import BUNDLE_ID
from payplat.purchase import Inbound, State
from payplat.simulators.apple.books import AUTO_RENEWABLE
from payplat.simulators.apple.notices import TYPES
from payplat.simulators.apple.spoils import wrongly_signed
from tests.doors.apple import SKU, Player, asked, notice

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
OURS = frozenset(
    "ONE_TIME_CHARGE REFUND REVOKE REFUND_REVERSED REFUND_DECLINED CONSUMPTION_REQUEST TEST".split()
)


@pytest.fixture
def player(client) -> Player:
    """A player."""
    return Player(client)


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """An operator who answers no consumption requests, where a test is about that."""
    never = "nobody_answers" in request.node.name
    return {"PAYPLAT_CHANNELS__APPLE__CONSUMPTION": "never"} if never else {}


async def paid(player: Player):
    """An order that its own notification has paid."""
    order_no, purchase = await player.bought(notify=True)
    assert await player.status(order_no) == "paid"
    return order_no, purchase


async def kinds(player: Player, order_no: str) -> list[str]:
    """The kinds of the order's events, sorted."""
    return sorted(event["type"] for event in await player.events(order_no))


async def test_a_notification_pays_and_its_copies_change_nothing(player):
    """ONE_TIME_CHARGE pays without the game and without a question; copies at the same moment are no news."""
    player.apple.next_notifications("ONE_TIME_CHARGE", copies=8, parallel=True)
    order_no, _ = await player.bought(notify=True)
    assert [attempt.status for attempt in player.apple.notifications] == [200] * 8
    assert await player.told(order_no) == ["opened", "paid"]
    assert await player.client.count("payments") == await player.client.count("events") == 1
    assert not asked(player.apple)


async def test_a_whole_refund_and_its_reversal(player):
    """REFUND takes the order back, REFUND_REVERSED gives it back; each is one event, told again or not."""
    order_no, purchase = await paid(player)
    await player.apple.refund(purchase.transaction_id, reason=1)
    order = await player.client.order(order_no)
    assert (order["status"], order["refunded"]) == ("refunded", 600)
    assert (await player.hears("REFUND", purchase)).status == 200
    late = notice(player.apple, "REFUND", purchase.jws)
    await player.apple.reverse_refund(purchase.transaction_id, notify=False)
    reversal = notice(player.apple, "REFUND_REVERSED", purchase.jws)
    before = []
    for jws in (reversal, late, reversal):
        assert (await player.notifies(jws)).status == 200
        before.append([await player.told(order_no), await player.client.count("refunds")])
    assert before[0] == before[1] == before[2]
    order = await player.client.order(order_no)
    assert (order["status"], order["refunded"]) == ("paid", 0)
    assert await kinds(player, order_no) == [
        "order.paid",
        "order.refund_reversed",
        "order.refunded",
    ]
    refund = next(e for e in await player.events(order_no) if e["type"] == "order.refunded")
    told = refund["data"]["refund"]
    assert (told["amount"], told["share"], told["type"]) == (None, 100000, "REFUND_FULL")
    await player.apple.refund(purchase.transaction_id)
    assert await player.status(order_no) == "refunded"


@on_sqlite
async def test_a_reversal_says_nothing_of_a_later_refund(player):
    """REFUND_REVERSED that comes again after a second refund, signed anew, does not take that one back."""
    order_no, purchase = await paid(player)
    await player.apple.refund(purchase.transaction_id)
    await player.apple.reverse_refund(purchase.transaction_id)
    await asyncio.sleep(0.005)
    await player.apple.refund(purchase.transaction_id)
    await player.hears("REFUND_REVERSED", purchase)
    assert await player.status(order_no) == "refunded"


async def test_a_prorated_refund_tells_its_share(player):
    """A part goes back: the order stays paid, and the event tells thousandths of a percent, not an amount of ours."""
    order_no, purchase = await paid(player)
    await player.apple.refund(purchase.transaction_id, type="REFUND_PRORATED", percentage=67932)
    assert await player.status(order_no) == "paid"
    told = [e["data"]["refund"] for e in await player.events(order_no) if "refund" in e["data"]]
    assert [(t["share"], t["type"], t["amount"]) for t in told] == [
        (67932, "REFUND_PRORATED", None)
    ]
    assert await player.told(order_no) == ["opened", "paid", "refunded"]


@on_sqlite
async def test_what_changes_nothing_is_told_in_the_timeline(player):
    """REFUND_DECLINED leaves the order as it is; REVOKE takes it back like a refund."""
    order_no, purchase = await paid(player)
    await player.apple.decline_refund(purchase.transaction_id)
    assert await player.told(order_no) == ["opened", "paid", "noticed"]
    await player.apple.revoke(purchase.transaction_id)
    assert await player.status(order_no) == "refunded"
    assert await kinds(player, order_no) == ["order.paid", "order.refunded"]


async def test_a_refund_before_its_payment_is_never_delivered(player):
    """When REFUND overtakes ONE_TIME_CHARGE, the order ends refunded and nobody is told of a payment."""
    order_no, purchase = await player.bought()
    charge = notice(player.apple, "ONE_TIME_CHARGE", purchase.jws)
    device = purchase.jws
    await player.apple.refund(purchase.transaction_id)
    assert (await player.notifies(charge)).status == 200
    assert (await player.submits(order_no, device)).json["status"] == "refunded"
    assert await kinds(player, order_no) == ["order.refunded"]
    assert await player.client.count("payments") == 1


async def test_consumption_requests_are_an_event_each(player):
    """Each request of Apple's, known by its UUID, is told once with its reason and the hour by which to answer."""
    order_no, purchase = await paid(player)
    player.apple.next_notifications("CONSUMPTION_REQUEST", copies=3, parallel=True)
    for reason in ("UNINTENDED_PURCHASE", "OTHER"):
        await player.apple.request_consumption(purchase.transaction_id, reason)
    told = [e["data"]["notice"] for e in await player.events(order_no) if "notice" in e["data"]]
    uuids = {attempt.notification_uuid for attempt in player.apple.notifications[1:]}
    assert {each["reason"] for each in told} == {"UNINTENDED_PURCHASE", "OTHER"}
    assert {each["id"] for each in told} == uuids
    assert all(each["answer_until"] > seam.rfc3339(seam.now()) for each in told)
    assert await player.status(order_no) == "paid"


@on_sqlite
async def test_where_nobody_answers_consumption_requests_nobody_is_told(player):
    """With consumption = never the timeline knows of the request and the merchant does not."""
    order_no, purchase = await paid(player)
    await player.apple.request_consumption(purchase.transaction_id)
    assert await kinds(player, order_no) == ["order.paid"]
    assert await player.told(order_no) == ["opened", "paid", "noticed"]


async def test_whatever_apple_may_tell_is_200_and_on_record(player):
    """Tests, subscriptions and kinds nobody knows yet, with our order or without: kept, and the order stays."""
    order_no, purchase = await paid(player)
    renewal = await player.apple.buy(BUNDLE_ID, "monthly", type=AUTO_RENEWABLE, notify=False)
    before = await player.client.count("evidence")
    unnamed = [*sorted(TYPES - OURS), "INVENTED_IN_2027"]
    for kind in unnamed:
        assert (await player.hears(kind, purchase)).status == 200
        assert (await player.hears(kind, renewal)).status == 200
    for part in ("summary", "appData", "externalPurchaseToken"):
        body = {"notificationType": "TEST", "notificationUUID": part, part: {"bundleId": BUNDLE_ID}}
        assert (await player.notifies(player.apple.sign(body))).status == 200
    await player.apple.send_test(BUNDLE_ID)
    assert player.apple.notifications[-1].status == 200
    assert await player.client.count("evidence") == before + 2 * len(unnamed) + 4
    assert await player.evidence("reason='TEST'") == [("used", "TEST")] * 4
    assert await player.evidence("state='quarantined'") == [("quarantined", "state")]
    assert await player.evidence("state='unclaimed'") == [("unclaimed", "order_no")] * len(unnamed)
    assert (await player.told(order_no)).count("noticed") == len(unnamed) - 1
    assert await kinds(player, order_no) == ["order.paid"]
    assert await player.status(order_no) == "paid"


@on_sqlite
async def test_any_notice_of_a_purchase_proves_it(player):
    """A notice about a purchase of which we never heard pays its order, and is told all the same."""
    for kind, event in (
        ("CONSUMPTION_REQUEST", ["order.consumption_requested"]),
        ("REFUND_DECLINED", []),
    ):
        order_no, purchase = await player.bought()
        assert (await player.hears(kind, purchase)).status == 200
        assert await player.told(order_no) == ["opened", "paid", "noticed"]
        assert await kinds(player, order_no) == [*event, "order.paid"]


@on_sqlite
async def test_authentic_but_wrong_is_answered_and_put_aside(player):
    """Of another app or environment, outside or within, or a refund without its date: 200, quarantined, nothing paid."""
    order_no, purchase = await player.bought()
    inner = purchase.fields
    wrong = [
        notice(player.apple, "ONE_TIME_CHARGE", purchase.jws, bundleId="com.example.other"),
        notice(player.apple, "ONE_TIME_CHARGE", purchase.jws, environment="Production"),
        notice(player.apple, "ONE_TIME_CHARGE", purchase.jws, environment="Xcode"),
        notice(player.apple, "REFUND", purchase.jws),
    ]
    for changed in ({"bundleId": "com.example.other"}, {"environment": "Production"}):
        transaction = player.apple.sign(inner, **changed)
        wrong.append(notice(player.apple, "ONE_TIME_CHARGE", transaction))
        wrong.append(notice(player.apple, "ONE_TIME_CHARGE", transaction, **changed))
    for jws in wrong:
        assert (await player.notifies(jws)).status == 200
    assert await player.told(order_no) == ["opened"] + ["quarantined"] * len(wrong)
    assert await player.client.count("payments") == await player.client.count("events") == 0


@on_sqlite
async def test_what_is_no_notification_of_apples_is_400(player):
    """No JSON, no JWS, a forged envelope or a forged transaction within a genuine one: 400, and nothing written."""
    order_no, purchase = await player.bought()
    signed = {**purchase.fields, "signedDate": player.apple.milliseconds}
    forged = wrongly_signed(player.apple, signed)
    genuine = notice(player.apple, "ONE_TIME_CHARGE", purchase.jws)
    apple = player.apple
    for jws in (
        "", "x.y.z", genuine[:-4] + "AAAA", f"{genuine}.", genuine.replace(".", ".A", 1), purchase.jws,
        notice(apple, "ONE_TIME_CHARGE", forged),
        notice(apple, "ONE_TIME_CHARGE", "x.y.z"),
        notice(apple, "ONE_TIME_CHARGE", None, signedTransactionInfo=7),
        apple.sign({"notificationType": "TEST"}, signedDate=apple.milliseconds + 600_000),
        apple.sign({"data": {}}),
    ):  # fmt: skip
        reply = await player.notifies(jws)
        assert (reply.status, reply.json["code"]) == (400, "not_authentic"), jws[:40]
    for body in (b"", b"{}", b"[]", b"null", b"\xff", b'{"signedPayload":7}', b"[" * 60_000):
        reply = await player.client.call("POST", "/v1/callback/apple", body)
        assert (reply.status, reply.json["code"]) == (400, "not_authentic"), body[:20]
    large = json.dumps({"signedPayload": genuine, "x": "x" * 70_000}).encode()
    assert (await player.client.call("POST", "/v1/callback/apple", large)).status == 413
    assert await player.client.count("evidence") == await player.client.count("timeline") == 0
    assert await player.status(order_no) == "pending"
    assert (await player.notifies(genuine)).status == 200
    assert await player.status(order_no) == "paid"


async def test_no_answer_before_the_commit(player, monkeypatch):
    """When the database cannot store it, Apple hears 503 and comes again."""
    order_no, purchase = await player.bought()
    jws = notice(player.apple, "ONE_TIME_CHARGE", purchase.jws)

    class Broken(seam.World):
        async def reach(self, point: str) -> None:
            if point == "before_commit":
                raise OSError("the database went away")

    with monkeypatch.context() as patched:
        patched.setattr(seam, "world", Broken())
        assert (await player.notifies(jws)).status == 503
    assert await player.status(order_no) == "pending"
    assert (await player.notifies(jws)).status == 200
    assert await player.status(order_no) == "paid"


async def test_purchases_without_a_token_wait_to_be_claimed(player):
    """Whoever holds the receipt claims the purchase, once; afterwards Apple's word for it finds the order."""
    purchase = await player.apple.buy(BUNDLE_ID, SKU)
    assert player.apple.notifications[-1].status == 200
    assert await player.evidence() == [("unclaimed", "order_no")]
    order_no, second = [(await player.opens())["order_no"] for _ in range(2)]
    reply = await player.submits(order_no, purchase.jws)
    assert (reply.status, reply.json["status"]) == (200, "paid")
    assert await player.evidence() == [("used", "claimed"), ("used", "")]
    assert await player.client.count("duties", "what='bind' AND status='due'") == 1
    for receipt in (purchase.jws, purchase.jws):
        reply = await player.submits(second, receipt)
        assert (reply.status, reply.json["field"]) == (409, "transaction_id")
    assert await player.status(second) == "pending"
    assert (await player.submits(order_no, purchase.jws)).json["status"] == "paid"
    await player.apple.refund(purchase.transaction_id)
    assert await player.status(order_no) == "refunded"
    assert await player.client.count("payments") == 1
    assert await kinds(player, order_no) == ["order.paid", "order.refunded"]


@on_sqlite
async def test_what_was_given_back_cannot_be_claimed(player):
    """An unclaimed purchase is asked about whatever the policy: refunded meanwhile, it delivers nothing."""
    purchase = await player.apple.buy(BUNDLE_ID, SKU)
    receipt = purchase.jws
    await player.apple.refund(purchase.transaction_id)
    order_no = (await player.opens())["order_no"]
    assert (await player.submits(order_no, receipt)).json["status"] == "refunded"
    assert await kinds(player, order_no) == ["order.refunded"]
    assert await player.client.count("duties") == 0


@on_sqlite
async def test_a_receipt_shown_for_the_wrong_order_still_pays_the_right_one(player):
    """An unnamed purchase that did not fit one order is settled for the one that it fits."""
    wrong = (await player.opens(product_id="coins_2800"))["order_no"]
    right = (await player.opens())["order_no"]
    receipt = (await player.apple.buy(BUNDLE_ID, SKU, notify=False)).jws
    assert (await player.submits(wrong, receipt)).json["field"] == "product"
    assert (await player.submits(right, receipt)).json["status"] == "paid"
    assert await player.evidence() == [("used", "")]


@on_sqlite
async def test_a_notification_is_read_without_asking_anybody(player):
    """Apple's word arrives signed: reading it needs neither the network nor the database."""
    _, purchase = await player.bought()
    provider = player.client.stage.platform.providers["apple"]
    jws = notice(player.apple, "ONE_TIME_CHARGE", purchase.jws)
    verdict = provider.read_notification(
        Inbound({}, "", json.dumps({"signedPayload": jws}).encode())
    )
    assert (verdict.state, verdict.transaction_id) == (State.PAID, purchase.transaction_id)
    assert verdict.verifier.startswith("x5c:")
