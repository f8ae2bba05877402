"""AbstractPay: the steps of a purchase, in one place; a channel fills in what differs."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import structlog
from structlog.contextvars import bind_contextvars

from payplat import metrics, seam
from payplat.clients import ANYBODY, Client, Scope
from payplat.decisions import Result, Settled
from payplat.errors import (
    AlreadyPaid,
    AnotherOrder,
    Mismatch,
    NotAuthentic,
    OrderNotFound,
    ProviderMisconfigured,
    ProviderUnavailable,
    UnknownOrder,
)
from payplat.handlers.base import ClientHandler
from payplat.handlers.described import Operation
from payplat.handlers.orders import order_answer
from payplat.handlers.steps import CALLBACK, VERIFY
from payplat.orders import Orders, fits
from payplat.peers import household
from payplat.provider import Account, Provider
from payplat.purchase import Evidence, Order, Prepared, Source, State, Verdict
from payplat.settings import ChannelSettings
from payplat.signs import Sign

log = structlog.get_logger("payplat")
# How long one request may ask the provider for payment parameters before a repeat of it may ask too; seconds.
PREPARING_SECONDS = 20.0
# A worker looks at evidence that could not be verified at once after so long, then on the checks' schedule.
FIRST_LOOK = 2 * seam.SECOND
LAST_LOOK = 3600 * seam.SECOND


class LogLimit:
    """Permits one log line per key in ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._interval = int(seconds * seam.SECOND)
        self._next: dict[str, int] = {}

    def permits(self, key: str) -> bool:
        """Return whether a line may be written now."""
        now = seam.now()
        if now < self._next.get(key, 0):
            return False
        self._next[key] = now + self._interval
        return True


_forged_log = LogLimit(10.0)


