"""The text of an asynchronous notification: its parameters, its signature, and ways to spoil both."""

from __future__ import annotations

from urllib.parse import urlencode

from payplat.simulators.alipay import wire
from payplat.simulators.alipay.faults import Spoil
from payplat.simulators.alipay.keys import Keys
from payplat.simulators.alipay.trades import Refund, Trade

PAID = "paid"
REFUNDED = "refunded"
CLOSED = "closed"
FINISHED = "finished"
EVENTS = (PAID, REFUNDED, CLOSED, FINISHED)

FOREIGN_APP = "2099999999999999"
OTHER_SELLER = "2088999999999999"


def parameters(trade: Trade, refund: Refund | None = None) -> dict[str, str]:
    """All documented parameters for the trade as it stands now, but for the sender's own."""
    order, total = trade.order, wire.yuan(trade.total_fen)
    found = {
        "notify_type": "trade_status_sync",
        "charset": "utf-8",
        "version": "1.0",
        "sign_type": "RSA2",
        "app_id": order.app_id,
        "auth_app_id": order.app_id,
        "trade_no": trade.trade_no,
        "out_trade_no": trade.out_trade_no,
        "trade_status": trade.status,
        "total_amount": total,
        "subject": order.subject,
        "gmt_create": wire.beijing(trade.created_at),
        "seller_id": order.seller_id,
        "seller_email": "sel***@example.com",
        "buyer_id": trade.buyer.user_id,
        "buyer_logon_id": trade.buyer.logon_id,
    }
    optional = {"body": order.body, "passback_params": order.passback_params}
    found |= {name: value for name, value in optional.items() if value}
    return found | _paid(trade, total) | _ended(trade) | _refunded(trade, refund)


def _paid(trade: Trade, total: str) -> dict[str, str]:
    if trade.paid_at is None:
        return {}
    return {
        "gmt_payment": wire.beijing(trade.paid_at),
        "receipt_amount": total,
        "invoice_amount": total,
        "buyer_pay_amount": total,
        "point_amount": "0.00",
        "fund_bill_list": f'[{{"amount":"{total}","fundChannel":"ALIPAYACCOUNT"}}]',
    }


def _ended(trade: Trade) -> dict[str, str]:
    return {} if trade.closed_at is None else {"gmt_close": wire.beijing(trade.closed_at)}


def _refunded(trade: Trade, refund: Refund | None) -> dict[str, str]:
    """`refund_fee` counts every refund so far, `gmt_refund` carries fractions of a second."""
    if refund is None or refund.done_at is None:
        return {}
    return {
        "refund_fee": wire.yuan(trade.refunded_fen),
        "send_back_fee": wire.yuan(trade.refunded_fen),
        "gmt_refund": wire.beijing_fractions(refund.done_at),
        "out_biz_no": refund.out_request_no,
    }


def write(genuine: dict[str, str], spoil: Spoil, keys: Keys, *, open_id: str = "") -> bytes:
    """The form body: spoiled as asked, signed (all but sign and sign_type), URL-encoded."""
    spoiled = _spoil(genuine, spoil)
    if spoil.open_id:
        spoiled.pop("buyer_id", None)
        spoiled["buyer_open_id"] = open_id
    text = wire.canonical(spoiled, ("sign", "sign_type"), blanks=spoil.blank != "unsigned")
    encoded = text.encode(spoil.charset, "replace")
    signs = [keys.sign(encoded, sign_with=spoil.sign_with, digest=spoil.digest)]
    if spoil.signature == "double":
        signs.append(keys.sign(encoded, sign_with="wrong"))
    pairs = list({**spoiled, **spoil.tamper}.items())
    if spoil.signature != "none":
        pairs += [("sign", sign) for sign in signs]
    return urlencode(pairs, encoding=spoil.charset, errors="replace").encode("ascii")


def _spoil(genuine: dict[str, str], spoil: Spoil) -> dict[str, str]:
    changes: dict[str, str | None] = {}
    if spoil.amount_off:
        changes["total_amount"] = wire.yuan(wire.fen(genuine["total_amount"]) + spoil.amount_off)
    if spoil.foreign_app:
        changes |= {"app_id": FOREIGN_APP, "auth_app_id": FOREIGN_APP}
    if spoil.other_seller:
        changes["seller_id"] = OTHER_SELLER
    if spoil.passback_params is not None:
        changes["passback_params"] = spoil.passback_params
    if spoil.charset != "utf-8":
        changes["charset"] = spoil.charset.upper()
    if spoil.blank:
        changes["voucher_detail_list"] = ""
    if spoil.extra:
        changes["simulator_news"] = "新参数 a=b&c=100%+/"
    if spoil.zero_refund_fee:
        changes["refund_fee"] = "0.00"
    merged = {**genuine, **changes, **spoil.overrides}
    return {name: str(value) for name, value in merged.items() if value is not None}
