"""The words of a timeline: one sentence for each of its lines, in English and Chinese, and what the four checks said."""

from collections.abc import Mapping
from typing import Any

from payplat import money
from payplat.errors import InvalidRequest
from payplat.explanation import Language
from payplat.masking import shortened
from payplat.purchase import Order

# By the first of these names that is here: "queried paid", "queried".
_SENTENCES = {
    "opened": (
        "The client opened the order: {quantity} × {product} for {price}.",
        "客户端下单：{product} × {quantity}，{price}。",
    ),
    "paid": (
        "Paid {money} by transaction {transaction_id}, learnt from {by}.",
        "已支付 {money}，交易号 {transaction_id}（来源：{by}）。",
    ),
    "paid_late": (
        "Paid {money} by transaction {transaction_id} after the order had closed, and delivered all the same.",
        "订单关闭后到账 {money}，交易号 {transaction_id}，按约定仍然发货。",
    ),
    "held": (
        "Paid {money} by transaction {transaction_id} after the order had closed: held until an operator decides.",
        "订单关闭后到账 {money}，交易号 {transaction_id}：已挂起，等待运营人员处理。",
    ),
    "refunded": (
        "The provider gave {back} back, by refund {refund}.",
        "渠道已退款 {back}，退款号 {refund}。",
    ),
    "refunded at once": (
        "Paid by transaction {transaction_id}, whose money had gone back already.",
        "交易 {transaction_id} 到账前已全额退款。",
    ),
    "refund_waiting": (
        "The provider told of refund {refund} before the payment: it waits for that.",
        "退款 {refund} 先于付款到达，等待付款。",
    ),
    "refund_reversed": (
        "The provider took refund {refund} back.",
        "渠道撤回了退款 {refund}。",
    ),
    "closed": (
        "Closed, because nobody had paid in time, as {by} told.",
        "已关闭：期限内无人支付（来源：{by}）。",
    ),
    "quarantined": (
        "A genuine message of the provider was put aside, because its {field} does not fit the order.",
        "渠道的真实消息已搁置：{field} 与订单不符。",
    ),
    "excess": (
        "A second payment, transaction {transaction_id}, was put aside: nothing is delivered twice.",
        "重复付款（交易号 {transaction_id}）已搁置：不会重复发货。",
    ),
    "contradicted": (
        "The provider called this paid order closed; it stays paid.",
        "渠道称此已付订单为关闭；订单保持已付。",
    ),
    "noticed": (
        "The provider told of {notice}; money and state stay as they are.",
        "渠道通知 {notice}；金额与状态不变。",
    ),
    "released": (
        "{by} released the held order: it is delivered.",
        "{by} 已放行（补单），开始发货。",
    ),
    "proposed release": (
        "{by} proposed to release the held order ({reason}); another operator decides.",
        "{by} 申请放行该订单（{reason}），等待另一位操作员批准。",
    ),
    "proposed refund": (
        "{by} proposed to give the held money back ({reason}); another operator decides.",
        "{by} 申请退款（{reason}），等待另一位操作员批准。",
    ),
    "proposal_rejected": (
        "{by} rejected what {proposed_by} had proposed.",
        "{by} 拒绝了 {proposed_by} 的申请。",
    ),
    "proposal_withdrawn": ("{by} withdrew the proposal.", "{by} 撤回了申请。"),
    "evidence_resolved": (
        "{by} resolved the message that had been put aside ({reason}).",
        "{by} 已处理搁置的消息（{reason}）。",
    ),
    "refund_ordered": ("{by} ordered the held money back.", "{by} 决定退回挂起的款项。"),
    "evidence_waiting": (
        "The client's receipt was kept until the provider can tell what it is worth.",
        "客户端凭证已保存，等待渠道确认。",
    ),
    "evidence_refused": (
        "The client's receipt is of no use: the provider does not vouch for it.",
        "客户端凭证无效：渠道不予确认。",
    ),
    "evidence_refused state": (
        "What the provider said of the client's receipt was not understood: a person must look.",
        "渠道对客户端凭证的答复无法理解：需人工处理。",
    ),
    "evidence_kept": (
        "A message about this order, which came by {by}, was kept as {state}.",
        "与本订单有关的消息（来源：{by}）已保存，状态 {state}。",
    ),
    "queried": ("The provider was asked.", "已向渠道查询。"),
    "queried paid": (
        "The provider was asked and said after {milliseconds} ms: paid.",
        "已向渠道查询（{milliseconds} 毫秒）：已支付。",
    ),
    "queried unpaid": (
        "The provider was asked and said after {milliseconds} ms: not paid yet.",
        "已向渠道查询（{milliseconds} 毫秒）：尚未支付。",
    ),
    "queried closed": (
        "The provider was asked and said after {milliseconds} ms: closed, nobody has paid.",
        "已向渠道查询（{milliseconds} 毫秒）：已关闭，无人支付。",
    ),
    "queried refunded": (
        "The provider was asked and said after {milliseconds} ms: paid, and given back.",
        "已向渠道查询（{milliseconds} 毫秒）：已支付并已退款。",
    ),
    "queried unknown": (
        "The provider was asked and answered after {milliseconds} ms what could not be understood.",
        "已向渠道查询（{milliseconds} 毫秒）：答复无法理解。",
    ),
    "queried refused": (
        "The provider was asked and refused after {milliseconds} ms: {error}",
        "已向渠道查询（{milliseconds} 毫秒）：渠道拒绝：{error}",
    ),
    "queried misconfigured": (
        "The provider was asked and did not accept our account or keys ({milliseconds} ms): {error}",
        "已向渠道查询（{milliseconds} 毫秒）：渠道不接受我方账号或密钥：{error}",
    ),
    "queried unavailable": (
        "The provider was asked and gave no answer that can be believed in {milliseconds} ms: {error}",
        "已向渠道查询（{milliseconds} 毫秒）：没有可信的答复：{error}",
    ),
    "delivered": (
        "{endpoint} acknowledged the event {event_id}.",
        "{endpoint} 已确认事件 {event_id}。",
    ),
    "delivery_attempt": (
        "{endpoint} took the event in {milliseconds} ms.",
        "{endpoint} 在 {milliseconds} 毫秒内接收了事件。",
    ),
    "delivery_attempt failed": (
        "{endpoint} did not take the event: {error} ({milliseconds} ms).",
        "{endpoint} 未接收事件：{error}（{milliseconds} 毫秒）。",
    ),
    "endpoint_paused": (
        "{endpoint} answered 410, wants nothing more, and is paused until an operator resumes it.",
        "{endpoint} 应答 410，不再接收通知，已暂停，等待运营人员恢复。",
    ),
    "exhausted": (
        "{endpoint} never acknowledged the event {event_id}: no more attempts are made.",
        "{endpoint} 始终未确认事件 {event_id}：已停止重试。",
    ),
    "resent": (
        "{by} had the event {event_id} sent to {endpoint} again.",
        "{by} 重新发送事件 {event_id} 至 {endpoint}（补单）。",
    ),
    "duty_attempt": (
        "The provider took “{duty}”, which was owed to it, in {milliseconds} ms.",
        "渠道已受理“{duty}”（{milliseconds} 毫秒）。",
    ),
    "duty_attempt failed": (
        "The provider is still owed “{duty}”: {error} ({milliseconds} ms).",
        "渠道尚未受理“{duty}”：{error}（{milliseconds} 毫秒）。",
    ),
    "duty_overdue": (
        "The provider has been owed “{duty}” for more than a day.",
        "“{duty}”已逾一天未被渠道受理。",
    ),
    "duty_exhausted": (
        "The provider is owed “{duty}”, and no more tries are made.",
        "“{duty}”始终未被渠道受理：已停止重试。",
    ),
    "duty_resent": (
        "{by} had “{duty}”, which the provider is owed, tried again.",
        "{by} 重新发起“{duty}”。",
    ),
}
_GENERIC = ("On record by {by}: {what}.", "记录（{by}）：{what}。")
# Who an actor is; operators are called by their names.
_ACTORS = {
    "callback": ("the provider's notice", "渠道通知"),
    "verify": ("the client's request", "客户端请求"),
    "reconcile": ("payplat's own question", "主动查询"),
    "client": ("the client", "客户端"),
    "relay": ("payplat", "payplat"),
    "operator": ("an operator", "运营人员"),
}
_LONGEST, _LONGEST_WORD = 200, 64

