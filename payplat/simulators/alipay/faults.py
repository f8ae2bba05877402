"""What can be made to go wrong: with a notification, and with an answer of the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, TypeVar

UNPROCESSED = {
    "http_500": "HTTP status 500",
    "html": "an HTML page of status 200, as a proxy in maintenance sends it",
    "20000": "isp.unknow-error: outcome unknown",
    "40005": "isv.app-call-limited",
    "system_error": "ACQ.SYSTEM_ERROR: outcome unknown",
    "error": "the error named by `sub_code`",
}
PROCESSED = {
    "cut": "the connection is closed without an answer",
    "slow": "the answer comes after `seconds`",
    "unsigned": "no `sign`",
    "wrong_key": "signed by a key nobody knows",
    "sha1": "signed with SHA-1",
    "altered": "fields changed (`alter`) after signing",
    "repeated_node": "the node stands there twice, the second time altered",
    "unescaped": "`\\/` turned into `/` after signing",
}
KINDS = {**UNPROCESSED, **PROCESSED}

_CHOICES = {
    "charset": ("utf-8", "gbk"),
    "blank": ("", "signed", "unsigned"),
    "sign_with": ("platform", "wrong"),
    "digest": ("sha256", "sha1"),
    "signature": ("once", "none", "double"),
}


@dataclass(frozen=True)
class AnswerFault:
    """One spoiled answer.

    `processed` says whether the request is carried out nevertheless; by default not for the
    kinds of UNPROCESSED, and yes for those of PROCESSED.
    """

    kind: str
    seconds: float = 3.0
    processed: bool | None = None
    sub_code: str = "ACQ.SYSTEM_ERROR"
    alter: Mapping[str, str] = field(default_factory=lambda: {"msg": "Altered"})

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is none of {', '.join(KINDS)}")

    @property
    def carries_out(self) -> bool:
        """Whether the request takes effect all the same."""
        return self.kind in PROCESSED if self.processed is None else self.processed


@dataclass(frozen=True)
class Spoil:
    """What is wrong with the text of a notification.

    The first group is signed as if it were true: authentic but wrong. `blank` adds an empty
    parameter, `signed` or `unsigned` (part of the signed text or not). The second group breaks
    the signature: `sign_with` platform or wrong, `digest` sha256 or sha1, `signature` once, none
    or double (a second `sign` by a stranger), `tamper` changes parameters after signing.
    """

    amount_off: int = 0
    foreign_app: bool = False
    other_seller: bool = False
    passback_params: str | None = None
    charset: str = "utf-8"
    blank: str = ""
    extra: bool = False
    zero_refund_fee: bool = False
    open_id: bool = False
    overrides: Mapping[str, str | None] = field(default_factory=dict)

    sign_with: str = "platform"
    digest: str = "sha256"
    signature: str = "once"
    tamper: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A misspelt choice would quietly be no fault at all."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: {getattr(self, name)!r} is none of {choices}")

    @classmethod
    def of(cls, changes: Mapping[str, Any]) -> Spoil:
        """Names that are no fault are parameters to override (None leaves one out)."""
        names = {each.name for each in fields(Spoil)}
        known = {name: value for name, value in changes.items() if name in names}
        others = {name: value for name, value in changes.items() if name not in names}
        spoil = Spoil(**known)
        return replace(spoil, overrides={**spoil.overrides, **others})


@dataclass(frozen=True)
class NoticeFault(Spoil):
    """What is wrong with a notification on its way, besides its text.

    `drop`: it never comes. `lose`: the first n attempts never arrive. `delay`: seconds on the
    simulator's clock before the first attempt. `copies`: sent n times, one after the other or
    in `parallel`. `hold`: waits for flush(). `behind_next`: goes out after the next notification
    of the same trade. `then_genuine`: a faultless one follows it.
    """

    drop: bool = False
    lose: int = 0
    delay: float = 0.0
    copies: int = 1
    parallel: bool = False
    hold: bool = False
    behind_next: bool = False
    then_genuine: bool = False


F = TypeVar("F", NoticeFault, AnswerFault)


@dataclass
class _Armed(Generic[F]):
    """A fault, for which it is meant, and how often still (None: until cleared)."""

    fault: F
    what: str
    out_trade_no: str
    times: int | None

    def fits(self, what: str, out_trade_no: str) -> bool:
        return self.what in ("", what) and self.out_trade_no in ("", out_trade_no)


class Faults:
    """Faults wait in order; each event takes the first one that fits it."""

    def __init__(self) -> None:
        self._notices: list[_Armed[NoticeFault]] = []
        self._answers: list[_Armed[AnswerFault]] = []

    def notification(
        self, *, out_trade_no: str = "", event: str = "", times: int | None = 1, **fault: Any
    ) -> None:
        """Spoil the next `times` notifications (paid, refunded, closed, finished; any when empty).

        A fault belongs to a notification, so that its retries suffer from it too.
        """
        self._notices.append(_Armed(NoticeFault(**fault), event, out_trade_no, times))

    def answer(
        self,
        kind: str,
        *,
        method: str = "",
        out_trade_no: str = "",
        times: int | None = 1,
        **fault: Any,
    ) -> None:
        """Spoil the next `times` answers to `method` (any when empty) with a kind of KINDS."""
        self._answers.append(_Armed(AnswerFault(kind, **fault), method, out_trade_no, times))

    def take_notice(self, event: str, out_trade_no: str) -> NoticeFault | None:
        """Take the fault meant for this notification, if any."""
        return _take(self._notices, event, out_trade_no)

    def take_answer(self, method: str, out_trade_no: str) -> AnswerFault | None:
        """Take the fault meant for this answer, if any."""
        return _take(self._answers, method, out_trade_no)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._notices.clear()
        self._answers.clear()


def _take(armed: list[_Armed[F]], what: str, out_trade_no: str) -> F | None:
    first = next((each for each in armed if each.fits(what, out_trade_no)), None)
    if first is None:
        return None
    if first.times is not None:
        first.times -= 1
        if first.times <= 0:
            armed.remove(first)
    return first.fault
