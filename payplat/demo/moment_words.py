"""The words for an order's timeline, in English and Chinese.

A line is told by the first of these names that stands here: "apple paid verify", "store paid verify", "paid verify",
"apple paid", "store paid", "paid".
``{company}`` is the provider behind the order's channel.
"""

from typing import NamedTuple

from payplat.demo.name_words import Both

STORES = ("apple", "google")
"""The kinds that are stores: they set the price and know no order without its purchase."""


class Told(NamedTuple):
    """How a line of the timeline is told; ``tone`` is plain, good, wait, warn or bad."""

    tone: str
    title: Both
    text: Both = ("", "")


_ANSWERED = ("It answered in {milliseconds} ms.", "{milliseconds} 毫秒内应答。")
_PAID = ("Payment confirmed", "付款已确认")
TOLD = {
    "opened": Told(
        "plain",
        ("Order opened", "已下单"),
        (
            "The game named the product; payplat set the price from its own catalogue.",
            "游戏只说明商品，价格由 payplat 按自己的目录确定。",
        ),
    ),
    "store opened": Told(
        "plain",
        ("Order opened", "已下单"),
        (
            "{company} sets the price; the order number travels with the purchase, and {company} vouches for it.",
            "价格由{company}确定；订单号随购买一起传递，并由{company}证实。",
        ),
    ),
    "paid callback": Told(
        "good", _PAID, ("{company} sent a signed notification.", "{company}发来了签名通知。")
    ),
    "google paid callback": Told(
        "good",
        _PAID,
        (
            "Google pushed that something changed, and payplat asked what.",
            "Google 推送了变更通知，payplat 随即向 Google 核实。",
        ),
    ),
    "paid reconcile": Told(
        "good",
        _PAID,
        (
            "No believable notification had come, so payplat asked {company} on its own schedule.",
            "没有收到可信的通知，payplat 按计划主动查询了{company}。",
        ),
    ),
    "apple paid reconcile": Told(
        "good",
        _PAID,
        (
            "Apple's notification had not come; payplat found it in Apple's history.",
            "苹果的通知没有送达，payplat 在苹果的历史记录里找到了它。",
        ),
    ),
    "google paid reconcile": Told(
        "good",
        _PAID,
        (
            "payplat kept the purchase token, and asked Google again until the answer was sure.",
            "payplat 保存了购买令牌，反复向 Google 查询，直到得到确定的答复。",
        ),
    ),
    "paid verify": Told(
        "good",
        _PAID,
        (
            "The game asked, and payplat asked {company}.",
            "游戏请求核实，payplat 查询了{company}。",
        ),
    ),
    "apple paid verify": Told(
        "good",
        _PAID,
        (
            "The game submitted what StoreKit gave it; payplat checked the signature and asked Apple.",
            "游戏提交了 StoreKit 给它的收据，payplat 核对签名并向苹果核实。",
        ),
    ),
    "google paid verify": Told(
        "good",
        _PAID,
        (
            "The game submitted what Play Billing gave it; payplat asked Google.",
            "游戏提交了 Play Billing 给它的购买令牌，payplat 向 Google 核实。",
        ),
    ),
    "evidence_waiting": Told(
        "wait",
        ("Receipt kept", "收据已保存"),
        (
            "{company} cannot be asked just now. payplat keeps the receipt and asks again by itself.",
            "暂时无法向{company}核实。payplat 先保存收据，稍后自动再问。",
        ),
    ),
    "google evidence_waiting": Told(
        "wait",
        ("Waiting for the payment", "等待款项到账"),
        (
            "Google has told of no payment yet, as with cash. payplat keeps the purchase token and asks again by itself.",
            "Google 尚未确认付款，例如现金付款。payplat 先保存购买令牌，稍后自动再问。",
        ),
    ),
    "evidence_refused": Told(
        "warn",
        ("Checked at last, and of no use", "已核实：凭证无效"),
        (
            "What the game submitted does not pay this order. It is kept as evidence.",
            "游戏提交的凭证不能支付此订单，已留作证据，不入账。",
        ),
    ),
    "paid_late": Told(
        "good",
        ("Payment confirmed after the order was closed", "订单关闭后付款到账"),
        (
            "The money came late; by this channel's policy it is delivered all the same.",
            "钱到得晚，按此渠道的约定仍然发货。",
        ),
    ),
    "held": Told(
        "warn",
        ("Paid too late: waiting for an operator", "付款过晚：等待人工处理"),
        ("By this channel's policy a person decides.", "按此渠道的约定，由人工决定。"),
    ),
    "released": Told("good", ("An operator let it through", "人工已放行")),
    "refund_ordered": Told(
        "plain",
        ("An operator ordered a refund", "人工决定退款"),
        (
            "payplat asks {company} for it by itself until it is done.",
            "payplat 会自动向{company}申请，直到退款成功。",
        ),
    ),
    "closed": Told(
        "plain",
        ("Order closed", "订单已关闭"),
        ("{company} says that nothing was paid in time.", "{company}确认：未在期限内付款。"),
    ),
    "store closed": Told(
        "plain",
        ("Order closed", "订单已关闭"),
        (
            "No purchase was seen in time, or it was cancelled; one that turns up later is still delivered.",
            "期限内没有见到购买，或购买已取消；之后出现的购买仍会发货。",
        ),
    ),
    "quarantined": Told(
        "warn",
        ("Refused: it does not fit this order", "已拒绝：与订单不符"),
        (
            "{company} did sign it, but the {field} differs. It is kept as evidence and pays nothing.",
            "{company}的签名属实，但{field}不符。已留作证据，不入账。",
        ),
    ),
    "excess": Told(
        "warn",
        ("Paid a second time", "重复付款"),
        ("Kept and reported; never delivered twice.", "已留存并告警，不会重复发货。"),
    ),
    "contradicted": Told(
        "warn",
        ("{company} contradicts itself", "{company}前后矛盾"),
        (
            "It now calls a paid order closed; the order stays paid.",
            "已付订单被称为关闭，订单保持已付。",
        ),
    ),
    "refund_waiting": Told(
        "wait",
        ("A refund came before its payment", "退款先于付款到达"),
        ("It waits until the payment is known.", "等付款确认后再处理。"),
    ),
    "refunded": Told("plain", ("Refunded {amount}", "已退款 {amount}")),
    "refunded share": Told(
        "plain",
        ("Refunded", "已退款"),
        ("{company} gave back {share} of the price.", "{company}退回了货款的 {share}。"),
    ),
    "noticed refund_declined": Told(
        "plain", ("{company} declined a refund", "{company}拒绝了退款申请")
    ),
    "noticed consumption_requested": Told(
        "plain",
        ("A refund was asked for", "有人申请退款"),
        (
            "{company} asks how the purchase was used; an answer counts until {answer_until}.",
            "{company}询问商品的使用情况，{answer_until} 之前的答复有效。",
        ),
    ),
    "noticed family_shared": Told(
        "plain",
        ("Shared with the family", "已与家人共享"),
        ("{company} told of it; nothing was paid for it.", "{company}已通知；没有产生付款。"),
    ),
    "noticed notified": Told(
        "plain",
        ("{company} told of {type}", "{company}发来通知 {type}"),
    ),
    "refund_reversed": Told("plain", ("A refund was taken back", "退款被撤回")),
    "delivery_attempt": Told(
        "wait",
        ("The game's server did not take it", "游戏服务器未能接收"),
        (
            "{error}. It is told again soon, with the same event id.",
            "{error}。稍后用同一事件编号再次通知。",
        ),
    ),
    "exhausted": Told(
        "bad",
        ("The game's server never answered", "游戏服务器始终没有应答"),
        ("An operator can send it again.", "可由人工重新发送。"),
    ),
    "endpoint_paused": Told(
        "bad",
        ("The game's server wants nothing more", "游戏服务器不再接收通知"),
        (
            "{endpoint} is paused. What is due to it is kept until an operator resumes it.",
            "{endpoint} 已暂停。待发的通知都会保留，由人工恢复后再发。",
        ),
    ),
    "duty acknowledge": Told(
        "good",
        ("Purchase acknowledged", "已确认购买"),
        ("Otherwise {company} would give the money back.", "否则{company}会自动退款。"),
    ),
    "duty consume": Told(
        "good",
        ("Purchase consumed", "已消耗购买"),
        ("{company} lets the player buy it again.", "玩家可以在{company}再次购买。"),
    ),
    "duty bind": Told(
        "good",
        ("{company} knows the order", "{company}已记下订单"),
        (
            "It was told to which order the purchase belongs.",
            "已告知{company}这笔购买属于哪个订单。",
        ),
    ),
    "duty refund": Told("good", ("{company} gave the money back", "{company}已完成退款")),
    "duty failed": Told(
        "wait",
        ("Still owed to {company}: {duty}", "尚待{company}受理：{duty}"),
        ("It did not work this time and is tried again by itself.", "这次没有成功，稍后自动再试。"),
    ),
    "duty_overdue": Told(
        "warn",
        ("Owed to {company} for more than a day: {duty}", "{company}超过一天未受理：{duty}"),
        ("It is tried again; an operator was told.", "仍在重试，并已提醒运维人员。"),
    ),
    "duty_exhausted": Told(
        "bad",
        ("Given up what is owed to {company}", "{company}始终未受理，已停止重试"),
        ("An operator can have it tried again.", "可由人工重新发起。"),
    ),
    "duty_resent": Told("plain", ("Tried again by an operator: {duty}", "人工重新发起：{duty}")),
    "resent": Told("plain", ("Sent again by an operator", "人工重新发送")),
    "order.paid": Told(
        "good",
        ("Delivered", "已发货"),
        (
            "The game's server checked payplat's signature and gave the goods ({milliseconds} ms).",
            "游戏服务器核对 payplat 的签名后发放了商品（{milliseconds} 毫秒）。",
        ),
    ),
    "order.refunded": Told(
        "good", ("The game's server knows of the refund", "已告知游戏服务器退款"), _ANSWERED
    ),
    "order.refund_reversed": Told(
        "good",
        ("The game's server knows that it was taken back", "已告知游戏服务器退款被撤回"),
        _ANSWERED,
    ),
    "order.consumption_requested": Told(
        "good", ("The game's server knows of it", "已告知游戏服务器"), _ANSWERED
    ),
}
