"""The sentences of the simulator's pages, in Chinese and English."""

from __future__ import annotations

from payplat.simulators.words import Phrases

_WORDS = {
    "simulator": ("模拟器", "SIMULATOR"),
    "no_money": ("不涉及真实资金", "No real money moves"),
    "play": ("Google Play 购买", "Google Play purchase"),
    "quantity": ("数量", "Quantity"),
    "app": ("应用", "App"),
    "product": ("商品", "Product"),
    "account": ("混淆账号 ID", "Obfuscated account id"),
    "profile": ("混淆资料 ID", "Obfuscated profile id"),
    "test": ("许可测试人员购买，不收费", "A license tester's purchase: nothing is charged"),
    "tax": ("含税", "Including tax"),
    "buy": ("购买", "Buy"),
    "slow": ("慢速付款：先待处理，稍后完成", "Buy slowly: pending first, done later"),
    "dies": ("付款，但应用崩溃", "Buy, but the app dies"),
    "cancel": ("取消", "Cancel"),
    "cancelled": ("已取消，尚未付款", "Cancelled, nothing was paid"),
    "paid": ("付款成功", "Payment successful"),
    "pending": ("付款待处理", "Payment pending"),
    "pending_help": (
        "如同现金付款：应用已收到令牌，款项稍后到账。",
        "As with cash: the app has its token, the money comes later.",
    ),
    "dead": ("已付款，应用没有收到任何消息", "Paid, and the app has heard nothing"),
    "dead_help": (
        "应用在付款时崩溃。服务器只能从通知得知。可以关闭此页。",
        "The app died while paying. Only the notification can tell the server. You may close this page.",
    ),
    "hand_over": ("把购买令牌交给应用", "Hand the purchase token to the app"),
    "no_return": (
        "应用未提供返回地址，可以关闭此页。",
        "The app gave no address to return to; you may close this page.",
    ),
    "token": ("购买令牌", "Purchase token"),
    "order": ("Google 订单号", "Google's order id"),
    "refused": ("无法购买", "This cannot be bought"),
    "ledger": ("账本", "The books"),
    "purchases": ("购买", "Purchases"),
    "notifications": ("实时通知", "Real-time notifications"),
    "nothing": ("还没有。", "Nothing yet."),
    "status": ("状态", "Status"),
    "amount": ("金额", "Amount"),
    "answered": ("应答", "Answer"),
    "sent": ("发送时间（UTC）", "Sent (UTC)"),
    "event": ("事件", "Event"),
    "acknowledged": ("已确认", "acknowledged"),
    "consumed": ("已消耗", "consumed"),
    "state_0": ("已购买", "purchased"),
    "state_1": ("已取消", "canceled"),
    "state_2": ("待处理", "pending"),
}


class Words(Phrases):
    """The words of these pages."""

    table = _WORDS
