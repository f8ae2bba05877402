"""The gateway: order of checks, the layout of answers, and what the books say."""

import html
import json
from urllib.parse import urlencode

import pytest

from tests.simulators.alipay_client import BEIJING_NOW, NOW, Client, verifies
from tests.simulators.conftest import APP_ID, SELLER_ID, imports_of, pem


def test_the_simulators_import_nothing_of_the_platform():
    """A bug shared with the platform would cancel itself out."""
    found = set(imports_of("payplat/simulators"))
    assert found
    assert {name for name in found if not name.startswith("payplat.simulators")} == set()


async def test_an_answer_is_laid_out_as_the_gateways(client, sim):
    """Node first, then sign; compact JSON, UTF-8 as it is, slashes escaped, text/html."""
    answer = await client.precreate("ORDER1")
    assert (answer.status, answer.content_type) == (200, "text/html;charset=utf-8")
    assert answer.body.startswith(b'{"alipay_trade_precreate_response":{"code":"10000"')
    assert list(answer.whole) == ["alipay_trade_precreate_response", "sign"]
    assert "http:\\/\\/127.0.0.1" in answer.value
    assert verifies(sim.public_key_pem, answer.value.encode(), answer.sign)
    missing = await client.query("NONE")
    assert "交易不存在" in missing.body.decode()


async def test_an_answer_signs_the_exact_text(client, sim):
    """A node written again with other escapes does not carry the signature."""
    answer = await client.precreate("ORDER1")
    again = json.dumps(answer.fields, separators=(",", ":"), ensure_ascii=False)
    assert not verifies(sim.public_key_pem, again.encode(), answer.sign)


@pytest.mark.parametrize("app_id", ["2099000000000009", "", None])
async def test_an_unknown_application_is_refused_first_and_unsigned(client, app_id):
    """app_id is looked at before anything else, so that nothing else has to be right."""
    answer = await client.call(
        "alipay.trade.query", "not json", app_id=app_id, sign="x", timestamp="y"
    )
    assert answer.sub_code == ("isv.invalid-app-id" if app_id else "isv.missing-app-id")
    assert answer.code == ("40002" if app_id else "40001")
    assert answer.sign == ""


@pytest.mark.parametrize(
    ("name", "sub_code"),
    [
        ("method", "isv.missing-method"),
        ("sign_type", "isv.missing-signature-type"),
        ("timestamp", "isv.missing-timestamp"),
        ("version", "isv.missing-version"),
    ],
)
async def test_required_parameters_come_before_the_signature(client, name, sub_code):
    """A request without one is told so even when its signature is wrong too."""
    answer = await client.call(
        "alipay.trade.query", {"out_trade_no": "A"}, sign="AAAA", **{name: None}
    )
    assert (answer.code, answer.sub_code) == ("40001", sub_code)
    assert answer.sign


async def test_a_missing_signature_is_named(client):
    """No `sign` at all is not the same as a wrong one."""
    answer = await client.call("alipay.trade.query", {"out_trade_no": "A"}, sign=None)
    assert (answer.code, answer.sub_code) == ("40001", "isv.missing-signature")


async def test_a_wrong_signature_shows_the_gateways_own_string(client, sim):
    """The refusal is signed and quotes, HTML-escaped, what the gateway would have signed."""
    answer = await client.call(
        "alipay.trade.query", {"out_trade_no": "A"}, sign="AAAA", timestamp="y"
    )
    assert answer.sub_code == "isv.invalid-signature"
    assert verifies(sim.public_key_pem, answer.value.encode(), answer.sign)
    quoted = answer.fields["sub_msg"].partition("验签字符串为：")[2]
    assert "&amp;biz_content={&quot;out_trade_no&quot;" in quoted
    assert html.unescape(quoted).startswith(f"app_id={APP_ID}&biz_content=")


async def test_the_platforms_own_key_is_not_the_applications(sim, inbox, platform_key):
    """Signing requests with the wrong one of the two keys is the commonest mistake."""
    mistaken = Client(sim.gateway, APP_ID, platform_key)
    assert (await mistaken.query("A")).sub_code == "isv.invalid-signature"


