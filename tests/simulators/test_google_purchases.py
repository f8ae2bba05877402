"""The Android Publisher API: one-time purchases through their life, and orders."""

import json

import pytest
from tornado.simple_httpclient import HTTPStreamClosedError

from payplat.simulators.google.purchases import PROMO
from payplat.simulators.google.refusals import BillingRefusal, Refusal
from tests.simulators.google_stage import (
    DAY,
    NOW,
    ORDER,
    PACKAGE,
    PRODUCTS,
    USER,
    open_api,
    open_inbox,
    open_play,
    product_path,
)

BOUND = {"obfuscated_account_id": USER, "obfuscated_profile_id": ORDER}


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


async def test_a_purchase_as_v1_tells_it(api, play):
    """Numbers for enums, int64 as text, nothing that is usual; the token is not repeated."""
    purchase = await play.buy(PACKAGE, "coins_500", **BOUND)
    assert await api.v1(purchase) == {
        "kind": "androidpublisher#productPurchase",
        "purchaseTimeMillis": "1790000000000",
        "purchaseState": 0,
        "consumptionState": 0,
        "developerPayload": "",
        "orderId": purchase.order_id,
        "acknowledgementState": 0,
        "refundableQuantity": 1,
        "obfuscatedExternalAccountId": USER,
        "obfuscatedExternalProfileId": ORDER,
        "regionCode": "US",
    }
    assert len(purchase.purchase_token) > 100
    assert purchase.order_id.startswith("GPA.")


async def test_a_purchase_as_v2_tells_it(api, play):
    """Names for enums, and a line for the product."""
    purchase = await play.buy(PACKAGE, "coins_500", quantity=3, region="DE", **BOUND)
    assert await api.v2(purchase) == {
        "kind": "androidpublisher#productPurchaseV2",
        "productLineItem": [
            {
                "productId": "coins_500",
                "productOfferDetails": {
                    "purchaseOptionId": "buy",
                    "quantity": 3,
                    "refundableQuantity": 3,
                    "consumptionState": "CONSUMPTION_STATE_YET_TO_BE_CONSUMED",
                },
            }
        ],
        "purchaseStateContext": {"purchaseState": "PURCHASED"},
        "orderId": purchase.order_id,
        "obfuscatedExternalAccountId": USER,
        "obfuscatedExternalProfileId": ORDER,
        "regionCode": "DE",
        "purchaseCompletionTime": "2026-09-21T14:13:20Z",
        "acknowledgementState": "ACKNOWLEDGEMENT_STATE_PENDING",
    }
    assert (await api.v1(purchase))["quantity"] == 3


async def test_unusual_purchases_say_so(api, play):
    """A tester's, and one by promotion code, which has no order; ids only where they were set."""
    tester = await play.buy(PACKAGE, "castle", test=True, buyer="tester")
    assert (await api.v1(tester))["purchaseType"] == 0
    assert (await api.v2(tester))["testPurchaseContext"] == {"fopType": "TEST"}
    promo = await play.buy(PACKAGE, "castle", purchase_type=PROMO)
    told = await api.v1(promo)
    assert told["purchaseType"] == 1
    assert {"orderId", "obfuscatedExternalAccountId"}.isdisjoint(told)
    assert {"orderId", "testPurchaseContext"}.isdisjoint(await api.v2(promo))


async def test_consuming_acknowledges_and_frees_the_product(api, play):
    """Until then it cannot be bought again by the same person."""
    first = await play.buy(PACKAGE, "coins_500", **BOUND)
    with pytest.raises(BillingRefusal, match="not consumed") as refused:
        await play.buy(PACKAGE, "coins_500", **BOUND)
    assert refused.value.answer()["response_code"] == 7
    await play.buy(PACKAGE, "coins_500", obfuscated_account_id="somebody else")
    await play.buy(PACKAGE, "castle", **BOUND)
    await api.do(product_path(first, "consume"))
    told = await api.v1(first)
    assert (told["acknowledgementState"], told["consumptionState"]) == (1, 1)
    line = (await api.v2(first))["productLineItem"][0]["productOfferDetails"]
    assert line["consumptionState"] == "CONSUMPTION_STATE_CONSUMED"
    second = await play.buy(PACKAGE, "coins_500", **BOUND)
    assert second.purchase_token != first.purchase_token


