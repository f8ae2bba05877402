"""Asking again: a pending order's provider is asked on a growing schedule, until the order is paid or surely closed.

So is what a client submitted while the provider could not tell, whatever has become of its order.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import Row, exists, insert, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database
from payplat.errors import (
    Conflict,
    NotAccepted,
    NotAuthentic,
    PayplatError,
    ProviderError,
    ProviderRefused,
)
from payplat.inquiry import Inquiry, Question
from payplat.lanes import LEASE, Lane
from payplat.leases import Queue
from payplat.models import ORDERS, TIMELINE
from payplat.orders import Orders
from payplat.provider import CLOCK, EXPIRY_MARGIN, Provider
from payplat.purchase import Evidence, Order, Source, State, Status, Verdict
from payplat.retry import Backoff
from payplat.rows import Values, order_of
from payplat.signs import Sign

log = structlog.get_logger("payplat")
# Only where there is something to ask does an order have a next check, whatever its status. All are named because the
# index begins with channel and status: without them each look would read every order of the channel.
QUEUE = Queue(
    ORDERS, due="next_check_at", waiting=ORDERS.c.status.in_(list(Status)), lane="channel"
)
# Who looks at a pending order waits so many seconds for the provider, which is not asked again within so many; so many
# orders at once are asked about.
_PATIENCE, _FRESH, _MOST_LOOKS = 3.0, 5, 16
_NOTHING = Evidence(Source.RECONCILE, b"")
# Pages of one run, so that a channel with much to tell lets the next run begin where this one ended.
_PAGES = 6


class Reconciler:
    """Checks the pending orders of every open channel; ``wake`` is called when a merchant has something to learn."""

    def __init__(
        self,
        database: Database,
        orders: Orders,
        providers: Mapping[str, Provider],
        backoff: Backoff,
        wake: Callable[[], None],
    ) -> None:
        self._database, self._orders, self._providers = database, orders, providers
        self._backoff, self._wake = backoff, wake
        self._looks: set[asyncio.Task[None]] = set()

    def lanes(self) -> list[Lane]:
        """Return a lane for each channel, so that one slow provider does not delay another."""
        return [
            Lane(self._database, QUEUE, channel, self.check, slots=8) for channel in self._providers
        ]

    async def refresh(self, order: Order) -> Order:
        """Ask about a pending order for whoever looks at it, and return the order as it then stands.

        Nobody waits longer than ``_PATIENCE`` seconds, and an order is asked about by one at a time, not more often than
        every ``_FRESH`` seconds; its schedule stays as it is.
        """
        is_pending = order.status is Status.PENDING
        if not is_pending or not self._has_answer(order) or len(self._looks) >= _MOST_LOOKS:
            return order
        look = asyncio.create_task(self._refresh(order))
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)
        await asyncio.wait([look], timeout=_PATIENCE)
        return await self._orders.get(order.order_no)

    async def verify(self, order: Order) -> Sequence[Question]:
        """Ask about the order now, for an operator, settle what comes, and return what was asked.

        Nothing is asked where there is nothing to learn. Raises Conflict while another one asks, or when the channel is
        not open.
        """
        if order.channel not in self._providers:
            raise Conflict(f"The order's channel {order.channel} is not open.")
        is_open = order.status is Status.PENDING or order.waits
        if not is_open or not self._has_answer(order):
            return []
        taken = await QUEUE.take(self._database, order.order_no, LEASE, true())
        if taken is None:
            raise Conflict("The provider is being asked about this order just now.")
        return await self.check(*taken)

    def _has_answer(self, order: Order) -> bool:
        provider = self._providers.get(order.channel)
        return provider is not None and (provider.knows_orders or order.waits)

    async def _refresh(self, order: Order) -> None:
        checked, fresh = ORDERS.c.checked_at, seam.now() - _FRESH * seam.SECOND
        is_stale = checked.is_(None) | (checked <= fresh)
        try:
            taken = await QUEUE.take(self._database, order.order_no, LEASE, is_stale)
            if taken is not None:
                await seam.reach("after_take")
                await self.check(*taken)
        except PayplatError as error:
            log.warning("check failed", order_no=order.order_no, reason=str(error))
        except Exception:
            log.exception("check failed", order_no=order.order_no)

    async def drain(self) -> None:
        """Wait until nobody asks for anybody any more."""
        if self._looks:
            await asyncio.wait(self._looks)

    async def check(self, row: Row[Any], due_at: int = 0) -> Sequence[Question]:
        """Ask about a claimed order and settle what comes; while it stays pending, set its next check.

        A check before its time leaves the order's schedule as it is: ``due_at`` stands. Return what was asked.
        """
        order = order_of(row)
        inquiry = Inquiry(self._providers[order.channel], order)
        waiting = await self._orders.waiting.of(order) if order.waits else []
        # No answer is no verdict: what could not be asked stays as it is.
        is_open = not all([await self._examine(inquiry, order, evidence) for evidence in waiting])
        if not waiting and order.status is Status.PENDING:
            await self._look(inquiry, order)
        await seam.reach("before_postpone")

        async def body(connection: AsyncConnection) -> None:
            is_pending = await _tell(connection, order, inquiry.questions) == Status.PENDING
            values = self._postponed(order, due_at, is_open, is_pending)
            # Settling took the lease token away, unless evidence waits; then this changes nothing.
            await QUEUE.release(connection, row, values)

        await self._database.transaction(body)
        return inquiry.questions

    async def _examine(self, inquiry: Inquiry, order: Order, evidence: Evidence) -> bool:
        """Ask about one piece of evidence; return whether that is the end of it."""
        reason = ""
        try:
            with self._orders.signs.asking(order.channel):
                verdict = await inquiry.verify(evidence)
            if verdict.state is State.PENDING:
                return False
            await self._settle(order, verdict)
            reason = "state" if verdict.state is State.UNKNOWN else ""
        except (NotAccepted, NotAuthentic, ProviderRefused) as error:
            log.warning("evidence of no use", order_no=order.order_no, reason=str(error))
            reason = "refused"
        except ProviderError as error:
            log.warning("check failed", order_no=order.order_no, reason=str(error))
            return False
        await self._orders.waiting.answered(order, evidence, reason)
        return True

    async def _look(self, inquiry: Inquiry, order: Order) -> None:
        try:
            with self._orders.signs.asking(order.channel):
                verdict = await self._ask(inquiry, order)
            await self._settle(order, verdict)
        except ProviderError as error:
            log.warning("check failed", order_no=order.order_no, reason=str(error))

    async def _settle(self, order: Order, verdict: Verdict) -> None:
        if verdict.verifier != CLOCK:
            self._orders.signs.note(order.channel, Sign.VERIFIED)
        await self._orders.settle(verdict)
        self._wake()

    async def _ask(self, inquiry: Inquiry, order: Order) -> Verdict:
        await seam.reach("before_ask")
        verdict = await inquiry.verify(_NOTHING)
        await seam.reach("after_ask")
        if verdict.state is State.PENDING and seam.now() > order.expires_at + EXPIRY_MARGIN:
            # A payment may win against the close, so the answer that counts comes after it.
            await seam.reach("before_close")
            await inquiry.close()
            await seam.reach("after_close")
            verdict = await inquiry.verify(_NOTHING)
        return verdict

    def _postponed(self, order: Order, due_at: int, is_open: bool, is_pending: bool) -> Values:  # noqa: FBT001 - private
        """Return how an order's checks stand after one, while evidence is ``is_open`` or the order ``is_pending``."""
        now = seam.now()
        is_early = due_at > now
        checks = order.checks + (not is_early)
        next_check_at = due_at if is_early else self._next(order, checks, is_open)
        return {
            "next_check_at": next_check_at if is_open or is_pending else None,
            "checks": checks,
            "checked_at": now,
            "waits": int(is_open),
            "lease_token": None,
        }

    def _next(self, order: Order, checks: int, is_open: bool) -> int:  # noqa: FBT001 - private
        now, closing = seam.now(), order.expires_at + EXPIRY_MARGIN + seam.SECOND
        due = now + int(self._backoff.delay(checks + 1) * seam.SECOND)
        if now < closing and not is_open and not self._providers[order.channel].knows_orders:
            return closing
        return min(due, closing) if now < closing else due