# Of each field that can differ: to which check it belongs. What is not named is about the order itself.
_CHECK_OF = {
    **dict.fromkeys(("amount", "currency", "payment", "refund"), "amount"),
    **dict.fromkeys(("product", "quantity", "consumable", "type", "form"), "product"),
}
_IDENTITY = ("kind", "environment", "account")
_ORDER_FAILED = ("excess", "contradicted")


def told(order: Order, what: str, actor: str, detail: Mapping[str, Any]) -> dict[str, str]:
    """Return the sentence of a line, by language; a ``what`` that is not known gets a general one."""
    variant = f"{what} {_variant(what, detail)}"
    sentences = _SENTENCES.get(variant) or _SENTENCES.get(what) or _GENERIC
    return {
        language.value: sentence.format_map(_Values(order, what, actor, detail, number))
        for number, (language, sentence) in enumerate(zip(Language, sentences, strict=True))
    }


def checks(what: str, detail: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what became of the four checks of evidence: ``[{check, result, about}]``; empty where none were made.

    The checks are ``order`` (it exists, is the one that is meant, and waits for this), ``product``, ``amount`` and
    ``signature``; a result is passed, failed, not_stated (nothing to compare it with) or not_reached. ``about`` names
    what differs, or who vouches.
    """
    if what == "evidence_refused":
        is_signed = detail.get("reason") == "state"
        unread = [_check(name, "not_reached") for name in ("order", "product", "amount")]
        return [*unread, _check("signature", "passed" if is_signed else "failed")]
    if "verifier" not in detail:
        return []
    field = "status" if what in _ORDER_FAILED else str(detail.get("field", ""))
    failed = _CHECK_OF.get(field, "order") if field else ""
    compared = {"order", *detail.get("compared", ())}
    found = []
    for name in ("order", "product", "amount"):
        if name == failed:
            found.append(_check(name, "failed", field))
        elif not _is_reached(name, failed, field):
            found.append(_check(name, "not_reached"))
        else:
            found.append(_check(name, "passed" if name in compared else "not_stated"))
    return [*found, _check("signature", "passed", str(detail["verifier"]))]


def _check(name: str, result: str, about: str = "") -> dict[str, str]:
    return {"check": name, "result": result, "about": about}


def _is_reached(name: str, failed: str, field: str) -> bool:
    """Whether a check was made though another failed: identity comes first, then the goods, then the money."""
    if field in _IDENTITY or field == "record":
        return False
    return not (failed == "product" and name == "amount")


def _variant(what: str, detail: Mapping[str, Any]) -> str:
    if what == "queried":
        return str(detail.get("outcome", ""))
    if what == "proposed":
        return str(detail.get("act", ""))
    if what in ("delivery_attempt", "duty_attempt"):
        return "" if detail.get("ok") else "failed"
    if what == "refunded" and "refund" not in detail:
        return "at once"
    return str(detail.get("reason", "")) if what == "evidence_refused" else ""


class _Values(dict[str, str]):
    """What a sentence may name; what is not known is an ellipsis."""

    def __init__(
        self, order: Order, what: str, actor: str, detail: Mapping[str, Any], language: int
    ) -> None:
        named = ((name, str(value)) for name, value in detail.items() if value is not None)
        super().__init__((name, _readable(value)) for name, value in named)
        unset = ("the store's price", "商店定价")[language]
        amount, currency = detail.get("amount"), detail.get("currency") or order.currency
        self["what"], self["by"] = what, _ACTORS.get(actor, (actor, actor))[language]
        self["product"], self["quantity"] = order.product_id, str(order.quantity)
        self["price"] = _price(order.amount, order.currency) or unset
        self["money"] = _price(amount, currency) or unset
        part = ("a part", "部分款项")[language]
        self["back"] = _price(amount, currency) or _share(detail.get("share")) or part

    def __missing__(self, key: str) -> str:
        return "…"


def _readable(value: str) -> str:
    """Return a value as people read it: a purchase token is also a transaction's id, and no sentence."""
    is_opaque = len(value) > _LONGEST_WORD and " " not in value
    return shortened(value) if is_opaque else value[:_LONGEST]


def _price(amount: Any, currency: Any) -> str:
    if not isinstance(amount, int) or not isinstance(currency, str):
        return ""
    try:
        return f"{money.to_text(amount, currency)} {currency}"
    except InvalidRequest:
        return f"{amount} {currency}"


def _share(share: Any) -> str:
    """Write thousandths of a percent."""
    return f"{share / 1000:g} %" if isinstance(share, int) else ""