async def test_acknowledging_once_more_changes_nothing(api, play):
    """It keeps what the developer said, and the product stays owned."""
    purchase = await play.buy(PACKAGE, "castle")
    await api.do(product_path(purchase, "acknowledge"), {"developerPayload": "ours"})
    await api.do(product_path(purchase, "acknowledge"))
    told = await api.v1(purchase)
    assert (told["acknowledgementState"], told["consumptionState"]) == (1, 0)
    assert told["developerPayload"] == "ours"
    assert (await api.v2(purchase))["acknowledgementState"].endswith("_ACKNOWLEDGED")
    with pytest.raises(BillingRefusal):
        await play.buy(PACKAGE, "castle")


async def test_what_is_not_owned_cannot_be_used_up(api, play):
    """Consumed twice, pending, or given back."""
    purchase = await play.buy(PACKAGE, "coins_500")
    await api.do(product_path(purchase, "consume"))
    consume, acknowledge = (product_path(purchase, each) for each in ("consume", "acknowledge"))
    assert await api.refused(consume, "POST") == (400, "productNotOwnedByUser")
    assert await api.refused(acknowledge, "POST") == (400, "productNotOwnedByUser")
    pending = await play.buy(PACKAGE, "castle", pending=True)
    path = product_path(pending, "acknowledge")
    assert await api.refused(path, "POST") == (400, "invalidPurchaseState")
    await play.complete_pending(pending.purchase_token)
    await play.refund(pending.purchase_token)
    assert await api.refused(path, "POST") == (400, "productNotOwnedByUser")
    assert await api.refused(path, "POST", body=["no object"]) == (400, "parseError")


async def test_a_pending_purchase_is_completed(api, play, inbox):
    """Nothing is told before the money comes; the time to acknowledge starts with it."""
    purchase = await play.buy(PACKAGE, "castle", pending=True, **BOUND)
    told = await api.v2(purchase)
    assert told["purchaseStateContext"] == {"purchaseState": "PENDING"}
    assert {"orderId", "purchaseCompletionTime"}.isdisjoint(told)
    assert (await api.v1(purchase))["purchaseState"] == 2
    assert inbox.bodies == []
    await play.advance(2 * DAY)
    await play.complete_pending(purchase.purchase_token)
    await api.sign_in()
    assert (await api.v2(purchase))["purchaseCompletionTime"] == "2026-09-23T14:13:20Z"
    await play.advance(3 * DAY - 1)
    await api.sign_in()
    assert (await api.v1(purchase))["purchaseState"] == 0
    with pytest.raises(Refusal):
        await play.complete_pending(purchase.purchase_token)


async def test_a_pending_purchase_is_canceled(api, play, inbox):
    """It can be bought again, and the token is forgotten in the end."""
    purchase = await play.buy(PACKAGE, "castle", pending=True)
    with pytest.raises(BillingRefusal):
        await play.buy(PACKAGE, "castle")
    await play.cancel_pending(purchase.purchase_token)
    assert (await api.v1(purchase))["purchaseState"] == 1
    assert (await api.v2(purchase))["purchaseStateContext"] == {"purchaseState": "CANCELLED"}
    assert inbox.told[0]["oneTimeProductNotification"]["notificationType"] == 2
    await play.buy(PACKAGE, "castle")
    await play.advance(61 * DAY)
    await api.sign_in()
    assert await api.refused(product_path(purchase)) == (410, "purchaseTokenNoLongerValid")


