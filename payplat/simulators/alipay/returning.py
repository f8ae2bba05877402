"""What the buyer's side gets back: the signed return_url, and the result of the app's SDK."""

from __future__ import annotations

from urllib.parse import urlencode

from payplat.simulators.alipay import answers, wire
from payplat.simulators.alipay.fields import APP_PAY
from payplat.simulators.alipay.platform import Platform
from payplat.simulators.alipay.refusals import Refusal
from payplat.simulators.alipay.trades import Trade

PAID = "9000"
PROCESSING = "8000"
FAILED = "4000"
CANCELLED = "6001"
NO_NETWORK = "6002"
UNKNOWN = "6004"

_MEMOS = {
    PROCESSING: "正在处理中",
    FAILED: "订单支付失败",
    CANCELLED: "用户中途取消",
    NO_NETWORK: "网络连接出错",
    UNKNOWN: "支付结果未知",
}


def return_address(platform: Platform, trade: Trade) -> str:
    """return_url with the signed parameters of page.pay and wap.pay; no trade_status among them."""
    order = trade.order
    parameters = {
        "charset": "utf-8",
        "out_trade_no": trade.out_trade_no,
        "method": f"{order.method}.return",
        "total_amount": wire.yuan(trade.total_fen),
        "trade_no": trade.trade_no,
        "auth_app_id": order.app_id,
        "version": "1.0",
        "app_id": order.app_id,
        "sign_type": "RSA2",
        "seller_id": order.seller_id,
        "timestamp": wire.beijing(platform.clock.now()),
    }
    without = ("sign",) if platform.knobs.return_sign_type else ("sign", "sign_type")
    sign = platform.keys.sign(wire.canonical(parameters, without).encode())
    joint = "&" if "?" in order.return_url else "?"
    return order.return_url + joint + urlencode({**parameters, "sign": sign})


def sdk_result(platform: Platform, trade: Trade) -> dict[str, str]:
    """What the app's SDK hands over after a payment."""
    fault = platform.faults.take_answer(APP_PAY, trade.out_trade_no)
    answer = {
        "code": "10000",
        "msg": "Success",
        "app_id": trade.order.app_id,
        "auth_app_id": trade.order.app_id,
        "charset": "utf-8",
        "timestamp": wire.beijing(platform.clock.now()),
        "out_trade_no": trade.out_trade_no,
        "trade_no": trade.trade_no,
        "total_amount": wire.yuan(trade.total_fen),
        "seller_id": trade.order.seller_id,
    }
    cert_sn = platform.cert_sn(trade.order.app_id)
    text = answers.write(
        answers.node_of(APP_PAY), answer, platform.keys, cert_sn=cert_sn, fault=fault
    )
    return {"resultStatus": PAID, "memo": "", "result": text[:-1] + ',"sign_type":"RSA2"}'}


def sdk_outcome(status: str, refusal: Refusal | None = None) -> dict[str, str]:
    """Any other end; the result of a refused order says why, unsigned."""
    result = ""
    if refusal:
        result = wire.compact({answers.node_of(APP_PAY): refusal.answer()})
    return {"resultStatus": status, "memo": _MEMOS[status], "result": result}
