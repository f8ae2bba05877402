"""Signs of a channel's life: how often notices, verifications and failures came, when last, and what the last one said.

A process counts in memory and adds to the table every few seconds, in a small transaction of its own: no payment waits
for it. Signs are for people to look at. Where a reply to COMMIT is lost they may count twice.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import case, select
from structlog.contextvars import clear_contextvars

from payplat import seam
from payplat.database import Database
from payplat.errors import DatabaseUnavailable, ProviderMisconfigured, ProviderUnavailable
from payplat.models import SIGNS

log = structlog.get_logger("payplat")
# Seconds between two writes.
_PERIOD = 10.0
_MOST_DETAIL = 200


class Sign(StrEnum):
    """What there are signs of."""

    CALLBACK = "callback"  # an authentic notice of the provider's came
    FORGED = "forged"  # evidence that the provider did not sign came; the detail says in which step
    VERIFIED = "verified"  # the provider was asked, and its answer settled
    QUERY_FAILED = "query_failed"  # the provider could not be asked; the detail says why
    MISCONFIGURED = "misconfigured"  # the provider does not accept our account; the detail says why


@dataclass(frozen=True, slots=True)
class Seen:
    """How often, when last (microseconds since 1970, UTC), and what the last one said."""

    count: int = 0
    last_at: int = 0
    detail: str = ""

    def and_then(self, later: "Seen") -> "Seen":
        """Return both as one."""
        return Seen(self.count + later.count, later.last_at, later.detail)


class Signs:
    """The signs that this process sees; they are kept in memory until ``start`` is called."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._news: dict[tuple[str, str], Seen] = {}
        self._writer: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    def note(self, channel: str, sign: Sign, detail: str = "") -> None:
        """Count a sign; costs no I/O."""
        self._add((channel, sign.value), Seen(1, seam.now(), detail[:_MOST_DETAIL]))

    @contextmanager
    def asking(self, channel: str) -> Iterator[None]:
        """Count it when the provider cannot be asked in here; the error goes on."""
        try:
            yield
        except ProviderUnavailable as error:
            self.note(channel, Sign.QUERY_FAILED, str(error))
            raise
        except ProviderMisconfigured as error:
            self.note(channel, Sign.MISCONFIGURED, str(error))
            raise

    def start(self) -> None:
        """Write from now on what is new, every few seconds."""
        self._writer = asyncio.create_task(self._write_on())

    async def close(self) -> None:
        """Write what is new for the last time, if it was started."""
        self._ended.set()
        if self._writer is not None:
            await self._writer
            await self._write()
            if self._news:
                log.warning("signs lost", count=sum(seen.count for seen in self._news.values()))

    def _add(self, key: tuple[str, str], seen: Seen) -> None:
        self._news[key] = self._news.get(key, Seen()).and_then(seen)

    async def _write_on(self) -> None:
        clear_contextvars()  # nobody's request
        while not self._ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _PERIOD)
            await self._write()

    async def _write(self) -> None:
        """Add what is new to the table; what could not be written stays new."""
        news, self._news = self._news, {}
        if not news:
            return
        try:
            await write(self._database, news)
        except DatabaseUnavailable:
            self._keep(news)
        except Exception:
            # The writer must live: nobody starts it again.
            log.exception("signs not written")
            self._keep(news)

    def _keep(self, news: Mapping[tuple[str, str], Seen]) -> None:
        newer, self._news = self._news, dict(news)
        for key, seen in newer.items():
            self._add(key, seen)


async def write(database: Database, news: Mapping[tuple[str, str], Seen]) -> None:
    """Add these counts by (channel, sign) to the table's; raises DatabaseUnavailable."""
    # In one order in every process, so that two do not wait for each other.
    rows = [
        {"channel": channel, "what": what, **asdict(seen)}
        for (channel, what), seen in sorted(news.items())
    ]
    added = database.insert_or_change(SIGNS, ["channel", "what"], _added)
    await database.transaction(lambda c: c.execute(added, rows))


async def read_signs(database: Database) -> dict[str, dict[str, Seen]]:
    """Return what all processes have written, by channel and sign; raises DatabaseUnavailable."""
    found: dict[str, dict[str, Seen]] = defaultdict(dict)
    for row in (await database.read(lambda c: c.execute(select(SIGNS)))).mappings():
        found[row["channel"]][row["what"]] = Seen(row["count"], row["last_at"], row["detail"])
    return found


def _added(new: Any) -> dict[str, Any]:
    """Return what becomes of a row; ``last_at``, which the others ask for, is the last."""
    is_newer = new.last_at >= SIGNS.c.last_at
    return {
        "count": SIGNS.c.count + new.count,
        "detail": case((is_newer, new.detail), else_=SIGNS.c.detail),
        "last_at": case((is_newer, new.last_at), else_=SIGNS.c.last_at),
    }
