"""An order's timeline in human words: what happened, what was checked, in English and Chinese."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from payplat import money
from payplat.demo.client import Json
from payplat.demo.moment_words import STORES, TOLD, Told
from payplat.demo.name_words import CHECKED, DUTIES, FIELDS
from payplat.demo.shop_words import ShopWords
from payplat.words import spaced

# What a player does not want to know: what came of a question or a message is told by a line of its own.
_UNTOLD = ("queried", "evidence_kept")


@dataclass(frozen=True)
class Moment:
    """One line as a page shows it."""

    at: str
    clock: str
    after: str
    tone: str
    title: str
    text: str
    checked: tuple[str, ...]

    @property
    def icon(self) -> str:
        """Return a sign that says the same as the colour."""
        return icon(self.tone)


@dataclass(frozen=True)
class Narrator:
    """Tells of one order in one language: what happened, and what was checked.

    ``kind`` is that of the order's provider, ``events`` the types of the events that the game's server knows, by id.
    """

    order: Json
    kind: str
    events: Mapping[str, str]
    words: ShopWords

    def moments(self) -> list[Moment]:
        """Return the timeline, oldest first."""
        lines = self.order["timeline"]
        answers = {line["at"]: line["detail"] for line in lines if _is_answer(line)}
        return [
            self._moment({**line, "detail": {**answers.get(line["at"], {}), **line["detail"]}})
            for line in lines
            if not _is_answer(line) and line["what"] not in _UNTOLD
        ]

    def _moment(self, line: Json) -> Moment:
        told, here = self._told(line), self.words.language == "zh"
        values = self._values(line["detail"], here=here)
        at, opened = _read(line["at"]), _read(self.order["created_at"])
        checked = CHECKED.get(f"{self.kind} {line['what'].removesuffix('_late')}", ())
        return Moment(
            at=line["at"],
            clock=at.astimezone().strftime("%H:%M:%S"),
            after=f"+{(at - opened).total_seconds():.2f} s" if at > opened else "",
            tone=told.tone,
            title=values.fill(told.title[here]),
            text=values.fill(told.text[here]),
            checked=tuple(values.fill(each[here]) for each in checked),
        )

    def _told(self, line: Json) -> Told:
        what = self._what(line)
        whose = (f"{self.kind} ", "store " if self.kind in STORES else "", "")
        names = [who + each for each in (f"{what} {line['actor']}", what) for who in whose]
        known = (TOLD[name] for name in names if name in TOLD)
        return next(known, Told("plain", (what, what)))

    def _what(self, line: Json) -> str:
        what, detail = str(line["what"]), line["detail"]
        if what == "delivered":
            return self.events.get(detail.get("event_id", ""), "order.paid")
        if what == "noticed":
            return f"noticed {detail['notice']}"
        if what == "duty_attempt":
            return f"duty {detail['duty']}" if detail["ok"] else "duty failed"
        if what == "refunded" and "share" in detail:
            return "refunded share"
        return what

    def _values(self, detail: Json, *, here: bool) -> "_Values":
        values = _Values({name: str(each) for name, each in detail.items() if each is not None})
        order, field, duty = self.order, str(detail.get("field", "")), str(detail.get("duty", ""))
        values["company"] = self.words.name(self.kind)
        values["amount"] = price(detail.get("amount", order["amount"]), order["currency"])
        values["share"] = _percent(detail.get("share", 0))
        values["field"] = FIELDS.get(field, field) if here else field.replace("_", " ")
        values["duty"] = DUTIES.get(duty, (duty, duty))[here]
        values["error"] = _reason(str(detail.get("error", "")), here=here)
        return values


def icon(tone: str) -> str:
    """Return a sign for who cannot tell the colours."""
    return {"good": "✓", "wait": "…", "warn": "!", "bad": "✗"}.get(tone, "•")


def price(amount: int | None, currency: str | None) -> str:
    """Write an amount for people: ¥6.00, or USD 4.99."""
    if amount is None or currency is None:
        return ""
    text = money.to_text(amount, currency)
    return f"¥{text}" if currency == "CNY" else f"{currency} {text}"


class _Values(dict[str, str]):
    """What a text may name; what is not known is an ellipsis."""

    def fill(self, text: str) -> str:
        """Return the text with the values in place of their names."""
        return spaced(text.format_map(self))

    def __missing__(self, key: str) -> str:
        return "…"


def _percent(share: int) -> str:
    """Write thousandths of a percent."""
    whole, rest = divmod(share, 1000)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".") + " %"


def _reason(error: str, *, here: bool) -> str:
    """Shorten the reason of a failed attempt to what a person needs."""
    if "connect" in error.lower():
        return "连接不上" if here else "No connection"
    number = error.removeprefix("answered ")
    if number.isdecimal():
        return f"应答 {number}" if here else f"It answered {number}"
    return "没有得到应答" if here else "No answer came"


def _is_answer(line: Json) -> bool:
    """A successful attempt is told by the line ``delivered``, which stands at the same time."""
    return line["what"] == "delivery_attempt" and bool(line["detail"].get("ok"))


def _read(at: str) -> datetime:
    return datetime.fromisoformat(at)
