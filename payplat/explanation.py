"""Why an order is where it is, and what happens next and when: in a few sentences, in English and Chinese."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import money
from payplat.database import Database
from payplat.models import (
    ATTEMPTS,
    DELIVERIES,
    DUTIES,
    EVENTS,
    EVIDENCE,
    ORDERS,
    PAUSES,
    PROPOSALS,
)
from payplat.purchase import Order, Status
from payplat.seam import now, rfc3339


class Language(StrEnum):
    """The languages in which orders are explained."""

    EN = "en"
    ZH = "zh"


# Each sentence in all languages, by a name of its own.
_SENTENCES = {
    "pending": (
        "No payment is known yet. The provider is asked at {at}; the order can be paid until {end}.",
        "尚未发现支付。将于 {at} 向渠道查询；订单在 {end} 之前可以支付。",
    ),
    "pending_told": (
        "No payment is known yet; a notice or a receipt tells of it. The order can be paid until {end}, next look: {at}.",
        "尚未发现支付：渠道通知或客户端凭证会告知。订单在 {end} 之前可以支付，将于 {at} 再次检查。",
    ),
    "pending_over": (
        "No payment is known; the time was over at {end}. It closes when it is sure that nobody paid; next look: {at}.",
        "未发现支付，订单已于 {end} 到期。将于 {at} 向渠道查询；确认无人支付后关闭。",
    ),
    "waiting": (
        "A receipt waits for the provider's answer, which is asked for at {at}.",
        "有凭证等待渠道确认，将于 {at} 查询。",
    ),
    "closed": (
        "The order was closed at {at}: the provider said that nobody had paid.",
        "订单已于 {at} 关闭：渠道确认无人支付。",
    ),
    "paid": ("The order was paid at {at}.", "订单已于 {at} 支付。"),
    "held": (
        "The order was paid after it had closed and is held since {at}: an operator releases it or gives the money back.",
        "订单关闭后才到账，自 {at} 起挂起：需由运营人员放行（补单）或退款。",
    ),
    "refunded": ("All of the money went back at {at}.", "已于 {at} 全额退款。"),
    "refunded_part": (
        "{amount} {currency} of the money went back.",
        "已部分退款 {amount} {currency}。",
    ),
    "delivered": (
        "{endpoint} has acknowledged {type} at {at}.",
        "{endpoint} 已于 {at} 确认 {type}。",
    ),
    "due": (
        "{endpoint} has not acknowledged {type} yet: {failures} failed attempts{last}; the next is at {at}.",
        "{endpoint} 尚未确认 {type}：已失败 {failures} 次{last}；下次尝试在 {at}。",
    ),
    "paused": (
        "{endpoint} is paused ({reason}): {type} waits until an operator resumes it.",
        "{endpoint} 已暂停（{reason}）：{type} 等待运营人员恢复。",
    ),
    "exhausted": (
        "{endpoint} did not acknowledge {type} in {failures} attempts{last}; no more are made. Send delivery {id} again.",
        "{endpoint} 在 {failures} 次尝试后仍未确认 {type}{last}，已停止：需由运营人员重发第 {id} 号通知（补单）。",
    ),
    "duty_due": (
        "The provider is still owed “{what}”: {failures} failed attempts{last}; the next is at {at}.",
        "尚欠渠道“{what}”：已失败 {failures} 次{last}；下次尝试在 {at}。",
    ),
    "duty_exhausted": (
        "The provider is owed “{what}”, which failed {failures} times{last}: an operator tries duty {id} again.",
        "尚欠渠道“{what}”，已失败 {failures} 次{last}：需由运营人员重试第 {id} 号任务。",
    ),
    "proposed_release": (
        "{by} proposed at {at} to release it ({reason}): another operator decides.",
        "{by} 已于 {at} 提议放行（{reason}）：待另一位运营人员决定。",
    ),
    "proposed_refund": (
        "{by} proposed at {at} to give the money back ({reason}): another operator decides.",
        "{by} 已于 {at} 提议退款（{reason}）：待另一位运营人员决定。",
    ),
    "put_aside": (
        "Authentic messages of the provider that did not fit ({reasons}) were put aside: {count}. A person must look.",
        "渠道有 {count} 条真实消息与订单不符（{reasons}），已搁置：需人工处理。",
    ),
}
# So many things that are still open are told one by one.
_MOST = 5


@dataclass(frozen=True, slots=True)
class Sentence:
    """One of the sentences, with what it speaks of."""

    name: str
    about: Mapping[str, Any]

    def told(self, language: Language) -> str:
        """Return it in that language."""
        return _SENTENCES[self.name][list(Language).index(language)].format(**self.about)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is on record about an order's present: open work with its last error, evidence put aside, an open proposal."""

    order: Order
    next_check_at: int | None
    deliveries: Sequence[Row[Any]]
    duties: Sequence[Row[Any]]
    pauses: Mapping[str, str]
    put_aside: Sequence[str]
    proposal: Row[Any] | None


