"""What Alipay's official SDKs make, accept and refuse, against what our channel makes of the same bytes."""

import json
import re
from urllib.parse import parse_qsl

import pytest
from cryptography import x509

from payplat import money
from payplat.channels.alipay.keys import _rsa_certificates, certified_keys, serial_number
from payplat.channels.alipay.wire import (
    Malformed,
    notification_text,
    parse_answer,
    parse_form,
    query_string,
    request_text,
)
from payplat.errors import NotAuthentic, ProviderError, ProviderRefused
from payplat.outbound import Answer
from payplat.purchase import Evidence, Inbound, Source, State
from tests.wire.alipay import (
    ACCOUNT,
    GATEWAY,
    KEYS,
    NODE,
    NOW,
    ORDER_NO,
    PYTHON,
    TRADE_NO,
    VECTORS,
    each,
    order,
    reply,
    sent_by_sdk,
    success,
    text_of,
)

REQUESTS = [*PYTHON["requests"], *NODE["requests"]]
ANSWERS = [*PYTHON["answers"], *NODE["answers"]]
# Of the vectors that may be judged either way, those that we accept.
TAKEN = {
    "blank_value_added",  # a blank parameter means an absent one
    "certificate_mode",
    "sn_missing",  # the key that signed counts, not the certificate that is named
    "sn_rotated",
    "sn_upper_case",
    "two_nodes",  # the node of the method is the signed one
}
# What we never send: the vectors are richer than our requests.
NOT_OURS = {"body", "goods_detail", "passback_params", "query_options", "quit_url", "refund_reason"}
WAYS = {
    "alipay.trade.app.pay": "app",
    "alipay.trade.page.pay": "page",
    "alipay.trade.wap.pay": "wap",
    "alipay.trade.precreate": "qr",
}
REFUND, REFUND_QUERY = "alipay.trade.refund", "alipay.trade.fastpay.refund.query"
STATES = {
    "refund_full": State.REFUNDED,
    "closed_unpaid": State.CLOSED,
    "waiting": State.PENDING,
    "unknown_status": State.UNKNOWN,
}
REFUNDED = {"refund_partial": 880, "refund_second_partial": 1880, "refund_full": 8880}


def accepted(vector) -> bool:
    """Whether we accept it: as it demands, or as we chose."""
    either = vector["expected"] == "either"
    return vector["name"] in TAKEN if either else vector["expected"] == "accept"


def keys_of(vector):
    return KEYS[vector.get("mode", "key")]


def test_no_section_of_the_vectors_is_overlooked():
    """A section that is added to the vectors needs a test here."""
    sections = {name for file in (PYTHON, NODE) for name, value in file.items() if name != "about"}
    facts = {"sdk", "clock", "gateway", "app_id", "seller_id", "notify_url", "return_url"}
    judged = {"requests", "answers", "sign_contents", "verifications", "notifications"}
    papers = {"certificate_mode", "certificates", "root_bundles", "second_opinions"}
    # We do not download certificates.
    assert sections == facts | judged | papers | {"certificate_downloads"}


@pytest.mark.parametrize("vector", each(REQUESTS))
def test_a_request_has_the_sdks_text_and_signature(vector):
    """The same parameters give the same bytes to sign, and RSA2 has no randomness."""
    sent = parse_form(sent_by_sdk(vector).encode())
    text = request_text(sent)
    assert text == vector["string_to_sign"].encode()
    assert sent["sign"] == vector["sign"]
    assert (keys_of(vector).sign(text) == vector["sign"]) is (vector["expected"] == "accept")


@pytest.mark.parametrize("vector", each(PYTHON["requests"]))
def test_a_request_is_encoded_as_the_sdk_does(vector):
    """Each name and value takes the same characters in a URL."""
    sent = sent_by_sdk(vector)
    assert sorted(query_string(parse_form(sent.encode())).split("&")) == sorted(sent.split("&"))


def order_of(vector):
    """Our order that leads to this request."""
    biz, title = vector["biz"], vector["biz"].get("subject", "500 coins")
    if "refund_amount" in biz:
        return order(refunded=8880 - money.from_text(biz["refund_amount"], "CNY"))
    amount = money.from_text(biz.get("total_amount", "88.80"), "CNY")
    return order(method=WAYS.get(vector["api"], "app"), amount=amount, title=title)


