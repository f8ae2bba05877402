"""Rows and records: how orders are read, and what opening and settling write. Pure functions, no statement."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row

from payplat import seam
from payplat.models import ORDERS
from payplat.purchase import Evidence, LatePolicy, Order, Status, Verdict
from payplat.refunds import KnownRefund

Values = dict[str, Any]
_PLACES = {column.name: place for place, column in enumerate(ORDERS.columns)}
_in_order = itemgetter(*[_PLACES[name] for name in Order._fields])
_encode = json.JSONEncoder(ensure_ascii=False).encode
_encode_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Terms:
    """What a channel's configuration says of its orders.

    ``late`` is the policy for late money; ``endpoints`` are those that learn of events, each with their types, None for
    all; ``gives_back`` says whether the company gives money back when we ask.
    """

    late: LatePolicy
    endpoints: Mapping[str, Collection[str] | None]
    gives_back: bool = True

    def endpoints_of(self, kind: str) -> list[str]:
        """Return the endpoints that learn of events of this type."""
        return [name for name, types in self.endpoints.items() if types is None or kind in types]


@dataclass(frozen=True, slots=True)
class Draft:
    """An order about to be opened.

    ``request_sha256`` names the client's body, so that a repeated ``idempotency_key`` can be told from a misused one.
    Until ``preparing_until`` the opener alone asks the provider; ``next_check_at`` is when the job asks it first.
    """

    order: Order
    idempotency_key: str | None
    request_sha256: str
    preparing_until: int
    next_check_at: int


@dataclass(slots=True)
class Writes:
    """Rows to be stored, by table.

    ``reversals`` are the keys of refunds taken back, ``held_duties`` says by order how the duties stand from now on that
    waited for a release, ``claims`` are the transactions whose unclaimed evidence has found its order.
    """

    payments: list[Values] = field(default_factory=list)
    refunds: list[Values] = field(default_factory=list)
    reversals: list[Values] = field(default_factory=list)
    evidence: list[Values] = field(default_factory=list)
    events: list[Values] = field(default_factory=list)
    deliveries: list[Values] = field(default_factory=list)
    duties: list[Values] = field(default_factory=list)
    timeline: list[Values] = field(default_factory=list)
    held_duties: dict[str, str] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    # Lines about evidence that changed nothing: told once, however often it comes.
    alerts: list[Values] = field(default_factory=list)

    def claim(self, transaction_key: str, order_no: str) -> None:
        """Let unclaimed evidence of the transaction be the order's: what is on record, and what was written so far."""
        self.claims[transaction_key] = order_no
        for row in self.evidence:
            if row["transaction_key"] == transaction_key and row["state"] == "unclaimed":
                row.update(CLAIMED, order_no=order_no)


# How evidence stands that has found its order after all.
CLAIMED = {"state": "used", "reason": "claimed"}


def evidence_row(verdict: Verdict, now: int, state: str, reason: str) -> Values:
    """Return the verdict's evidence as it is kept."""
    named = verdict.order_no if verdict.order_no and len(verdict.order_no.encode()) <= 64 else None
    return {
        "kind": verdict.kind,
        "environment": verdict.environment,
        "sha256": verdict.evidence.sha256,
        "order_no": named,
        "transaction_key": verdict.transaction_key if verdict.transaction_id else None,
        "source": verdict.evidence.source.value,
        "state": state,
        "reason": reason,
        "raw": verdict.evidence.raw,
        "answer": verdict.evidence.answer or None,
        "created_at": now,
    }


def waiting_row(order: Order, evidence: Evidence, now: int) -> Values:
    """Return evidence that its provider must still be asked about, as a row."""
    return {
        "kind": order.kind,
        "environment": order.environment,
        "sha256": evidence.sha256,
        "order_no": order.order_no,
        "transaction_key": None,
        "source": evidence.source.value,
        "state": "waiting",
        "reason": "",
        "raw": evidence.raw,
        "answer": None,
        "created_at": now,
    }


