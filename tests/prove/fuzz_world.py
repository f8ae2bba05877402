"""The world of a fuzzed parser: a clock that stands still, no network, no logs, no warnings."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from payplat import seam


class StoppedWorld(seam.World):
    """It is always the same moment, in microseconds since 1970, and nobody can be called."""

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        """Return that moment."""
        return self._now

    def http_client(self, make: Callable[[], Any]) -> Any:
        """Return no client."""


@contextmanager
def stopped(now: int) -> Iterator[None]:
    """Be in that world; logs and warnings are not what is judged there."""
    before, kept = seam.world, structlog.get_config()
    seam.world = StoppedWorld(now)
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        seam.world = before
        structlog.configure(**kept)


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent
