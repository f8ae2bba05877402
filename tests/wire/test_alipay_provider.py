"""The Alipay provider alone: what it sends, which answers it believes, and how it reads notifications."""

import json
from dataclasses import replace
from urllib.parse import parse_qsl, quote, unquote, urlencode

import pytest
from cryptography.hazmat.primitives import hashes

from payplat import seam
from payplat.channels.alipay.wire import (
    Malformed,
    from_beijing,
    parse_answer,
    parse_form,
    passback,
    read_passback,
)
from payplat.errors import (
    NotAuthentic,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from payplat.outbound import MAX_ANSWER
from payplat.provider import EXPIRY_MARGIN
from payplat.purchase import Evidence, Inbound, Refund, Source, State
from tests.wire.alipay import (
    ACCOUNT,
    APP_ID,
    GATEWAY,
    KEYS,
    NOTIFY_URL,
    NOW,
    ORDER_NO,
    PAYMENT,
    RETURN_URL,
    TRADE_NO,
    notice,
    order,
    private_key,
    refusal,
    reply,
    signature,
    signed_form,
    success,
)

QUERY, REFUND, PRECREATE = "alipay.trade.query", "alipay.trade.refund", "alipay.trade.precreate"
REFUND_QUERY = "alipay.trade.fastpay.refund.query"
ASKED = Evidence(Source.VERIFY, b"")
NOT_EXIST = refusal("40004", "ACQ.TRADE_NOT_EXIST")
PRODUCTS = {
    "app": ("alipay.trade.app.pay", "QUICK_MSECURITY_PAY"),
    "page": ("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
    "wap": ("alipay.trade.wap.pay", "QUICK_WAP_WAY"),
}


async def handed_out(provider, sold) -> dict[str, str]:
    """The parameters in an order string or address."""
    (text,) = (await provider.prepare(sold)).parameters.values()
    return dict(parse_qsl(text.removeprefix(f"{GATEWAY}?"), strict_parsing=True))


def read(provider, body: bytes, query: str = ""):
    return provider.read_notification(Inbound({}, query, body))


# What it sends.


@pytest.mark.parametrize("method", PRODUCTS)
async def test_all_parameters_of_an_order(provider, method):
    """They are complete, none is empty, and return_url goes with the browser alone."""
    sent = await handed_out(provider, order(method=method))
    content = json.loads(sent.pop("biz_content"))
    assert sent.pop("sign")
    api, product_code = PRODUCTS[method]
    assert sent == {
        "app_id": APP_ID,
        "method": api,
        "format": "JSON",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": "2026-11-22 20:16:00",
        "version": "1.0",
        "notify_url": NOTIFY_URL,
        **({} if method == "app" else {"return_url": RETURN_URL}),
    }
    assert content == {
        "out_trade_no": ORDER_NO,
        "total_amount": "88.80",
        "subject": "500 coins",
        "product_code": product_code,
        "time_expire": "2026-11-22 20:46:00",
        "passback_params": "1xcoins_500",
    }


@pytest.mark.parametrize("method", ["page", "wap"])
async def test_no_parameter_is_ever_empty(provider, method):
    """An order without return_url sends none, since a blank one would break the signature."""
    sent = await handed_out(provider, order(method=method, return_url=None))
    assert "return_url" not in sent
    assert all(sent.values())


async def test_the_way_to_pay_decides_what_the_client_gets(provider):
    """An order string for the app's SDK, an address at the gateway for browsers; neither is stored."""
    prepared = [await provider.prepare(order(method=method)) for method in PRODUCTS]
    assert [list(p.parameters) for p in prepared] == [["order_string"], ["url"], ["url"]]
    assert [p.keep for p in prepared] == [False, False, False]
    assert "?" not in prepared[0].parameters["order_string"]
    assert prepared[1].parameters["url"].startswith(f"{GATEWAY}?app_id=")


async def test_a_repeated_request_gets_the_same_answer(provider, monkeypatch):
    """The signature is as of the order's creation, whatever the time is now."""
    first = await provider.prepare(order())
    monkeypatch.setattr(seam.world, "now", lambda: NOW + 60 * seam.SECOND, raising=False)
    assert await provider.prepare(order()) == first


@pytest.mark.parametrize(
    ("expires_at", "written"),
    [
        (NOW, "2026-11-22 20:16:00"),
        (NOW + 999_999, "2026-11-22 20:16:00"),
        (NOW + 4 * 3600 * seam.SECOND, "2026-11-23 00:16:00"),
        (1_709_222_399 * seam.SECOND, "2024-02-29 23:59:59"),
    ],
)
async def test_the_expiry_is_written_in_beijing_time(provider, new_york, expires_at, written):
    """Whatever the time zone of this machine."""
    sent = await handed_out(provider, order(expires_at=expires_at))
    assert json.loads(sent["biz_content"])["time_expire"] == written


async def test_a_subject_keeps_all_but_three_characters(provider):
    """Alipay forbids / = & in a subject; everything else arrives as it is, whatever it means to HTML or JSON."""
    sent = await handed_out(provider, order(title="a/b=c&d \"e\" <f> '金币' 💎 100% + \\"))
    content = json.loads(sent["biz_content"])
    assert content["subject"] == "a b c d \"e\" <f> '金币' 💎 100% + \\"


async def test_a_product_code_comes_from_the_configuration(provide):
    """A contract may name another one for one way to pay, and only for that."""
    provider = provide(product_codes={"wap": "QUICK_WAP_PAY"})
    sent = [await handed_out(provider, order(method=method)) for method in ("wap", "page")]
    codes = [json.loads(s["biz_content"])["product_code"] for s in sent]
    assert codes == ["QUICK_WAP_PAY", "FAST_INSTANT_TRADE_PAY"]


@pytest.mark.parametrize("amount", [1, 10, 99, 100, 8880, 10**10])
async def test_an_amount_is_written_in_yuan(provider, amount):
    """Two places, no exponent, and the notification reads the same number of fen."""
    sent = await handed_out(provider, order(amount=amount))
    written = json.loads(sent["biz_content"])["total_amount"]
    assert len(written.rpartition(".")[2]) == 2
    assert read(provider, notice(total_amount=written)).amount == amount


@pytest.mark.parametrize("sku", ["coins_500", "a b+c", "a%26b", "é&=金币", "%", "x" * 64])
@pytest.mark.parametrize("quantity", [1, 99])
async def test_product_and_quantity_come_back(provider, sku, quantity):
    """As they were sent, and as some gateways return them: decoded once."""
    sent = await handed_out(provider, order(sku=sku, quantity=quantity))
    value = json.loads(sent["biz_content"])["passback_params"]
    assert quote(unquote(value), safe="") == value
    assert len(value) <= 512
    verdict = read(provider, notice(passback_params=value))
    assert (verdict.product, verdict.quantity) == (sku, quantity)


@pytest.mark.parametrize(
    "value",
    [
        "x",
        "product%3Da",
        "quantity%3D1",
        "product%3Da%26quantity%3Dx",
        "a%3D1%26a%3D2",
        "%",
        "%FF%3D",
    ],
)
def test_a_foreign_passback_fits_no_order(value):
    """It is told as a product that no order has, not as one that is not told."""
    assert read_passback(value) == ("", 0)


def test_a_passback_that_is_absent_tells_nothing():
    """A query does not repeat it, and a blank one means an absent one."""
    assert read_passback(None) == read_passback("") == (None, None)
    assert read_passback(passback("a", 2)) == ("a", 2)


# Which answers it believes.


@pytest.mark.parametrize(
    ("node", "error"),
    [
        (NOT_EXIST, ProviderRefused),
        (refusal("40004", "ACQ.TRADE_HAS_CLOSE"), ProviderRefused),
        (refusal("40004", "ACQ.SYSTEM_ERROR"), ProviderUnavailable),
        (refusal("40004", "AQC.SYSTEM_ERROR"), ProviderUnavailable),
        (refusal("20000", "isp.unknow-error"), ProviderUnavailable),
        (refusal("40005", "isv.app-call-limited"), ProviderUnavailable),
        (refusal("20001", "aop.invalid-auth-token"), ProviderMisconfigured),
        (refusal("40001", "isv.missing-signature"), ProviderMisconfigured),
        (refusal("40002", "isv.invalid-signature"), ProviderMisconfigured),
        (refusal("40003", "isv.missing-signature-config"), ProviderMisconfigured),
        (refusal("40006", "isv.insufficient-isv-permissions"), ProviderMisconfigured),
        (refusal("10003"), ProviderUnavailable),
        (refusal("99999", "whatever"), ProviderUnavailable),
        (refusal(""), ProviderUnavailable),
        ({}, ProviderUnavailable),
        ({"code": None}, ProviderUnavailable),
        ({"code": ["10000"]}, ProviderUnavailable),
    ],
)
async def test_the_kinds_of_a_signed_no(asking, gateway, node, error):
    """Refused for good, nothing known, too many calls, or wrongly set up: each has its own error."""
    gateway.answers = [reply(node)]
    with pytest.raises(error) as caught:
        await asking._ask(QUERY, {"out_trade_no": ORDER_NO})
    assert type(caught.value) is error
    busy = node.get("code") in ("20000", "40005") or "SYSTEM" in node.get("sub_code", "")
    assert ("busy" in str(caught.value)) is busy
    assert getattr(caught.value, "code", node.get("sub_code")) == node.get("sub_code")


async def test_a_signed_yes_is_told(asking, gateway):
    """Its text members, its exact text, and the key that made it believable."""
    gateway.answers = [reply('{"code":"10000", "a":"\\u91d1\\/", "n":1, "l":[]}')]
    told = await asking._ask(QUERY, {"out_trade_no": ORDER_NO})
    assert told.node == {"code": "10000", "a": "金/"}
    assert told.text == '{"code":"10000", "a":"\\u91d1\\/", "n":1, "l":[]}'
    assert told.verifier == f"query:{next(iter(KEYS['key'].alipay))}"


@pytest.mark.parametrize(
    ("node", "error"),
    [
        (success(trade_status="TRADE_SUCCESS", out_trade_no=ORDER_NO), ProviderUnavailable),
        (NOT_EXIST, ProviderUnavailable),
        (refusal("40004", "ACQ.TRADE_HAS_CLOSE"), ProviderUnavailable),
        (refusal("40002", "isv.invalid-app-id"), ProviderMisconfigured),
    ],
)
@pytest.mark.parametrize("sign", [None, "AAAA", "app", "stranger", "sha1"])
async def test_an_answer_that_alipay_did_not_sign_says_nothing_of_a_trade(
    asking, gateway, node, error, sign
):
    """Neither a success nor an absent trade is believed; only a complaint about us is passed on to us."""
    text = json.dumps(node).encode()
    made = {
        "app": signature(text, "app"),
        "stranger": signature(text, "stranger"),
        "sha1": signature(text, digest=hashes.SHA1),
    }
    gateway.answers = [reply(node, sign=made.get(sign, sign))]
    with pytest.raises(error) as caught:
        await asking.verify(order(), ASKED)
    assert type(caught.value) is error
    assert len(gateway.sent) == (3 if error is ProviderUnavailable else 1)


@pytest.mark.parametrize("sign", ["1", "null", "[]", '["AAAA"]', '{"a":1}', "true", '""', '"é"'])
async def test_a_sign_that_is_no_text_signs_nothing(asking, gateway, sign):
    """It is as good as absent."""
    gateway.answers = [
        f'{{"alipay_trade_query_response":{{"code":"10000"}},"sign":{sign}}}'.encode()
    ]
    with pytest.raises(ProviderUnavailable, match="not signed"):
        await asking._ask(QUERY, {"out_trade_no": ORDER_NO})


@pytest.mark.parametrize("status", [204, 302, 400, 404, 500, 503])
async def test_only_http_200_is_an_answer(asking, gateway, status):
    """Even when its content is signed, and no redirect is followed."""
    gateway.status, gateway.answers = status, [b"" if status == 204 else reply(success())]
    with pytest.raises(ProviderUnavailable):
        await asking._ask(QUERY, {"out_trade_no": ORDER_NO})
    assert len(gateway.sent) == 1


async def test_an_answer_may_have_64_kibibytes_and_no_more(asking, gateway):
    """A longer one is not read to its end."""
    empty = len(reply(success(body="")))
    gateway.answers = [reply(success(body="x" * (MAX_ANSWER - empty)))]
    assert (await asking._ask(QUERY, {"out_trade_no": ORDER_NO})).node["code"] == "10000"
    gateway.answers = [reply(success(body="x" * (MAX_ANSWER - empty + 1)))]
    with pytest.raises(ProviderUnavailable, match="gave no answer"):
        await asking._ask(QUERY, {"out_trade_no": ORDER_NO})


async def test_a_gateway_that_is_not_there_is_unavailable(provide):
    """A refused connection is no answer."""
    with pytest.raises(ProviderUnavailable, match="gave no answer"):
        await provide(gateway="http://127.0.0.1:9/gateway.do")._ask(QUERY, {"out_trade_no": "1"})


def wrapped(node: str) -> str:
    return f'{{"alipay_trade_query_response":{node},"sign":"AAAA"}}'


@pytest.mark.parametrize(
    "raw",
    [
        wrapped("[" * 30_000),
        wrapped('{"a":' * 10_000 + "1" + "}" * 10_000),
        wrapped('{"a":' + "[" * 20_000 + "]" * 20_000 + "}"),
        wrapped('{"a":' + "9" * 5_000 + "}"),
        wrapped('{"a":1,"a":1}'),
        wrapped('{"a":{"b":[{"c":1,"c":2}]}}'),
        wrapped('{"a":1,"\\u0061":2}'),
        wrapped("{}") + "}",
        wrapped("{}")[:-1],
        wrapped("{}").replace(",", ",,"),
        wrapped("{}").replace(":", " "),
        wrapped("'a'"),
        wrapped('{"a":"\n"}'),
        wrapped('"text"'),
        "\ufeff" + wrapped("{}"),
        '{"sign":"AAAA"}',
        "{",
        '{"',
        "[]",
        "",
        " ",
        "\x00",
    ],
)
def test_a_hostile_answer_is_malformed(raw):
    """Deep nesting, endless numbers and repeated names end like every other text that is no answer."""
    with pytest.raises(Malformed):
        parse_answer(raw, QUERY)


async def test_bytes_that_are_no_utf8_are_no_answer(asking, gateway):
    """The gateway's maintenance page comes in GBK."""
    gateway.answers = ["<html>系统维护中</html>".encode("gbk")]
    with pytest.raises(ProviderUnavailable, match="cannot be read"):
        await asking._ask(QUERY, {"out_trade_no": ORDER_NO})


async def test_a_code_in_an_error_is_short_and_plain(asking, gateway):
    """Anybody on the way could have written an unsigned one."""
    gateway.answers = [reply(json.dumps(refusal("40002", "金\n" * 999)), sign=None)]
    with pytest.raises(ProviderMisconfigured) as caught:
        await asking._ask(QUERY, {"out_trade_no": ORDER_NO})
    assert len(str(caught.value)) < 128
    assert str(caught.value).isascii()


@pytest.mark.parametrize("method", [QUERY, REFUND, PRECREATE])
async def test_an_answer_about_another_order_is_none(asking, gateway, method):
    """A signature does not say which question it answers, so an old answer could be sent again."""
    gateway.answers = [reply(success(out_trade_no="0" * 32, fund_change="Y", qr_code="x"), method)]
    asked = {
        QUERY: lambda: asking.verify(order(), ASKED),
        REFUND: lambda: asking.refund(order(), "T1", "late"),
        PRECREATE: lambda: asking.prepare(order(method="qr")),
    }
    with pytest.raises(ProviderUnavailable, match="another order"):
        await asked[method]()


async def test_a_query_names_the_order_in_its_answer(asking, gateway):
    """A success that names none is about nothing."""
    gateway.answers = [reply(success(trade_status="TRADE_SUCCESS", trade_no=TRADE_NO))]
    with pytest.raises(ProviderUnavailable, match="another order"):
        await asking.verify(order(), ASKED)


# What it makes of them.


@pytest.mark.parametrize(
    ("fields", "state", "refund"),
    [
        ({"trade_status": "WAIT_BUYER_PAY"}, State.PENDING, None),
        ({"trade_status": "TRADE_SUCCESS"}, State.PAID, None),
        ({"trade_status": "TRADE_FINISHED"}, State.PAID, None),
        ({"trade_status": "TRADE_CLOSED"}, State.CLOSED, None),
        (
            {"trade_status": "TRADE_CLOSED", "send_pay_date": "2026-11-22 20:16:00"},
            State.REFUNDED,
            Refund(f"{TRADE_NO}/closed", total=8880),
        ),
        ({"trade_status": "TRADE_NEW"}, State.UNKNOWN, None),
        ({}, State.UNKNOWN, None),
    ],
)
async def test_a_query_is_read(asking, gateway, fields, state, refund):
    """Each status of a trade, and a trade that was closed after it was paid."""
    node = success(out_trade_no=ORDER_NO, trade_no=TRADE_NO, total_amount="88.80", **fields)
    gateway.answers = [reply({**node, "buyer_user_id": "2088102100000001"})]
    verdict = await asking.verify(order(), ASKED)
    assert (verdict.state, verdict.refund) == (state, refund)
    assert (verdict.order_no, verdict.transaction_id) == (ORDER_NO, TRADE_NO)
    assert (verdict.account, verdict.amount, verdict.currency) == (ACCOUNT, 8880, "CNY")
    assert (verdict.payer, verdict.product, verdict.quantity) == ("2088102100000001", None, None)
    assert verdict.paid_at == (NOW if "send_pay_date" in fields else None)
    assert verdict.evidence.source is Source.VERIFY
    assert json.loads(verdict.evidence.raw)["code"] == "10000"


@pytest.mark.parametrize(
    "amount", [88.8, 8880, None, ["88.80"], "88.805", "8.88E1", "-1", "", "８８"]
)
async def test_an_amount_that_is_no_plain_decimal_text_is_none(asking, gateway, amount):
    """Then the verdict tells no amount, which fits no order."""
    fields = {"trade_status": "TRADE_SUCCESS", "total_amount": amount, "trade_no": TRADE_NO}
    gateway.answers = [reply(success(out_trade_no=ORDER_NO, **fields))]
    verdict = await asking.verify(order(), ASKED)
    assert verdict.amount is None
    assert not verdict.states_payment


@pytest.mark.parametrize(
    ("over", "state"),
    [(0, State.PENDING), (EXPIRY_MARGIN, State.PENDING), (EXPIRY_MARGIN + 1, State.CLOSED)],
)
async def test_a_trade_that_never_began_is_pending_until_it_cannot_begin(
    asking, gateway, over, state
):
    """The buyer may still be on the way to the cashier."""
    gateway.answers = [reply(NOT_EXIST)]
    verdict = await asking.verify(order(expires_at=NOW - over), ASKED)
    assert (verdict.state, verdict.note) == (state, "ACQ.TRADE_NOT_EXIST")
    assert verdict.order_no == ORDER_NO


async def test_a_refused_query_of_another_kind_is_unknown(asking, gateway):
    """It neither pays nor closes the order."""
    gateway.answers = [reply(refusal("40004", "ACQ.ACCESS_FORBIDDEN"))]
    assert (await asking.verify(order(), ASKED)).state is State.UNKNOWN


async def test_a_query_is_asked_again_when_no_answer_can_be_believed(asking, gateway):
    """Asking is safe to repeat."""
    paid = success(out_trade_no=ORDER_NO, trade_status="TRADE_SUCCESS")
    gateway.answers = [reply(refusal("20000")), b"<html>", reply(paid)]
    assert (await asking.verify(order(), ASKED)).state is State.PAID
    assert len(gateway.sent) == 3


async def test_a_qr_code_is_asked_for_and_kept(asking, gateway):
    """With notify_url, without return_url; asking again could give another code."""
    gateway.answers = [reply(success(qr_code="https://qr.alipay.com/bax1"), PRECREATE)]
    prepared = await asking.prepare(order(method="qr"))
    assert (prepared.parameters, prepared.keep) == ({"qr_code": "https://qr.alipay.com/bax1"}, True)
    assert gateway.sent[0]["notify_url"] == NOTIFY_URL
    assert "return_url" not in gateway.sent[0]


@pytest.mark.parametrize("node", [success(), success(qr_code=""), success(qr_code=1)])
async def test_a_success_without_qr_code_is_none(asking, gateway, node):
    """There is nothing that could be shown to the buyer."""
    gateway.answers = [reply(node, PRECREATE)]
    with pytest.raises(ProviderUnavailable):
        await asking.prepare(order(method="qr"))


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([success(fund_change="Y")], State.REFUNDED),
        ([success(fund_change="N"), success(refund_status="REFUND_SUCCESS")], State.REFUNDED),
        ([success(), success(refund_status="REFUND_SUCCESS")], State.REFUNDED),
        ([success(fund_change="N"), success(refund_status="REFUND_PROCESSING")], State.UNKNOWN),
        ([success(fund_change="N"), success()], State.UNKNOWN),
    ],
)
async def test_a_refund_is_done_when_money_has_moved(asking, gateway, answers, state):
    """A success of the call alone is not: then the refund itself is asked for, under the same number."""
    nodes = [{**answer, "trade_no": TRADE_NO} for answer in answers]
    gateway.answers = [reply(n, m) for n, m in zip(nodes, (REFUND, REFUND_QUERY), strict=False)]
    verdict = await asking.refund(order(refunded=880), "T1", "late")
    assert verdict.state is state
    done = state is State.REFUNDED
    assert verdict.refund == (Refund(f"{TRADE_NO}/late", total=8880) if done else None)
    contents = [json.loads(sent["biz_content"]) for sent in gateway.sent]
    assert {c["out_request_no"] for c in contents} == {"late"}
    assert contents[0]["refund_amount"] == "80.00"
    assert "notify_url" not in gateway.sent[0]


