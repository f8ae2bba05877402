"""The relay: tells each merchant's endpoint of each event, until it has acknowledged.

Signed by Standard Webhooks 1.0 (``webhook-id``, ``webhook-timestamp``, ``webhook-signature``). The event id stays the
same over all attempts; what is signed is what is sent, byte for byte.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Row, and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import metrics, seam
from payplat.addresses import Network
from payplat.attempts import Attempt, Record, Tried, record_all, try_again
from payplat.database import Database
from payplat.endpoints import Endpoint, is_open, pause
from payplat.errors import Conflict, NoAnswer
from payplat.events import first_event_id, made_at
from payplat.group_commit import GroupCommit
from payplat.lanes import Lane
from payplat.leases import Queue
from payplat.models import DELIVERIES, DUTIES, EVENTS
from payplat.outbound import Counterpart
from payplat.retry import Backoff

log = structlog.get_logger("payplat")
QUEUE = Queue(
    DELIVERIES,
    due="due_at",
    waiting=DELIVERIES.c.status == "due",
    lane="endpoint",
    besides=(EVENTS.c.type, EVENTS.c.body, EVENTS.c.created_at.label("made_at")),
    beside=DELIVERIES.outerjoin(EVENTS, EVENTS.c.event_id == DELIVERIES.c.event_id),
)
# Deliveries that an endpoint gets at once from each process, which claims when half of them are done.
_SLOTS = 32
# "If the receiver is disabled": Standard Webhooks, "Operational considerations".
_GONE = 410
# Events whose deliveries are resent in one transaction.
_BATCH = 500


class Ended(StrEnum):
    """How a delivery can have ended."""

    EXHAUSTED = "exhausted"
    DELIVERED = "delivered"


def signed_headers(
    event_id: str, body: bytes, secrets: Sequence[bytes], now: int
) -> dict[str, str]:
    """Return the headers of one attempt at ``now`` (Standard Webhooks, "Signature scheme", symmetric ``v1``).

    Every secret signs, so that a receiver may know the old one or the new one while they change.
    """
    timestamp = str(now // seam.SECOND)
    signed = f"{event_id}.{timestamp}.".encode() + body
    digests = (hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets)
    return {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(d).decode()}" for d in digests),
    }


async def post(client: Counterpart, endpoint: Endpoint, event_id: str, body: bytes) -> Attempt:
    """Make one attempt: sign the event and send it; only 2xx is success."""
    started = seam.now()
    headers = signed_headers(event_id, body, endpoint.secrets, started)
    try:
        answer = await client.request("POST", endpoint.url, body=body, headers=headers)
    except NoAnswer as error:
        return Attempt(ok=False, milliseconds=(seam.now() - started) // 1000, error=str(error))
    ok = 200 <= answer.status < 300
    told = "" if ok else f"answered {answer.status}"
    after = _seconds(answer.retry_after)
    return Attempt(ok, answer.milliseconds, answer.status, told, after)


class Relay:
    """Sends what is due to ``endpoints`` (by ``app/name``), each through its own client and lane."""

    def __init__(
        self,
        database: Database,
        endpoints: Mapping[str, Endpoint],
        backoff: Backoff,
        timeout: float,
        opened: Iterable[Network] = (),
    ) -> None:
        self._database, self._endpoints, self._backoff = database, endpoints, backoff
        self._clients = {
            name: Counterpart("endpoint", timeout=timeout, connections=_SLOTS, opened=opened)
            for name in endpoints
        }
        # What ends while a commit is in flight shares the next.
        self._record = GroupCommit(partial(record_all, database, QUEUE))

    def lanes(self) -> list[Lane]:
        """Return a lane for each endpoint."""
        return [
            Lane(
                self._database, _queue_of(name), name, self.deliver, slots=_SLOTS, batch=_SLOTS // 2
            )
            for name in self._endpoints
        ]

    async def deliver(self, row: Row[Any]) -> None:
        """Make one attempt with a claimed delivery and record it."""
        body = row.body.encode()
        await seam.reach("before_delivery")
        client, endpoint = self._clients[row.endpoint], self._endpoints[row.endpoint]
        attempt = await post(client, endpoint, row.event_id, body)
        await seam.reach("after_delivery")
        metrics.DELIVERY_ATTEMPTS.labels(row.endpoint, _told(attempt)).inc()
        if not await self._record(Tried(row, attempt, self._outcome(row, attempt))):
            log.warning("late result refused", event_id=row.event_id, endpoint=row.endpoint)
        elif attempt.ok:
            took = (seam.now() - row.made_at) / seam.SECOND
            metrics.DELIVERY_SECONDS.labels(row.endpoint).observe(took)

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            client.close()

    def _outcome(self, row: Row[Any], attempt: Attempt) -> Record:
        told = {"endpoint": row.endpoint, "event_id": row.event_id}
        now = seam.now()
        if attempt.ok:
            then = _goods_arrived if row.type == "order.paid" else None
            done = {"status": "delivered"}
            return Record("delivery_id", done, "delivered", told, ended="delivered_at", then=then)
        if attempt.status == _GONE:
            log.error("endpoint paused", **told)
            paused = {"due_at": now}
            return Record("delivery_id", paused, "endpoint_paused", told, then=self._pause)
        failures = row.failures + 1
        due_at = self._backoff.due_after(failures, now)
        if due_at is None:
            log.error("delivery exhausted", **told)
            exhausted = {"status": "exhausted", "failures": failures}
            return Record("delivery_id", exhausted, "exhausted", told)
        asked = min(attempt.retry_after or 0.0, self._backoff.cap)
        due_at = max(due_at, now + int(asked * seam.SECOND))
        return Record("delivery_id", {"due_at": due_at, "failures": failures})

    async def _pause(self, connection: AsyncConnection, rows: Sequence[Row[Any]]) -> None:
        for name in {row.endpoint for row in rows}:
            await pause(connection, self._database, name, "answered 410")


def _told(attempt: Attempt) -> str:
    """Name how an attempt ended, for who counts them."""
    if attempt.ok:
        return "acknowledged"
    return "no_answer" if attempt.status is None else "refused"


def _queue_of(endpoint: str) -> Queue:
    """Return the queue of one endpoint's deliveries: nothing is due there while it is paused."""
    return replace(QUEUE, waiting=and_(QUEUE.waiting, is_open(endpoint)))


