"""The fields of biz_content, method by method, as strict as the documentation allows to be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from payplat.simulators.alipay import wire
from payplat.simulators.alipay.refusals import Refusal

APP_PAY = "alipay.trade.app.pay"
WAP_PAY = "alipay.trade.wap.pay"
PAGE_PAY = "alipay.trade.page.pay"
PRECREATE = "alipay.trade.precreate"
QUERY = "alipay.trade.query"
CLOSE = "alipay.trade.close"
CANCEL = "alipay.trade.cancel"
REFUND = "alipay.trade.refund"
REFUND_QUERY = "alipay.trade.fastpay.refund.query"
CERT_DOWNLOAD = "alipay.open.app.alipaycert.download"

PAGE_METHODS = (PAGE_PAY, WAP_PAY)
CREATING = (APP_PAY, WAP_PAY, PAGE_PAY, PRECREATE)

_ORDER = """out_trade_no total_amount subject product_code body time_expire timeout_express
    goods_detail passback_params store_id extend_params enable_pay_channels
    disable_pay_channels business_params merchant_order_no query_options"""


@dataclass(frozen=True)
class Schema:
    """Required and known fields; of the names in `one_of`, at least one must be there."""

    required: frozenset[str]
    known: frozenset[str]
    one_of: frozenset[str] = frozenset()
    products: frozenset[str] = frozenset()


def _schema(required: str, optional: str, one_of: str = "", products: str = "") -> Schema:
    needed, either = frozenset(required.split()), frozenset(one_of.split())
    known = needed | either | frozenset(optional.split())
    return Schema(needed, known, either, frozenset(products.split()))


METHODS = {
    APP_PAY: _schema(
        "out_trade_no total_amount subject",
        _ORDER + " seller_id",
        products="QUICK_MSECURITY_PAY",
    ),
    WAP_PAY: _schema(
        "out_trade_no total_amount subject product_code",
        _ORDER + " seller_id quit_url auth_token",
        products="QUICK_WAP_WAY",
    ),
    PAGE_PAY: _schema(
        "out_trade_no total_amount subject product_code",
        _ORDER + " qr_pay_mode qrcode_width integration_type request_from_url",
        products="FAST_INSTANT_TRADE_PAY",
    ),
    PRECREATE: _schema(
        "out_trade_no total_amount subject",
        _ORDER
        + """ seller_id qr_code_timeout_express discountable_amount
            undiscountable_amount operator_id terminal_id""",
        products="QR_CODE_OFFLINE FACE_TO_FACE_PAYMENT",
    ),
    QUERY: _schema("", "query_options", "out_trade_no trade_no"),
    CLOSE: _schema("", "operator_id", "out_trade_no trade_no"),
    CANCEL: _schema("", "", "out_trade_no trade_no"),
    REFUND: _schema(
        "refund_amount",
        """out_request_no refund_reason query_options refund_goods_detail
            refund_royalty_parameters operator_id store_id terminal_id""",
        "out_trade_no trade_no",
    ),
    REFUND_QUERY: _schema("out_request_no", "query_options", "out_trade_no trade_no"),
    CERT_DOWNLOAD: _schema("alipay_cert_sn", ""),
}

_LENGTHS = {
    "subject": 256,
    "body": 128,
    "passback_params": 512,
    "time_expire": 32,
    "timeout_express": 6,
    "qr_code_timeout_express": 6,
    "seller_id": 28,
    "store_id": 32,
    "merchant_order_no": 32,
    "operator_id": 28,
    "terminal_id": 32,
    "quit_url": 400,
    "out_request_no": 64,
    "refund_reason": 256,
    "trade_no": 64,
}
_OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_]{1,64}")
_URL_ENCODED = re.compile(r"(?:[0-9A-Za-z_.~!*'()+/-]|%[0-9A-Fa-f]{2})*")
_NOT_IN_SUBJECT = re.compile(r"[/=&]")
_EXPRESS = re.compile(r"([1-9]\d{0,4})([mhd])|1c")
_UNITS = {"m": 60, "h": 3600, "d": 86400}
_LONGEST = 15 * 86400
_MOST = 100_000_000_00
"""The largest total_amount, in fen."""


def check_fields(method: str, biz: Mapping[str, Any]) -> None:
    """Refuse unknown fields (isv), then missing or malformed ones (ACQ)."""
    schema = METHODS[method]
    unknown = sorted(biz.keys() - schema.known)
    if unknown:
        raise Refusal("isv.invalid-parameter", f"参数无效：{'、'.join(unknown)}")
    if schema.required - biz.keys() or (schema.one_of and not schema.one_of & biz.keys()):
        raise Refusal("ACQ.INVALID_PARAMETER")
    _check_lengths(biz)
    if method in CREATING:
        _check_order(biz, schema)


def _check_lengths(biz: Mapping[str, Any]) -> None:
    for name in biz.keys() & _LENGTHS.keys():
        if not isinstance(biz[name], str) or not 0 < len(biz[name]) <= _LENGTHS[name]:
            raise Refusal("ACQ.INVALID_PARAMETER", f"参数无效：{name}")
    number = biz.get("out_trade_no", "0")
    if not isinstance(number, str) or not _OUT_TRADE_NO.fullmatch(number):
        raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：out_trade_no")


def _check_order(biz: Mapping[str, Any], schema: Schema) -> None:
    if _NOT_IN_SUBJECT.search(biz["subject"]):
        raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：subject")
    if not _URL_ENCODED.fullmatch(biz.get("passback_params", "")):
        raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：passback_params")
    if not str(biz.get("quit_url", "http://")).startswith(("http://", "https://")):
        raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：quit_url")
    amount(biz, "total_amount")
    if "product_code" in biz and biz["product_code"] not in schema.products:
        raise Refusal("isv.insufficient-isv-permissions")


def amount(biz: Mapping[str, Any], name: str) -> int:
    """A field in yuan as fen."""
    try:
        value = wire.fen(biz[name])
    except ValueError:
        raise Refusal("ACQ.INVALID_PARAMETER", f"参数无效：{name}") from None
    if name == "total_amount" and not 1 <= value <= _MOST:
        raise Refusal("ACQ.TOTAL_FEE_EXCEED")
    return value


def lifetime(express: str, now: float) -> float:
    """`timeout_express` (90m, 2h, 15d, 1c = until midnight in Beijing) as seconds from `now`."""
    match = _EXPRESS.fullmatch(express)
    if not match:
        raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：timeout_express")
    if express == "1c":
        return wire.from_beijing(wire.beijing(now)[:10] + " 23:59:59") + 1 - now
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST:
        raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：timeout_express")
    return float(seconds)


def moment(text: str) -> float:
    """`time_expire` (Beijing time) as seconds since the epoch (UTC)."""
    try:
        return wire.from_beijing(text)
    except ValueError:
        raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：time_expire") from None
