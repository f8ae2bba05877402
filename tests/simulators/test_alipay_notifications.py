"""Asynchronous notifications: their parameters, their signature, and the schedule of retries."""

import asyncio
import re
from urllib.parse import parse_qsl

import pytest

from payplat.simulators.alipay.server import AlipaySimulator
from payplat.simulators.clock import Clock
from tests.simulators.alipay_client import BEIJING_NOW, NOW, Client, verifies
from tests.simulators.conftest import APP_ID, SELLER_ID, pem

MINUTE, HOUR = 60, 3600
DOCUMENTED = [0, 4 * MINUTE, 14 * MINUTE, 24 * MINUTE, 84 * MINUTE, 204 * MINUTE]
DOCUMENTED += [204 * MINUTE + 6 * HOUR, 204 * MINUTE + 21 * HOUR]


def read(body: bytes) -> dict[str, str]:
    """A form body, as one reads it that trusts nothing: no key twice."""
    pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def is_genuine(sim, body: bytes) -> bool:
    """Everything but sign and sign_type, sorted, under the platform's key."""
    given = read(body)
    sign = given.pop("sign")
    del given["sign_type"]
    text = "&".join(f"{name}={given[name]}" for name in sorted(given))
    return verifies(sim.public_key_pem, text.encode(), sign)


async def pay(sim, client, number="ORDER1", amount="88.88", **more):
    sim.enter(client.page_url(number, amount, **more))
    return await sim.pay(number)


async def test_a_payment_is_told_with_every_documented_parameter(client, sim, inbox):
    """A form POST, signed without sign and sign_type."""
    trade = await pay(sim, client, passback_params="p%3D1%252", body="Sechzig Edelsteine")
    (body,) = inbox.bodies
    assert inbox.types == ["application/x-www-form-urlencoded; charset=utf-8"]
    assert is_genuine(sim, body)
    given = read(body)
    expected = {
        "notify_time": BEIJING_NOW,
        "notify_type": "trade_status_sync",
        "charset": "utf-8",
        "version": "1.0",
        "sign_type": "RSA2",
        "app_id": APP_ID,
        "auth_app_id": APP_ID,
        "trade_no": trade.trade_no,
        "out_trade_no": "ORDER1",
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "88.88",
        "receipt_amount": "88.88",
        "invoice_amount": "88.88",
        "buyer_pay_amount": "88.88",
        "point_amount": "0.00",
        "subject": "六十颗宝石 60 gems",
        "body": "Sechzig Edelsteine",
        "gmt_create": BEIJING_NOW,
        "gmt_payment": BEIJING_NOW,
        "buyer_id": sim.buyer.user_id,
        "buyer_logon_id": sim.buyer.logon_id,
        "seller_id": SELLER_ID,
        "seller_email": "sel***@example.com",
        "fund_bill_list": '[{"amount":"88.88","fundChannel":"ALIPAYACCOUNT"}]',
        "passback_params": "p%3D1%252",
    }
    assert {name: given[name] for name in expected} == expected
    assert set(given) - set(expected) == {"notify_id", "sign"}


async def test_success_ends_it(client, sim, inbox):
    """One delivery, answered exactly, and none after it."""
    await pay(sim, client)
    await sim.advance(30 * HOUR)
    assert len(inbox.bodies) == 1
    (attempt,) = sim.notifications
    assert (attempt.status, attempt.answer, attempt.accepted) == (200, b"success", True)
    assert (attempt.at, attempt.event, attempt.number) == (NOW, "paid", 1)


async def test_retries_follow_the_documented_schedule(client, sim, inbox):
    """Eight deliveries within 25 hours, all of one notify_id, then silence."""
    inbox.answers = [(200, b"fail")] * 99
    await pay(sim, client)
    await sim.advance(40 * HOUR)
    assert [attempt.at - NOW for attempt in sim.notifications] == DOCUMENTED
    assert len({read(body)["notify_id"] for body in inbox.bodies}) == 1
    assert all(is_genuine(sim, body) for body in inbox.bodies)
    assert sim.herald.courier.notices[0].state == "exhausted"


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"SUCCESS"),
        (200, b"success\n"),
        (200, b'"success"'),
        (200, b""),
        (200, b"\xef\xbb\xbfsuccess"),
        (201, b"success"),
        (500, b"success"),
        (302, b""),
        (404, b""),
    ],
)
async def test_anything_but_the_seven_characters_is_a_failure(client, sim, inbox, answer):
    """With status 200, and nothing around them; redirects are not followed."""
    inbox.answers = [answer]
    await pay(sim, client)
    assert not sim.notifications[0].accepted
    await sim.advance(4 * MINUTE)
    assert [attempt.accepted for attempt in sim.notifications] == [False, True]