@pytest.mark.parametrize(("test", "window"), [(False, 3 * DAY), (True, 180)])
async def test_what_is_not_acknowledged_is_given_back(api, play, inbox, test, window):
    """After three days, or three minutes for a tester; what is acknowledged stays."""
    purchase = await play.buy(PACKAGE, "castle", test=test)
    kept = await play.buy(PACKAGE, "coins_500", test=test)
    await api.do(product_path(kept, "acknowledge"))
    await play.advance(window - 1)
    assert len(inbox.bodies) == 2
    await play.advance(1)
    await api.sign_in()
    assert (await api.v1(purchase))["purchaseState"] == 1
    assert (await api.v1(kept))["purchaseState"] == 0
    (row,) = (await api.get("/purchases/voidedpurchases"))["voidedPurchases"]
    assert row["purchaseToken"] == purchase.purchase_token
    assert (row["voidedSource"], row["voidedReason"]) == (2, 8)
    (voided,) = filter(None, (each.get("voidedPurchaseNotification") for each in inbox.told))
    assert (voided["orderId"], voided["refundType"]) == (purchase.order_id, 1)


async def test_the_device_refuses_what_cannot_be_bought(play):
    """With the names and numbers of Play Billing."""
    wrong = [
        (PACKAGE, "unknown", {}, 4),
        ("com.unknown", "castle", {}, 5),
        (PACKAGE, "castle", {"quantity": 0}, 5),
        (PACKAGE, "castle", {"obfuscated_account_id": "x" * 65}, 5),
        (PACKAGE, "castle", {"obfuscated_profile_id": ORDER}, 5),
    ]
    for package, product, terms, code in wrong:
        with pytest.raises(BillingRefusal) as refused:
            await play.buy(package, product, **terms)
        assert refused.value.answer()["response_code"] == code
    assert play.books.purchases == {}


async def test_mixed_up_tokens_are_refused(api, play, inbox):
    """Each mistake has its own reason."""
    push = {"push_url": None, "push_audience": "", "push_email": ""}
    play.add_app("com.example.other", products=PRODUCTS, **push)
    purchase = await play.buy(PACKAGE, "castle")
    token, path = purchase.purchase_token, product_path(purchase)
    other = f"/purchases/products/coins_500/tokens/{token}"
    assert await api.refused(other) == (400, "purchaseTokenDoesNotMatchProductId")
    elsewhere = await api.refused(path, package="com.example.other")
    assert elsewhere == (400, "purchaseTokenDoesNotMatchPackageName")
    assert await api.refused(path, package="com.nobody") == (404, "applicationNotFound")
    v2 = "/purchases/productsv2/tokens/"
    assert await api.refused(v2 + "made%2Fup") == (400, "invalid")
    unknown = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    assert await api.refused(v2 + unknown) == (404, "purchaseTokenNotFound")
    assert await api.refused(path, "POST") == (404, "notFound")
    assert (await api.ask("/purchases/nonsense")).code == 404


async def test_only_an_order_tells_the_money(api, play):
    """Amounts as Money: `units` a text, absent when zero; nanos of the same currency."""
    purchase = await play.buy(PACKAGE, "coins_500", quantity=2, region="DE", points_micros=500_000)
    told = await api.get(f"/orders/{purchase.order_id}")
    paid = {"currencyCode": "EUR", "units": "10", "nanos": 480_000_000}
    assert told["total"] == paid
    assert told["tax"] == {"currencyCode": "EUR"}
    assert told["state"] == "PROCESSED"
    assert told["purchaseToken"] == purchase.purchase_token
    assert told["buyerAddress"] == {"buyerCountry": "DE"}
    (line,) = told["lineItems"]
    assert line["listingPrice"] == {"currencyCode": "EUR", "units": "5", "nanos": 490_000_000}
    assert line["oneTimePurchaseDetails"]["quantity"] == 2
    coupon = told["pointsDetails"]["pointsCouponValue"]
    assert coupon == {"currencyCode": "EUR", "nanos": 500_000_000}
    assert told["orderHistory"] == {"processedEvent": {"eventTime": "2026-09-21T14:13:20Z"}}
    yen = await play.buy(PACKAGE, "castle")
    total = (await api.get(f"/orders/{yen.order_id}"))["total"]
    assert total == {"currencyCode": "JPY", "units": "19"}


