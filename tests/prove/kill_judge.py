"""The judge: compares what MariaDB holds with the books of the buyers, the companies and the merchant."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from payplat.simulators.alipay.courier import DELIVERED
from tests.prove.judge import KINDS
from tests.prove.kill_buyers import Buyers
from tests.prove.kill_scene import Scene

_MICROS = 1_000_000
_ORDERS = """\
SELECT o.order_no, o.status, o.settled_at,
 (SELECT count(*) FROM payplat.payments p WHERE p.order_no = o.order_no),
 (SELECT sum(p.amount) FROM payplat.payments p WHERE p.order_no = o.order_no),
 (SELECT count(*) FROM payplat.events e WHERE e.order_no = o.order_no AND e.type = 'order.paid')
FROM payplat.orders o"""
_EVENTS = "SELECT event_id FROM payplat.events"
# What is not done: a delivery, a duty, and the order that it belongs to.
_OPEN = """\
SELECT order_no, concat('delivery is ', status) FROM payplat.deliveries WHERE status != 'delivered'
UNION ALL
SELECT order_no, concat(what, ' is ', status) FROM payplat.duties WHERE status != 'done'"""
_TIMELINE = "SELECT at, what, actor, detail FROM payplat.timeline WHERE order_no = %s ORDER BY id"


class Found(NamedTuple):
    """One breach of what is promised."""

    kind: str
    order_no: str
    says: str


class Record(NamedTuple):
    """One order as MariaDB has it."""

    status: str
    settled_at: int | None
    payments: int
    amount: int | None
    events: int


@dataclass
class Judge:
    """Looks after each kill at what must hold always, and in the end at what must hold then."""

    scene: Scene
    buyers: Buyers

    def __post_init__(self) -> None:
        self.found: dict[tuple[str, str], Found] = {}

    @property
    def verdict(self) -> str:
        """The line that says it all."""
        times = Counter(kind for kind, _ in self.found)
        return " ".join(f"{kind} {times[kind]}" for kind in KINDS)

    def find(self, kind: str, order_no: str, says: str) -> None:
        """Take note of a breach, once for each order."""
        self.found.setdefault((kind, order_no or says), Found(kind, order_no, says))

    async def look(self) -> None:
        """Check what must hold at any time."""
        opened, heard = dict(self.buyers.opened), dict(self.buyers.heard)
        told = {id_: event["data"]["order_no"] for id_, event in self.scene.merchant.events.items()}
        records = await self._records()
        for number in opened.keys() - records.keys():
            self.find("lost", number, "an order that a buyer got is not there")
        for number, at in heard.items():
            self._acknowledged(number, at, records)
        for number, record in records.items():
            self._is_sound(number, record)
        events = {_text(row[0]) for row in await self.scene.database.ask(_EVENTS)}
        for event_id, number in told.items():
            if number not in self.buyers.paid or event_id not in events:
                self.find("early", number, "the merchant was told what was not paid or recorded")

    async def close(self) -> None:
        """Check everything; all has had the time to become quiet, and payplat has ended."""
        await self.look()
        records, given = await self._records(), self.scene.merchant.fulfilled
        for number in self.buyers.paid:
            if number not in records or not records[number].payments:
                self.find("lost", number, "paid at the company, and not on record")
            elif not given[number]:
                self.find("lost", number, "paid, and the merchant never learned of it")
        for number in records.keys() - self.buyers.opened.keys():
            self.find("unexplained", number, "an order that no buyer got")
        for number, says in await self.scene.database.ask(_OPEN):
            self.find("unexplained", _text(number), _text(says))
        for notice in self.scene.companies.alipay.herald.courier.notices:
            if notice.state != DELIVERED:
                self.find("unexplained", notice.trade.out_trade_no, f"notice {notice.state}")
        for stack in self.scene.stacks():
            self.find("unexplained", "", stack)

    async def is_quiet(self) -> bool:
        """Tell whether nothing is left to be done."""
        records = await self._records()
        missing = any(not (n in records and records[n].payments) for n in self.buyers.paid)
        return not missing and not await self.scene.database.ask(_OPEN)

    async def timeline(self, order_no: str) -> Iterator[str]:
        """Return what payplat wrote down about an order."""
        rows = await self.scene.database.ask(_TIMELINE, order_no.encode())
        return (" ".join(map(_text, row)) for row in rows)

    async def _records(self) -> dict[str, Record]:
        rows = await self.scene.database.ask(_ORDERS)
        return {_text(number): Record(_text(status), *rest) for number, status, *rest in rows}

    def _acknowledged(self, number: str, at: float, records: dict[str, Record]) -> None:
        """What somebody was told must be on record since before; who asked later and found it has mended a loss."""
        record = records.get(number)
        if record is None or not (record.payments and record.events):
            self.find("lost", number, "acknowledged, and not on record")
        elif record.settled_at is None or record.settled_at > at * _MICROS:
            self.find("lost", number, "acknowledged before it was on record")

    def _is_sound(self, number: str, record: Record) -> None:
        if max(record.payments, record.events, self.scene.merchant.fulfilled[number]) > 1:
            self.find("double", number, f"{record.payments} payments, {record.events} events")
        if record.payments and number not in self.buyers.paid:
            self.find("early", number, "on record as paid, and nobody paid")
        if bool(record.payments) != (record.status == "paid") or (record.events != record.payments):
            self.find("unexplained", number, f"{record.status}: {record.payments} payments")
        price = self.buyers.opened.get(number)
        if record.payments and price is not None and record.amount != price:
            self.find("unexplained", number, f"{record.amount} paid for {price}")


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
