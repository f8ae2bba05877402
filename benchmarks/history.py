"""A month of business, written in bulk: orders with payments, events, deliveries, attempts, stories and evidence."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert

from benchmarks.fixed import APP_ID, SELLER_ID
from payplat.models import Base
from payplat.purchase import transaction_key
from payplat.seam import SECOND

# The same history each time; it guards nothing.
CHANCE = random.Random(7)  # noqa: S311
ACCOUNT = ("alipay", "sandbox", f"{APP_ID}/{SELLER_ID}")
Rows = dict[str, list[dict[str, Any]]]
_BATCH = 2_000
_HOUR, _DAY = 3600 * SECOND, 86400 * SECOND
_CHANNELS = ("alipay", "alipay_app", "alipay_web")
# Of a thousand orders: never paid, held, with evidence put aside, with a refund, whose delivery waits or gave up.
_PENDING, _HELD, _ASIDE, _REFUNDED, _WAITING, _EXHAUSTED = 80, 2, 10, 20, 5, 5


def moments(count: int, now: int, busy: int) -> list[int]:
    """Return when ``count`` orders were opened, oldest first: ``busy`` in the last hour, the others over thirty days."""
    early = (CHANCE.randrange(now - 30 * _DAY, now - _HOUR) for _ in range(count - busy))
    late = (CHANCE.randrange(now - _HOUR, now) for _ in range(busy))
    return sorted([*early, *late])


def write(connection: Connection, opened_at: Sequence[int], now: int) -> list[str]:
    """Write an order for each moment with all that it leaves behind; return their numbers."""
    numbers = []
    for first in range(0, len(opened_at), _BATCH):
        rows: Rows = defaultdict(list)
        for number, at in enumerate(opened_at[first : first + _BATCH], first + 1):
            numbers.append(_tell(rows, number, at, now))
        for table, each in rows.items():
            connection.execute(insert(Base.metadata.tables[table]), each)
        connection.commit()
    return numbers


def _tell(rows: Rows, number: int, at: int, now: int) -> str:
    order_no, fate = _id(at), CHANCE.randrange(1000)
    paid_at = min(at + int(CHANCE.lognormvariate(3, 1) * SECOND), now)
    status = "pending" if fate < _PENDING else "held" if fate < _PENDING + _HELD else "paid"
    order = _order(order_no, number, at, status, None if status == "pending" else paid_at)
    rows["orders"].append(order)
    _line(rows, order_no, at, "opened")
    if status != "pending":
        rows["payments"].append(_payment(order, number, paid_at))
        _line(rows, order_no, paid_at, status)
    if status == "paid":
        _news(rows, order_no, number, paid_at, now)
    if CHANCE.randrange(1000) < _REFUNDED and status == "paid":
        rows["refunds"].append(_refund(order, number, paid_at))
    if CHANCE.randrange(1000) < _ASIDE:
        rows["evidence"].append(_evidence(order, number, at))
    return order_no


def _id(at: int) -> str:
    return f"{at // 1000:012x}7{CHANCE.getrandbits(76):019x}"


def _order(
    order_no: str, number: int, at: int, status: str, settled_at: int | None
) -> dict[str, Any]:
    kind, environment, account = ACCOUNT
    return {
        "order_no": order_no,
        "app": "default",
        "channel": _CHANNELS[number % len(_CHANNELS)],
        "kind": kind,
        "environment": environment,
        "account": account,
        "method": "app",
        "product_id": "coins_500",
        "sku": "coins_500",
        "quantity": 1,
        "consumable": 1,
        "amount": 600,
        "currency": "CNY",
        "title": "500 coins",
        "receiver": f"player-{number % 5000}",
        "metadata": "{}",
        "return_url": None,
        "idempotency_key": None,
        "request_sha256": "0" * 64,
        "status": status,
        "refunded": 0,
        "payment": None,
        "preparing_until": 0,
        "created_at": at,
        "expires_at": at + 1800 * SECOND,
        "settled_at": settled_at,
        "next_check_at": at + 15 * SECOND if settled_at is None else None,
        "waits": 0,
        "checks": 0,
        "checked_at": None,
        "lease_token": None,
    }


def _named(number: int) -> dict[str, Any]:
    """Return what names a transaction."""
    kind, environment, account = ACCOUNT
    key = transaction_key(*ACCOUNT, f"T{number:027}")
    return {
        "kind": kind,
        "environment": environment,
        "account": account,
        "transaction_key": key,
    }


def _payment(order: Mapping[str, Any], number: int, at: int) -> dict[str, Any]:
    return {
        **_named(number),
        "order_no": order["order_no"],
        "transaction_id": f"T{number:027}",
        "receipt": f"GPA.{number}",
        "amount": 600,
        "currency": "CNY",
        "product": "coins_500",
        "quantity": 1,
        "payer": None,
        "paid_at": at,
        "verified_at": at,
        "verifier": "key:bench",
        "evidence_sha256": hashlib.sha256(str(number).encode()).hexdigest(),
    }


def _refund(order: Mapping[str, Any], number: int, at: int) -> dict[str, Any]:
    return {
        **_named(number),
        "order_no": order["order_no"],
        "refund_key": f"back-{number}",
        "amount": 1,
        "type": "",
        "whole": 0,
        "created_at": at,
    }


def _evidence(order: Mapping[str, Any], number: int, at: int) -> dict[str, Any]:
    named = {k: v for k, v in _named(number + 10**9).items() if k != "account"}
    return {
        **named,
        "sha256": hashlib.sha256(f"aside {number}".encode()).hexdigest(),
        "order_no": order["order_no"],
        "source": "callback",
        "state": ("quarantined", "excess", "unclaimed")[number % 3],
        "reason": "amount",
        "raw": b"x" * 1000,
        "created_at": at,
    }


def _news(rows: Rows, order_no: str, number: int, at: int, now: int) -> None:
    event_id, fate = f"evt_{_id(at)}", CHANCE.randrange(1000)
    told = {"order_no": order_no, "created_at": at}
    event = {"app": "default", "type": "order.paid", "cause": "", "body": "{" + " " * 700 + "}"}
    rows["events"].append({**told, **event, "event_id": event_id})
    gave_up = fate < _WAITING + _EXHAUSTED
    status = "due" if fate < _WAITING else "exhausted" if gave_up else "delivered"
    is_done = status == "delivered"
    rows["deliveries"].append(
        {
            **told,
            "id": number,
            "event_id": event_id,
            "endpoint": "default/main",
            "status": status,
            "due_at": at,
            "failures": 0 if is_done else 5,
            "delivered_at": min(at + SECOND // 10, now) if is_done else None,
        }
    )
    tried = {"at": at, "ok": int(is_done), "status": 200 if is_done else 500, "error": ""}
    rows["attempts"].append({**tried, "delivery_id": number, "milliseconds": 20})


def _line(rows: Rows, order_no: str, at: int, what: str) -> None:
    told = {"order_no": order_no, "at": at, "what": what, "actor": "callback", "detail": "{}"}
    rows["timeline"].append(told)