async def test_an_endpoint_that_is_down_is_tried_again(client, sim, inbox):
    """A refused connection is an attempt like any other."""
    away = Client(sim.gateway, APP_ID, client.key, notify_url="http://127.0.0.1:1/notify")
    await pay(sim, away)
    (attempt,) = sim.notifications
    assert attempt.status is None
    assert attempt.error
    await sim.advance(4 * MINUTE)
    assert len(sim.notifications) == 2


async def test_an_endpoint_that_never_answers_is_tried_again(client, sim, inbox):
    """The simulator's patience is a knob, in real seconds."""

    async def silent(reader, writer):
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    away = Client(sim.gateway, APP_ID, client.key, notify_url=f"http://127.0.0.1:{port}/")
    sim.knobs.answer_timeout = 0.05
    await pay(sim, away)
    assert sim.notifications[0].status is None
    server.close()
    await server.wait_closed()


async def test_time_factor_shortens_the_schedule(app_key, platform_key, inbox):
    """The intervals are divided; the real clock needs no advancing."""
    sim = AlipaySimulator(time_factor=240 / 0.03, platform_key=platform_key)
    sim.add_app(APP_ID, SELLER_ID, pem(app_key))
    await sim.start()
    inbox.answers = [(500, b"")]
    client = Client(sim.gateway, APP_ID, app_key, notify_url=inbox.url)
    await pay(sim, client)
    assert len(inbox.bodies) == 1
    for _ in range(50):
        await asyncio.sleep(0.01)
        if len(inbox.bodies) == 2:
            break
    assert len(inbox.bodies) == 2
    await sim.stop()


async def test_immediate_resends_come_first(app_key, platform_key, inbox):
    """The order-code products try three times more at once."""
    sim = AlipaySimulator(immediate_resends=3, clock=Clock(lambda: NOW), platform_key=platform_key)
    sim.add_app(APP_ID, SELLER_ID, pem(app_key))
    await sim.start()
    inbox.answers = [(500, b"")] * 99
    await pay(sim, Client(sim.gateway, APP_ID, app_key, notify_url=inbox.url))
    await sim.advance(40 * HOUR)
    assert [attempt.at - NOW for attempt in sim.notifications] == [0, 0, 0, *DOCUMENTED]
    await sim.stop()


async def test_notify_time_is_that_of_the_delivery_or_of_the_event(client, sim, inbox):
    """Which one is unknown, so a knob decides."""
    inbox.answers = [(500, b"")] * 3
    await pay(sim, client, "A")
    await sim.advance(4 * MINUTE)
    sim.knobs.renew_notify_time = False
    await pay(sim, client, "B")
    await sim.advance(4 * MINUTE)
    times = [(read(body)["out_trade_no"], read(body)["notify_time"]) for body in inbox.bodies]
    assert len({time for number, time in times if number == "A"}) > 1
    assert len({time for number, time in times if number == "B"}) == 1


async def test_without_notify_url_nobody_is_told(client, sim, inbox):
    """It belongs to each order's request."""
    await pay(sim, Client(sim.gateway, APP_ID, client.key))
    assert sim.notifications == []


