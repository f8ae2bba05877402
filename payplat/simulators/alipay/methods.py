"""The gateway's server methods: what each does to the books, and the fields it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from payplat.simulators.alipay import fields, wire
from payplat.simulators.alipay.platform import Platform
from payplat.simulators.alipay.refusals import Refusal
from payplat.simulators.alipay.requests import Call
from payplat.simulators.alipay.trades import TRADE_CLOSED, WAIT_BUYER_PAY, Refund, Trade

Fields = dict[str, Any]


def perform(platform: Platform, call: Call) -> Fields:
    """Carry the request out; Refusal is an answer too."""
    if call.method not in _METHODS:
        raise Refusal("isv.invalid-method")
    return {"code": "10000", "msg": "Success", **_METHODS[call.method](platform, call)}


def _find(platform: Platform, call: Call) -> Trade:
    return platform.ledger.find(
        call.app.seller_id, call.text("out_trade_no"), call.text("trade_no")
    )


def _numbers(trade: Trade) -> Fields:
    return {"out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no}


def _buyer(platform: Platform, trade: Trade) -> Fields:
    """Newer merchants get the open id instead of the 2088 number."""
    who = {"buyer_open_id": trade.buyer.open_id}
    if not platform.knobs.open_id:
        who = {"buyer_user_id": trade.buyer.user_id}
    return {"buyer_logon_id": trade.buyer.logon_id, **who}


def _precreate(platform: Platform, call: Call) -> Fields:
    code = platform.ledger.offer(call)
    return {"out_trade_no": code.order.out_trade_no, "qr_code": f"{platform.url}/qr/{code.code}"}


def _query(platform: Platform, call: Call) -> Fields:
    trade = _find(platform, call)
    found = {
        **_numbers(trade),
        **_buyer(platform, trade),
        "trade_status": trade.status,
        "total_amount": wire.yuan(trade.total_fen),
    }
    return found | _paid(trade, call.biz.get("query_options") or ())


def _paid(trade: Trade, options: Any) -> Fields:
    """Here fund_bill_list has snake_case names; in notifications they are camelCase."""
    total = wire.yuan(trade.total_fen if trade.paid_at is not None else 0)
    amounts = ("receipt_amount", "buyer_pay_amount", "invoice_amount")
    found: Fields = {**dict.fromkeys(amounts, total), "point_amount": "0.00"}
    if trade.paid_at is None:
        return found
    found["send_pay_date"] = wire.beijing(trade.paid_at)
    if trade.order.passback_params:
        found["passback_params"] = trade.order.passback_params
    if "fund_bill_list" in options:
        found["fund_bill_list"] = [{"fund_channel": "ALIPAYACCOUNT", "amount": total}]
    return found


def _close(platform: Platform, call: Call) -> Fields:
    trade = _find(platform, call)
    platform.close(trade)
    return _numbers(trade)


def _cancel(platform: Platform, call: Call) -> Fields:
    """For outcomes unknown to the merchant: unpaid is closed, paid goes back."""
    try:
        trade = _find(platform, call)
    except Refusal:
        return {"out_trade_no": call.text("out_trade_no"), "retry_flag": "N"}
    answer = {**_numbers(trade), "retry_flag": "N"}
    if trade.status == WAIT_BUYER_PAY:
        platform.close(trade)
        return {**answer, "action": "close"}
    if trade.status == TRADE_CLOSED:
        return answer
    platform.start_refund(trade, trade.refundable_fen, f"cancel{trade.out_trade_no}", "cancel")
    return {**answer, "action": "refund"}


def _refund(platform: Platform, call: Call) -> Fields:
    trade = _find(platform, call)
    before = trade.refunded_fen
    fen = fields.amount(call.biz, "refund_amount")
    number = _request_number(call, trade, fen)
    refund, _ = platform.start_refund(trade, fen, number, call.text("refund_reason"))
    moved = trade.refunded_fen > before
    answer = {
        **_numbers(trade),
        **_buyer(platform, trade),
        "fund_change": "Y" if moved else "N",
        "refund_fee": wire.yuan(trade.refunded_fen),
    }
    if "refund_detail_item_list" in (call.biz.get("query_options") or ()):
        answer |= _details(refund)
    return answer


def _request_number(call: Call, trade: Trade, fen: int) -> str:
    """Only a refund of the whole may go without; it then bears the order's number."""
    number = call.text("out_request_no")
    if not number and fen != trade.total_fen:
        raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：out_request_no")
    return number or trade.out_trade_no


def _details(refund: Refund) -> Fields:
    if refund.done_at is None:
        return {}
    amount = wire.yuan(refund.fen)
    item = {"fund_channel": "ALIPAYACCOUNT", "amount": amount}
    return {"send_back_fee": amount, "refund_detail_item_list": [item]}


def _refund_query(platform: Platform, call: Call) -> Fields:
    """A number that was never accepted is answered 10000 too, without any detail."""
    trade = _find(platform, call)
    refund = trade.refunds.get(call.text("out_request_no"))
    if refund is None:
        return {}
    found = {
        **_numbers(trade),
        "out_request_no": refund.out_request_no,
        "refund_amount": wire.yuan(refund.fen),
        "total_amount": wire.yuan(trade.total_fen),
        "refund_reason": refund.reason,
    }
    if refund.done_at is None:
        return found
    options = call.biz.get("query_options") or ()
    if "gmt_refund_pay" in options:
        found["gmt_refund_pay"] = wire.beijing(refund.done_at)
    details = _details(refund) if "refund_detail_item_list" in options else {}
    return {**found, "refund_status": "REFUND_SUCCESS", **details}


def _download(platform: Platform, call: Call) -> Fields:
    content = platform.authority.content(call.text("alipay_cert_sn"))
    if content is None:
        raise Refusal("isv.alipay-cert-not-exist")
    return {"alipay_cert_content": content}


_METHODS: dict[str, Callable[[Platform, Call], Fields]] = {
    fields.PRECREATE: _precreate,
    fields.QUERY: _query,
    fields.CLOSE: _close,
    fields.CANCEL: _cancel,
    fields.REFUND: _refund,
    fields.REFUND_QUERY: _refund_query,
    fields.CERT_DOWNLOAD: _download,
}
