"""``payplat trigger``: one signed test event for an endpoint. Its body says ``"test": true``; nothing is stored."""

import json
from typing import Any

from sqlalchemy import select

from payplat import seam
from payplat.attempts import Attempt
from payplat.database import Database
from payplat.deliveries import post
from payplat.endpoints import Endpoint
from payplat.errors import OrderNotFound
from payplat.models import ORDERS, PAYMENTS
from payplat.orders import fits
from payplat.outbound import Counterpart
from payplat.purchase import LatePolicy, Order, Status
from payplat.rows import Terms, event_rows, order_of

_NOBODY = Terms(LatePolicy.HOLD, {})
_NO_TRANSACTION = "test"
_MADE_UP = Order(
    order_no="",
    app="",
    channel="test",
    kind="test",
    environment="",
    account="test",
    method="test",
    product_id="test",
    sku="test",
    quantity=1,
    amount=1,
    currency="CNY",
    title="test",
    receiver="test",
    metadata={},
    return_url=None,
    status=Status.PAID,
    refunded=0,
    payment=None,
    created_at=0,
    expires_at=0,
    settled_at=0,
)


async def trigger(
    endpoint: Endpoint, kind: str, order: Order, transaction_id: str, client: Counterpart
) -> Attempt:
    """Tell ``endpoint`` such an event of ``order`` through ``client``, as the relay would; return how it went."""
    row, _ = event_rows(kind, order, _NOBODY, transaction_id, seam.now(), more=_more(kind, order))
    told = {**json.loads(row["body"]), "test": True}
    body = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    return await post(client, endpoint, f"evt_test_{seam.new_id()}", body.encode())


async def read_order(database: Database, order_no: str, app: str) -> tuple[Order, str]:
    """Return an order of ``app`` and the transaction that paid it; raises OrderNotFound."""
    if not fits(order_no):
        raise OrderNotFound
    paid = ORDERS.outerjoin(PAYMENTS, PAYMENTS.c.order_no == ORDERS.c.order_no)
    wanted = select(ORDERS, PAYMENTS.c.transaction_id).select_from(paid)
    mine = (ORDERS.c.order_no == order_no, ORDERS.c.app == app)
    row = (await database.read(lambda c: c.execute(wanted.where(*mine)))).first()
    if row is None:
        raise OrderNotFound
    return order_of(row), row.transaction_id or _NO_TRANSACTION


def made_up_order(app: str, environment: str) -> tuple[Order, str]:
    """Return a paid order of ``app`` that never was, and its transaction."""
    order = _MADE_UP._replace(order_no=seam.new_id(), app=app, environment=environment)
    return order, _NO_TRANSACTION


def _more(kind: str, order: Order) -> dict[str, Any]:
    """Return what only events of this type tell."""
    if kind == "order.paid":
        return {}
    if kind.startswith("order.refund"):
        return {"refund": {"id": "test", "amount": order.amount, "total": order.amount}}
    return {"notice": {"id": "test"}}