async def test_a_refund_without_answer_is_not_done(asking, gateway):
    """And it is not repeated here: whoever asked for it asks again with the same number."""
    gateway.answers = [reply(refusal("40004", "ACQ.SYSTEM_ERROR"), REFUND)]
    with pytest.raises(ProviderUnavailable):
        await asking.refund(order(), "T1", "late")
    assert gateway.methods == [REFUND]


@pytest.mark.parametrize("code", ["ACQ.TRADE_NOT_EXIST", "ACQ.TRADE_STATUS_ERROR"])
async def test_a_refused_close_says_nothing(asking, gateway, code):
    """There may be nothing to close, or a payment was faster."""
    gateway.answers = [reply(refusal("40004", code), "alipay.trade.close")]
    await asking.close(order())
    assert json.loads(gateway.sent[0]["biz_content"]) == {"out_trade_no": ORDER_NO}


async def test_a_close_without_answer_is_an_error(asking, gateway):
    """The trade may still be open."""
    gateway.answers = [reply(refusal("20000"), "alipay.trade.close")]
    with pytest.raises(ProviderUnavailable):
        await asking.close(order())


async def test_the_probe_asks_about_an_order_that_cannot_exist(asking, gateway):
    """Only the signed answer that it does not exist shows that everything fits together."""
    gateway.answers = [reply(NOT_EXIST)]
    assert "knows our app id" in await asking.probe()
    gateway.answers = [reply(refusal("40002", "isv.invalid-app-id"), sign=None)]
    with pytest.raises(ProviderMisconfigured, match=r"isv\.invalid-app-id"):
        await asking.probe()


