"""The sample merchant: trusts only the platform, gives the goods once, and can be a bad neighbour."""

import base64
import hashlib
import hmac
import json
import time

import pytest
from tornado.httpclient import HTTPClientError
from tornado.iostream import StreamClosedError

from payplat.simulators.merchant import BEHAVIOURS, Merchant

KEY = b"a secret of twenty-four!"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def paid(order_no: str) -> str:
    data = {"order_no": order_no, "amount": 600}
    return json.dumps({"type": "order.paid", "timestamp": "2026-11-22T12:00:01Z", "data": data})


def signature(webhook_id: str, timestamp: str, body: str, key: bytes = KEY) -> str:
    signed = f"{webhook_id}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


@pytest.fixture
async def merchant():
    merchant = Merchant(SECRET)
    await merchant.start()
    yield merchant
    await merchant.stop()


@pytest.fixture
def deliver(merchant, browse):
    """Post an event as the platform would."""

    async def post(webhook_id="evt_1", body=None, sign=None, timestamp=None):
        body = paid("ORDER1") if body is None else body
        timestamp = timestamp or str(int(time.time()))
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign or signature(webhook_id, timestamp, body),
        }
        return await browse(merchant.url, body, **headers)

    return post


async def test_a_signed_event_gives_the_goods(merchant, deliver):
    """204, and the order counts as fulfilled."""
    assert (await deliver()).code == 204
    assert merchant.fulfilled == {"ORDER1": 1}
    assert merchant.events["evt_1"]["data"]["amount"] == 600
    (received,) = merchant.received
    assert (received.id, received.valid) == ("evt_1", True)
    assert json.loads(received.body)["type"] == "order.paid"


async def test_the_same_event_again_gives_nothing_more(merchant, deliver):
    """It is acknowledged all the same."""
    for _ in range(3):
        assert (await deliver()).code == 204
    assert merchant.fulfilled == {"ORDER1": 1}
    assert len(merchant.received) == 3


async def test_a_second_event_for_an_order_would_show(merchant, deliver):
    """Two ids for one purchase are the platform's mistake, and the counter tells."""
    await deliver("evt_1")
    await deliver("evt_2")
    assert merchant.fulfilled["ORDER1"] == 2


async def test_other_events_give_no_goods(merchant, deliver):
    """A refund is recorded only."""
    await deliver(body=json.dumps({"type": "order.refunded", "data": {"order_no": "ORDER1"}}))
    assert merchant.fulfilled == {}
    assert merchant.events["evt_1"]["type"] == "order.refunded"


@pytest.mark.parametrize("sign", ["v1,AAAA", "v1,!", "", "v1", "v1a,AAAA"])
async def test_a_bad_signature_is_refused(merchant, deliver, sign):
    """401, and nothing happens."""
    assert (await deliver(sign=sign or " ")).code == 401
    assert (merchant.fulfilled, merchant.events) == ({}, {})
    assert merchant.received[0].valid is False


async def test_a_signature_covers_id_time_and_body(merchant, deliver):
    """Each of the three, and the key."""
    now = str(int(time.time()))
    for sign in (
        signature("evt_2", now, paid("ORDER1")),
        signature("evt_1", str(int(now) - 1), paid("ORDER1")),
        signature("evt_1", now, paid("ORDER2")),
        signature("evt_1", now, paid("ORDER1"), b"another key"),
        signature("evt_1", now, paid("ORDER1")).replace("v1,", "v2,"),
    ):
        assert (await deliver(sign=sign, timestamp=now)).code == 401


async def test_one_of_several_signatures_is_enough(merchant, deliver):
    """While a secret is being exchanged there are two."""
    now = str(int(time.time()))
    good = signature("evt_1", now, paid("ORDER1"))
    assert (await deliver(sign=f"v1,AAAA v1a,xyz {good}", timestamp=now)).code == 204


@pytest.mark.parametrize(("off", "status"), [(-290, 204), (290, 204), (-310, 401), (310, 401)])
async def test_old_and_future_messages_are_refused(merchant, deliver, off, status):
    """Five minutes either way."""
    assert (await deliver(timestamp=str(int(time.time()) + off))).code == status
    assert (await deliver("evt_2", timestamp="soon")).code == 401