def same_parameters(sent: dict[str, str], vector) -> None:
    theirs = dict(parse_qsl(sent_by_sdk(vector), strict_parsing=True))
    ours = json.loads(sent["biz_content"])
    biz = {k: v for k, v in vector["biz"].items() if k not in NOT_OURS}
    if "subject" in biz:
        biz["subject"] = re.sub("[/=&]", " ", biz["subject"])
    assert {k: v for k, v in ours.items() if k not in NOT_OURS} == biz
    free = {"sign", "biz_content", "format", "alipay_sdk"}
    assert {k: v for k, v in sent.items() if k not in free} == {
        k: v for k, v in theirs.items() if k not in free
    }
    assert sent["sign"] == keys_of(vector).sign(request_text(sent))


@pytest.mark.parametrize(
    "vector", [p for p in each(REQUESTS) if WAYS.get(p.values[0]["api"]) not in (None, "qr")]
)
async def test_we_hand_out_what_the_sdk_hands_out(vector, provide):
    """An order string or address of ours parses to the SDK's parameters."""
    prepared = await provide(keys_of(vector)).prepare(order_of(vector))
    (handed_out,) = prepared.parameters.values()
    address, _, query = handed_out.rpartition("?")
    assert address == ("" if WAYS[vector["api"]] == "app" else GATEWAY)
    same_parameters(parse_form(query.encode()), vector)


CALLS = [p for p in each(REQUESTS, expected="accept") if "http" in p.values[0]]


@pytest.mark.usefixtures("stopped_clock")
@pytest.mark.parametrize("vector", [p for p in CALLS if "trade_no" not in p.values[0]["biz"]])
async def test_we_send_what_the_sdk_sends(vector, provide, gateway):
    """A call of ours has the SDK's parameters, in the same places of the HTTP request."""
    qr = {"qr": "FACE_TO_FACE_PAYMENT"}
    provider = provide(keys_of(vector), gateway=gateway.url, product_codes=qr)
    sold, api = order_of(vector), vector["api"]
    node = success(out_trade_no=ORDER_NO, qr_code="https://qr.alipay.com/x", fund_change="Y")
    gateway.answers = [reply(node, api)]
    if api == REFUND_QUERY:
        gateway.answers.insert(0, reply(success(fund_change="N"), REFUND))
    if api in WAYS:
        await provider.prepare(sold)
    elif api in (REFUND, REFUND_QUERY):
        await provider.refund(sold, "T1", vector["biz"]["out_request_no"])
    elif api == "alipay.trade.close":
        await provider.close(sold)
    else:
        await provider.verify(sold, Evidence(Source.VERIFY, b""))
    same_parameters(gateway.sent[-1], vector)
    http, request = vector["http"], gateway.requests[-1]
    assert request.headers["Content-Type"].lower() == http["content_type"].lower()
    assert request.body.decode().startswith("biz_content=%7B")
    assert request.body.count(b"&") == http["body"].count("&") == 0


@pytest.mark.parametrize("vector", each(ANSWERS))
def test_an_answer_is_believed_or_not(vector):
    """What was signed is found to the character, and nothing else is believed."""
    try:
        told = parse_answer(vector["raw"], vector["api"])
        verifier = keys_of(vector).verifier(told.text.encode(), told.sign or "")
    except Malformed:
        verifier = None
    assert bool(verifier) is accepted(vector)
    if verifier and "signed_text" in vector:
        assert told.text == vector["signed_text"]
        assert told.node == json.loads(vector["signed_text"])


@pytest.mark.parametrize("vector", each(ANSWERS))
def test_an_answer_is_used_only_when_it_is_believed(vector, provide):
    """The provider returns a signed success; of all other answers, only a signed no may be about the trade."""
    answer = Answer(200, vector["raw"].encode(), "", None, None, None, 1)
    provider = provide(keys_of(vector))
    if accepted(vector) and '{"code":"10000"' in re.sub(r"\s", "", vector["raw"]):
        assert provider._read_answer(answer, vector["api"]).node["trade_no"] == TRADE_NO
        return
    with pytest.raises(ProviderError) as caught:
        provider._read_answer(answer, vector["api"])
    assert isinstance(caught.value, ProviderRefused) is (vector["name"] == "trade_not_exist")


@pytest.mark.parametrize("vector", each(NODE["second_opinions"]))
def test_we_believe_no_answer_that_both_sdks_refuse(vector):
    """Where the two official SDKs disagree we take one side, but for the order of the members."""
    answer = next(v for v in PYTHON["answers"] if v["name"] == vector["name"])
    if accepted(answer):
        assert answer["sdk_accepts"] or vector["sdk_accepts"] or vector["name"] == "sign_first"


