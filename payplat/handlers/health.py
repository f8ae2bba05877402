"""``/healthz`` says that this process lives; ``/readyz`` that it can do its work."""

import asyncio
from collections.abc import Awaitable, Callable

from payplat.errors import PayplatError
from payplat.handlers.base import BaseHandler


class HealthHandler(BaseHandler):
    """Alive."""

    def get(self) -> None:
        """Answer 200 as long as the loop turns."""
        self.answer(200, {"status": "alive"})


class ReadyHandler(BaseHandler):
    """Ready, or not and why."""

    def initialize(self, checks: dict[str, Callable[[], Awaitable[None]]]) -> None:
        """Receive what must hold, by name; each raises a PayplatError when it does not."""
        self.checks = checks

    async def get(self) -> None:
        """Answer 200 when every check holds, otherwise 503 with the reasons."""
        found = await asyncio.gather(*map(_reason, self.checks.values()))
        reasons = {name: why for name, why in zip(self.checks, found, strict=True) if why}
        status = "unready" if reasons else "ready"
        self.answer(503 if reasons else 200, {"status": status, "reasons": reasons})


async def _reason(check: Callable[[], Awaitable[None]]) -> str:
    """Return why the check does not hold, or nothing."""
    try:
        await check()
    except PayplatError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a reason
        return type(error).__name__
    return ""
