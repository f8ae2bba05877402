"""Everything that can be made to go wrong, one fault at a time."""

import asyncio
import json
import time
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import hashes
from tornado.httpclient import HTTPClientError
from tornado.iostream import StreamClosedError

from payplat.simulators.alipay import misfortunes
from payplat.simulators.alipay.faults import KINDS, NoticeFault
from tests.simulators.alipay_client import verifies
from tests.simulators.test_alipay_notifications import HOUR, MINUTE, is_genuine, pay, read

QUERY = "alipay.trade.query"


@pytest.fixture
async def paid(client, sim, inbox):
    """An order of 88.88 yuan, paid, its notification out of the way."""
    await pay(sim, client)
    inbox.bodies.clear()
    inbox.types.clear()


def digested(sim, body: bytes, digest) -> bool:
    """Whether the notification is signed with this digest."""
    given = read(body)
    sign, _ = given.pop("sign"), given.pop("sign_type")
    text = "&".join(f"{name}={given[name]}" for name in sorted(given))
    return verifies(sim.public_key_pem, text.encode(), sign, digest)


# Answers of the gateway.


@pytest.mark.parametrize(
    ("kind", "code", "sub_code"),
    [
        ("20000", "20000", "isp.unknow-error"),
        ("40005", "40005", "isv.app-call-limited"),
        ("system_error", "40004", "ACQ.SYSTEM_ERROR"),
    ],
)
async def test_the_gateway_can_be_out_of_sorts(client, sim, paid, kind, code, sub_code):
    """A signed error in the place of the answer, once; then it works again."""
    sim.next_answers(kind)
    answer = await client.query("ORDER1")
    assert (answer.code, answer.sub_code) == (code, sub_code)
    assert verifies(sim.public_key_pem, answer.value.encode(), answer.sign)
    assert (await client.query("ORDER1")).code == "10000"


async def test_any_business_error_can_be_ordered(client, sim, paid):
    """By its sub_code."""
    sim.next_answers("error", sub_code="ACQ.SELLER_BALANCE_NOT_ENOUGH")
    answer = await client.refund("ORDER1", "1.00", "R1")
    assert (answer.code, answer.sub_code) == ("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH")
    assert sim.trade("ORDER1").refunds == {}


async def test_answers_that_are_none(client, sim, paid):
    """HTTP 500, and a page in the place of JSON."""
    sim.next_answers("http_500", "html")
    assert (await client.query("ORDER1")).status == 500
    answer = await client.query("ORDER1")
    assert (answer.status, answer.content_type) == (200, "text/html;charset=GBK")
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(answer.body.decode("gbk"))


async def test_a_cut_connection_hides_what_was_done(client, sim, paid):
    """The refund is carried out, and nobody says so; the repeat moves nothing."""
    sim.next_answers("cut", method="alipay.trade.refund")
    with pytest.raises((HTTPClientError, StreamClosedError)):
        await client.refund("ORDER1", "8.00", "R1")
    assert sim.trade("ORDER1").refunded_fen == 800
    assert (await client.refund("ORDER1", "8.00", "R1")).fields["fund_change"] == "N"
    await sim.idle()


async def test_an_error_may_hide_what_was_done_too(client, sim, paid):
    """20000 means unknown: carried out or not is the test's choice."""
    sim.next_answers("20000", processed=True)
    await client.refund("ORDER1", "8.00", "R1")
    sim.next_answers("20000")
    await client.refund("ORDER1", "8.00", "R2")
    assert list(sim.trade("ORDER1").refunds) == ["R1"]
    sim.next_answers("cut", processed=False)
    with pytest.raises((HTTPClientError, StreamClosedError)):
        await client.refund("ORDER1", "8.00", "R3")
    assert list(sim.trade("ORDER1").refunds) == ["R1"]
    await sim.idle()


async def test_a_slow_answer_is_right_in_the_end(client, sim, paid):
    """Real seconds."""
    sim.next_answers("slow", seconds=0.1)
    started = time.monotonic()
    assert (await client.query("ORDER1")).code == "10000"
    assert time.monotonic() - started >= 0.1


async def test_stopping_does_not_wait_for_a_slow_answer(client, sim, paid):
    """The nap ends when the simulator does."""
    sim.next_answers("slow", seconds=30.0)
    asking = asyncio.ensure_future(client.query("ORDER1"))
    while len(sim.received) < 1:
        await asyncio.sleep(0.005)
    await sim.stop()
    await asyncio.wait([asking], timeout=1)
    assert asking.done()
    asking.exception()