@pytest.mark.parametrize("vector", each(PYTHON["sign_contents"]))
def test_a_text_to_sign_is_the_sdks(vector):
    """Names sort by bytes and values stay raw; we differ where the SDK takes blanks and objects for text."""
    text = request_text(vector["params"])
    assert (text == vector["string_to_sign"].encode()) is (vector["expected"] == "same")
    assert (KEYS["key"].sign(text) == vector["sign"]) is (vector["expected"] == "same")


@pytest.mark.parametrize("vector", each(PYTHON["verifications"]))
def test_a_signature_is_rsa2_in_strict_base64(vector):
    """No other digest, no other key, and no spelling but one."""
    verifier = KEYS["key"].verifier(vector["text"].encode(), vector["sign"])
    assert bool(verifier) is accepted(vector)


@pytest.mark.parametrize(
    "vector", [p for p in each(NODE["notifications"]) if accepted(p.values[0])]
)
def test_an_authentic_notification_is_read(vector, provide):
    """The verdict says what the fields say, and what must not pay an order says so."""
    body = vector["body"].encode()
    verdict = provide(keys_of(vector)).read_notification(Inbound({}, "", body))
    fields = dict(parse_qsl(vector["body"], keep_blank_values=True))
    assert verdict.state is STATES.get(vector["name"], State.PAID)
    assert (verdict.order_no, verdict.transaction_id) == (ORDER_NO, TRADE_NO)
    named = f"{fields['app_id']}/{fields['seller_id']}"
    assert verdict.account == (named if named == ACCOUNT else f"not {ACCOUNT}: {named}")
    assert (verdict.kind, verdict.environment, verdict.currency) == ("alipay", "production", "CNY")
    assert verdict.payer == fields.get("buyer_open_id", fields.get("buyer_id"))
    assert verdict.paid_at == (NOW if "gmt_payment" in fields else None)
    assert (verdict.refund and verdict.refund.total) == REFUNDED.get(vector["name"])
    assert verdict.evidence == Evidence(Source.CALLBACK, body)
    fits = (verdict.account, verdict.amount) == (ACCOUNT, 8880)
    assert fits is (vector.get("then") != "quarantine")
    assert vector.get("then") != "unknown" or verdict.state is State.UNKNOWN


@pytest.mark.parametrize(
    "vector", [p for p in each(NODE["notifications"]) if not accepted(p.values[0])]
)
def test_a_forged_notification_is_refused(vector, provide):
    """Whatever Alipay's key did not sign in exactly this way is no evidence."""
    with pytest.raises(NotAuthentic):
        provide(keys_of(vector)).read_notification(Inbound({}, "", vector["body"].encode()))


@pytest.mark.parametrize("vector", each(NODE["notifications"], expected="accept"))
def test_a_notifications_text_is_the_one_that_was_signed(vector):
    """All but sign and sign_type, with the blank values or without."""
    fields = parse_form(vector["body"].encode())
    blanks = vector["name"] != "blank_value_not_signed"
    assert notification_text(fields, blanks=blanks) == vector["signed_text"].encode()


def test_certificate_mode_names_the_sdks_serial_numbers():
    """Each request of an account with certificates carries these two."""
    expected = dict(NODE["certificate_mode"])
    alipay = x509.load_pem_x509_certificate(text_of("alipay_cert.crt").encode())
    assert serial_number(alipay) == expected.pop("alipay_cert_sn")
    assert KEYS["certificate"].parameters == expected


# cryptography cannot read the elliptic root of the real bundle; nobody needs its number.
@pytest.mark.parametrize("vector", [p for p in each(NODE["certificates"]) if p.id != "root_ec"])
def test_a_certificates_serial_number(vector):
    """The MD5 of the issuer's name, escaped as in RFC 4514, and the decimal serial number."""
    certificate = x509.load_pem_x509_certificate((VECTORS / vector["file"]).read_bytes())
    assert str(certificate.serial_number) == vector["serial"]
    if vector["expected_sn"]:
        assert serial_number(certificate) == vector["expected_sn"]


@pytest.mark.parametrize("vector", each(NODE["root_bundles"]))
def test_a_root_bundle_has_one_number_or_none(vector):
    """The RSA members in file order; a member that cannot be read is never left out."""
    if vector["expected"] == "refuse":
        with pytest.raises(ValueError, match="root_cert holds"):
            certified_keys(
                text_of("app_private_pkcs8.pem"),
                text_of("app_cert.crt"),
                [text_of("alipay_cert_with_chain.crt")],
                vector["pem"],
            )
    else:
        numbers = map(serial_number, _rsa_certificates(vector["pem"]))
        assert "_".join(numbers) == vector["expected_sn"]
