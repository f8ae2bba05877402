"""Brings notifications to notify_url and comes again, on Alipay's schedule, until it hears `success`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from payplat.simulators.alipay.faults import NoticeFault
from payplat.simulators.alipay.knobs import Knobs
from payplat.simulators.alipay.trades import Trade
from payplat.simulators.clock import Agenda

SCHEDULE = (240, 600, 600, 3600, 7200, 21600, 54000)
"""Seconds between deliveries ("asynchronous notification"): 4m, 10m, 10m, 1h, 2h, 6h, 15h."""

_SLOTS = 1000

WAITING = "waiting"
HELD = "held"
SENDING = "sending"
DELIVERED = "delivered"
EXHAUSTED = "exhausted"
LOST = "lost"


@dataclass
class Attempt:
    """One delivery as it went out, and what came back (`status` None: no answer)."""

    notify_id: str
    out_trade_no: str
    event: str
    number: int
    at: float
    url: str
    body: bytes
    status: int | None = None
    answer: bytes = b""
    error: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        """As a UTF-8 reader sees them; of a repeated key, the last."""
        text = self.body.decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, errors="replace"))

    @property
    def accepted(self) -> bool:
        """Exactly the seven characters, nothing around them."""
        return self.status == 200 and self.answer == b"success"


@dataclass
class Notice:
    """One event of one trade on its way; the notify_id stays over all deliveries."""

    trade: Trade
    event: str
    parameters: dict[str, str]
    fault: NoticeFault
    notify_id: str
    state: str = WAITING
    attempts: int = 0
    rounds: int = 0
    ticket: int = 0
    tried: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def open(self) -> bool:
        """Open a client for the notifications of this loop."""
        return self.state in (WAITING, HELD)


class Courier:
    """`write` makes the body of a notice for the moment at which it is sent."""

    def __init__(self, agenda: Agenda, write: Callable[[Notice], bytes], knobs: Knobs) -> None:
        self.attempts: list[Attempt] = []
        self.notices: list[Notice] = []
        self._knobs = knobs
        self._agenda = agenda
        self._write = write
        self._behind: list[Notice] = []
        self._client: AsyncHTTPClient | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=_SLOTS)

    def stop(self) -> None:
        """What was on its way when it was stopped goes out again after the next start."""
        if self._client:
            self._client.close()
        self._client = None
        for notice in self.notices:
            if notice.state == SENDING:
                self._schedule(notice, 0)

    def send(
        self, trade: Trade, event: str, parameters: dict[str, str], fault: NoticeFault
    ) -> Notice:
        """Take a notice over; `tried` is set after its first round or if none is due now."""
        notice = Notice(trade, event, parameters, fault, secrets.token_hex(17))
        self.notices.append(notice)
        if fault.drop:
            notice.state = LOST
        elif fault.hold or fault.behind_next:
            notice.state = HELD
        else:
            self._schedule(notice, fault.delay)
        if notice.state != WAITING or fault.delay:
            notice.tried.set()
        if fault.behind_next:
            self._behind.append(notice)
        return notice

    async def flush(self) -> None:
        """Deliver everything that waits or is held, now."""
        await asyncio.gather(*(self._round(each) for each in self.notices if each.open))

    def _schedule(self, notice: Notice, seconds: float) -> None:
        notice.state = WAITING
        notice.ticket = ticket = notice.ticket + 1

        async def appointment() -> None:
            # A flush may have been quicker; the later appointment then has the valid ticket.
            if notice.state == WAITING and notice.ticket == ticket:
                await self._round(notice)

        self._agenda.at(self._agenda.clock.now() + seconds, appointment)

    async def _round(self, notice: Notice) -> None:
        notice.state = SENDING
        copies = notice.fault.copies if not notice.rounds else 1
        attempts = await self._deliver(notice, copies)
        notice.rounds += 1
        if any(each.accepted for each in attempts):
            notice.state = DELIVERED
        else:
            self._come_again(notice)
        notice.tried.set()
        self._release(notice)

    async def _deliver(self, notice: Notice, copies: int) -> list[Attempt]:
        if notice.fault.parallel:
            return await asyncio.gather(*(self._attempt(notice) for _ in range(copies)))
        return [await self._attempt(notice) for _ in range(copies)]

    def _come_again(self, notice: Notice) -> None:
        intervals = (0,) * self._knobs.immediate_resends + SCHEDULE
        if notice.rounds > len(intervals):
            notice.state = EXHAUSTED
        else:
            self._schedule(notice, intervals[notice.rounds - 1] / self._knobs.time_factor)

    def _release(self, sent: Notice) -> None:
        self._behind = [notice for notice in self._behind if notice.state == HELD]
        for notice in self._behind:
            if notice.trade is sent.trade:
                self._schedule(notice, 0)

    async def _attempt(self, notice: Notice) -> Attempt:
        notice.attempts += 1
        attempt = Attempt(
            notify_id=notice.notify_id,
            out_trade_no=notice.trade.out_trade_no,
            event=notice.event,
            number=notice.attempts,
            at=self._agenda.clock.now(),
            url=notice.trade.order.notify_url,
            body=self._write(notice),
        )
        self.attempts.append(attempt)
        if notice.attempts <= notice.fault.lose:
            attempt.error = "lost on the way"
        else:
            await self._post(attempt, notice.fault.charset)
        return attempt

    async def _post(self, attempt: Attempt, charset: str) -> None:
        if self._client is None:
            raise RuntimeError("start the simulator before it has something to notify")
        kind = f"application/x-www-form-urlencoded; charset={charset}"
        options: dict[str, Any] = {
            "method": "POST",
            "body": attempt.body,
            "headers": {"Content-Type": kind, "User-Agent": "Mozilla/4.0"},
            "follow_redirects": False,
            "connect_timeout": self._knobs.answer_timeout,
            "request_timeout": self._knobs.answer_timeout,
        }
        try:
            fetch = self._client.fetch(attempt.url, raise_error=False, **options)
            fetch.add_done_callback(_heard)
            # Not awaited itself: stop() cancels this task, and Tornado logs a cancelled fetch.
            await asyncio.wait([fetch])
            response = fetch.result()
        except (OSError, HTTPClientError, ValueError) as trouble:
            attempt.error = str(trouble) or type(trouble).__name__
            return
        attempt.status, attempt.answer = response.code, response.body


def _heard(fetch: asyncio.Future[HTTPResponse]) -> None:
    """An outcome that nobody waits for any more is no news."""
    if not fetch.cancelled():
        fetch.exception()
