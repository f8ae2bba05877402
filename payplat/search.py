"""Find what an id belongs to, whichever id a person has in hand. Each kind of id is one look into one index.

Ids are compared byte by byte as they come; only an order's number, which is a UUID, may have dashes and capitals.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, Select, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat.database import Database
from payplat.errors import InvalidRequest
from payplat.models import DELIVERIES, DUTIES, EVENTS, EVIDENCE, ORDERS, PAYMENTS, REFUNDS
from payplat.provider import Provider
from payplat.purchase import Order, is_receiver, transaction_key
from payplat.records import ORDERS_BY_NO, fetch
from payplat.rows import order_of

_ORDER_NO = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_OUR_REFUND = re.compile(r"([0-9a-f]{32})_(\w+)", re.ASCII)
_EVENT_ID = re.compile(r"evt_[0-9a-f]{32}")
_DELIVERY_ID = re.compile(r"[0-9]{1,18}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Longer than any id, in bytes; the columns of short ids take fewer.
_LONGEST = 4096
_LONGEST_KEY = 191
_PAID_NOTHING = ("quarantined", "unclaimed", "excess", "resolved")


class Kind(StrEnum):
    """What an id can be the id of."""

    ORDER = "order"
    TRANSACTION = "transaction"
    RECEIPT = "receipt"
    RECEIVER = "receiver"
    EVENT = "event"
    DELIVERY = "delivery"
    REFUND = "refund"
    EVIDENCE = "evidence"


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that bears the id: its own name on record, one word of how it stands, when it came, its order.

    ``at`` is microseconds since 1970, UTC. ``order`` is None where ``order_no`` is none of ours.
    """

    kind: Kind
    matched: str
    says: str
    at: int
    order_no: str | None
    order: Order | None


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, newest first; ``next`` is the ``before`` of the next page of a receiver's orders, None when that was all."""

    hits: Sequence[Hit]
    next: str | None


def accounts_of(providers: Iterable[Provider]) -> set[tuple[str, str, str]]:
    """Return kind, environment and account of all that these providers can tell of."""
    return {
        (provider.kind, environment, provider.account)
        for provider in providers
        for environment in (provider.environment, *(["sandbox"] if provider.testers else []))
    }


class Search:
    """Searches one database.

    ``accounts`` are those of the open channels: only theirs is evidence found by its transaction or its hash.
    """

    def __init__(self, database: Database, accounts: Collection[tuple[str, str, str]]) -> None:
        self._database, self._accounts = database, accounts

    async def find(self, text: str, before: str | None = None, limit: int = 50) -> Found:
        """Return what bears the id ``text``, at most ``limit`` of each kind.

        ``before`` asks for the next page of a receiver's orders alone. Raises InvalidRequest for what can be no id.
        """
        _require_id(text)
        looks = {} if before else dict(self._looks(text))

        async def body(connection: AsyncConnection) -> Found:
            found = [
                (kind, row)
                for (kind, _), look in looks.items()
                for row in await fetch(connection, look.limit(limit))
                # A text column's collation takes trailing spaces for nothing.
                if kind is not Kind.TRANSACTION or row.matched == text
            ]
            orders = await _orders_of(connection, text, before, limit)
            found += [(Kind.RECEIVER, row) for row in orders[:limit]]
            has_more = len(orders) > limit
            hits = await _with_orders(connection, found)
            return Found(hits, orders[limit - 1].order_no if has_more else None)

        return await self._database.read(body)

    def _looks(self, text: str) -> Iterator[tuple[tuple[Kind, str], Select[Any]]]:
        """Yield a look for each kind of id that the text can be, by kind and what it looks at."""
        if _ORDER_NO.fullmatch(text):
            number = text.replace("-", "").lower()
            bears = _columns(ORDERS, ORDERS.c.order_no, ORDERS.c.status)
            yield (Kind.ORDER, "orders"), bears.where(ORDERS.c.order_no == number)
        yield from _payments(text)
        yield from _refunds(text)
        yield from _news(text)
        yield from self._evidence(text)

    def _evidence(self, text: str) -> Iterator[tuple[tuple[Kind, str], Select[Any]]]:
        bears = _columns(EVIDENCE, EVIDENCE.c.id, EVIDENCE.c.state).order_by(EVIDENCE.c.id.desc())
        if len(text.encode()) <= 64:
            strangers = EVIDENCE.c.order_no == text, EVIDENCE.c.state.in_(_PAID_NOTHING)
            yield (Kind.EVIDENCE, "order_no"), bears.where(*strangers)
        keys = [transaction_key(*account, text) for account in self._accounts]
        theirs = EVIDENCE.c.transaction_key.in_(keys), EVIDENCE.c.state.in_(_PAID_NOTHING)
        yield (Kind.EVIDENCE, "transaction"), bears.where(*theirs)
        if _SHA256.fullmatch(text):
            kinds, environments = ({each[n] for each in self._accounts} for n in (0, 1))
            named = EVIDENCE.c.kind.in_(kinds), EVIDENCE.c.environment.in_(environments)
            yield (Kind.EVIDENCE, "sha256"), bears.where(*named, EVIDENCE.c.sha256 == text)


