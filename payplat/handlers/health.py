"""``/healthz`` says that this process lives; ``/readyz`` that it can do its work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import TypedDict

from payplat.errors import PayplatError
from payplat.handlers.base import BaseHandler
from payplat.handlers.described import ANY_REQUEST, Answer, Content, Operation, problems


class Alive(TypedDict):
    """This process lives."""

    status: Literal["alive"]


class Readiness(TypedDict):
    """Whether this process can do its work, and by name what it lacks."""

    status: Literal["ready", "unready"]
    reasons: Annotated[dict[str, str], Field(examples=[{"database": "it does not answer"}])]


class HealthHandler(BaseHandler):
    """Alive."""

    description: ClassVar[Operation] = Operation(
        name="healthz",
        title="Is it alive?",
        says="Whether this process lives, whatever it could do.",
        answers={200: Answer("It lives.", Content(Alive)), **problems(*ANY_REQUEST)},
    )

    def get(self) -> None:
        """Answer 200 as long as the loop turns."""
        self.answer(200, {"status": "alive"})


class ReadyHandler(BaseHandler):
    """Ready, or not and why."""

    description: ClassVar[Operation] = Operation(
        name="readyz",
        title="Is it ready?",
        says="Whether this process can do its work: a balancer sends it requests as long as it says so.",
        answers={
            200: Answer("It is ready.", Content(Readiness)),
            503: Answer("It is not, and why.", Content(Readiness)),
            **problems(*ANY_REQUEST),
        },
    )

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