@pytest.mark.parametrize("kind", ["unsigned", "wrong_key", "sha1", "altered", "unescaped"])
async def test_an_answer_can_carry_a_bad_signature(client, sim, paid, kind):
    """The content looks like a success, the signature is not Alipay's for this text."""
    sim.next_answers(kind)
    answer = await client.query("ORDER1", query_options=["fund_bill_list"])
    assert answer.code == "10000"
    assert (answer.sign == "") is (kind == "unsigned")
    if kind == "unescaped":
        answer = await _unescaped(client, sim)
    assert not answer.sign or not verifies(sim.public_key_pem, answer.value.encode(), answer.sign)


async def _unescaped(client, sim):
    """Only an answer that contains a slash can lose its escapes."""
    sim.next_answers("unescaped")
    answer = await client.precreate("SLASH")
    escaped = answer.value.replace("/", "\\/")
    assert verifies(sim.public_key_pem, escaped.encode(), answer.sign)
    return answer


async def test_sha1_is_a_signature_of_the_old_kind(client, sim, paid):
    """Right key, wrong digest."""
    sim.next_answers("sha1")
    answer = await client.query("ORDER1")
    assert verifies(sim.public_key_pem, answer.value.encode(), answer.sign, hashes.SHA1)


async def test_an_answer_can_be_altered_as_wished(client, sim, paid):
    """For example to claim a payment."""
    sim.enter(client.page_url("UNPAID"))
    sim.next_answers("altered", alter={"trade_status": "TRADE_SUCCESS"})
    assert (await client.query("UNPAID")).fields["trade_status"] == "TRADE_SUCCESS"


async def test_a_node_can_stand_there_twice(client, sim, paid):
    """The signed one first, an altered one after it."""
    sim.next_answers("repeated_node", alter={"total_amount": "0.01"})
    answer = await client.query("ORDER1")
    assert answer.body.count(b'"alipay_trade_query_response":') == 2
    assert answer.fields["total_amount"] == "88.88"
    assert answer.whole["alipay_trade_query_response"]["total_amount"] == "0.01"


async def test_a_fault_waits_for_its_method_and_order(client, sim, paid):
    """Others pass by; an order is recognised by trade_no too."""
    await pay(sim, client, "ORDER2")
    sim.faults.answer("20000", method=QUERY, out_trade_no="ORDER2", times=2)
    assert (await client.query("ORDER1")).code == "10000"
    assert (await client.refund_query("ORDER2", "R")).code == "10000"
    biz = {"trade_no": sim.trade("ORDER2").trade_no}
    assert (await client.call(QUERY, biz)).code == "20000"
    assert (await client.query("ORDER2")).code == "20000"
    assert (await client.query("ORDER2")).code == "10000"


async def test_a_fault_may_last_until_cleared(client, sim, paid):
    """times=None."""
    sim.faults.answer("20000", times=None)
    assert [(await client.query("ORDER1")).code for _ in range(3)] == ["20000"] * 3
    sim.faults.clear()
    assert (await client.query("ORDER1")).code == "10000"


def test_a_misspelt_fault_is_refused(sim):
    """It would quietly be no fault at all."""
    with pytest.raises(ValueError, match="none of"):
        sim.next_answers("20001")
    with pytest.raises(ValueError, match="none of"):
        sim.faults.notification(sign_with="stranger")
    with pytest.raises(TypeError):
        sim.faults.notification(forge=True)
    with pytest.raises(ValueError, match="none of"):
        sim.notification_body("ORDER1", digest="md5") if sim.trade("ORDER1") else NoticeFault(
            digest="md5"
        )


# Notifications on their way.


async def test_a_lost_notification_never_comes(client, sim, inbox):
    """Neither do its retries."""
    sim.faults.notification(drop=True)
    await pay(sim, client)
    await sim.advance(30 * HOUR)
    assert (inbox.bodies, sim.notifications) == ([], [])


async def test_a_lost_delivery_is_followed_by_its_retry(client, sim, inbox):
    """The platform never saw the first."""
    sim.faults.notification(lose=1)
    await pay(sim, client)
    assert inbox.bodies == []
    await sim.advance(4 * MINUTE)
    assert len(inbox.bodies) == 1
    assert [attempt.error for attempt in sim.notifications] == ["lost on the way", ""]


async def test_a_delayed_notification_comes_later(client, sim, inbox):
    """On the simulator's clock; paying does not wait for it."""
    sim.faults.notification(delay=30)
    await pay(sim, client)
    await sim.advance(29)
    assert inbox.bodies == []
    await sim.advance(1)
    assert len(inbox.bodies) == 1


@pytest.mark.parametrize("parallel", [False, True])
async def test_a_notification_can_be_duplicated(client, sim, inbox, parallel):
    """The same notify_id each time, whatever was answered before."""
    sim.faults.notification(copies=5, parallel=parallel)
    await pay(sim, client)
    assert len(inbox.bodies) == 5
    assert len({read(body)["notify_id"] for body in inbox.bodies}) == 1
    await sim.advance(30 * HOUR)
    assert len(inbox.bodies) == 5


