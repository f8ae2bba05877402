"""The sentences of the simulator's pages, in Chinese and English."""

from __future__ import annotations

from payplat.simulators.words import Phrases

_WORDS = {
    "simulator": ("模拟器", "SIMULATOR"),
    "no_money": ("不涉及真实资金", "No real money moves"),
    "store": ("App Store（假）", "FAKE App Store"),
    "app": ("应用", "App"),
    "product": ("商品", "Product"),
    "quantity": ("数量", "Quantity"),
    "account": ("账户", "Account"),
    "environment": ("环境", "Environment"),
    "token": ("appAccountToken", "appAccountToken"),
    "no_price": ("价格未知", "No price known"),
    "buy": ("购买", "Buy"),
    "cancel": ("取消", "Cancel"),
    "buy_and_die": ("购买，但应用崩溃", "Buy, but the app dies"),
    "buy_and_die_help": (
        "付款完成，但应用不再返回；只有苹果的通知会告诉商户。",
        "The purchase completes and the app never reports it: only Apple's notification tells.",
    ),
    "bought": ("购买完成", "Purchased"),
    "going_back": ("正在返回应用…", "Returning to the app…"),
    "back": ("返回应用", "Return to the app"),
    "died": ("应用已崩溃", "The app died"),
    "died_help": (
        "交易已完成，编号如下。商户只能从通知得知。",
        "The purchase is complete under the number below. Only the notification can tell of it.",
    ),
    "transaction": ("交易编号", "Transaction"),
    "handed": ("应用收到的签名交易", "The signed transaction the app receives"),
    "refused": ("无法购买", "This cannot be bought"),
    "ledger": ("账本", "The books"),
    "purchases": ("购买", "Purchases"),
    "notifications": ("服务器通知", "Server notifications"),
    "nothing": ("还没有。", "Nothing yet."),
    "amount": ("金额", "Amount"),
    "status": ("状态", "Status"),
    "purchased": ("已购买", "purchased"),
    "revoked": ("已退款或收回", "refunded or revoked"),
    "sent": ("发送时间（UTC）", "Sent (UTC)"),
    "type": ("类型", "Type"),
    "answered": ("应答", "Answer"),
}


class Words(Phrases):
    """The words of these pages."""

    table = _WORDS