def _require_id(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = 0
    if not text.strip() or not 0 < size <= _LONGEST:
        raise InvalidRequest(f"An id has 1 to {_LONGEST} bytes and is not blank.", field="id")


def _columns(table: Any, matched: Any, says: Any, at: Any = None) -> Select[Any]:
    """Select what a hit is made of."""
    when = table.c.created_at if at is None else at
    return select(table.c.order_no, matched.label("matched"), says.label("says"), when.label("at"))


def _payments(text: str) -> Iterator[tuple[tuple[Kind, str], Select[Any]]]:
    at, paid = PAYMENTS.c.verified_at, PAYMENTS.c
    bears = _columns(PAYMENTS, paid.transaction_id, paid.kind, at)
    yield (Kind.TRANSACTION, "payments"), bears.where(paid.transaction_id == text)
    if len(text.encode()) <= _LONGEST_KEY:
        bears = _columns(PAYMENTS, paid.receipt, paid.kind, at)
        yield (Kind.RECEIPT, "payments"), bears.where(paid.receipt == text)


def _refunds(text: str) -> Iterator[tuple[tuple[Kind, str], Select[Any]]]:
    if len(text.encode()) <= _LONGEST_KEY:
        bears = _columns(REFUNDS, REFUNDS.c.refund_key, REFUNDS.c.kind)
        yield (Kind.REFUND, "refunds"), bears.where(REFUNDS.c.refund_key == text)
    if ours := _OUR_REFUND.fullmatch(text):
        number, cause = ours.groups()
        owed = (DUTIES.c.order_no == number, DUTIES.c.what == "refund", DUTIES.c.cause == cause)
        yield (
            (Kind.REFUND, "duties"),
            _columns(DUTIES, literal(text), DUTIES.c.status).where(*owed),
        )


def _news(text: str) -> Iterator[tuple[tuple[Kind, str], Select[Any]]]:
    if _EVENT_ID.fullmatch(text):
        bears = _columns(EVENTS, EVENTS.c.event_id, EVENTS.c.type)
        yield (Kind.EVENT, "events"), bears.where(EVENTS.c.event_id == text)
    if _DELIVERY_ID.fullmatch(text):
        bears = _columns(DELIVERIES, DELIVERIES.c.id, DELIVERIES.c.status)
        yield (Kind.DELIVERY, "deliveries"), bears.where(DELIVERIES.c.id == int(text))


async def _orders_of(
    connection: AsyncConnection, text: str, before: str | None, limit: int
) -> Sequence[Row[Any]]:
    """Return a page of a receiver's orders and one more where there is one."""
    if not is_receiver(text):
        return []
    bears = _columns(ORDERS, ORDERS.c.receiver, ORDERS.c.app).where(ORDERS.c.receiver == text)
    if before is not None:
        bears = bears.where(ORDERS.c.order_no < _cursor(before))
    return await fetch(connection, bears.order_by(ORDERS.c.order_no.desc()).limit(limit + 1))


def _cursor(before: str) -> str:
    if not _ORDER_NO.fullmatch(before):
        raise InvalidRequest("This is no page of a search.", field="before")
    return before


async def _with_orders(
    connection: AsyncConnection, found: Sequence[tuple[Kind, Row[Any]]]
) -> list[Hit]:
    """Return the hits, newest first, each with its order."""
    numbers = sorted({row.order_no for _, row in found if row.order_no and len(row.order_no) == 32})
    rows = await fetch(connection, ORDERS_BY_NO, order_nos=numbers) if numbers else ()
    orders = {row.order_no: order_of(row) for row in rows}
    hits = [
        Hit(kind, str(row.matched), row.says, row.at, row.order_no, orders.get(row.order_no))
        for kind, row in found
    ]
    return sorted(hits, key=lambda hit: (hit.at, hit.order_no or ""), reverse=True)