@pytest.mark.parametrize(
    ("changes", "sub_code"),
    [
        ({"timestamp": "2026-11-22 8:16:01"}, "isv.invalid-timestamp"),
        ({"timestamp": "2026-11-22T20:16:01"}, "isv.invalid-timestamp"),
        ({"timestamp": "2026-11-22 20:16"}, "isv.invalid-timestamp"),
        ({"timestamp": "2026-13-22 20:16:01"}, "isv.invalid-timestamp"),
        ({"sign_type": "RSA"}, "isv.invalid-signature-type"),
        ({"charset": "latin-1"}, "isv.invalid-charset"),
        ({"charset": None}, "isv.invalid-charset"),
        ({"format": "XML"}, "isv.invalid-format"),
        ({"version": "2.0"}, "isv.invalid-parameter"),
        ({"notify_url": "https://" + "x" * 260}, "isv.invalid-parameter"),
        ({"method": "alipay.trade.qeury"}, "isv.invalid-method"),
        ({"method": "alipay.trade.app.pay"}, "ACQ.INVALID_PARAMETER"),
        ({"biz_content": "{"}, "isv.illegal-json"),
        ({"biz_content": "[]"}, "isv.illegal-json"),
        ({"biz_content": "{}"}, "ACQ.INVALID_PARAMETER"),
        ({"biz_content": '{"out_trade_no":"A","typo":1}'}, "isv.invalid-parameter"),
        ({"biz_content": '{"out_trade_no":"A-1"}'}, "ACQ.INVALID_PARAMETER"),
        ({"biz_content": '{"out_trade_no":7}'}, "ACQ.INVALID_PARAMETER"),
    ],
)
async def test_malformed_requests_are_refused(client, changes, sub_code):
    """Each with the sub_code of the common error table."""
    answer = await client.call("alipay.trade.query", {"out_trade_no": "A"}, **changes)
    assert answer.sub_code == sub_code
    assert answer.sign


async def test_an_unknown_method_answers_in_an_error_node(client):
    """There is no node to name after a method that does not exist."""
    assert (await client.call("alipay.trade.qeury", {})).node == "error_response"
    assert (await client.query("A")).node == "alipay_trade_query_response"


async def test_a_method_outside_the_contract_is_forbidden(sim, app_key):
    """An application may do only what its contract names."""
    sim.add_app("2021000000000007", SELLER_ID, pem(app_key), frozenset({"alipay.trade.query"}))
    narrow = Client(sim.gateway, "2021000000000007", app_key)
    assert (await narrow.query("A")).sub_code == "ACQ.TRADE_NOT_EXIST"
    answer = await narrow.precreate("A")
    assert (answer.code, answer.sub_code) == ("40006", "isv.insufficient-isv-permissions")


async def test_the_bodys_charset_is_that_of_the_query(client, browse, sim):
    """`charset` in the body alone comes too late: the body was read as GBK by then."""
    biz = {"out_trade_no": "A", "refund_amount": "1.00", "refund_reason": "不想要了"}
    parameters = client.parameters("alipay.trade.refund", biz)
    response = await browse(sim.gateway, urlencode(parameters))
    assert b"isv.invalid-signature" in response.body
    response = await browse(f"{sim.gateway}?charset=utf-8", urlencode(parameters))
    assert b"ACQ.TRADE_NOT_EXIST" in response.body
    response = await browse(f"{sim.gateway}?{urlencode(parameters)}")
    assert b"ACQ.TRADE_NOT_EXIST" in response.body


@pytest.mark.parametrize(
    ("biz", "sub_code"),
    [
        ({"subject": "a/b"}, "ACQ.INVALID_PARAMETER"),
        ({"subject": "a=b"}, "ACQ.INVALID_PARAMETER"),
        ({"subject": "a&b"}, "ACQ.INVALID_PARAMETER"),
        ({"subject": ""}, "ACQ.INVALID_PARAMETER"),
        ({"subject": "x" * 257}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": 88.88}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": "88.888"}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": "8.8E1"}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": "0.00"}, "ACQ.TOTAL_FEE_EXCEED"),
        ({"total_amount": "100000000.01"}, "ACQ.TOTAL_FEE_EXCEED"),
        ({"passback_params": "a=1&b=2"}, "ACQ.INVALID_PARAMETER"),
        ({"passback_params": "x" * 513}, "ACQ.INVALID_PARAMETER"),
        ({"seller_id": "2088999999999999"}, "ACQ.PARTNER_ERROR"),
        ({"product_code": "QUICK_WAP_WAY"}, "isv.insufficient-isv-permissions"),
        ({"time_expire": "2026-11-22 19:59:59"}, "ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR"),
        ({"time_expire": "tomorrow"}, "ACQ.INVALID_PARAMETER"),
        ({"timeout_express": "1.5h"}, "ACQ.INVALID_PARAMETER"),
        ({"timeout_express": "16d"}, "ACQ.INVALID_PARAMETER"),
        ({"return_url": "https://example.com"}, "isv.invalid-parameter"),
    ],
)
async def test_an_order_must_be_as_documented(client, biz, sub_code):
    """Undocumented fields and values are refused rather than ignored."""
    order = {**client.order("ORDER1", product_code="QR_CODE_OFFLINE"), **biz}
    assert (await client.call("alipay.trade.precreate", order)).sub_code == sub_code


async def test_there_is_no_trade_before_somebody_scans(client, sim):
    """A code is an offer; only the buyer's scan makes a trade of it."""
    answer = await client.precreate("ORDER1")
    assert sim.trade("ORDER1") is None
    missing = await client.query("ORDER1")
    assert (missing.code, missing.sub_code) == ("40004", "ACQ.TRADE_NOT_EXIST")
    sim.enter(answer.fields["qr_code"])
    assert (await client.query("ORDER1")).fields["trade_status"] == "WAIT_BUYER_PAY"


