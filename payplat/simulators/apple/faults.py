"""What can be made to go wrong: with an answer of the API, and with a notification on its way."""

from __future__ import annotations

from dataclasses import dataclass

UNPROCESSED = {
    "500": "500 with 5000000",
    "500_retryable": "500 with 5000001",
    "503": "503 without a body",
    "429": "429 with Retry-After, an absolute time in milliseconds",
    "401": "401 without a body",
    "retryable_404": "404 with 4040002: the same question may succeed later",
    "not_found": "404 with 4040010, although the transaction exists",
    "timeout": "no answer as long as the simulator runs",
    "cut": "the connection is closed without an answer",
    "redirect": "302 to another address",
}
PROCESSED = {
    "slow": "the answer comes after the knob `slow_answer`",
    "html": "an HTML page of status 200, as a proxy in maintenance sends it",
    "empty": "status 200 without a body",
    "truncated": "the JSON ends in the middle",
    "no_fields": "an empty JSON object",
    "other_transaction": "a genuine transaction of another purchase",
    "other_app": "the right transaction, of another app, rightly signed",
    "other_environment": "the right transaction, of the other environment, rightly signed",
    "wrong_signature": "signed by a key that is not the leaf's",
    "expired_leaf": "signed under a leaf whose time is over",
}
KINDS = {**UNPROCESSED, **PROCESSED}


@dataclass(frozen=True)
class AnswerFault:
    """One spoiled answer; those of UNPROCESSED leave the request without effect."""

    kind: str
    path: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is none of {', '.join(KINDS)}")


@dataclass(frozen=True)
class NoticeFault:
    """What is wrong with a notification on its way.

    `drop`: no attempt arrives, and Apple knows it. `lose`: the first n attempts do not arrive.
    `delay`: seconds on the simulator's clock before the first attempt. `copies`: sent n times in
    one attempt, one after the other or in `parallel`. `hold`: waits for flush(). `behind_next`:
    goes out after the next notification of the same app.
    """

    drop: bool = False
    lose: int = 0
    delay: float = 0.0
    copies: int = 1
    parallel: bool = False
    hold: bool = False
    behind_next: bool = False


class Faults:
    """Faults wait in order; each event takes the first one that fits it."""

    def __init__(self) -> None:
        self._answers: list[AnswerFault] = []
        self._notices: list[tuple[str, NoticeFault]] = []

    def answer(self, kind: str, path: str = "") -> None:
        """Spoil the next answer to a request whose path contains `path`, with a kind of KINDS."""
        self._answers.append(AnswerFault(kind, path))

    def notification(self, notification_type: str, fault: NoticeFault) -> None:
        """Spoil the next notification of this type, any when empty; its retries suffer too."""
        self._notices.append((notification_type, fault))

    def take_answer(self, path: str) -> str:
        """The kind of fault meant for this request, empty if none."""
        fault = next((each for each in self._answers if each.path in path), None)
        if fault is None:
            return ""
        self._answers.remove(fault)
        return fault.kind

    def take_notice(self, notification_type: str) -> NoticeFault:
        """The fault meant for this notification, a harmless one if none."""
        for armed in self._notices:
            if armed[0] in ("", notification_type):
                self._notices.remove(armed)
                return armed[1]
        return NoticeFault()

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._answers.clear()
        self._notices.clear()