async def _goods_arrived(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> None:
    """Make due what is owed to the provider as soon as the merchant has the goods."""
    theirs = DUTIES.c.order_no.in_([row.order_no for row in rows])
    mine = (theirs, DUTIES.c.status == "due", DUTIES.c.failures == 0)
    now = seam.now()
    later = update(DUTIES).where(*mine, DUTIES.c.due_at > now, DUTIES.c.lease_token.is_(None))
    await connection.execute(later.values(due_at=now))


async def resend(database: Database, delivery_id: int, actor: str) -> None:
    """Make an exhausted or delivered delivery due again, with the same event id; raises Conflict."""
    this = [DELIVERIES.c.id == delivery_id]
    if not await _resend(database, this, list(Ended), actor):
        raise Conflict("There is no such delivery that has ended.")


async def resend_all(
    database: Database,
    status: Ended,
    since: int,
    until: int,
    endpoint: str | None,
    actor: str,
    advance: Callable[[int, int], None] = lambda _count, _at: None,
) -> int:
    """Make the deliveries of that ``status`` due again, all or those to ``endpoint``; return how many.

    They are of events made from ``since`` until before ``until`` (microseconds, UTC); each transaction takes a batch,
    after which ``advance`` gets how many they are so far, and the time of the last event.
    """
    count, position = 0, first_event_id(since)
    to_it = [] if endpoint is None else [DELIVERIES.c.endpoint == endpoint]
    while event_ids := await _next_events(database, position, first_event_id(until)):
        position = event_ids[-1]
        chosen = [DELIVERIES.c.event_id.in_(event_ids), *to_it]
        count += await _resend(database, chosen, [status], actor)
        advance(count, made_at(position))
    return count


async def _next_events(database: Database, after: str, before: str) -> Sequence[str]:
    ids = select(EVENTS.c.event_id).where(EVENTS.c.event_id > after, EVENTS.c.event_id < before)
    page = ids.order_by(EVENTS.c.event_id).limit(_BATCH)
    return (await database.read(lambda c: c.execute(page))).scalars().all()


async def _resend(
    database: Database, chosen: list[ColumnElement[bool]], ended: Collection[str], actor: str
) -> int:
    now = seam.now()
    again = {"status": "due", "due_at": now, "failures": 0, "delivered_at": None}

    def line(row: Row[Any]) -> dict[str, Any]:
        detail = json.dumps({"endpoint": row.endpoint, "event_id": row.event_id})
        told = {"what": "resent", "actor": actor, "detail": detail}
        return {"order_no": row.order_no, "at": now, **told}

    return await database.transaction(lambda c: try_again(c, QUEUE, chosen, ended, again, line))


def _seconds(retry_after: str | None) -> float | None:
    """Read ``Retry-After`` in seconds; its date form is rare and not worth trusting another clock for."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
