"""``GET /v1/orders/<order_no>``: the order as clients and merchants see it, with what happened to it."""

from typing import Any

from structlog.contextvars import bind_contextvars

from payplat.clients import Scope
from payplat.errors import OrderNotFound
from payplat.explanation import Explanations
from payplat.handlers.base import ClientHandler
from payplat.orders import Orders, fits
from payplat.purchase import Order
from payplat.reconcile import Reconciler
from payplat.seam import rfc3339
from payplat.timeline import Timeline


def order_answer(order: Order) -> dict[str, Any]:
    """Return the order as the API tells it: minor units, RFC 3339 times in UTC."""
    return {
        "order_no": order.order_no,
        "status": order.status,
        "app": order.app,
        "channel": order.channel,
        "environment": order.environment,
        "method": order.method,
        "product_id": order.product_id,
        "quantity": order.quantity,
        "amount": order.amount,
        "currency": order.currency,
        "refunded": order.refunded,
        "receiver": order.receiver,
        "metadata": dict(order.metadata),
        "created_at": rfc3339(order.created_at),
        "expires_at": rfc3339(order.expires_at),
        "settled_at": rfc3339(order.settled_at) if order.settled_at else None,
    }


class OrderHandler(ClientHandler):
    """One order."""

    def initialize(
        self,
        orders: Orders,
        reconciler: Reconciler,
        timeline: Timeline,
        explanations: Explanations,
    ) -> None:
        """Receive the ledger, who asks the providers, and who tells what happened and why."""
        self.orders, self.reconciler = orders, reconciler
        self.timeline, self.explanations = timeline, explanations

    async def get(self, order_no: str) -> None:
        """Answer the order; 404 when there is none, or another client's. All but users get its story too.

        That is ``explanation``, why it is where it is and what happens next, and ``timeline``, oldest first.

        The provider is asked about a pending one first, within bounds: who looks has often just paid.
        """
        client = await self.admit(Scope.READ)
        order = await self.orders.get(order_no) if fits(order_no) else None
        if order is None or not client.sees(order):
            raise OrderNotFound
        bind_contextvars(channel=order.channel, order_no=order_no)
        order = await self.reconciler.refresh(order)
        told = order_answer(order)
        if client.receiver is None:
            told["explanation"] = await self.explanations.explain(order)
            told["timeline"] = await self.timeline.read(order)
        self.answer(200, told)
