"""Asking again: a pending order's provider is asked on a growing schedule, until the order is paid or surely closed."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database
from payplat.errors import ProviderError
from payplat.lanes import Lane
from payplat.leases import Queue
from payplat.models import ORDERS
from payplat.orders import Orders
from payplat.provider import EXPIRY_MARGIN, Provider
from payplat.purchase import Evidence, Order, Source, State, Verdict
from payplat.retry import Backoff
from payplat.rows import order_of

log = structlog.get_logger("payplat")
QUEUE = Queue(ORDERS, due="next_check_at", waiting=ORDERS.c.status == "pending", lane="channel")
_NOTHING = Evidence(Source.RECONCILE, b"")


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

    def lanes(self) -> list[Lane]:
        """Return a lane for each channel, so that one slow provider does not delay another."""
        return [
            Lane(self._database, QUEUE, channel, self.check, slots=8, lease=90.0)
            for channel in self._providers
        ]

    async def check(self, row: Row[Any]) -> None:
        """Ask about a claimed order and settle what comes; while it stays pending, set its next check."""
        order = order_of(row)
        try:
            await self._orders.settle(await self._ask(order))
            self._wake()
        except ProviderError as error:
            # No answer is no verdict: the order stays as it is.
            log.warning("check failed", order_no=order.order_no, reason=str(error))
        await self._database.transaction(lambda c: self._postpone(c, row, order))

    async def _ask(self, order: Order) -> Verdict:
        provider = self._providers[order.channel]
        verdict = await provider.verify(order, _NOTHING)
        if verdict.state is State.PENDING and seam.now() > order.expires_at + EXPIRY_MARGIN:
            # A payment may win against the close, so the answer that counts comes after it.
            await provider.close(order)
            verdict = await provider.verify(order, _NOTHING)
        return verdict

    async def _postpone(self, connection: AsyncConnection, row: Row[Any], order: Order) -> None:
        # Settling took the lease token away; then this changes nothing.
        checks = order.checks + 1
        values = {"next_check_at": self._next(order, checks), "checks": checks}
        await QUEUE.release(connection, row, {**values, "lease_token": None})

    def _next(self, order: Order, checks: int) -> int:
        now, closing = seam.now(), order.expires_at + EXPIRY_MARGIN + seam.SECOND
        due = now + int(self._backoff.delay(checks + 1) * seam.SECOND)
        return min(due, closing) if now < closing else due