@pytest.mark.parametrize(
    "body", ["{", "[]", '{"type": "order.paid"}', '{"type": "order.paid", "data": 7}']
)
async def test_a_signed_body_must_still_be_an_event(merchant, deliver, body):
    """400, and nothing is given."""
    assert (await deliver(body=body)).code == 400
    assert (merchant.fulfilled, merchant.events) == ({}, {})


@pytest.mark.parametrize("kind", ["500", "302", "410", "429"])
async def test_it_can_refuse_before_doing_anything(merchant, deliver, kind):
    """Once; then the retry is taken."""
    merchant.next(kind, seconds=7)
    response = await deliver()
    assert response.code == int(kind)
    assert merchant.fulfilled == {}
    assert response.headers.get("Retry-After") == ("7" if kind == "429" else None)
    assert ("Location" in response.headers) is (kind == "302")
    assert (await deliver()).code == 204
    assert merchant.fulfilled == {"ORDER1": 1}


async def test_it_can_give_the_goods_and_hang_up(merchant, deliver):
    """The nastiest neighbour: the retry must not give twice."""
    merchant.next("reset")
    with pytest.raises((OSError, HTTPClientError, StreamClosedError)):
        await deliver()
    assert merchant.fulfilled == {"ORDER1": 1}
    assert (await deliver()).code == 204
    assert merchant.fulfilled == {"ORDER1": 1}


async def test_it_can_give_the_goods_and_report_failure(merchant, deliver):
    """Any behaviour can be told whether the goods are given."""
    merchant.next("500", accept=True)
    assert (await deliver()).code == 500
    assert merchant.fulfilled == {"ORDER1": 1}
    merchant.next("reset", accept=False)
    with pytest.raises((OSError, HTTPClientError, StreamClosedError)):
        await deliver("evt_2", paid("ORDER2"))
    assert "ORDER2" not in merchant.fulfilled


async def test_it_can_answer_nonsense(merchant, deliver):
    """200 is 200."""
    merchant.next("garbage")
    response = await deliver()
    assert response.code == 200
    assert response.body.startswith(b"\xff\xfe")


async def test_it_can_be_slow(merchant, deliver):
    """Real seconds, and right in the end."""
    merchant.next("slow", seconds=0.05)
    started = time.monotonic()
    assert (await deliver()).code == 204
    assert time.monotonic() - started >= 0.05


async def test_it_can_misbehave_until_told_otherwise(merchant, deliver):
    """Until then, whenever the script is empty."""
    merchant.misbehave("500")
    assert [(await deliver()).code for _ in range(3)] == [500] * 3
    merchant.behave()
    assert (await deliver()).code == 204


async def test_it_can_go_down_and_come_back(merchant, deliver):
    """At the same address, with its memory."""
    await deliver()
    url = merchant.url
    await merchant.go_down()
    with pytest.raises(OSError, match="refused"):
        await deliver()
    await merchant.come_back()
    assert merchant.url == url
    assert (await deliver()).code == 204
    assert merchant.fulfilled == {"ORDER1": 1}


def test_a_misspelt_behaviour_is_refused():
    """It would quietly be none."""
    with pytest.raises(ValueError, match="none of"):
        Merchant(SECRET).next("501")
    assert all(BEHAVIOURS.values())


async def test_a_page_shows_what_was_delivered(merchant, deliver, browse):
    """In both languages, escaped, and without anything from elsewhere."""
    await deliver("<b>evt</b>", paid("<script>"))
    await deliver("evt_2", sign="v1,AAAA")
    page = (await browse(merchant.url.replace("/webhooks", "/"))).body.decode()
    for text in (
        "SAMPLE MERCHANT",
        "示例商户",
        "&lt;script&gt;",
        "&lt;b&gt;evt",
        "valid",
        "invalid",
    ):
        assert text in page
    for forbidden in ("<script", "<link", "src=", "url("):
        assert forbidden not in page