class AbstractPay(ClientHandler):
    """One purchase: ``create_order`` → the user pays → ``respond_callback`` or ``verify_order`` → ``notify_delivery``.

    A channel subclasses this, names its ``settings_type``, makes its provider, and writes ``respond_callback`` and
    ``verify_order``. What lies behind them has no request in hand, so that the scheduled jobs do exactly the same.
    """

    settings_type: ClassVar[type[ChannelSettings]]
    # What the OpenAPI document says of the steps that have an address for each channel.
    descriptions: ClassVar[Mapping[str, Operation]] = {
        "respond_callback": CALLBACK,
        "verify_order": VERIFY,
    }
    allowed_methods = ("POST",)
    channel: str
    step: str
    provider: Provider
    orders: Orders
    # A provider's notice proves itself, and may be about anybody's order.
    client: Client = ANYBODY

    @classmethod
    def make_provider(cls, settings: Any, account: Account) -> Provider:
        """Return the provider of one configured channel; raises ValueError that says which option does not fit."""
        raise NotImplementedError

    @classmethod
    def commands(cls) -> Any:
        """Return what ``payplat <kind> …`` does, a ``typer.Typer``, or None where a channel brings no commands."""
        return None

    def initialize(
        self, channel: str, provider: Provider, orders: Orders, wake: Callable[[], None], step: str
    ) -> None:
        """Receive the collaborators; ``step`` is the one that this request asks for of ``channel``."""
        self.channel, self.provider, self.step = channel, provider, step
        self.orders, self.wake = orders, wake

    @property
    def is_callback(self) -> bool:
        """Whether the caller claims to be the provider."""
        return self.step == "respond_callback"

    async def post(self) -> None:
        """Take the step of the URL; who submits evidence must be a client of ours.

        A forged notice counts against who sent it. Raises TooManyRequests, which nobody logs, when it is one too many.
        """
        bind_contextvars(channel=self.channel)
        if self.step == "verify_order":
            self.client = await self.admit(Scope.BUY)
        if self.is_callback:
            await self._wait_in_line()
        signs = self.orders.signs
        try:
            with signs.asking(self.channel):
                await getattr(self, self.step)()
        except NotAuthentic:
            signs.note(self.channel, Sign.FORGED, self.step)
            metrics.FORGED.labels(self.channel).inc()
            if self.is_callback:
                self.settings["limits"]["forgeries"].spend(household(self.peer))
            raise

    async def _wait_in_line(self) -> None:
        """Let one notice of a forger's address go on in each turn of the loop, so that the work of others goes on too."""
        if self.settings["limits"]["forgeries"].is_used_up(household(self.peer)):
            async with self.settings["suspects"]:
                await asyncio.sleep(0)

    async def create_order(self, order: Order) -> Prepared:
        """Ask the provider for what the client needs to pay ``order``, which is committed already.

        An answer that must not change is kept with the order, so that a repeated request gets the same.
        """
        kept = None
        try:
            await seam.reach("before_prepare")
            with self.orders.signs.asking(order.channel):
                payment = await self.provider.prepare(order)
            await seam.reach("after_prepare")
            kept = payment.parameters if payment.keep else None
        finally:
            if order.method in self.provider.remote_methods:
                await self.orders.end_preparation(order.order_no, kept)
        return payment

    async def respond_callback(self) -> None:
        """Read the provider's notification, confirm it, answer in the provider's words.

        Must answer success only after ``confirm`` returned. May raise any PayplatError.
        """
        raise NotImplementedError

    async def verify_order(self) -> None:
        """Read the client's evidence, ask the provider, confirm, answer with the order.

        Must believe nothing that the client says about state or price. May raise any PayplatError.
        """
        raise NotImplementedError

    async def find_order(self, order_no: str) -> Order:
        """Return the order that is named; raises OrderNotFound, also for one of another channel or client."""
        order = await self.orders.get(order_no) if fits(order_no) else None
        if order is None or order.channel != self.channel or not self.client.sees(order):
            raise OrderNotFound
        bind_contextvars(order_no=order_no)
        return order

    async def examine(self, order_no: str, evidence: Evidence) -> None:
        """Have the provider verify what a client submitted for its order; answer 200 with the order as it then stands.

        Answers 202 while the provider cannot tell: the evidence is kept, and a job asks again. Raises OrderNotFound,
        NotAuthentic, ProviderRefused, NotAccepted.
        """
        order = await self.find_order(order_no)
        try:
            await seam.reach("before_verify")
            with self.orders.signs.asking(self.channel):
                verdict = await self.provider.verify(order, evidence)
            await seam.reach("after_verify")
        except (ProviderUnavailable, ProviderMisconfigured) as error:
            self.log_exception(type(error), error, None)
            return await self._look_later(order, evidence, getattr(error, "retry_at", None))
        if verdict.state is State.PENDING and not verdict.objection:
            return await self._look_later(order, evidence, None)
        settled = await self.confirm(verdict)
        if settled.order is None or settled.order.order_no != order_no:
            raise AnotherOrder
        if settled.result is Result.EXCESS:
            raise AlreadyPaid
        return self.answer(200, order_answer(settled.order))

    async def _look_later(self, order: Order, evidence: Evidence, retry_at: int | None) -> None:
        """Keep the evidence for the job, not before the provider wants to be asked again, and answer 202."""
        now = seam.now()
        due_at = min(max(now + FIRST_LOOK, retry_at or 0), now + LAST_LOOK)
        await self.orders.waiting.keep(order, evidence, due_at)
        self.answer(202, order_answer(order))

    async def confirm(self, verdict: Verdict) -> Settled:
        """Settle the verdict in the ledger, then let the merchant know.

        Returns after COMMIT. Raises UnknownOrder or Mismatch for authentic evidence that must not pay; it is kept.
        """
        is_notice = verdict.evidence.source is Source.CALLBACK
        self.orders.signs.note(self.channel, Sign.CALLBACK if is_notice else Sign.VERIFIED)
        if verdict.order_no is not None:
            bind_contextvars(order_no=verdict.order_no)
        settled = await self.orders.settle(verdict)
        if settled.result is Result.UNKNOWN_ORDER:
            raise UnknownOrder
        if settled.result is Result.MISMATCH:
            raise Mismatch(settled.field)
        await seam.reach("before_notify")
        self.notify_delivery(settled)
        await seam.reach("before_answer")
        return settled

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Log what was refused; forged evidence, which anybody can send, fills no log."""
        if not isinstance(value, NotAuthentic):
            super().log_exception(typ, value, tb)
        elif _forged_log.permits(self.channel):
            log.warning("forged", channel=self.channel, peer=self.peer)

    def notify_delivery(self, settled: Settled) -> None:
        """Wake the relay for the committed delivery; correctness never depends on it, and nobody waits for it."""
        if settled.result not in (Result.REPEATED, Result.UNCHANGED):
            self.wake()
