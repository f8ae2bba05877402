"""``POST /v1/create_order/``: the server prices the product, commits a pending order, and tells the client how to pay."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, with_config
from structlog.contextvars import bind_contextvars

from payplat import errors, seam
from payplat.catalogue import Catalogue
from payplat.clients import Scope
from payplat.handlers.described import CLIENTS, Answer, Content, Operation, problems
from payplat.handlers.factory import Channel
from payplat.handlers.orders import EXAMPLE, OrderAnswer, order_answer
from payplat.handlers.pay import PREPARING_SECONDS, AbstractPay
from payplat.orders import Orders
from payplat.purchase import RECEIVER, Order, Prepared, Status
from payplat.reconcile import first_check
from payplat.rows import Draft
from payplat.settings import Settings

_KEY = r"^[\x20-\x7e]{1,255}$"
IdempotencyKey = Annotated[
    str,
    Field(
        pattern=_KEY,
        description="A key of the client's for this order: a repeated request with it gets the same order.",
    ),
]


class OrderRequest(BaseModel):
    """What the client says: which product, for whom, through which channel. Never a price."""

    model_config = ConfigDict(extra="forbid", strict=True)

    channel: Annotated[str, Field(max_length=64, description="By which channel to pay.")]
    product_id: Annotated[
        str, Field(max_length=100, description="What, as the catalogue names it.")
    ]
    receiver: Annotated[
        str, Field(pattern=RECEIVER, description="The user who gets it; a user buys for himself.")
    ]
    quantity: Annotated[int, Field(ge=1, le=100, description="How many.")] = 1
    method: Annotated[
        Annotated[str, Field(max_length=32)] | None,
        Field(
            description="The channel's way to pay, such as Alipay's `app`; its first one if null."
        ),
    ] = None
    return_url: Annotated[
        Annotated[str, Field(max_length=256)] | None,
        Field(description="Where a browser is led back to; the app must allow it."),
    ] = None
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=40)], Annotated[str, Field(max_length=500)]],
        Field(max_length=20, description="Kept with the order, and told with it."),
    ] = {}


_PENDING = {
    **EXAMPLE,
    "status": "pending",
    "settled_at": None,
    "payment": {"order_string": "app_id=…&sign=…"},
}


@with_config(ConfigDict(json_schema_extra={"examples": [_PENDING]}))
class OpenedOrder(OrderAnswer):
    """An order that waits for its payment."""

    payment: Annotated[
        dict[str, Any],
        Field(
            description="What the channel's SDK or the browser needs to pay; each channel's own."
        ),
    ]


_ITS_NUMBER = {"order_no": "$response.body#/order_no"}


class CreateOrder(AbstractPay):
    """The door that opens orders for every channel; the body names the channel."""

    step = "create_order"
    description: ClassVar[Operation] = Operation(
        name="create_order",
        title="Open an order",
        says="The catalogue or the store names the price, never the client.",
        scope=Scope.BUY,
        body=Content(OrderRequest),
        headers={"Idempotency-Key": IdempotencyKey},
        answers={
            201: Answer(
                "The order, and what is needed to pay it.",
                Content(OpenedOrder),
                links={"the order": {"operationId": "get_order", "parameters": _ITS_NUMBER}},
            ),
            **problems(
                *CLIENTS,
                errors.UnknownProduct,
                errors.IdempotencyMismatch,
                errors.StillRunning,
                errors.OrderClosed,
                errors.Conflict,
                errors.ProviderRefused,
                errors.ProviderMisconfigured,
                errors.ProviderError,
                errors.NoAnswer,
            ),
        },
    )

    def initialize(  # type: ignore[override]
        self,
        channels: Mapping[str, Channel],
        orders: Orders,
        catalogue: Catalogue,
        settings: Settings,
        wake: Callable[[], None],
    ) -> None:
        """Receive the open channels instead of one provider."""
        self.channels, self.orders, self.wake = channels, orders, wake
        self.catalogue, self.configuration = catalogue, settings

    async def post(self) -> None:
        """Open the order, prepare the payment, answer 201."""
        self.client = await self.admit(Scope.BUY)
        request = self.read_json(OrderRequest)
        channel = self._channel(request)
        if not self.client.acts_for(request.receiver):
            raise errors.NotPermitted("A user buys for himself.", field="receiver")
        self.channel, self.provider = channel.name, channel.provider
        order, is_new = await self.orders.open(self._draft(request, channel))
        bind_contextvars(channel=order.channel, order_no=order.order_no)
        payment = await self._payment(order, is_new=is_new)
        self.answer(201, {**order_answer(order), "payment": dict(payment)})

    async def _payment(self, order: Order, *, is_new: bool) -> Mapping[str, Any]:
        if order.payment is not None:
            return order.payment
        if order.status in (Status.CLOSED, Status.HELD):
            raise errors.OrderClosed
        if order.method in self.provider.remote_methods and not is_new:
            await self.orders.begin_preparation(order.order_no, PREPARING_SECONDS)
        prepared: Prepared = await self.create_order(order)
        return prepared.parameters

    def _channel(self, request: OrderRequest) -> Channel:
        channel = self.channels.get(request.channel)
        if channel is None or not self.client.acts_in(channel.settings.app):
            raise errors.InvalidRequest("This channel is not open.", field="channel")
        if request.method not in (None, *channel.provider.methods):
            raise errors.InvalidRequest("The channel has no such method.", field="method")
        allowed = self.configuration.apps[channel.settings.app].return_urls
        if request.return_url and not request.return_url.startswith(tuple(allowed)):
            raise errors.InvalidRequest("The app does not allow this address.", field="return_url")
        return channel

    def _draft(self, request: OrderRequest, channel: Channel) -> Draft:
        provider, now = channel.provider, seam.now()
        product = self.catalogue.product(channel.settings.app, request.product_id)
        currency, method = provider.currency, request.method or provider.methods[0]
        order = Order(
            order_no=seam.new_id(),
            app=channel.settings.app,
            channel=channel.name,
            kind=provider.kind,
            environment=provider.environment_of(request.receiver),
            account=provider.account,
            method=method,
            product_id=request.product_id,
            sku=product.sku(provider.kind, request.product_id),
            quantity=request.quantity,
            amount=product.price(request.quantity, currency) if currency else None,
            currency=currency,
            title=product.title,
            receiver=request.receiver,
            metadata=request.metadata,
            return_url=request.return_url,
            status=Status.PENDING,
            refunded=0,
            payment=None,
            created_at=now,
            expires_at=_whole_second(now)
            + self.configuration.orders.lifetime_seconds * seam.SECOND,
            settled_at=None,
            consumable=product.consumable,
        )
        backoff = self.configuration.checks.backoff()
        return Draft(
            order,
            idempotency_key=self._idempotency_key(),
            request_sha256=hashlib.sha256(request.model_dump_json().encode()).hexdigest(),
            preparing_until=self._preparing_until(method, now),
            next_check_at=first_check(provider, backoff, order.expires_at, now),
        )

    def _preparing_until(self, method: str, now: int) -> int:
        remote = method in self.provider.remote_methods
        return now + int(PREPARING_SECONDS * seam.SECOND) if remote else 0

    def _idempotency_key(self) -> str | None:
        key = self.request.headers.get("Idempotency-Key")
        if key is not None and not re.fullmatch(_KEY, key):
            raise errors.InvalidRequest(
                "1 to 255 printable ASCII characters.", field="Idempotency-Key"
            )
        return key


def _whole_second(now: int) -> int:
    # Providers take the expiry in whole seconds; a later one than ours would let a closed order be paid.
    return now // seam.SECOND * seam.SECOND
