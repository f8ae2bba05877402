"""Notifications of the simulator: their shape, their schedule, their misfortunes and their history."""

import json

import pytest
from appstoreserverlibrary.api_client import APIException
from appstoreserverlibrary.models.NotificationHistoryRequest import NotificationHistoryRequest
from appstoreserverlibrary.models.NotificationTypeV2 import NotificationTypeV2
from tornado.httpclient import AsyncHTTPClient
from tornado.netutil import bind_sockets

from payplat.simulators.clock import Clock
from tests.simulators.apple_stage import (
    APPLE_ID,
    BUNDLE,
    NOW,
    TOKEN,
    OfficialClient,
    RawClient,
    error,
    opened,
    payload,
    register,
    verifier,
)

HOUR = 3600
DAY_MS = 86_400_000
PATH = "/inApps/v1/notifications"


@pytest.fixture
async def sim(inbox):
    """Its clock is the machine's."""
    async with opened(Sandbox=inbox.url, Production=inbox.url) as sim:
        yield sim


@pytest.fixture
async def still(inbox):
    """Its clock moves only when it is told to."""
    async with opened(Clock(lambda: NOW), Sandbox=inbox.url, Production=inbox.url) as sim:
        yield sim


@pytest.fixture
async def ask(sim):
    http = AsyncHTTPClient(force_instance=True)
    yield RawClient(http, sim)
    http.close()


def told(inbox) -> list[dict]:
    """The decoded payloads that arrived, unverified."""
    return [payload(json.loads(body)["signedPayload"]) for body in inbox.bodies]


def types(inbox) -> list[str]:
    return [each["notificationType"] for each in told(inbox)]


# --- Their shape ---


@pytest.mark.parametrize("environment", ["Sandbox", "Production"])
async def test_a_purchase_is_told(sim, inbox, environment):
    """Apple's verifier reads envelope and transaction; only production names appAppleId."""
    bought = await sim.buy(BUNDLE, "coins_500", app_account_token=TOKEN, environment=environment)
    (body,) = inbox.bodies
    assert inbox.types == ["application/json"]
    assert json.loads(body).keys() == {"signedPayload"}
    judge = verifier(sim, environment)
    read = judge.verify_and_decode_notification(json.loads(body)["signedPayload"])
    assert (read.notificationType.value, read.version) == ("ONE_TIME_CHARGE", "2.0")
    assert read.data.appAppleId == (APPLE_ID if environment == "Production" else None)
    inner = judge.verify_and_decode_signed_transaction(read.data.signedTransactionInfo)
    assert (inner.transactionId, inner.appAccountToken) == (bought.transaction_id, TOKEN)
    assert "subtype" not in told(inbox)[0]


async def test_each_event_has_its_notification(sim, inbox):
    """Refund, reversal, refusal, a question and the end of sharing; each says how things stand."""
    number = (await sim.buy(BUNDLE, "coins_500")).transaction_id
    await sim.refund(number)
    await sim.reverse_refund(number)
    await sim.decline_refund(number)
    await sim.request_consumption(number, "LEGAL")
    await sim.request_consumption(number)
    shared = await sim.buy(BUNDLE, "castle", type="Non-Consumable", ownership="FAMILY_SHARED")
    await sim.revoke(shared.transaction_id)
    revoked = [
        payload(each["data"]["signedTransactionInfo"]).get("revocationType") for each in told(inbox)
    ]
    assert list(zip(types(inbox), revoked, strict=True)) == [
        ("ONE_TIME_CHARGE", None),
        ("REFUND", "REFUND_FULL"),
        ("REFUND_REVERSED", None),
        ("REFUND_DECLINED", None),
        ("CONSUMPTION_REQUEST", None),
        ("CONSUMPTION_REQUEST", None),
        ("ONE_TIME_CHARGE", None),
        ("REVOKE", "FAMILY_REVOKE"),
    ]
    reasons = [each["data"].get("consumptionRequestReason") for each in told(inbox)]
    assert reasons[4:6] == ["LEGAL", "UNINTENDED_PURCHASE"]
    assert len({each["notificationUUID"] for each in told(inbox)}) == 8