async def test_orders_can_be_asked_for_together(api, play):
    """Up to a thousand, each once, and all of them known."""
    bought = [await play.buy(PACKAGE, each) for each in PRODUCTS]
    ids = [each.order_id for each in bought]
    told = await api.get(f"/orders:batchGet?orderIds={ids[0]}&orderIds={ids[1]}")
    assert [each["orderId"] for each in told["orders"]] == ids
    unknown = "GPA.0000-0000-0000-00000"
    batch = "/orders:batchGet?orderIds="
    assert await api.refused(f"{batch}{ids[0]}&orderIds={unknown}") == (404, "notFound")
    assert await api.refused(f"{batch}{ids[0]}&orderIds={ids[0]}") == (400, "invalid")
    assert await api.refused("/orders:batchGet") == (400, "invalid")
    assert await api.refused(f"/orders/{unknown}") == (404, "notFound")
    assert await api.refused("/orders/12345") == (400, "invalid")


async def test_an_order_is_refunded_by_the_developer(api, play, inbox):
    """Revoked, it is void; only refunded, nothing but the order tells it."""
    revoked = await play.buy(PACKAGE, "castle")
    silent = await play.buy(PACKAGE, "coins_500")
    await api.do(f"/orders/{revoked.order_id}:refund?revoke=true")
    await api.do(f"/orders/{silent.order_id}:refund")
    await play.idle()
    states = [(await api.v1(each))["purchaseState"] for each in (revoked, silent)]
    assert states == [1, 0]
    for each in (revoked, silent):
        told = await api.get(f"/orders/{each.order_id}")
        assert told["state"] == "REFUNDED"
        assert told["orderHistory"]["refundEvent"]["refundReason"] == "OTHER"
    (row,) = (await api.get("/purchases/voidedpurchases"))["voidedPurchases"]
    assert (row["orderId"], row["voidedSource"]) == (revoked.order_id, 1)
    assert len([each for each in inbox.told if "voidedPurchaseNotification" in each]) == 1
    again = f"/orders/{revoked.order_id}:refund?revoke=true"
    assert await api.refused(again, "POST") == (400, "invalid")
    assert await api.refused(f"/orders/{silent.order_id}:refund?revoke=maybe", "POST") == (
        400,
        "invalid",
    )


async def test_a_refund_in_parts(api, play, inbox):
    """Each part lowers what is refundable; the last one has no quantity and ends the purchase."""
    purchase = await play.buy(PACKAGE, "coins_500", quantity=3)
    await play.refund(purchase.purchase_token, quantity=2)
    told = await api.v1(purchase)
    assert (told["purchaseState"], told["refundableQuantity"]) == (0, 1)
    order = await api.get(f"/orders/{purchase.order_id}")
    assert order["state"] == "PARTIALLY_REFUNDED"
    (part,) = order["orderHistory"]["partialRefundEvents"]
    assert part["refundDetails"]["total"] == {
        "currencyCode": "USD",
        "units": "9",
        "nanos": 980_000_000,
    }
    with pytest.raises(Refusal, match="nothing left"):
        await play.refund(purchase.purchase_token, quantity=2)
    await play.void(purchase.purchase_token, reason=7)
    assert (await api.v1(purchase))["purchaseState"] == 1
    order = await api.get(f"/orders/{purchase.order_id}")
    assert order["orderHistory"]["refundEvent"]["refundReason"] == "CHARGEBACK"
    path = "/purchases/voidedpurchases?includeQuantityBasedPartialRefund=true"
    rows = (await api.get(path))["voidedPurchases"]
    assert [row.get("voidedQuantity") for row in rows] == [2, None]
    voided = [each.get("voidedPurchaseNotification", {}) for each in inbox.told]
    assert [each["refundType"] for each in voided if each] == [2, 1]


