"""``GET /v1/orders/<order_no>``: the order as clients and merchants see it, with what happened to it."""

from typing import Annotated, Any, ClassVar, NotRequired

from pydantic import ConfigDict, Field, with_config
from structlog.contextvars import bind_contextvars
from typing_extensions import TypedDict

from payplat.clients import Scope
from payplat.errors import NotFound, OrderNotFound
from payplat.explanation import Explanations, Language
from payplat.handlers.base import ClientHandler
from payplat.handlers.described import CLIENTS, Answer, Content, Operation, problems
from payplat.orders import Orders, fits
from payplat.purchase import Order, Status
from payplat.reconcile import Reconciler
from payplat.seam import rfc3339
from payplat.timeline import Timeline

OrderNo = Annotated[
    str, Field(pattern="^[0-9a-f]{32}$", description="The order's number, which payplat gives.")
]
Time = Annotated[
    str, Field(description="RFC 3339, UTC, milliseconds.", examples=["2026-01-02T03:04:05.678Z"])
]
EXAMPLE: dict[str, Any] = {
    "order_no": "0197f3a1c2d4e5f60718293a4b5c6d7e",
    "status": "paid",
    "app": "default",
    "channel": "alipay",
    "environment": "production",
    "method": "app",
    "product_id": "coins_500",
    "quantity": 1,
    "amount": 600,
    "currency": "CNY",
    "refunded": 0,
    "receiver": "player-1",
    "metadata": {"server": "7"},
    "created_at": "2026-01-02T03:04:05.678Z",
    "expires_at": "2026-01-02T03:34:05.000Z",
    "settled_at": "2026-01-02T03:04:21.042Z",
}


@with_config(ConfigDict(json_schema_extra={"examples": [EXAMPLE]}))
class OrderAnswer(TypedDict):
    """An order. ``held`` was paid too late: an operator decides; the other states say what they mean."""

    order_no: OrderNo
    status: Status
    app: str
    channel: str
    environment: Annotated[str, Field(description="`production` or `sandbox`.")]
    method: str
    product_id: str
    quantity: int
    amount: Annotated[
        int | None,
        Field(description="In minor units: 600 is ¥6.00. Null until paid where a store prices."),
    ]
    currency: Annotated[
        str | None, Field(description="ISO 4217. Null until paid where a store prices.")
    ]
    refunded: Annotated[int, Field(description="How much of it went back, in minor units.")]
    receiver: Annotated[str, Field(description="The user who gets the goods.")]
    metadata: Annotated[dict[str, str], Field(description="What the client gave along.")]
    created_at: Time
    expires_at: Time
    settled_at: Time | None


class Check(TypedDict):
    """What became of one check of a message: of the order, the product, the amount or the signature."""

    check: str
    result: Annotated[str, Field(description="passed, failed, not_stated or not_reached.")]
    about: Annotated[str, Field(description="What differs, or who vouches.")]


class Message(TypedDict):
    """What the provider or the client sent, and what the provider answered, both masked."""

    source: str
    state: str
    reason: str
    raw: Annotated[Any, Field(description="By its fields where it has some, otherwise as text.")]
    answer: Annotated[Any, Field(description="The same; null where the provider was not asked.")]


class Moment(TypedDict):
    """Something that happened to an order."""

    at: Time
    what: str
    actor: str
    detail: dict[str, Any]
    told: Annotated[dict[Language, str], Field(description="A sentence by language.")]
    checks: list[Check]
    message: Message | None


class OrderStory(OrderAnswer):
    """An order; all but users are told too why it is where it is, and what happened to it, oldest first."""

    explanation: NotRequired[
        Annotated[dict[Language, str], Field(description="A sentence by language.")]
    ]
    timeline: NotRequired[list[Moment]]


def order_answer(order: Order) -> OrderAnswer:
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

    description: ClassVar[Operation] = Operation(
        name="get_order",
        title="Read an order",
        says="A user sees his own orders, a backend those of its app. Of a pending one the provider is asked first.",
        scope=Scope.READ,
        path={"order_no": OrderNo},
        answers={
            200: Answer("The order.", Content(OrderStory)),
            **problems(*CLIENTS, OrderNotFound, NotFound),
        },
    )

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
        told: dict[str, Any] = {**order_answer(order)}
        if client.receiver is None:
            told["explanation"] = await self.explanations.explain(order)
            told["timeline"] = await self.timeline.read(order)
        self.answer(200, told)