async def test_any_notification_can_be_sent(sim, inbox):
    """Any type and subtype, with or without a transaction, with further fields in `data`."""
    await sim.notify(
        "SOMETHING_NEW", bundle_id=BUNDLE, environment="Sandbox", subtype="ODD", more=1
    )
    (only,) = told(inbox)
    assert (only["notificationType"], only["subtype"]) == ("SOMETHING_NEW", "ODD")
    assert only["data"]["more"] == 1
    assert "signedTransactionInfo" not in only["data"]


async def test_nobody_is_told_without_need(sim, inbox):
    """Not without an address, not when it is not wanted, and not of a purchase that was one before."""
    register(sim, "com.example.silent")
    await sim.buy("com.example.silent", "coins_500")
    await sim.buy(BUNDLE, "coins_500", notify=False)
    first = await sim.buy(BUNDLE, "castle", type="Non-Consumable", notify=False)
    await sim.buy(BUNDLE, "castle", type="Non-Consumable")
    await sim.restore(first.transaction_id)
    assert inbox.bodies == []
    assert sim.notifications == []


# --- Their schedule ---


async def test_production_tries_six_times(still, inbox):
    """1, 12, 24, 48 and 72 hours after the previous attempt, always with the same UUID; then never again."""
    inbox.answers = [(503, b"")] * 6
    await still.buy(BUNDLE, "coins_500", environment="Production")
    await still.advance(400 * HOUR)
    assert [round(each.at - NOW) // HOUR for each in still.notifications] == [0, 1, 13, 37, 85, 157]
    assert [each.status for each in still.notifications] == [503] * 6
    assert len({each["notificationUUID"] for each in told(inbox)}) == 1


async def test_the_sandbox_tries_once(still, inbox):
    """Whatever the answer, there is no second attempt."""
    inbox.answers = [(500, b"")]
    await still.buy(BUNDLE, "coins_500")
    await still.advance(400 * HOUR)
    assert len(inbox.bodies) == 1


async def test_the_schedule_can_be_shortened(still, inbox):
    """The intervals are divided by the knob."""
    still.knobs.turn(time_factor=3600.0)
    inbox.answers = [(500, b"")] * 2
    await still.buy(BUNDLE, "coins_500", environment="Production")
    await still.advance(13)
    assert [round(each.at - NOW) for each in still.notifications] == [0, 1, 13]
    with pytest.raises(ValueError, match="positive"):
        still.knobs.turn(time_factor=0)


@pytest.mark.parametrize(
    ("status", "accepted"), [(200, True), (206, True), (207, False), (302, False), (400, False)]
)
async def test_200_to_206_is_received(still, inbox, status, accepted):
    """Anything else is tried again, and redirects are not followed."""
    inbox.answers = [(status, b"")]
    await still.buy(BUNDLE, "coins_500", environment="Production")
    await still.advance(HOUR)
    assert len(still.notifications) == (1 if accepted else 2)
    first = still.notifications[0]
    assert (first.status, first.accepted) == (status, accepted)
    assert first.result == ("SUCCESS" if accepted else "UNSUCCESSFUL_HTTP_RESPONSE_CODE")


@pytest.mark.parametrize(("resign", "differ"), [(True, 3), (False, 1)])
async def test_a_retry_is_signed_anew_or_not(still, inbox, resign, differ):
    """Both may happen; the knob decides where a test cares."""
    still.knobs.turn(resign=resign)
    inbox.answers = [(500, b"")] * 2
    await still.buy(BUNDLE, "coins_500", environment="Production")
    await still.advance(13 * HOUR)
    assert len(set(inbox.bodies)) == differ
    assert len({each["signedDate"] for each in told(inbox)}) == differ


async def test_a_retry_tells_what_was_so_at_first(still, inbox):
    """A refund in between does not change the older notification, signed anew though it is."""
    still.knobs.turn(resign=True)
    inbox.answers = [(500, b"")]
    bought = await still.buy(BUNDLE, "coins_500", environment="Production")
    await still.refund(bought.transaction_id, notify=False)
    await still.advance(HOUR)
    assert "revocationDate" not in payload(told(inbox)[1]["data"]["signedTransactionInfo"])


async def test_a_server_that_is_away_is_tried_again(still, inbox):
    """Without an answer the attempt says what was wrong."""
    still.apps[BUNDLE].notification_urls["Production"] = "http://127.0.0.1:9/"
    await still.buy(BUNDLE, "coins_500", environment="Production")
    assert (still.notifications[0].status, still.notifications[0].result) == (None, "SOCKET_ISSUE")
    await still.advance(HOUR)
    assert len(still.notifications) == 2


async def test_a_server_that_is_slow_is_given_up(sim):
    """After the knob's seconds the attempt counts as timed out."""
    (silent,) = bind_sockets(0, "127.0.0.1")
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
    sim.apps[BUNDLE].notification_urls["Sandbox"] = url
    sim.knobs.turn(answer_timeout=0.1)
    await sim.buy(BUNDLE, "coins_500")
    silent.close()
    assert sim.notifications[0].result == "TIMED_OUT"


# --- Their misfortunes ---


async def test_notifications_can_be_dropped(still, inbox):
    """Every attempt is made and none arrives; the next notification is unharmed."""
    still.next_notifications(drop=True)
    await still.buy(BUNDLE, "coins_500", environment="Production")
    await still.advance(400 * HOUR)
    assert [each.result for each in still.notifications] == ["NO_RESPONSE"] * 6
    await still.buy(BUNDLE, "coins_500")
    assert len(inbox.bodies) == 1


async def test_the_first_attempts_can_be_lost(still, inbox):
    """A retry brings what the first attempts did not."""
    still.next_notifications("ONE_TIME_CHARGE", lose=2)
    await still.buy(BUNDLE, "coins_500", environment="Production")
    await still.advance(HOUR)
    assert inbox.bodies == []
    await still.advance(12 * HOUR)
    assert len(inbox.bodies) == 1


async def test_notifications_can_be_held_back(sim, inbox):
    """What is held goes out with flush()."""
    sim.next_notifications(hold=True)
    await sim.buy(BUNDLE, "coins_500")
    await sim.idle()
    assert inbox.bodies == []
    await sim.flush()
    await sim.flush()
    assert types(inbox) == ["ONE_TIME_CHARGE"]


async def test_notifications_can_be_late(still, inbox):
    """A delay is counted on the simulator's clock."""
    still.next_notifications(delay=30)
    await still.buy(BUNDLE, "coins_500")
    await still.advance(29)
    assert inbox.bodies == []
    await still.advance(1)
    assert len(inbox.bodies) == 1


async def test_notifications_can_change_places(sim, inbox):
    """The purchase is told after its refund."""
    sim.next_notifications("ONE_TIME_CHARGE", behind_next=True)
    bought = await sim.buy(BUNDLE, "coins_500")
    await sim.refund(bought.transaction_id)
    await sim.idle()
    assert types(inbox) == ["REFUND", "ONE_TIME_CHARGE"]


@pytest.mark.parametrize("parallel", [False, True])
async def test_notifications_can_come_twice(sim, inbox, parallel):
    """Copies carry one UUID, one after the other or at once, and count as one attempt."""
    sim.next_notifications(copies=3, parallel=parallel)
    await sim.buy(BUNDLE, "coins_500")
    assert len(inbox.bodies) == 3
    assert len({each["notificationUUID"] for each in told(inbox)}) == 1
    assert len(sim.courier.notices[0].outcomes) == 1


async def test_faults_wait_for_their_type_and_can_be_cleared(sim, inbox):
    """A fault of one type harms no other, and clear() takes back what waits."""
    sim.next_notifications("REFUND", drop=True)
    bought = await sim.buy(BUNDLE, "coins_500")
    sim.faults.clear()
    await sim.refund(bought.transaction_id)
    assert types(inbox) == ["ONE_TIME_CHARGE", "REFUND"]
    with pytest.raises(TypeError):
        sim.next_notifications(dropped=True)


async def test_what_was_on_its_way_goes_out_after_a_restart(inbox):
    """Books and schedule outlive a stop."""
    async with opened(Clock(lambda: NOW), Production=inbox.url) as sim:
        inbox.answers = [(500, b"")]
        await sim.buy(BUNDLE, "coins_500", environment="Production")
        await sim.stop()
        await sim.start()
        await sim.advance(HOUR)
    assert len(inbox.bodies) == 2


# --- Their history, and the test notification ---


def span(sim, **wish) -> NotificationHistoryRequest:
    """The last hour and the next."""
    return NotificationHistoryRequest(
        startDate=sim.milliseconds - 3_600_000, endDate=sim.milliseconds + 3_600_000, **wish
    )


async def history(sim, token=None, **wish):
    return await OfficialClient(sim).ask("get_notification_history", token, span(sim, **wish))


def uuids(answer) -> list[str]:
    return [payload(item.signedPayload)["notificationUUID"] for item in answer.notificationHistory]


async def test_history_tells_what_was_sent_and_what_came_of_it(sim, inbox):
    """Payloads as they were signed then, each with its attempts."""
    inbox.answers = [(500, b""), (200, b"")]
    bought = await sim.buy(BUNDLE, "coins_500")
    await sim.refund(bought.transaction_id)
    answer = await history(sim)
    assert [
        item.signedPayload.encode() in body
        for item, body in zip(answer.notificationHistory, inbox.bodies, strict=True)
    ] == [True, True]
    results = [
        [attempt.sendAttemptResult.value for attempt in item.sendAttempts]
        for item in answer.notificationHistory
    ]
    assert results == [["UNSUCCESSFUL_HTTP_RESPONSE_CODE"], ["SUCCESS"]]
    assert (answer.hasMore, answer.paginationToken) == (False, None)
    assert verifier(sim).verify_and_decode_notification(answer.notificationHistory[0].signedPayload)


async def test_history_comes_in_pages_of_twenty(sim):
    """The token leads on, for the same request only."""
    for _ in range(21):
        await sim.buy(BUNDLE, "coins_500")
    wish, client = span(sim), OfficialClient(sim)
    first = await client.ask("get_notification_history", None, wish)
    second = await client.ask("get_notification_history", first.paginationToken, wish)
    assert (len(uuids(first)), len(uuids(second))) == (20, 1)
    assert (first.hasMore, second.hasMore) == (True, False)
    assert not set(uuids(first)) & set(uuids(second))
    wish.onlyFailures = True
    with pytest.raises(APIException) as refused:
        await client.ask("get_notification_history", first.paginationToken, wish)
    assert refused.value.raw_api_error == 4000014


async def test_history_filters(sim, inbox):
    """By customer, by type and subtype, by failure, by time; never another app's or world's."""
    register(sim, "com.example.second", Sandbox=inbox.url)
    inbox.answers = [(200, b""), (500, b"")]
    first = await sim.buy(BUNDLE, "coins_500")
    await sim.buy(BUNDLE, "coins_500", customer="customer-2")
    await sim.refund(first.transaction_id)
    await sim.buy("com.example.second", "coins_500")
    await sim.buy(BUNDLE, "coins_500", environment="Production")
    await sim.notify("EXPIRED", bundle_id=BUNDLE, environment="Sandbox", subtype="VOLUNTARY")
    mine = [each["notificationUUID"] for each in told(inbox)]
    one, two, refunded, _, _, expired = mine
    expired_type = NotificationTypeV2.EXPIRED
    wanted = [
        ({}, [one, two, refunded, expired]),
        ({"transactionId": first.transaction_id}, [one, refunded]),
        ({"notificationType": NotificationTypeV2.REFUND}, [refunded]),
        ({"notificationType": expired_type, "notificationSubtype": "VOLUNTARY"}, [expired]),
        ({"notificationType": expired_type, "notificationSubtype": "UPGRADE"}, []),
        ({"onlyFailures": True}, [two]),
    ]
    for wish, found in wanted:
        assert uuids(await history(sim, **wish)) == found, wish


async def test_history_leaves_out_what_was_never_tried(sim):
    """What is still held back is not yet history."""
    sim.next_notifications(hold=True)
    await sim.buy(BUNDLE, "coins_500")
    assert uuids(await history(sim)) == []
    await sim.flush()
    assert len(uuids(await history(sim))) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"startDate": None}, 4000015),
        ({"startDate": "1"}, 4000015),
        ({"endDate": 1.5}, 4000016),
        ({"endDate": True}, 4000016),
        ({"startDate": 0}, 4000012),
        ({"startDate": 10**14}, 4000013),
        ({"notificationType": "PURCHASE"}, 4000018),
        ({"notificationSubtype": "UPGRADE"}, 4000018),
        ({"transactionId": "1", "notificationType": "REFUND"}, 4000019),
        ({"transactionId": "x"}, 4000006),
    ],
    ids=str,
)
async def test_history_names_what_is_wrong(sim, ask, change, code):
    """Each mistake in the request has an error of its own."""
    now = sim.milliseconds
    body = {"startDate": now - 1000, "endDate": now, **change}
    assert error(await ask(f"{PATH}/history", "POST", body)) == (400, code)