async def test_google_asks_about_a_chargeback(api, play, inbox):
    """The first answer counts, a later one is taken as well; an incomplete one is refused."""
    purchase = await play.buy(PACKAGE, "coins_500", **BOUND)
    token = await play.review(purchase.purchase_token)
    asked = inbox.told[-1]["pendingRefundReviewNotification"]
    assert asked["pendingRefundToken"] == token
    assert (asked["orderId"], asked["refundReason"]) == (purchase.order_id, 7)
    assert (asked["obfuscatedAccountId"], asked["obfuscatedProfileId"]) == (USER, ORDER)
    path = f"/orders/{purchase.order_id}:reviewrefund"
    answer = {"pendingRefundToken": token, "refundPreference": "DECLINE"}
    assert await api.refused(path, "POST", body=answer) == (400, "invalid")
    whole = {**answer, "sampleContentProvided": False}
    await api.do(path, whole)
    await api.do(path, {**whole, "refundPreference": "APPROVE"})
    assert play.reviews[token]["refundPreference"] == "DECLINE"
    unknown = {**whole, "pendingRefundToken": "unknown"}
    assert await api.refused(path, "POST", body=unknown) == (400, "invalid")


async def test_what_comes_is_noted(api, play):
    """Which call, by whom, and how it was answered."""
    purchase = await play.buy(PACKAGE, "castle")
    await api.v2(purchase)
    await api.refused(product_path(purchase).replace("castle", "coins_500"))
    calls = [(each.call, each.status, each.reason) for each in play.received]
    assert calls == [
        ("oauth.token", 200, ""),
        ("productsv2.get", 200, ""),
        ("products.get", 400, "purchaseTokenDoesNotMatchProductId"),
    ]
    assert play.received[1].account == api.file["client_email"]
    assert play.received[1].at == NOW


@pytest.mark.parametrize(
    ("kind", "status", "done"),
    [
        ("backendError", 503, False),
        ("internalError", 500, False),
        ("rateLimitExceeded", 429, False),
        ("concurrentUpdate", 409, False),
        ("accessNotConfigured", 403, False),
        ("authError", 401, False),
        ("html", 502, False),
        ("empty", 204, True),
    ],
)
async def test_an_answer_can_be_spoiled(api, play, kind, status, done):
    """Once, for the path that is meant; `done` says whether it took effect all the same."""
    purchase = await play.buy(PACKAGE, "castle")
    play.next_answers(kind, path=":acknowledge")
    assert (await api.v1(purchase))["acknowledgementState"] == 0
    response = await api.ask(product_path(purchase, "acknowledge"), "POST")
    assert response.code == status
    assert purchase.acknowledged is done
    await api.do(product_path(purchase, "acknowledge"))


async def test_answers_can_lie_or_break_off(api, play):
    """Fields altered, half of the JSON, an error after it was done, a pause, and Retry-After."""
    purchase = await play.buy(PACKAGE, "castle")
    altered = {"alter": {"regionCode": "FR", "orderId": None}}
    play.next_answers("altered", path="/purchases/", **altered)
    told = await api.v1(purchase)
    assert told["regionCode"] == "FR"
    assert "orderId" not in told
    play.next_answers("garbage", "slow", path="/purchases/", seconds=0.01)
    half = await api.ask(product_path(purchase))
    assert half.body.startswith(b'{"kind": ')
    with pytest.raises(json.JSONDecodeError):
        json.loads(half.body)
    assert (await api.v1(purchase))["regionCode"] == "US"
    play.next_answers("backendError", path=":consume", processed=True, retry_after=7)
    response = await api.ask(product_path(purchase, "consume"), "POST")
    assert (response.code, response.headers["Retry-After"]) == (503, "7")
    assert purchase.consumed
    play.next_answers("cut", path="/purchases/")
    with pytest.raises(HTTPStreamClosedError):
        await api.v1(purchase)
    with pytest.raises(ValueError, match="is none of"):
        play.next_answers("misspelt")
