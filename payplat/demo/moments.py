"""An order's timeline in human words: what happened, what was checked, in English and Chinese."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from payplat import money
from payplat.demo.client import Json

Both = tuple[str, str]
"""A text in English and in Chinese."""


class Told(NamedTuple):
    """How a line of the timeline is told; ``tone`` is plain, good, wait, warn or bad."""

    tone: str
    title: Both
    text: Both = ("", "")


@dataclass(frozen=True)
class Moment:
    """One line as a page shows it."""

    at: str
    clock: str
    after: str
    tone: str
    title: str
    text: str
    checked: tuple[str, ...]

    @property
    def icon(self) -> str:
        """Return a sign that says the same as the colour."""
        return icon(self.tone)


_PAID = ("Payment confirmed", "付款已确认")
_TOLD = {
    "opened": Told(
        "plain",
        ("Order opened", "已下单"),
        (
            "The game named the product; payplat set the price from its own catalogue.",
            "游戏只说明商品，价格由 payplat 按自己的目录确定。",
        ),
    ),
    "paid callback": Told(
        "good", _PAID, ("Alipay sent a signed notification.", "支付宝发来了签名通知。")
    ),
    "paid reconcile": Told(
        "good",
        _PAID,
        (
            "No believable notification had come, so payplat asked Alipay on its own schedule.",
            "没有收到可信的通知，payplat 按计划主动查询了支付宝。",
        ),
    ),
    "paid verify": Told(
        "good",
        _PAID,
        ("The game asked, and payplat asked Alipay.", "游戏请求核实，payplat 查询了支付宝。"),
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
    "closed": Told(
        "plain",
        ("Order closed", "订单已关闭"),
        ("Alipay says that nothing was paid in time.", "支付宝确认：未在期限内付款。"),
    ),
    "quarantined": Told(
        "warn",
        ("Refused: it does not fit this order", "已拒绝：与订单不符"),
        (
            "Alipay did sign it, but the {field} differs. It is kept as evidence and pays nothing.",
            "支付宝的签名属实，但{field}不符。已留作证据，不入账。",
        ),
    ),
    "excess": Told(
        "warn",
        ("Paid a second time", "重复付款"),
        ("Kept and reported; never delivered twice.", "已留存并告警，不会重复发货。"),
    ),
    "contradicted": Told(
        "warn",
        ("Alipay contradicts itself", "支付宝前后矛盾"),
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
    "refund_reversed": Told("plain", ("A refund was taken back", "退款被撤回")),
    "failed": Told(
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
        "good",
        ("The game's server knows of the refund", "已告知游戏服务器退款"),
        ("It answered in {milliseconds} ms.", "{milliseconds} 毫秒内应答。"),
    ),
}
_CHECKED: tuple[Both, ...] = (
    ("Alipay's signature", "支付宝签名"),
    ("app and payee", "应用与收款方"),
    ("order and product", "订单与商品"),
    ("amount {amount}", "金额 {amount}"),
    ("never paid before", "未曾入账"),
)
_FIELDS = {
    "amount": "金额",
    "account": "应用或收款方",
    "product": "商品",
    "quantity": "数量",
    "currency": "币种",
    "refund": "退款金额",
    "transaction_id": "交易号",
}
_PROVEN = ("paid", "paid_late")


def moments_of(order: Json, kinds: Mapping[str, str], language: str) -> list[Moment]:
    """Return the timeline, oldest first; ``kinds`` are the types of the events that the game's server knows, by id."""
    answers = {line["at"]: line["detail"] for line in order["timeline"] if _is_answer(line)}
    moments = []
    for line in order["timeline"]:
        if not _is_answer(line):
            detail = {**answers.get(line["at"], {}), **line["detail"]}
            moments.append(_moment(order, {**line, "detail": detail}, kinds, language))
    return moments


def icon(tone: str) -> str:
    """Return a sign for who cannot tell the colours."""
    return {"good": "✓", "wait": "…", "warn": "!", "bad": "✗"}.get(tone, "•")


def price(amount: int | None, currency: str | None) -> str:
    """Write an amount for people: ¥6.00, or USD 4.99."""
    if amount is None or currency is None:
        return ""
    text = money.to_text(amount, currency)
    return f"¥{text}" if currency == "CNY" else f"{currency} {text}"


def _moment(order: Json, line: Json, kinds: Mapping[str, str], language: str) -> Moment:
    told, here = _told(line, kinds), language == "zh"
    values = _values(order, line["detail"], here=here)
    at, opened = _read(line["at"]), _read(order["created_at"])
    checked = _CHECKED if line["what"] in _PROVEN else ()
    return Moment(
        at=line["at"],
        clock=at.astimezone().strftime("%H:%M:%S"),
        after=f"+{(at - opened).total_seconds():.2f} s" if at > opened else "",
        tone=told.tone,
        title=told.title[here].format_map(values),
        text=told.text[here].format_map(values),
        checked=tuple(each[here].format_map(values) for each in checked),
    )


def _told(line: Json, kinds: Mapping[str, str]) -> Told:
    what, actor = line["what"], line["actor"]
    if what == "delivered":
        what = kinds.get(line["detail"].get("event_id", ""), "order.paid")
    elif what == "delivery_attempt":
        what = "failed"
    return _TOLD.get(f"{what} {actor}") or _TOLD.get(what) or Told("plain", (what, what))


class _Values(dict[str, str]):
    """What a text may name; what is not known is an ellipsis."""

    def __missing__(self, key: str) -> str:
        return "…"


def _values(order: Json, detail: Json, *, here: bool) -> _Values:
    values = _Values({name: str(each) for name, each in detail.items() if each is not None})
    values["amount"] = price(detail.get("amount", order["amount"]), order["currency"])
    if "field" in detail:
        field = str(detail["field"])
        values["field"] = _FIELDS.get(field, field) if here else field.replace("_", " ")
    if "error" in detail:
        values["error"] = _reason(str(detail["error"]), here=here)
    return values


def _reason(error: str, *, here: bool) -> str:
    """Shorten the reason of a failed attempt to what a person needs."""
    if "connect" in error.lower():
        return "连接不上" if here else "No connection"
    number = error.removeprefix("answered ")
    if number.isdecimal():
        return f"应答 {number}" if here else f"It answered {number}"
    return "没有得到应答" if here else "No answer came"


def _is_answer(line: Json) -> bool:
    """A successful attempt is told by the line ``delivered``, which stands at the same time."""
    return line["what"] == "delivery_attempt" and bool(line["detail"].get("ok"))


def _read(at: str) -> datetime:
    return datetime.fromisoformat(at)
