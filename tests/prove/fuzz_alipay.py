"""Alipay's parsers: forms, notifications under a signature that is believed, and the gateway's answers."""

import json
from typing import Any
from urllib.parse import parse_qsl

from payplat.channels.alipay.provider import AlipayProvider
from payplat.channels.alipay.wire import Malformed, is_ambiguous, parse_answer, parse_form
from payplat.errors import NotAuthentic, ProviderError
from payplat.outbound import Answer
from payplat.provider import Account
from payplat.purchase import Evidence, Inbound, Source
from tests.prove.fuzz_ledger import record
from tests.prove.fuzz_loop import Target
from tests.prove.fuzz_world import stopped
from tests.wire import alipay

_QUERY = "alipay.trade.query"
_FIELDS = (
    "app_id seller_id charset notify_type out_trade_no trade_no trade_status total_amount refund_fee out_biz_no "
    "gmt_payment passback_params buyer_id buyer_open_id send_pay_date sign sign_type"
).split()
_WORDS = (
    "TRADE_SUCCESS TRADE_CLOSED TRADE_FINISHED WAIT_BUYER_PAY trade_status_sync 88.80 0.00 RSA2 utf-8 "
    "2026-11-22+20:15:01 0001-01-01+00:00:00 9999-12-31+23:59:59 1xcoins_500 0x 999999999xa 1x%2525"
).split()
_FORM_TOKENS = [
    *(name.encode() + b"=" for name in _FIELDS),
    *(f"&{name}=".encode() for name in _FIELDS),
    *(word.encode() for word in _WORDS),
]
_ANSWER_TOKENS = [
    *(f'"{name}":'.encode() for name in (*_FIELDS, "code", "sub_code", "error_response", "sign")),
    b'"alipay_trade_query_response":',
    *(f'"{word}"'.encode() for word in _WORDS),
    *(
        b'"10000"',
        b'"40004"',
        b'"20000"',
        b'"ACQ.TRADE_NOT_EXIST"',
        b'{"sign":"x"}',
        b'\\"',
        b"\\u0073ign",
    ),
]


class _Believing:
    """Keys that believe every signature, so that what only Alipay can sign is read too."""

    credentials = ()

    def verifier(self, text: bytes, signature: str) -> str:
        """Return the name of a key."""
        return "0" * 16


def targets() -> list[Target]:
    """Return the targets of this channel."""
    sources = ("payplat/channels/alipay/", "payplat/strict_json.py")
    forms = [alipay.notice(), alipay.notice(**_REFUND), b"a=1&b=%E9%87%91+%25&c="]
    forms += [vector["body"].encode() for vector in alipay.NODE["notifications"]]
    answers = [alipay.reply(node) for node in _NODES] + [alipay.reply(_NODES[0], sign=None)]
    with stopped(alipay.NOW):
        believing = _provider(_Believing())
        real = _provider(alipay.KEYS["key"])

    def read_notice(body: bytes) -> None:
        try:
            verdict = believing.read_notification(Inbound({}, "", body))
        except NotAuthentic:
            return
        record(verdict, believing.account)

    def read_answer(body: bytes) -> None:
        try:
            told = believing._read_answer(Answer(200, body, "", None, None, None, 1), _QUERY)
        except ProviderError as error:
            str(error).encode()
            return
        evidence = Evidence(Source.RECONCILE, told.text.encode())
        if "out_trade_no" in told.node:
            record(believing._queried(told.node, evidence, told.verifier), believing.account)

    def forge_notice(body: bytes) -> None:
        """Whatever passes under the real key says what was signed."""
        try:
            real.read_notification(Inbound({}, "", body))
        except NotAuthentic:
            return
        assert _as_signed(body) in signed, "a notice is believed that was not signed"

    signed = [_as_signed(form) for form in forms]
    return [
        Target("alipay-form", _read_form, forms, sources, _FORM_TOKENS),
        Target("alipay-notice", read_notice, forms, sources, _FORM_TOKENS),
        Target("alipay-forgery", forge_notice, forms, sources, _FORM_TOKENS),
        Target("alipay-answer", _take_apart, answers, sources, _ANSWER_TOKENS),
        Target("alipay-trade", read_answer, answers, sources, _ANSWER_TOKENS),
    ]


def _read_form(body: bytes) -> None:
    """What is accepted reads the same by the standard library's strict reader; raw bytes count as if escaped."""
    try:
        fields = parse_form(body)
    except Malformed:
        return
    text = "".join(chr(byte) if byte < 128 else f"%{byte:02X}" for byte in body)
    expected = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
    assert list(fields.items()) == expected, "it reads in another way"
    is_ambiguous(fields)


def _take_apart(body: bytes) -> None:
    """The signed text is a member of the answer's own object: put another in its place, and that one is read."""
    try:
        raw = body.decode()
        told = parse_answer(raw, _QUERY)
    except (UnicodeDecodeError, Malformed):
        return
    whole = json.loads(raw)
    name = next(n for n in ("alipay_trade_query_response", "error_response") if n in whole)
    assert json.loads(told.text) == told.node == whole[name], "it reads in another way"
    assert told.sign == (whole.get("sign") if isinstance(whole.get("sign"), str) else None)
    assert _stands_for(raw, told.text, name), "what was signed stands elsewhere"


def _stands_for(raw: str, text: str, name: str) -> bool:
    at = raw.find(text)
    while at >= 0:
        try:
            if json.loads(f'{raw[:at]}"\\u0000"{raw[at + len(text) :]}').get(name) == "\0":
                return True
        except ValueError:
            pass
        at = raw.find(text, at + 1)
    return False


def _as_signed(body: bytes) -> list[tuple[str, str]]:
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    return sorted((k, v) for k, v in pairs if k not in ("sign", "sign_type") and v)


def _provider(keys: Any) -> AlipayProvider:
    return AlipayProvider(
        Account("alipay", "production", alipay.NOTIFY_URL),
        app_id=alipay.APP_ID,
        seller_id=alipay.SELLER_ID,
        keys=keys,
        gateway=alipay.GATEWAY,
        product_codes={},
        timeout=5,
    )


_REFUND: dict[str, str] = {
    "refund_fee": "8.80",
    "out_biz_no": "r1",
    "passback_params": "1xcoins_500",
}
_NODES: list[dict[str, Any]] = [
    alipay.success(
        out_trade_no=alipay.ORDER_NO,
        trade_no=alipay.TRADE_NO,
        trade_status="TRADE_SUCCESS",
        total_amount="88.80",
        send_pay_date="2026-11-22 20:15:01",
        buyer_open_id="074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5",
    ),
    alipay.success(out_trade_no=alipay.ORDER_NO, trade_status="TRADE_CLOSED", total_amount="88.80"),
    alipay.refusal("40004", "ACQ.TRADE_NOT_EXIST"),
    alipay.refusal("20000", "isp.unknow-error"),
]