async def test_refund_notices_state_the_sum_so_far(client, sim, inbox):
    """TRADE_SUCCESS for a part, TRADE_CLOSED and gmt_close for the whole; gmt_refund has fractions."""
    await pay(sim, client)
    await client.refund("ORDER1", "8.00", "R1")
    await client.refund("ORDER1", "80.88", "R2")
    await sim.idle()
    _, part, whole = (read(body) for body in inbox.bodies)
    assert (part["out_biz_no"], part["refund_fee"], part["trade_status"]) == (
        "R1",
        "8.00",
        "TRADE_SUCCESS",
    )
    assert (whole["out_biz_no"], whole["refund_fee"], whole["trade_status"]) == (
        "R2",
        "88.88",
        "TRADE_CLOSED",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", part["gmt_refund"])
    assert whole["gmt_close"] == BEIJING_NOW
    assert "gmt_close" not in part
    assert part["gmt_payment"] == BEIJING_NOW
    assert len({read(body)["notify_id"] for body in inbox.bodies}) == 3


async def test_refund_notices_can_be_switched_off(client, sim, inbox):
    """Sources disagree whether there are any."""
    sim.knobs.refund_notices = False
    await pay(sim, client)
    await client.refund("ORDER1", "8.00", "R1")
    await sim.idle()
    assert len(inbox.bodies) == 1


@pytest.mark.parametrize(("profile", "told"), [("current", []), ("legacy", ["closed", "finished"])])
async def test_only_older_contracts_hear_of_ends(client, sim, inbox, profile, told):
    """A trade closed unpaid has neither gmt_payment nor refund_fee."""
    sim.knobs.turn(profile=profile)
    sim.enter(client.page_url("CLOSED", time_expire="2026-11-22 20:01:00"))
    await sim.advance(60)
    await pay(sim, client, "FINISHED")
    await sim.finish("FINISHED")
    ends = [attempt for attempt in sim.notifications if attempt.event in ("closed", "finished")]
    assert [attempt.event for attempt in ends] == told
    if told:
        closed, finished = (attempt.parameters for attempt in ends)
        assert closed["trade_status"] == "TRADE_CLOSED"
        assert not {"gmt_payment", "refund_fee"} & closed.keys()
        assert "gmt_close" in closed
        assert finished["trade_status"] == "TRADE_FINISHED"


async def test_a_product_without_refunds_is_finished_at_once(client, sim, inbox):
    """Its payment is told all the same."""
    sim.enter(client.page_url("ORDER1"))
    await sim.pay("ORDER1", final=True)
    assert read(inbox.bodies[0])["trade_status"] == "TRADE_FINISHED"


async def test_a_late_payment_can_win(client, sim, inbox):
    """It was in flight when the trade closed."""
    sim.enter(client.page_url("ORDER1", time_expire="2026-11-22 20:01:00"))
    await sim.advance(600)
    trade = await sim.pay("ORDER1", late=True)
    assert (trade.status, trade.closed_at) == ("TRADE_SUCCESS", None)
    assert "gmt_close" not in read(inbox.bodies[0])


async def test_the_notice_speaks_of_the_time_of_its_event(client, sim, inbox):
    """A payment's retry that comes after a refund does not know of the refund."""
    inbox.answers = [(500, b"")]
    await pay(sim, client)
    await client.refund("ORDER1", "88.88", "R1")
    await sim.advance(4 * MINUTE)
    retry = read(inbox.bodies[-1])
    assert retry["trade_status"] == "TRADE_SUCCESS"
    assert "refund_fee" not in retry


async def test_flushing_delivers_what_waits(client, sim, inbox):
    """At once, and once: the appointment it overtook is void."""
    inbox.answers = [(500, b"")]
    await pay(sim, client)
    await sim.flush()
    assert len(inbox.bodies) == 2
    await sim.advance(40 * HOUR)
    assert len(inbox.bodies) == 2


async def test_a_failed_flush_keeps_the_schedule(client, sim, inbox):
    """The flush counts as the next delivery, and the appointment it overtook is void."""
    inbox.answers = [(500, b"")] * 99
    await pay(sim, client)
    await sim.flush()
    await sim.advance(40 * HOUR)
    due = [at - DOCUMENTED[1] for at in DOCUMENTED[1:]]
    assert [attempt.at - NOW for attempt in sim.notifications] == [0, *due]


async def test_many_notifications_at_once(client, sim, inbox):
    """No slot is shared with anybody else."""
    for number in range(100):
        sim.enter(client.page_url(f"N{number}"))
    await asyncio.gather(*(sim.pay(f"N{number}") for number in range(100)))
    assert len(inbox.bodies) == 100


async def test_a_body_can_be_made_for_any_purpose(client, sim, inbox):
    """Overrides come before signing: authentic, but different."""
    await pay(sim, client)
    body = sim.notification_body(
        "ORDER1", total_amount="0.01", trade_status="TRADE_FINISHED", subject=None
    )
    assert is_genuine(sim, body)
    given = read(body)
    assert (given["total_amount"], given["trade_status"]) == ("0.01", "TRADE_FINISHED")
    assert "subject" not in given
    assert not is_genuine(sim, sim.notification_body("ORDER1", sign_with="wrong"))
    assert not is_genuine(sim, sim.notification_body("ORDER1", digest="sha1"))
    assert not is_genuine(sim, sim.notification_body("ORDER1", tamper={"total_amount": "0.01"}))
    assert b"sign=" not in sim.notification_body("ORDER1", signature="none").replace(
        b"sign_type", b""
    )


async def test_a_body_of_a_refund_can_be_made_too(client, sim, inbox):
    """Named by its out_request_no."""
    await pay(sim, client)
    await sim.refund("ORDER1", 800, "R1")
    given = read(sim.notification_body("ORDER1", out_request_no="R1"))
    assert (given["out_biz_no"], given["refund_fee"]) == ("R1", "8.00")


async def test_the_books_survive_a_stop(client, sim, inbox):
    """A simulator that comes back goes on where it was."""
    inbox.answers = [(500, b"")]
    await pay(sim, client)
    await sim.stop()
    await sim.start()
    await sim.advance(4 * MINUTE)
    assert len(inbox.bodies) == 2


async def test_stopping_in_the_middle_of_a_delivery_is_quiet(client, sim, inbox, caplog):
    """Nothing is logged, and what was on its way goes out again after the next start."""
    gone = Client(sim.gateway, APP_ID, client.key, notify_url="http://127.0.0.1:1/notify")
    for number in range(5):
        sim.enter(gone.page_url(f"N{number}"))
        sim.settle(sim.trade(f"N{number}"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sim.notifications
    await sim.stop()
    await asyncio.sleep(0.02)
    assert caplog.records == []
    await sim.start()
    await sim.idle()
    assert [attempt.number for attempt in sim.notifications] == [1] * 5 + [2] * 5