async def test_two_accounts_of_alipay_do_not_mix(provide, gateway, stopped_clock):
    """In certificate mode each request names its certificates, with plain keys none."""
    gateway.answers = [reply(NOT_EXIST)]
    for mode in ("key", "certificate"):
        await provide(KEYS[mode], gateway=gateway.url).verify(order(), ASKED)
    assert KEYS["key"].parameters == {}
    assert "app_cert_sn" not in gateway.sent[0]
    assert gateway.sent[1].items() >= KEYS["certificate"].parameters.items()


# How it reads notifications.

REFUNDED = {"refund_fee": "88.80", "gmt_refund": "2026-11-22 21:00:00.123", "out_biz_no": "r1"}
CLOSED = {"trade_status": "TRADE_CLOSED", "gmt_close": "2026-11-22 21:00:00"}


@pytest.mark.parametrize(
    ("fields", "state", "refund"),
    [
        ({}, State.PAID, None),
        ({"trade_status": "WAIT_BUYER_PAY", "gmt_payment": None}, State.PENDING, None),
        ({"trade_status": "TRADE_FINISHED"}, State.PAID, None),
        ({**CLOSED, "gmt_payment": None}, State.CLOSED, None),
        ({**CLOSED, "gmt_payment": None, "refund_fee": "0.00"}, State.CLOSED, None),
        ({**CLOSED, **REFUNDED}, State.REFUNDED, Refund(f"{TRADE_NO}/r1", total=8880)),
        (
            {**CLOSED, **REFUNDED, "refund_fee": "88.8"},
            State.REFUNDED,
            Refund(f"{TRADE_NO}/r1", total=8880),
        ),
        (
            {**CLOSED, **REFUNDED, "refund_fee": "8.80"},
            State.PAID,
            Refund(f"{TRADE_NO}/r1", total=880),
        ),
        ({**REFUNDED, "refund_fee": "8.80"}, State.PAID, Refund(f"{TRADE_NO}/r1", total=880)),
        (
            {**REFUNDED, "refund_fee": "8.80", "out_biz_no": None},
            State.PAID,
            Refund(f"{TRADE_NO}/880", total=880),
        ),
        ({"refund_fee": "0.00"}, State.PAID, None),
        ({"refund_fee": "0"}, State.PAID, None),
        ({"refund_fee": ""}, State.PAID, None),
        ({"refund_fee": "x"}, State.PAID, None),
        (CLOSED, State.UNKNOWN, None),
        ({"trade_status": "TRADE_NEW"}, State.UNKNOWN, None),
        ({"trade_status": "trade_success"}, State.UNKNOWN, None),
        ({"trade_status": " TRADE_SUCCESS"}, State.UNKNOWN, None),
        ({"trade_status": ""}, State.UNKNOWN, None),
        ({"trade_status": None}, State.UNKNOWN, None),
        ({"notify_type": "dut_user_sign"}, State.UNKNOWN, None),
        ({"notify_type": None}, State.UNKNOWN, None),
        ({**CLOSED, **REFUNDED, "notify_type": "other"}, State.UNKNOWN, None),
    ],
)
def test_what_a_notification_says(provider, fields, state, refund):
    """Every status, refunds as sums so far, and no state at all for what we do not know."""
    verdict = read(provider, notice(**fields))
    assert (verdict.state, verdict.refund) == (state, refund)
    assert (verdict.order_no, verdict.transaction_id, verdict.amount) == (ORDER_NO, TRADE_NO, 8880)