class Explanations:
    """Explains the orders of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def explain(self, order: Order) -> dict[str, str]:
        """Return why the order is where it is and what happens next, by language."""
        sentences = list(explain(await self._database.read(lambda c: _read(c, order))))
        return {
            language.value: " ".join(sentence.told(language) for sentence in sentences)
            for language in Language
        }


def explain(standing: Standing) -> Iterator[Sentence]:
    """Yield the sentences, the most important first."""
    yield from _about_state(standing)
    if standing.proposal is not None and standing.order.status is Status.HELD:
        yield _about_proposal(standing.proposal)
    if standing.order.waits and standing.next_check_at is not None:
        yield Sentence("waiting", {"at": rfc3339(standing.next_check_at)})
    yield from _about_deliveries(standing)
    for duty in [d for d in standing.duties if d.status in ("due", "exhausted")][:_MOST]:
        yield Sentence(f"duty_{duty.status}", {**_work(duty), "what": duty.what})
    if standing.put_aside:
        reasons = ", ".join(sorted({reason for reason in standing.put_aside if reason}))
        yield Sentence("put_aside", {"count": len(standing.put_aside), "reasons": reasons})


def _about_state(standing: Standing) -> Iterator[Sentence]:
    order, asked_at = standing.order, standing.next_check_at
    if order.status is Status.PENDING:
        yield _about_pending(order, asked_at)
        return
    yield Sentence(order.status.value, {"at": rfc3339(order.settled_at or order.created_at)})
    if order.refunded and order.status is not Status.REFUNDED and order.currency:
        amount = money.to_text(order.refunded, order.currency)
        yield Sentence("refunded_part", {"amount": amount, "currency": order.currency})


def _about_pending(order: Order, asked_at: int | None) -> Sentence:
    end, at = rfc3339(order.expires_at), rfc3339(asked_at or order.expires_at)
    if asked_at is None or asked_at <= order.expires_at:
        return Sentence("pending", {"at": at, "end": end})
    is_over = now() > order.expires_at
    return Sentence("pending_over" if is_over else "pending_told", {"at": at, "end": end})


def _about_proposal(proposal: Row[Any]) -> Sentence:
    about = {"by": proposal.proposed_by, "reason": proposal.reason}
    return Sentence(f"proposed_{proposal.act}", {**about, "at": rfc3339(proposal.proposed_at)})


def _about_deliveries(standing: Standing) -> Iterator[Sentence]:
    done = [d for d in standing.deliveries if d.status == "delivered"]
    still_open = [d for d in standing.deliveries if d.status != "delivered"]
    for delivery in done if not still_open else []:
        about = {"endpoint": delivery.endpoint, "type": delivery.type}
        yield Sentence("delivered", {**about, "at": rfc3339(delivery.delivered_at)})
    for delivery in still_open[:_MOST]:
        about = {**_work(delivery), "endpoint": delivery.endpoint, "type": delivery.type}
        reason = standing.pauses.get(delivery.endpoint)
        is_paused = reason is not None and delivery.status == "due"
        yield Sentence("paused" if is_paused else delivery.status, {**about, "reason": reason})


def _work(row: Row[Any]) -> dict[str, Any]:
    """Return what leased work says of itself."""
    last = f" ({row.error})" if row.error else ""
    at = rfc3339(row.due_at)
    return {"id": row.id, "failures": row.failures, "last": last, "at": at}


async def _read(connection: AsyncConnection, order: Order) -> Standing:
    mine = ORDERS.c.order_no == order.order_no
    aside = select(EVIDENCE.c.reason).where(
        EVIDENCE.c.order_no == order.order_no, EVIDENCE.c.state.in_(["quarantined", "excess"])
    )
    # An order's deliveries are found by its events.
    told = DELIVERIES.join(EVENTS, EVENTS.c.event_id == DELIVERIES.c.event_id)
    deliveries = select(DELIVERIES, EVENTS.c.type).select_from(told)
    proposal = select(PROPOSALS).where(PROPOSALS.c.open_for == order.order_no)
    return Standing(
        order,
        await connection.scalar(select(ORDERS.c.next_check_at).where(mine)),
        await _rows(
            connection,
            deliveries.where(EVENTS.c.order_no == order.order_no),
            DELIVERIES,
            ATTEMPTS.c.delivery_id,
        ),
        await _rows(
            connection,
            select(DUTIES).where(DUTIES.c.order_no == order.order_no),
            DUTIES,
            ATTEMPTS.c.duty_id,
        ),
        {row.endpoint: row.reason for row in await connection.execute(select(PAUSES))},
        (await connection.execute(aside)).scalars().all(),
        (await connection.execute(proposal)).one_or_none(),
    )


async def _rows(
    connection: AsyncConnection, work: Select[Any], table: Table, owner: ColumnElement[Any]
) -> Sequence[Row[Any]]:
    """Return rows of leased work, each with the error of its last attempt."""
    last = select(ATTEMPTS.c.error).where(owner == table.c.id).order_by(ATTEMPTS.c.id.desc())
    error = last.limit(1).correlate(table).scalar_subquery()
    found = await connection.execute(work.add_columns(error.label("error")).order_by(table.c.id))
    return found.all()