async def test_history_reaches_back_only_so_far(sim, ask):
    """Thirty days in the sandbox, 180 in production."""
    now = sim.milliseconds
    for environment, days in (("Sandbox", 30), ("Production", 180)):
        ask.environment = environment
        body = {"startDate": now - days * DAY_MS + 60_000, "endDate": now}
        assert (await ask(f"{PATH}/history", "POST", body)).code == 200
        body["startDate"] -= 120_000
        assert error(await ask(f"{PATH}/history", "POST", body)) == (400, 4000012)


async def test_history_of_nobody_is_not_found(sim, ask):
    """A number that does not exist is 4040010, a foreign token 4000014."""
    body = {"startDate": sim.milliseconds - 1000, "endDate": sim.milliseconds}
    answer = await ask(f"{PATH}/history", "POST", {**body, "transactionId": "9"})
    assert error(answer) == (404, 4040010)
    answer = await ask(f"{PATH}/history?paginationToken=x", "POST", body)
    assert error(answer) == (400, 4000014)


async def test_a_test_notification_can_be_asked_for(sim, inbox):
    """It arrives without a transaction, and its status tells how it went."""
    client = OfficialClient(sim)
    token = (await client.ask("request_test_notification")).testNotificationToken
    await sim.idle()
    status = await client.ask("get_test_notification_status", token)
    assert [each.sendAttemptResult.value for each in status.sendAttempts] == ["SUCCESS"]
    read = verifier(sim).verify_and_decode_notification(status.signedPayload)
    assert read.notificationType.value == "TEST"
    assert read.data.signedTransactionInfo is None
    assert types(inbox) == ["TEST"]


