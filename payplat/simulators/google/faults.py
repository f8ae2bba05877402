"""What can be made to go wrong: with a notification, and with an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from payplat.simulators.google.refusals import REASONS

UNPROCESSED = {
    "html": "an HTML page of status 502, as a proxy sends it",
    **dict.fromkeys(REASONS, "Google's error with this reason, nothing done"),
}
PROCESSED = {
    "cut": "the connection is closed without an answer",
    "slow": "the answer comes after `seconds`",
    "empty": "the right status and no body",
    "garbage": "status 200 and half of the JSON",
    "altered": "fields changed: `alter`, None leaves one out",
}
KINDS = {**UNPROCESSED, **PROCESSED}


@dataclass(frozen=True)
class AnswerFault:
    """One spoiled answer.

    `processed` says whether the request is carried out nevertheless; by default not for the
    kinds of UNPROCESSED, and yes for those of PROCESSED. `retry_after`: seconds in that header.
    """

    kind: str
    seconds: float = 3.0
    processed: bool | None = None
    retry_after: int | None = None
    alter: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is none of {', '.join(KINDS)}")

    @property
    def carries_out(self) -> bool:
        """Whether the request takes effect all the same."""
        return self.kind in PROCESSED if self.processed is None else self.processed


@dataclass(frozen=True)
class NoticeFault:
    """What happens to a notification on its way.

    `drop`: it never comes. `lose`: the first n deliveries never arrive. `delay`: seconds on the
    simulator's clock before the first. `copies`: delivered n times under one messageId, one after
    the other or in `parallel`. `republish`: published n times more, each under its own messageId.
    `hold`: waits for flush(). `behind_next`: goes out after the next notification of the same
    purchase.
    """

    drop: bool = False
    lose: int = 0
    delay: float = 0.0
    copies: int = 1
    parallel: bool = False
    republish: int = 0
    hold: bool = False
    behind_next: bool = False


F = TypeVar("F", NoticeFault, AnswerFault)


@dataclass
class _Armed(Generic[F]):
    """A fault, for which it is meant, and how often still (None: until cleared)."""

    fault: F
    what: str
    token: str
    times: int | None

    def fits(self, what: str, token: str) -> bool:
        return self.what in what and self.token in ("", token)


class Faults:
    """Faults wait in order; each event takes the first one that fits it."""

    def __init__(self) -> None:
        self._notices: list[_Armed[NoticeFault]] = []
        self._answers: list[_Armed[AnswerFault]] = []

    def notification(
        self, *, event: str = "", token: str = "", times: int | None = 1, **fault: Any
    ) -> None:
        """Spoil the next `times` notifications of this event and purchase (any when empty).

        Events: see herald.EVENTS. A fault belongs to a notification, its redeliveries included.
        """
        self._notices.append(_Armed(NoticeFault(**fault), event, token, times))

    def answer(self, kind: str, *, path: str = "", times: int | None = 1, **fault: Any) -> None:
        """Spoil the next `times` answers to requests with `path` in theirs, with a kind of KINDS."""
        self._answers.append(_Armed(AnswerFault(kind, **fault), path, "", times))

    def take_notice(self, event: str, token: str) -> NoticeFault:
        """Take the fault meant for this notification; one without any harm where there is none."""
        return _take(self._notices, event, token) or NoticeFault()

    def take_answer(self, path: str) -> AnswerFault | None:
        """Take the fault meant for the answer to this path, if any."""
        return _take(self._answers, path, "")

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._notices.clear()
        self._answers.clear()


def _take(armed: list[_Armed[F]], what: str, token: str) -> F | None:
    first = next((each for each in armed if each.fits(what, token)), None)
    if first is None:
        return None
    if first.times is not None:
        first.times -= 1
        if first.times <= 0:
            armed.remove(first)
    return first.fault
