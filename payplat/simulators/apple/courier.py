"""Brings notifications to the server and comes again, on Apple's schedule, until it is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse
from tornado.simple_httpclient import (
    HTTPStreamClosedError,
    HTTPTimeoutError,
    SimpleAsyncHTTPClient,
)

from payplat.simulators.apple.books import PRODUCTION, SANDBOX
from payplat.simulators.apple.knobs import Knobs
from payplat.simulators.apple.notices import (
    DELIVERED,
    EXHAUSTED,
    HELD,
    SENDING,
    SUCCESS,
    WAITING,
    Attempt,
    Notice,
)
from payplat.simulators.clock import Agenda

SCHEDULE = {PRODUCTION: (3600, 43200, 86400, 172800, 259200), SANDBOX: ()}
"""Seconds after the previous attempt ("Responding to App Store Server Notifications"): 1, 12, 24, 48, 72 h."""

_RECEIVED = range(200, 207)
_SLOTS = 1000


class Courier:
    """`write` signs a notice for the moment at which it is sent."""

    def __init__(self, agenda: Agenda, write: Callable[[Notice], str], knobs: Knobs) -> None:
        self.attempts: list[Attempt] = []
        self.notices: list[Notice] = []
        self._agenda = agenda
        self._write = write
        self._knobs = knobs
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

    def send(self, notice: Notice) -> None:
        """Take a notice over; its `tried` is set after the first round or if none is due now."""
        self.notices.append(notice)
        fault = notice.fault
        if fault.hold or fault.behind_next:
            notice.state = HELD
        else:
            self._schedule(notice, fault.delay)
        if notice.state == HELD or fault.delay:
            notice.tried.set()

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
        notice.rounds += 1
        attempts = await self._deliver(notice, notice.fault.copies if notice.rounds == 1 else 1)
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
        intervals = SCHEDULE[notice.environment]
        if notice.rounds > len(intervals):
            notice.state = EXHAUSTED
        else:
            self._schedule(notice, intervals[notice.rounds - 1] / self._knobs.time_factor)

    def _release(self, sent: Notice) -> None:
        for notice in self.notices:
            waits = notice.state == HELD and notice.fault.behind_next
            if waits and notice.bundle_id == sent.bundle_id:
                self._schedule(notice, 0)

    async def _attempt(self, notice: Notice) -> Attempt:
        attempt = Attempt(
            notification_uuid=notice.notification_uuid,
            notification_type=notice.notification_type,
            number=notice.rounds,
            at=self._agenda.clock.now(),
            url=notice.url,
            body=json.dumps({"signedPayload": self._write(notice)}).encode(),
        )
        self.attempts.append(attempt)
        notice.attempts.append(attempt)
        if notice.fault.drop or notice.rounds <= notice.fault.lose:
            attempt.result = "NO_RESPONSE"
        else:
            await self._post(attempt)
        return attempt

    async def _post(self, attempt: Attempt) -> None:
        if self._client is None:
            raise RuntimeError("start the simulator before it has something to notify")
        options: dict[str, Any] = {
            "method": "POST",
            "body": attempt.body,
            "headers": {"Content-Type": "application/json", "User-Agent": "AppStoreSimulator"},
            "follow_redirects": False,
            "connect_timeout": self._knobs.answer_timeout,
            "request_timeout": self._knobs.answer_timeout,
        }
        fetch = self._client.fetch(attempt.url, raise_error=False, **options)
        fetch.add_done_callback(_heard)
        # Not awaited itself: stop() cancels this task, and Tornado logs a cancelled fetch.
        await asyncio.wait([fetch])
        attempt.status, attempt.result = _outcome(fetch)


def _outcome(fetch: asyncio.Future[HTTPResponse]) -> tuple[int | None, str]:
    """The status of the answer, and the "sendAttemptResult" it amounts to."""
    try:
        response = fetch.result()
    except HTTPTimeoutError:
        return None, "TIMED_OUT"
    except HTTPStreamClosedError:
        return None, "PREMATURE_CLOSE"
    except OSError:
        return None, "SOCKET_ISSUE"
    except (HTTPClientError, ValueError):
        return None, "OTHER"
    accepted = response.code in _RECEIVED
    return response.code, SUCCESS if accepted else "UNSUCCESSFUL_HTTP_RESPONSE_CODE"


def _heard(fetch: asyncio.Future[HTTPResponse]) -> None:
    """An outcome that nobody waits for any more is no news."""
    if not fetch.cancelled():
        fetch.exception()