@pytest.mark.parametrize(
    ("fields", "payer"),
    [
        ({}, PAYMENT["buyer_id"]),
        ({"buyer_open_id": "074a1C"}, "074a1C"),
        ({"buyer_id": None, "buyer_open_id": "074a1C"}, "074a1C"),
        ({"buyer_id": None}, None),
        ({"buyer_open_id": ""}, PAYMENT["buyer_id"]),
    ],
)
def test_who_paid(provider, fields, payer):
    """Newer merchants get an open id in the place of the account number."""
    assert read(provider, notice(**fields)).payer == payer


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-11-22 20:16:00", NOW),
        ("2026-11-22 20:16:00.999", NOW),
        ("2026-11-22 20:16", None),
        ("22.11.2026", None),
        ("", None),
        (None, None),
    ],
)
def test_when_it_was_paid(provider, written, moment):
    """Beijing time, with or without fractions; what is no time is none."""
    assert read(provider, notice(gmt_payment=written)).paid_at == moment
    assert from_beijing(written) == moment


@pytest.mark.parametrize("field", ["seller_id", "out_trade_no", "trade_no", "total_amount"])
@pytest.mark.parametrize("value", [None, ""])
def test_an_absent_field_is_not_guessed(provider, field, value):
    """The verdict then differs from every order, or names no transaction."""
    verdict = read(provider, notice(**{field: value}))
    told = (verdict.account, verdict.order_no, verdict.transaction_id, verdict.amount)
    assert told != (ACCOUNT, ORDER_NO, TRADE_NO, 8880)


