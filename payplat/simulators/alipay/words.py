"""The sentences of the simulator's pages, in Chinese and English."""

from __future__ import annotations

from payplat.simulators.words import Phrases

_WORDS = {
    "simulator": ("模拟器", "SIMULATOR"),
    "no_money": ("不涉及真实资金", "No real money moves"),
    "cashier": ("支付宝收银台", "Alipay cashier"),
    "order": ("商户订单号", "Order number"),
    "trade": ("支付宝交易号", "Trade number"),
    "seller": ("收款方", "Payee"),
    "app": ("应用", "Application"),
    "buyer": ("付款方", "Payer"),
    "until": ("付款截止", "Pay until"),
    "beijing_time": ("北京时间", "Beijing time"),
    "pay": ("确认付款", "Pay now"),
    "cancel": ("取消", "Cancel"),
    "expire": ("让交易超时关闭", "Let the trade expire"),
    "misfortunes": ("付款并出点差错…", "Pay, and let something go wrong…"),
    "misfortunes_help": (
        "每个按钮都完成付款，然后按所述出错。金额以括号内两位数结尾时，无需点击也会如此。",
        "Each button pays, then goes wrong as it says. An amount ending in the digits does so unasked.",
    ),
    "magic": ("此金额会触发", "This amount will trigger"),
    "scan": ("手机扫码付款", "Scan to pay"),
    "paid": ("付款成功", "Paid"),
    "closed": ("交易已关闭", "The trade is closed"),
    "refunded": ("已全额退款", "Refunded in full"),
    "cancelled": ("已取消，尚未付款", "Cancelled, nothing was paid"),
    "back": ("返回商户", "Back to the merchant"),
    "again": ("重新付款", "Pay after all"),
    "no_return": (
        "商户未提供返回地址，可以关闭此页。",
        "The merchant gave no address to return to; you may close this page.",
    ),
    "sdk_result": ("应用收到的结果", "What the app receives"),
    "refused": ("无法付款", "This cannot be paid"),
    "wallet": ("钱包", "Wallet"),
    "wallet_help": (
        "粘贴应用收到的 orderString，如同钱包打开它。",
        "Paste the orderString an app was given; the wallet opens it.",
    ),
    "open": ("打开", "Open"),
    "ledger": ("账本", "The books"),
    "trades": ("交易", "Trades"),
    "notifications": ("通知", "Notifications"),
    "nothing": ("还没有。", "Nothing yet."),
    "status": ("状态", "Status"),
    "amount": ("金额", "Amount"),
    "answered": ("应答", "Answer"),
    "sent": ("发送时间（北京时间）", "Sent (Beijing time)"),
    "event": ("事件", "Event"),
}


class Words(Phrases):
    """The words of these pages."""

    table = _WORDS
