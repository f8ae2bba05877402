"""Waiting for what must come, and giving up when it does not."""

import asyncio
import time
from collections.abc import Awaitable, Callable


class Failed(Exception):
    """Something that must happen did not."""


async def until(
    what: str, condition: Callable[[], bool | Awaitable[bool]], seconds: float = 60
) -> float:
    """Wait until ``condition`` holds and return how long it took; raises Failed, naming ``what``."""
    began = time.monotonic()
    while True:
        holds = condition()
        if isinstance(holds, Awaitable):
            holds = await holds
        passed = time.monotonic() - began
        if holds:
            return passed
        if passed > seconds:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(0.1)