@pytest.mark.parametrize("app_id", [None, ""])
def test_a_notification_without_app_id_is_none(provider, app_id):
    """Whatever the key has signed, it was not this."""
    with pytest.raises(NotAuthentic):
        read(provider, notice(app_id=app_id))


@pytest.mark.parametrize(
    "query",
    [
        "total_amount=0.01",
        "trade_status=TRADE_CLOSED&sign=AAAA",
        notice(total_amount="648.00").decode(),
        "&&%%",
    ],
)
def test_the_query_string_is_never_looked_at(provider, query):
    """It neither adds to a signed body nor stands in for a forged one."""
    assert read(provider, notice(), query) == read(provider, notice())
    with pytest.raises(NotAuthentic):
        read(provider, notice(who="stranger"), query)


@pytest.mark.parametrize("digest", [hashes.SHA1, hashes.SHA224, hashes.SHA384, hashes.SHA512])
@pytest.mark.parametrize("sign_type", ["RSA2", "RSA", "rsa2", "", None])
def test_no_message_chooses_the_digest(provider, digest, sign_type):
    """SHA-1 is refused under its own name and under that of RSA2."""
    with pytest.raises(NotAuthentic):
        read(provider, notice(digest=digest, sign_type=sign_type))


@pytest.mark.parametrize("who", ["app", "stranger"])
def test_only_alipays_key_counts(provider, who):
    """Neither a stranger's nor our own."""
    with pytest.raises(NotAuthentic):
        read(provider, notice(who=who))


