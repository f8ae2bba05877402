"""The one door through which clock, ids, randomness, HTTP clients and crash points enter, so that a test can hold them.

In production each function is the plain thing. ``tests`` and the simulation replace the module's ``world``.
Times are integers: microseconds since 1970 in UTC.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")
SECOND = 1_000_000
# Of our own: the global one belongs to whoever has seeded it.
_JITTER = random.Random()  # noqa: S311 - jitter is no secret
# How far a process's clock may be off the database's, in seconds; `payplat doctor` finds the one that is.
MOST_SKEW = 5.0


class World:
    """The real world: system clock, system randomness, no crashes."""

    def now(self) -> int:
        """Return the time: microseconds since 1970, UTC."""
        return time.time_ns() // 1000

    def random_bytes(self, count: int) -> bytes:
        """Return ``count`` unpredictable bytes."""
        return secrets.token_bytes(count)

    def uniform(self) -> float:
        """Return a number in [0, 1), for jitter."""
        return _JITTER.random()

    async def sleep(self, seconds: float) -> None:
        """Sleep that many seconds."""
        await asyncio.sleep(seconds)

    async def reach(self, point: str) -> None:
        """Pass a named crash point; does nothing here."""

    def http_client(self, make: Callable[[], T]) -> T:
        """Return the HTTP client that calls go through: here the one that ``make`` makes."""
        return make()


world = World()


def now() -> int:
    """Return the time: microseconds since 1970, UTC."""
    return world.now()


def rfc3339(micros: int) -> str:
    """Write microseconds since 1970 as RFC 3339 text in UTC, with milliseconds."""
    seconds, rest = divmod(micros, SECOND)
    return f"{_to_the_second(seconds)}.{rest // 1000:03}Z"


@lru_cache(maxsize=256)
def _to_the_second(seconds: int) -> str:
    """Many moments that are told share their second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def uniform() -> float:
    """Return a number in [0, 1), for jitter."""
    return world.uniform()


async def sleep(seconds: float) -> None:
    """Sleep that many seconds."""
    await world.sleep(seconds)


async def reach(point: str) -> None:
    """Pass the crash point of that name."""
    await world.reach(point)


def http_client(make: Callable[[], T]) -> T:
    """Return the HTTP client that calls go through, in place of the one that ``make`` would make."""
    return world.http_client(make)


def new_id() -> str:
    """Return a UUIDv7 (RFC 9562, 5.7) as 32 lower-case hex characters: 48 bits of milliseconds, 74 random bits."""
    random_bits = int.from_bytes(world.random_bytes(10), "big")
    high, low = random_bits >> 68, random_bits & ((1 << 62) - 1)
    value = (now() // 1000) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    return f"{value:032x}"


def new_token() -> str:
    """Return an unguessable name of 32 hex characters, for leases."""
    return world.random_bytes(16).hex()
