"""A process of the model: the ledger and its jobs, without anything of another one's but the database."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Row, select
from sqlalchemy.exc import NoResultFound

from payplat import database, deliveries, duties, waiting
from payplat.database import Database
from payplat.deliveries import Relay
from payplat.duties import Duties
from payplat.endpoints import Endpoint
from payplat.errors import PayplatError
from payplat.lanes import LEASE
from payplat.models import EVENTS
from payplat.orders import Orders
from payplat.reconcile import QUEUE as CHECKS
from payplat.reconcile import Reconciler
from payplat.retry import Backoff
from tests.ledger.build import fetch
from tests.prove.model_company import Company
from tests.prove.model_words import ENDPOINTS, TERMS, Key

CHECKED = Backoff(base=15, factor=2, cap=3600, jitter=0)
_TRIED = Backoff(base=10, factor=3, cap=600, jitter=0, attempts=2)
_MOST_WAITING = 2
_MANY = 99
_ENDPOINTS = {name: Endpoint("https://shop.example/", (b"secret",)) for name in ENDPOINTS}


@dataclass(frozen=True)
class Held:
    """A claimed row, by its name and the process that holds it."""

    queue: str
    key: Key
    who: int
    row: Row[Any]


class Process:
    """The process ``who``."""

    def __init__(self, who: int, database: Database, companies: Mapping[str, Company]) -> None:
        self.orders = Orders(database, TERMS)
        self.reconciler = Reconciler(database, self.orders, companies, CHECKED, lambda: None)
        self._who, self._database = who, database
        self._relay = Relay(database, _ENDPOINTS, _TRIED, timeout=10)
        self._duties = Duties(database, self.orders, companies)

    async def claim(self, queue: str, lane: str) -> list[Held]:
        """Take what is due in a lane, in the order of the names."""
        rows = deliveries._queue_of(lane) if queue == "deliveries" else _QUEUES[queue]
        found = await rows.claim(self._database, lane, limit=_MANY, lease=LEASE)
        keys = await self._keys(queue, found)
        held = [Held(queue, key, self._who, row) for key, row in zip(keys, found, strict=True)]
        return sorted(held, key=lambda each: each.key)

    async def extend(self, queue: str, held: Sequence[Held]) -> int:
        """Hold on to rows of a queue; return how many of them are still ours."""
        rows = [each.row for each in held]
        return await _QUEUES[queue].extend(self._database, rows, LEASE)

    async def perform(self, held: Held) -> str:
        """Work on a claimed row as a lane does; return why it could not, if so."""
        work = {
            "checks": self.reconciler.check,
            "deliveries": self._relay.deliver,
            "duties": self._duties.perform,
        }
        try:
            await work[held.queue](held.row)
        except NoResultFound:
            return "gone"  # with its event
        except PayplatError as error:
            return type(error).__name__
        return ""

    async def drain(self) -> None:
        """Finish what was begun."""
        await self.reconciler.drain()
        await self.orders.drain()

    async def _keys(self, queue: str, rows: Sequence[Row[Any]]) -> list[Key]:
        numbers = [int(row.order_no, 16) for row in rows]
        if queue == "checks":
            return [(number,) for number in numbers]
        if queue == "duties":
            return [(n, row.what, row.cause) for n, row in zip(numbers, rows, strict=True)]
        ids = EVENTS.c.event_id.in_({row.event_id for row in rows})
        events = await fetch(self._database, select(EVENTS).where(ids)) if rows else []
        named = {event["event_id"]: (event["type"], event["cause"]) for event in events}
        ways = zip(numbers, rows, strict=True)
        return [(number, *named[row.event_id], row.endpoint) for number, row in ways]


_QUEUES = {"checks": CHECKS, "duties": duties.QUEUE, "deliveries": deliveries.QUEUE}


@contextmanager
def small_limits() -> Iterator[None]:
    """Let a database be given up, a duty be exhausted, and too much evidence wait, within a few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_BACKOFF", Backoff(base=0, attempts=3))
        patch.setattr(duties, "BACKOFF", _TRIED)
        patch.setattr(waiting, "_MOST_WAITING", _MOST_WAITING)
        yield