def test_a_key_that_alipay_changes_to_is_believed_beside_the_old_one(provide):
    """The verdict says which of the two it was."""
    (new,) = KEYS["key"].alipay.values()
    old = private_key("stranger").public_key()
    provider = provide(replace(KEYS["key"], alipay={"old": old, "new": new}))
    assert read(provider, notice()).verifier == "key:new"
    assert read(provider, notice(who="stranger")).verifier == "key:old"


@pytest.mark.parametrize("charset", ["gbk", "GBK", "utf8", "utf-16", "", "iso-8859-1"])
def test_another_charset_is_refused(provider, charset):
    """The signed text would be another one than that we read."""
    with pytest.raises(NotAuthentic):
        read(provider, notice(charset=charset))


@pytest.mark.parametrize("charset", ["UTF-8", "utf-8", None])
def test_utf8_may_be_written_in_capitals_or_not_at_all(provider, charset):
    """It is what Alipay sends unless told otherwise."""
    assert read(provider, notice(charset=charset)).state is State.PAID


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"&",
        b"a",
        b"=1",
        b"a=1&",
        b"&a=1",
        b"a=1&&b=2",
        b"a=1&b",
        b"a=1&a=1",
        b"a=1&%61=2",
        b"a=%",
        b"a=%4",
        b"a=%zz",
        b"a=%u91d1",
        b"%=1",
        b"a=%ff",
        b"a=\xff",
        b"a=%ED%A0%80",
        b"a=%C0%80",
        b"\xc0\x80=1",
        "subject=金币".encode("gbk"),
        b"&".join(b"k%d=" % n for n in range(101)),
    ],
)
def test_a_hostile_form_is_malformed(provider, body):
    """Repeated names, broken escapes, other encodings and too many fields are never repaired."""
    with pytest.raises(Malformed):
        parse_form(body)
    with pytest.raises(NotAuthentic):
        read(provider, body)