async def test_a_held_notification_waits_for_the_flush(client, sim, inbox):
    """Whatever the clock says."""
    sim.faults.notification(hold=True)
    await pay(sim, client)
    await sim.advance(30 * HOUR)
    assert inbox.bodies == []
    await sim.flush()
    assert len(inbox.bodies) == 1


async def test_notifications_can_change_places(client, sim, inbox):
    """The refund is told before the payment."""
    sim.faults.notification(behind_next=True, event="paid")
    await pay(sim, client)
    assert inbox.bodies == []
    await sim.refund("ORDER1", 8888, "R1")
    await sim.idle()
    assert [read(body)["trade_status"] for body in inbox.bodies] == [
        "TRADE_CLOSED",
        "TRADE_SUCCESS",
    ]


async def test_a_fault_waits_for_its_event_and_order(client, sim, inbox):
    """Others pass by."""
    sim.faults.notification(drop=True, event="refunded", out_trade_no="ORDER2")
    await pay(sim, client, "ORDER1")
    await pay(sim, client, "ORDER2")
    await sim.refund("ORDER1", 100, "R1")
    await sim.refund("ORDER2", 100, "R1")
    told = [(read(body)["out_trade_no"], "refund_fee" in read(body)) for body in inbox.bodies]
    assert told == [("ORDER1", False), ("ORDER2", False), ("ORDER1", True)]


async def test_a_forged_notice_may_come_before_the_genuine(client, sim, inbox):
    """Two events with two ids, of which one counts; on the way either may overtake the other."""
    sim.faults.notification(sign_with="wrong", then_genuine=True)
    inbox.answers = [(200, b"fail")]
    await pay(sim, client)
    assert sorted(is_genuine(sim, body) for body in inbox.bodies) == [False, True]
    assert len({read(body)["notify_id"] for body in inbox.bodies}) == 2


# The text of notifications: authentic but wrong.


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"amount_off": 1}, {"total_amount": "88.89"}),
        ({"amount_off": -1}, {"total_amount": "88.87"}),
        ({"foreign_app": True}, {"app_id": "2099999999999999", "auth_app_id": "2099999999999999"}),
        ({"other_seller": True}, {"seller_id": "2088999999999999"}),
        ({"passback_params": "other%3D1"}, {"passback_params": "other%3D1"}),
        ({"blank": "signed"}, {"voucher_detail_list": ""}),
        ({"extra": True}, {"simulator_news": "新参数 a=b&c=100%+/"}),
        ({"zero_refund_fee": True}, {"refund_fee": "0.00"}),
        ({"overrides": {"trade_status": "WAIT_BUYER_PAY"}}, {"trade_status": "WAIT_BUYER_PAY"}),
        ({"overrides": {"seller_id": None}}, {"seller_id": None}),
    ],
)
async def test_a_notification_can_be_authentic_but_wrong(client, sim, inbox, fault, expected):
    """Signed by the platform, and yet not what happened."""
    sim.faults.notification(**fault)
    await pay(sim, client, passback_params="gems%3D60")
    (body,) = inbox.bodies
    assert is_genuine(sim, body)
    assert {name: read(body).get(name) for name in expected} == expected


async def test_a_buyer_can_go_by_open_id(client, sim, inbox):
    """By a fault for one, by a knob for all."""
    sim.faults.notification(open_id=True)
    await pay(sim, client, "A")
    sim.knobs.open_id = True
    await pay(sim, client, "B")
    for body in inbox.bodies:
        assert is_genuine(sim, body)
        assert read(body)["buyer_open_id"] == sim.buyer.open_id
        assert "buyer_id" not in read(body)


async def test_a_blank_may_be_left_out_of_the_signed_text(client, sim, inbox):
    """Sources disagree whether blanks are signed."""
    sim.faults.notification(blank="unsigned")
    await pay(sim, client)
    (body,) = inbox.bodies
    assert read(body)["voucher_detail_list"] == ""
    assert not is_genuine(sim, body)
    assert is_genuine(sim, body.replace(b"voucher_detail_list=&", b""))


async def test_a_notification_may_be_written_in_gbk(client, sim, inbox):
    """Parameter, content type, text and signature all agree on it."""
    sim.faults.notification(charset="gbk")
    await pay(sim, client)
    (body,) = inbox.bodies
    assert inbox.types == ["application/x-www-form-urlencoded; charset=gbk"]
    given = dict(parse_qsl(body.decode("ascii"), encoding="gbk", keep_blank_values=True))
    assert (given["charset"], given["subject"]) == ("GBK", "六十颗宝石 60 gems")
    sign, _ = given.pop("sign"), given.pop("sign_type")
    text = "&".join(f"{name}={given[name]}" for name in sorted(given))
    assert verifies(sim.public_key_pem, text.encode("gbk"), sign)