async def _tell(
    connection: AsyncConnection, order: Order, questions: Sequence[Question]
) -> str | None:
    """Write the questions into the order's timeline, once, and return how the order stands."""
    lines = [question.line(order) for question in questions]
    # There already, when only the reply to COMMIT was lost.
    same = exists().where(
        TIMELINE.c.order_no == order.order_no,
        TIMELINE.c.what == "queried",
        TIMELINE.c.at.in_([line["at"] for line in lines]),
    )
    stands = select(ORDERS.c.status, same).where(ORDERS.c.order_no == order.order_no)
    found = (await connection.execute(stands)).first()
    status, is_told = found or (None, True)
    if lines and not is_told:
        await connection.execute(insert(TIMELINE), lines)
    return status


def first_check(provider: Provider, backoff: Backoff, expires_at: int, now: int) -> int:
    """Return when a new order is first asked about: a store has nothing to be asked before the order's end."""
    if provider.knows_orders:
        return now + int(backoff.delay(1) * seam.SECOND)
    return expires_at + EXPIRY_MARGIN + seam.SECOND


class MissedNotices:
    """The sweep of one channel that asks its provider for notifications that never came."""

    def __init__(self, orders: Orders, provider: Provider, wake: Callable[[], None]) -> None:
        self._orders, self._provider, self._wake = orders, provider, wake

    async def run(self, position: str) -> str:
        """Settle what is found from ``position`` on, a few pages at most; return where the next run begins."""
        for _ in range(_PAGES):
            missed = await self._provider.missed(position)
            for verdict in missed.verdicts:
                await self._orders.settle(verdict)
                self._wake()
            position = missed.position
            if not missed.has_more:
                break
        return position