def test_a_form_is_decoded_exactly_once():
    """Plus and %20 are blanks, %2B is a plus, %2520 is the text %20, and a value may hold = and NUL."""
    assert parse_form(b"a=1+2%203%2B4&b=%2520&c=x=y&d=%00&e=&%66=6&g=\xe9\x87\x91") == {
        "a": "1 2 3+4",
        "b": "%20",
        "c": "x=y",
        "d": "\0",
        "e": "",
        "f": "6",
        "g": "金",
    }
    assert len(parse_form(b"&".join(b"k%d=" % n for n in range(100)))) == 100


def test_a_value_with_nul_or_controls_is_only_a_value(provider):
    """It is signed like every other text."""
    assert read(provider, notice(body="a\0b\r\n\x1b[2J")).state is State.PAID
    assert read(provider, notice(out_trade_no=f"{ORDER_NO}\0")).order_no == f"{ORDER_NO}\0"


@pytest.mark.parametrize(
    "fields",
    [
        # A genuine value that held more fields was cut …
        {**PAYMENT, "subject": "x&total_amount=648.00"},
        {**PAYMENT, "body": "x&charset=utf-8"},
        # … a field was hidden in the value of the one before it …
        {k: v for k, v in PAYMENT.items() if k != "total_amount"}
        | {"subject": "x&total_amount=88.80"},
        {**PAYMENT, **REFUNDED, "refund_fee": "8.80&seller_email=x"},
        # … or in a name.
        {k: v for k, v in PAYMENT.items() if k != "total_amount"}
        | {"subject=x&total_amount": "88.80"},
        {k: v for k, v in PAYMENT.items() if k != "app_id"}
        | {"app_id": APP_ID, "a&app_id": APP_ID},
        {**PAYMENT, "total_amount=0.01&x": "1"},
    ],
)
def test_a_text_that_could_be_cut_otherwise_is_refused(provider, fields):
    """The signed text has no escapes, so one signature would stand for two payments."""
    with pytest.raises(NotAuthentic):
        read(provider, signed_form(fields))