async def test_the_status_of_a_test_needs_its_token(sim, ask):
    """A malformed token is 4000020; an unknown one, a stranger's, or one not yet tried 4040008."""
    register(sim, "com.example.second", Sandbox=sim.apps[BUNDLE].notification_urls["Sandbox"])
    others = await sim.send_test("com.example.second")
    sim.next_notifications(hold=True)
    waiting = await sim.send_test(BUNDLE)
    unknown = others[:-1] + ("0" if others[-1] != "0" else "1")
    assert error(await ask(f"{PATH}/test/x")) == (400, 4000020)
    for token in (others, waiting, unknown):
        assert error(await ask(f"{PATH}/test/{token}")) == (404, 4040008)


async def test_a_test_needs_an_address(sim, ask):
    """Without a URL for this environment it is 4040007."""
    sim.apps[BUNDLE].notification_urls = {}
    assert error(await ask(f"{PATH}/test", "POST", b"")) == (404, 4040007)
    with pytest.raises(ValueError, match="notification URL"):
        await sim.send_test(BUNDLE)


async def test_a_token_set_later_is_told_later(sim, inbox, ask):
    """Notifications after Set App Account Token carry the token."""
    bought = await sim.buy(BUNDLE, "coins_500")
    path = f"/inApps/v1/transactions/{bought.transaction_id}/appAccountToken"
    assert (await ask(path, "PUT", {"appAccountToken": TOKEN})).code == 200
    await sim.refund(bought.transaction_id)
    tokens = [
        payload(each["data"]["signedTransactionInfo"]).get("appAccountToken")
        for each in told(inbox)
    ]
    assert tokens == [None, TOKEN]
