"""What the shop's pages show of an order: put together from the public API and the game's own server."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payplat.demo.client import Json
from payplat.demo.moments import Moment, Narrator, icon, price
from payplat.demo.shop_words import ShopWords
from payplat.simulators.merchant import Merchant

_REACHED = {
    "pending": 1,
    "checking": 1,
    "awaited": 1,
    "closed": 1,
    "held": 2,
    "paid": 2,
    "delivered": 3,
    "refunded": 3,
}
_TONES = {
    "pending": "wait",
    "checking": "wait",
    "awaited": "wait",
    "paid": "wait",
    "delivered": "good",
    "held": "warn",
}
_ENDS = ("delivered", "closed", "refunded")
_LOOK_SOON, _LOOK_LATER = 400, 2000


@dataclass(frozen=True)
class Message:
    """One attempt that reached the game's server."""

    number: int
    kind: str
    id: str
    clock: str
    valid: bool
    body: str


@dataclass(frozen=True)
class View:
    """An order as a page shows it, in one language."""

    order: Json
    kind: str
    state: str
    moments: Sequence[Moment]
    messages: Sequence[Message]
    raw: str

    @property
    def reached(self) -> int:
        """How many of the steps ordered, paid, delivered are done."""
        return _REACHED[self.state]

    @property
    def tone(self) -> str:
        """The colour of the state."""
        return _TONES.get(self.state, "plain")

    @property
    def icon(self) -> str:
        """A sign that says the same as the colour."""
        return icon(self.tone)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is awaited."""
        return self.state in _ENDS

    @property
    def price(self) -> str:
        """What it costs."""
        return price(self.order["amount"], self.order["currency"])

    @property
    def until(self) -> str:
        """When the time to pay ends, on the clock of this machine."""
        return clock(datetime.fromisoformat(self.order["expires_at"]))

    @property
    def version(self) -> str:
        """Something that differs when there is more to see."""
        return f"{self.state}-{len(self.moments)}-{len(self.messages)}"

    @property
    def look_again(self) -> int:
        """When to look for news, in milliseconds."""
        return _LOOK_LATER if self.is_over else _LOOK_SOON


def view_of(order: Json, kind: str, merchant: Merchant, words: ShopWords) -> View:
    """Return what is to be seen now of an order whose provider is of this ``kind``."""
    kinds = {event_id: str(event["type"]) for event_id, event in merchant.events.items()}
    return View(
        order,
        kind,
        _state(order, kind, kinds),
        Narrator(order, kind, kinds, words).moments(),
        list(_messages(merchant, order["order_no"])),
        json.dumps(order, ensure_ascii=False, indent=2),
    )


def clock(moment: datetime) -> str:
    """Write a time of day as the clock of this machine shows it."""
    return moment.astimezone().strftime("%H:%M:%S")


def _state(order: Json, kind: str, kinds: dict[str, str]) -> str:
    """A paid order has arrived when the game's server took ``order.paid``; a receipt that waits is being checked.

    With Google it is rather the money that is awaited.
    """
    told = [line["detail"] for line in order["timeline"] if line["what"] == "delivered"]
    taken = any(kinds.get(detail.get("event_id"), "") == "order.paid" for detail in told)
    waits = any(line["what"] == "evidence_waiting" for line in order["timeline"])
    status, waiting = str(order["status"]), "awaited" if kind == "google" else "checking"
    further = {"paid": ("delivered", taken), "pending": (waiting, waits)}
    state, is_reached = further.get(status, (status, True))
    return state if is_reached else status


def _messages(merchant: Merchant, order_no: str) -> Iterator[Message]:
    tries: dict[str, int] = {}
    for each in merchant.received:
        event = _event(each.body)
        if event.get("data", {}).get("order_no") != order_no:
            continue
        tries[each.id] = tries.get(each.id, 0) + 1
        yield Message(
            number=tries[each.id],
            kind=str(event.get("type", "")),
            id=each.id,
            clock=clock(datetime.fromtimestamp(each.at).astimezone()),
            valid=each.valid,
            body=json.dumps(event, ensure_ascii=False, indent=2),
        )


def _event(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