def test_a_full_refund_cannot_be_told_as_a_closed_order(provider):
    """Moved into a name, the fields that tell of the refund would be gone, under the same signature."""
    genuine = dict(parse_qsl(notice(**CLOSED, **REFUNDED).decode()))
    assert read(provider, urlencode(genuine).encode()).state is State.REFUNDED
    hidden = f"receipt_amount={genuine['receipt_amount']}&refund_fee"
    forged = {k: v for k, v in genuine.items() if k not in ("receipt_amount", "refund_fee")}
    with pytest.raises(NotAuthentic):
        read(provider, urlencode({**forged, hidden: genuine["refund_fee"]}).encode())


def test_an_ampersand_in_a_value_that_decides_nothing_is_fine(provider):
    """Subjects and nicknames may hold one."""
    texts = {"subject": "a&b=c&charset", "body": "charset=x", "voucher_detail_list": '["&y=1"]'}
    assert read(provider, notice(**texts)).state is State.PAID


@pytest.mark.parametrize(
    "added", ["refund_fee", "gmt_refund", "buyer_open_id", "voucher", "out_biz_no"]
)
def test_a_blank_field_means_an_absent_one(provider, added):
    """It can be added without breaking a signature that leaves blank values out."""
    body = notice() + f"&{added}=".encode()
    plain = read(provider, notice())
    assert replace(read(provider, body), evidence=plain.evidence) == plain


def test_the_provider_shows_no_key(provider):
    """Neither it nor what it raises says anything of the private key."""
    shown = repr(provider) + str(provider) + repr(vars(provider)) + repr(KEYS["key"])
    private = KEYS["key"].private.private_numbers()
    assert "PRIVATE" not in shown.upper()
    assert str(private.d) not in shown
    assert str(private.p) not in shown
