"""Pub/Sub's push: delivers until it is acknowledged, set aside, or too old.

Source: cloud.google.com Pub/Sub, "Push subscriptions" and "Handle message failures".
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from payplat.simulators.clock import Agenda
from payplat.simulators.google.apps import App
from payplat.simulators.google.faults import NoticeFault
from payplat.simulators.google.knobs import Knobs
from payplat.simulators.google.notices import Push

ACKNOWLEDGING = (102, 200, 201, 202, 204)
"""The statuses that acknowledge; every other, redirects too, does not."""

_SLOTS = 1000

WAITING = "waiting"
HELD = "held"
SENDING = "sending"
DELIVERED = "delivered"
EXPIRED = "expired"
DEAD = "dead"
LOST = "lost"


@dataclass
class Attempt:
    """One delivery as it went out, and what came back (`status` None: no answer)."""

    event: str
    message_id: str
    number: int
    at: float
    url: str
    push: Push
    status: int | None = None
    error: str = ""

    @property
    def accepted(self) -> bool:
        """Whether it acknowledged the message."""
        return self.status in ACKNOWLEDGING

    @property
    def notification(self) -> dict[str, Any]:
        """The DeveloperNotification inside; empty where there is none."""
        try:
            told = json.loads(base64.b64decode(json.loads(self.push.body)["message"]["data"]))
        except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}


@dataclass
class Message:
    """One published message on its way; its id stays over all deliveries."""

    app: App
    event: str
    token: str
    data: bytes
    fault: NoticeFault
    message_id: str
    published_at: float
    state: str = WAITING
    attempts: int = 0
    rounds: int = 0
    ticket: int = 0
    tried: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def open(self) -> bool:
        """Whether it can be delivered now."""
        return self.state in (WAITING, HELD)


class Courier:
    """`write` makes the request for a delivery at the moment at which it goes out."""

    def __init__(self, agenda: Agenda, write: Callable[[Message], Push], knobs: Knobs) -> None:
        self.attempts: list[Attempt] = []
        self.messages: list[Message] = []
        self._agenda = agenda
        self._write = write
        self._knobs = knobs
        self._ids = itertools.count(10**15 + secrets.randbelow(10**15))
        self._behind: list[Message] = []
        self._client: AsyncHTTPClient | None = None

    def start(self) -> None:
        """Open a client for the deliveries of this loop."""
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=_SLOTS)

    def stop(self) -> None:
        """What was on its way when it was stopped goes out again after the next start."""
        if self._client:
            self._client.close()
        self._client = None
        for message in self.messages:
            if message.state == SENDING:
                self._schedule(message, 0)

    def publish(self, app: App, event: str, token: str, data: bytes, fault: NoticeFault) -> Message:
        """Take a message over; `tried` is set after its first round or if none is due now."""
        now = self._agenda.clock.now()
        message = Message(app, event, token, data, fault, str(next(self._ids)), now)
        self.messages.append(message)
        if fault.drop:
            message.state = LOST
        elif fault.hold or fault.behind_next:
            message.state = HELD
        else:
            self._schedule(message, fault.delay)
        if fault.behind_next:
            self._behind.append(message)
        if message.state != WAITING or fault.delay:
            message.tried.set()
        return message

    async def flush(self) -> None:
        """Deliver everything that waits or is held, now."""
        await asyncio.gather(*(self._round(each) for each in self.messages if each.open))

    async def send(self, url: str, event: str, push: Push) -> Attempt:
        """One delivery of something that was never published; nobody repeats it."""
        attempt = Attempt(event, "", 1, self._agenda.clock.now(), url, push)
        self.attempts.append(attempt)
        await self._post(attempt)
        return attempt

    def _schedule(self, message: Message, seconds: float) -> None:
        message.state = WAITING
        message.ticket = ticket = message.ticket + 1

        async def appointment() -> None:
            # A flush may have been quicker; the later appointment then has the valid ticket.
            if message.state == WAITING and message.ticket == ticket:
                await self._round(message)

        self._agenda.at(self._agenda.clock.now() + seconds, appointment)

    async def _round(self, message: Message) -> None:
        message.state = SENDING
        attempts = await self._deliver(message, 1 if message.rounds else message.fault.copies)
        message.rounds += 1
        if any(each.accepted for each in attempts):
            message.state = DELIVERED
        else:
            self._come_again(message)
        message.tried.set()
        self._release(message)

    async def _deliver(self, message: Message, copies: int) -> list[Attempt]:
        if message.fault.parallel:
            return await asyncio.gather(*(self._attempt(message) for _ in range(copies)))
        return [await self._attempt(message) for _ in range(copies)]

    def _come_again(self, message: Message) -> None:
        wait, most = self._knobs.backoff(message.rounds), self._knobs.dead_letter
        until = message.published_at + self._knobs.keeps()
        if most is not None and message.attempts >= most:
            message.state = DEAD
        elif self._agenda.clock.now() + wait > until:
            message.state = EXPIRED
        else:
            self._schedule(message, wait)

    def _release(self, sent: Message) -> None:
        self._behind = [message for message in self._behind if message.state == HELD]
        for message in self._behind:
            if message.token == sent.token and message.app is sent.app:
                self._schedule(message, 0)

    async def _attempt(self, message: Message) -> Attempt:
        message.attempts += 1
        attempt = Attempt(
            event=message.event,
            message_id=message.message_id,
            number=message.attempts,
            at=self._agenda.clock.now(),
            url=message.app.push_url or "",
            push=self._write(message),
        )
        self.attempts.append(attempt)
        if message.attempts <= message.fault.lose:
            attempt.error = "lost on the way"
        else:
            await self._post(attempt)
        return attempt

    async def _post(self, attempt: Attempt) -> None:
        if self._client is None:
            raise RuntimeError("start the simulator before it has something to push")
        options: dict[str, Any] = {
            "method": "POST",
            "body": attempt.push.body,
            "headers": dict(attempt.push.headers),
            "follow_redirects": False,
            "connect_timeout": self._knobs.answer_timeout,
            "request_timeout": self._knobs.answer_timeout,
        }
        try:
            fetch = self._client.fetch(attempt.url, raise_error=False, **options)
            fetch.add_done_callback(_heard)
            # Not awaited itself: stop() cancels this task, and Tornado logs a cancelled fetch.
            await asyncio.wait([fetch])
            attempt.status = fetch.result().code
        except (OSError, HTTPClientError, ValueError) as trouble:
            attempt.error = str(trouble) or type(trouble).__name__


def _heard(fetch: asyncio.Future[HTTPResponse]) -> None:
    """An outcome that nobody waits for any more is no news."""
    if not fetch.cancelled():
        fetch.exception()