def event_rows(
    kind: str,
    order: Order,
    terms: Terms,
    transaction_id: str | None,
    now: int,
    cause: str = "",
    more: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Values, list[Values]]:
    """Return an event and its deliveries to those who learn of it, as rows; ``more`` is what only this type tells."""
    data = {**_event_data(order, transaction_id), **more}
    payload = {"type": kind, "timestamp": seam.rfc3339(now), "data": data}
    row: Values = {
        "event_id": f"evt_{seam.new_id()}",
        "order_no": order.order_no,
        "app": order.app,
        "type": kind,
        "cause": cause,
        "body": _encode_compact(payload),
        "created_at": now,
    }
    return row, delivery_rows(row["event_id"], kind, order.order_no, terms, now)


def delivery_rows(event_id: str, kind: str, order_no: str, terms: Terms, now: int) -> list[Values]:
    """Return an event's deliveries, due at once, as rows."""
    shared = {"event_id": event_id, "order_no": order_no, "created_at": now}
    waiting = {"status": "due", "due_at": now, "failures": 0}
    return [{**shared, **waiting, "endpoint": endpoint} for endpoint in terms.endpoints_of(kind)]


def _event_data(order: Order, transaction_id: str | None) -> Values:
    """Return what the merchant learns of an order, whatever happened to it."""
    return {
        "order_no": order.order_no,
        "app": order.app,
        "channel": order.channel,
        "environment": order.environment,
        "product_id": order.product_id,
        "quantity": order.quantity,
        "receiver": order.receiver,
        "amount": order.amount,
        "currency": order.currency,
        "status": order.status,
        "transaction_id": transaction_id,
        "metadata": dict(order.metadata),
    }


def payment_row(verdict: Verdict, order_no: str, now: int) -> Values:
    """Return the payment that this verdict proves."""
    return {
        "order_no": order_no,
        "transaction_key": verdict.transaction_key,
        "kind": verdict.kind,
        "environment": verdict.environment,
        "account": verdict.account,
        "transaction_id": verdict.transaction_id,
        "receipt": verdict.receipt,
        "amount": verdict.amount,
        "currency": verdict.currency,
        "product": verdict.product,
        "quantity": verdict.quantity,
        "payer": verdict.payer,
        "paid_at": verdict.paid_at,
        "verified_at": now,
        "verifier": verdict.verifier,
        "evidence_sha256": verdict.evidence.sha256,
    }


def refund_row(verdict: Verdict, order_no: str, key: str, known: KnownRefund, now: int) -> Values:
    """Return the refund that this verdict tells."""
    return {
        "order_no": order_no,
        "kind": verdict.kind,
        "environment": verdict.environment,
        "account": verdict.account,
        "transaction_key": known.transaction_key,
        "refund_key": key,
        "amount": known.amount,
        "share": known.share,
        "type": known.type,
        "refunded_at": known.at,
        "returned": known.returned,
        "whole": int(known.whole),
        "created_at": now,
        "reversed_at": now if known.reversed else None,
    }


def timeline_row(order: Order, now: int, what: str, actor: str, detail: Values) -> Values:
    """Return a line of the order's timeline."""
    text = _encode(detail)
    return {"order_no": order.order_no, "at": now, "what": what, "actor": actor, "detail": text}


def order_of(row: Row[Any]) -> Order:
    """Read a row that begins with the columns of the orders table."""
    stored: Any = Order._make(_in_order(tuple(row)))
    order: Order = stored._replace(
        metadata=json.loads(stored.metadata),
        status=Status(stored.status),
        payment=json.loads(stored.payment) if stored.payment else None,
        consumable=bool(stored.consumable),
        waits=bool(stored.waits),
    )
    return order


def draft_row(draft: Draft) -> Values:
    """Return the order that this draft opens, as a row."""
    order = draft.order
    return {
        **order._asdict(),
        "metadata": _encode(dict(order.metadata)),
        "status": order.status.value,
        "payment": None,
        "idempotency_key": draft.idempotency_key,
        "request_sha256": draft.request_sha256,
        "preparing_until": draft.preparing_until,
        "next_check_at": draft.next_check_at,
    }
