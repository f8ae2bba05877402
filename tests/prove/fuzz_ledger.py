"""What a provider's word must fit into: the ledger can record every verdict, whatever it says."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Integer, Table
from sqlalchemy.dialects import mysql

from payplat.decisions import Case
from payplat.models import DELIVERIES, DUTIES, EVENTS, EVIDENCE, PAYMENTS, REFUNDS, TIMELINE, Id
from payplat.orders import _without_order, fits
from payplat.purchase import LatePolicy, Order, Status, Verdict
from payplat.records import Loaded
from payplat.refunds import RefundBook
from payplat.rows import Terms, Writes

_MYSQL = mysql.dialect()
_TERMS = Terms(LatePolicy.DELIVER, {"default/main": None})
ORDER = Order(
    order_no="0192f3a4b5c67d8e9f00112233445566",
    app="default",
    channel="shop",
    kind="",
    environment="production",
    account="",
    method="app",
    product_id="coins_500",
    sku="coins_500",
    quantity=1,
    amount=None,
    currency=None,
    title="500 coins",
    receiver="player-1",
    metadata={},
    return_url=None,
    status=Status.PENDING,
    refunded=0,
    payment=None,
    created_at=1_790_000_000_000_000,
    expires_at=1_790_001_800_000_000,
    settled_at=None,
)


def record(verdict: Verdict, account: str) -> None:
    """Decide about a verdict without an order, and with one that it fits as far as an order can; bind all rows.

    Raises what the ledger or a column of MySQL would raise.
    """
    loaded = Loaded()
    _without_order(loaded, verdict)
    _bind(loaded.writes)
    case = Case(
        _order(verdict, account), None, None, RefundBook(), _TERMS, ORDER.expires_at, Writes()
    )
    for _ in range(2):  # and once more, when it has paid
        case.settle(verdict, None)
    _bind(case.writes)


def _order(verdict: Verdict, account: str) -> Order:
    """Return the order that the verdict is about, in the bounds that an order has."""
    named, product, amount = verdict.order_no or "", verdict.product or "", verdict.amount
    return ORDER._replace(
        order_no=named if fits(named) else ORDER.order_no,
        kind=verdict.kind,
        environment=verdict.environment,
        account=account,
        sku=product if 0 < len(product) <= 150 and product.isascii() else ORDER.sku,
        quantity=verdict.quantity if 0 < (verdict.quantity or 0) <= 100 else 1,
        consumable=verdict.consumable is not False,
        amount=amount if verdict.kind == "alipay" and amount else None,
        currency=verdict.currency if verdict.kind == "alipay" and amount else None,
    )


def _bind(writes: Writes) -> None:
    for table, rows in (
        (PAYMENTS, writes.payments),
        (REFUNDS, writes.refunds),
        (EVIDENCE, writes.evidence),
        (EVENTS, writes.events),
        (DELIVERIES, writes.deliveries),
        (DUTIES, writes.duties),
        (TIMELINE, writes.timeline),
        (TIMELINE, writes.alerts),
    ):
        for row in rows:
            _bind_row(table, row)


def _bind_row(table: Table, row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        kind = table.c[name].type
        if isinstance(kind, Id):
            kind.dialect_impl(_MYSQL).bind_processor(_MYSQL)(value)
        elif isinstance(kind, Integer) and value is not None:
            bits = 63 if isinstance(kind, BigInteger) else 31
            assert -(1 << bits) <= value < 1 << bits, (
                f"{table.name}.{name} does not hold {value:.0e}"
            )
        elif isinstance(value, str):
            value.encode()