# The text of notifications: not authentic.


async def test_a_notification_can_be_forged(client, sim, inbox):
    """Everything right but the key."""
    sim.faults.notification(sign_with="wrong")
    await pay(sim, client)
    assert not is_genuine(sim, inbox.bodies[0])
    assert read(inbox.bodies[0])["total_amount"] == "88.88"


async def test_a_notification_can_be_signed_with_sha1(client, sim, inbox):
    """The right key in the old way, whatever sign_type claims."""
    sim.faults.notification(digest="sha1", overrides={"sign_type": "RSA"})
    await pay(sim, client)
    assert read(inbox.bodies[0])["sign_type"] == "RSA"
    assert not is_genuine(sim, inbox.bodies[0])
    assert digested(sim, inbox.bodies[0], hashes.SHA1)


async def test_a_notification_can_lack_its_signature(client, sim, inbox):
    """No `sign` key at all."""
    sim.faults.notification(signature="none")
    await pay(sim, client)
    assert "sign" not in read(inbox.bodies[0])


async def test_a_notification_can_carry_two_signatures(client, sim, inbox):
    """The first is genuine, the second a stranger's."""
    sim.faults.notification(signature="double")
    await pay(sim, client)
    pairs = parse_qsl(inbox.bodies[0].decode())
    first, second = (value for name, value in pairs if name == "sign")
    assert first != second


async def test_a_notification_can_be_tampered_with(client, sim, inbox):
    """Changed after signing, also by a parameter that was not there."""
    sim.faults.notification(tamper={"total_amount": "0.01", "injected": "1"})
    await pay(sim, client)
    given = read(inbox.bodies[0])
    assert (given["total_amount"], given["injected"]) == ("0.01", "1")
    assert not is_genuine(sim, inbox.bodies[0])


# Magic amounts.


def test_magic_amounts_spare_common_price_endings():
    """0.90, 1.88, 0.98 and 9.99 are ordinary prices."""
    assert not {0, 10, 50, 66, 68, 80, 88, 90, 98, 99} & misfortunes.BY_CENTS.keys()


def test_the_table_of_magic_amounts_is_complete():
    """The module's docstring lists each of them."""
    for cents, misfortune in misfortunes.BY_CENTS.items():
        assert f"…{cents}     {misfortune.name}" in misfortunes.__doc__


@pytest.mark.parametrize(
    ("cents", "deliveries"),
    [(88, 1), (91, 0), (92, 5), (93, 1), (94, 1), (97, 0), (81, 2), (82, 2), (83, 0)],
)
async def test_an_amount_decides_how_often_the_notice_comes(client, sim, inbox, cents, deliveries):
    """Without any call of the control API."""
    await pay(sim, client, amount=f"6.{cents}")
    assert len(inbox.bodies) == deliveries


@pytest.mark.parametrize(
    ("cents", "genuine"), [(88, [True]), (93, [False]), (94, [True]), (81, [False, True])]
)
async def test_an_amount_decides_whether_the_notice_is_genuine(client, sim, inbox, cents, genuine):
    """Off by one fen is authentic, forged is not."""
    await pay(sim, client, amount=f"6.{cents}")
    assert [is_genuine(sim, body) for body in inbox.bodies] == genuine
    assert (read(inbox.bodies[0])["total_amount"] == f"6.{cents}") is (cents != 94)


@pytest.mark.parametrize(
    ("cents", "codes"), [(95, ["20000", "20000", "10000"]), (85, ["40005", "40005", "10000"])]
)
async def test_an_amount_decides_how_queries_go(client, sim, cents, codes):
    """Twice wrong, then right; a repeated entry does not start it anew."""
    sim.enter(client.page_url("ORDER1", f"6.{cents}"))
    sim.enter(client.page_url("ORDER1", f"6.{cents}"))
    assert [(await client.query("ORDER1")).code for _ in range(3)] == codes


async def test_an_amount_decides_about_answers(client, sim):
    """Unsigned once, cut once."""
    await pay(sim, client, "A", "6.86")
    assert (await client.query("A")).sign == ""
    assert (await client.query("A")).sign
    await pay(sim, client, "B", "6.87")
    with pytest.raises((HTTPClientError, StreamClosedError)):
        await client.refund("B", "1.00", "R1")
    assert sim.trade("B").refunded_fen == 100
    await sim.idle()


async def test_an_armed_fault_goes_before_a_magic_amount(client, sim, inbox):
    """What a test asks for counts."""
    sim.faults.notification(copies=2)
    await pay(sim, client, amount="6.91")
    assert len(inbox.bodies) == 2


def test_every_kind_of_answer_fault_says_what_it_is():
    """For those who read the list."""
    assert all(KINDS.values())