async def test_a_query_tells_what_the_books_say(client, sim):
    """Amounts as text, times in Beijing, passback_params as they were given."""
    sim.enter(client.page_url("ORDER1", passback_params="gems%3D60"))
    waiting = (await client.query("ORDER1")).fields
    assert "send_pay_date" not in waiting
    assert waiting["total_amount"] == "88.88"
    await sim.pay("ORDER1")
    paid = (await client.query("ORDER1", query_options=["fund_bill_list"])).fields
    assert paid["trade_status"] == "TRADE_SUCCESS"
    assert paid["send_pay_date"] == BEIJING_NOW
    assert paid["passback_params"] == "gems%3D60"
    assert paid["receipt_amount"] == "88.88"
    assert paid["buyer_user_id"] == sim.buyer.user_id
    assert paid["fund_bill_list"] == [{"fund_channel": "ALIPAYACCOUNT", "amount": "88.88"}]
    assert paid["trade_no"].startswith("20261122")
    assert len(paid["trade_no"]) == 28


async def test_a_trade_is_found_by_either_number(client, sim):
    """trade_no wins when both are sent."""
    first, second = sim.enter(client.page_url("ORDER1")), sim.enter(client.page_url("ORDER2"))
    biz = {"out_trade_no": "ORDER1", "trade_no": second.trade_no}
    assert (await client.call("alipay.trade.query", biz)).fields["out_trade_no"] == "ORDER2"
    biz = {"trade_no": first.trade_no}
    assert (await client.call("alipay.trade.query", biz)).fields["out_trade_no"] == "ORDER1"


async def test_other_sellers_trades_do_not_exist(client, sim, app_key):
    """An order number is the seller's own, and so is the view of it."""
    sim.add_app("2021000000000002", "2088000000000002", pem(app_key))
    other = Client(sim.gateway, "2021000000000002", app_key)
    trade = sim.enter(client.page_url("ORDER1"))
    assert (await other.query("ORDER1")).sub_code == "ACQ.TRADE_NOT_EXIST"
    answer = await other.call("alipay.trade.query", {"trade_no": trade.trade_no})
    assert answer.sub_code == "ACQ.TRADE_NOT_EXIST"
    sim.enter(other.page_url("ORDER1", "1.00"))
    assert (await other.query("ORDER1")).fields["total_amount"] == "1.00"


async def test_newer_merchants_see_open_ids(client, sim):
    """A knob decides which of the two buyer numbers is told."""
    sim.knobs.open_id = True
    sim.enter(client.page_url("ORDER1"))
    fields = (await client.query("ORDER1")).fields
    assert fields["buyer_open_id"] == sim.buyer.open_id
    assert "buyer_user_id" not in fields


async def test_closing_needs_an_unpaid_trade(client, sim):
    """Unknown, paid and closed trades each refuse in their own way."""
    assert (await client.close("ORDER1")).sub_code == "ACQ.TRADE_NOT_EXIST"
    sim.enter(client.page_url("ORDER1"))
    assert (await client.close("ORDER1")).code == "10000"
    assert sim.trade("ORDER1").status == "TRADE_CLOSED"
    assert (await client.close("ORDER1")).sub_code == "ACQ.REASON_TRADE_STATUS_INVALID"
    sim.enter(client.page_url("ORDER2"))
    await sim.pay("ORDER2")
    assert (await client.close("ORDER2")).sub_code == "ACQ.TRADE_STATUS_ERROR"


async def test_cancelling_undoes_whatever_there_is(client, sim):
    """Nothing, an unpaid trade, a paid one: no action, closed, refunded."""
    cancel = "alipay.trade.cancel"
    assert "action" not in (await client.call(cancel, {"out_trade_no": "A"})).fields
    sim.enter(client.page_url("A"))
    assert (await client.call(cancel, {"out_trade_no": "A"})).fields["action"] == "close"
    sim.enter(client.page_url("B"))
    await sim.pay("B")
    assert (await client.call(cancel, {"out_trade_no": "B"})).fields["action"] == "refund"
    assert sim.trade("B").refunded_fen == 8888


async def test_precreate_again_gives_the_same_code(client, sim):
    """A repeat whose answer was lost finds its code; other data are refused; a knob refuses all."""
    first = (await client.precreate("ORDER1")).fields["qr_code"]
    assert (await client.precreate("ORDER1")).fields["qr_code"] == first
    assert (await client.precreate("ORDER1", "1.00")).sub_code == "ACQ.CONTEXT_INCONSISTENT"
    sim.knobs.repeat_code = False
    assert (await client.precreate("ORDER1")).sub_code == "ACQ.APPLY_PC_MERCHANT_CODE_ERROR"
    sim.enter(first)
    await sim.pay("ORDER1")
    assert (await client.precreate("ORDER1")).sub_code == "ACQ.TRADE_HAS_SUCCESS"


async def test_every_request_is_on_record(client, sim):
    """A test can see what the platform asked, and what it was told."""
    await client.query("ORDER1")
    (received,) = sim.received
    assert (received.method, received.biz["out_trade_no"]) == ("alipay.trade.query", "ORDER1")
    assert (received.at, received.sub_code) == (NOW, "ACQ.TRADE_NOT_EXIST")
