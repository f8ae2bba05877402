"""The judges: they compare what each node holds with the books of Alipay, the merchant and the buyers."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from payplat.simulators.alipay.courier import DELIVERED
from tests.galera.buyers import Buyers
from tests.galera.errors import unforeseen
from tests.galera.nodes import Node
from tests.galera.scene import Scene

_ORDERS = "SELECT order_no FROM payplat.orders"
_PAID_ONCE = """\
SELECT order_no FROM payplat.orders o WHERE status = 'paid'
AND (SELECT count(*) FROM payplat.payments p WHERE p.order_no = o.order_no) = 1
AND (SELECT count(*) FROM payplat.events e WHERE e.order_no = o.order_no) = 1
"""
_DELIVERED = """\
SELECT e.order_no FROM payplat.events e JOIN payplat.deliveries d ON d.event_id = e.event_id
WHERE e.type = 'order.paid' AND d.status = 'delivered'
"""


@dataclass(frozen=True)
class Finding:
    """What one judge looked at, and what of it breaks the rule."""

    rule: str
    seen: int
    broken: Sequence[object] = ()

    @property
    def holds(self) -> bool:
        """Whether the rule holds, and was put to the test at all."""
        return self.seen > 0 and not self.broken


@dataclass(frozen=True)
class Record:
    """What one node holds: the numbers of orders, and a checksum of each table."""

    name: str
    orders: set[str]
    paid_once: set[str]
    delivered: set[str]
    tables: dict[str, int]

    @classmethod
    async def of(cls, node: Node) -> "Record":
        """Read it, with all that the cluster has committed."""
        numbers = [await _numbers(node, each) for each in (_ORDERS, _PAID_ONCE, _DELIVERED)]
        return cls(node.name, *numbers, await _checksums(node))


@dataclass(frozen=True)
class Judges:
    """They see everybody's books, what each node holds, and how payplat's processes ended."""

    scene: Scene
    buyers: Buyers
    records: Sequence[Record]
    exit_codes: Sequence[int]

    @classmethod
    async def called(cls, scene: Scene, buyers: Buyers, exit_codes: Sequence[int]) -> "Judges":
        """Let them read; payplat has ended with ``exit_codes``, so that nothing changes any more."""
        records = await asyncio.gather(*(Record.of(node) for node in scene.nodes))
        return cls(scene, buyers, records, exit_codes)

    @property
    def acknowledged(self) -> set[str]:
        """The orders whose callback was answered ``success``."""
        told = self.scene.alipay.notifications
        return {attempt.out_trade_no for attempt in told if attempt.accepted}

    @property
    def lost(self) -> set[str]:
        """Of these, the ones that some node does not hold as paid once, or that the merchant knows nothing of."""
        kept = set.intersection(*(record.paid_once for record in self.records))
        return self.acknowledged - (kept & self.scene.merchant.fulfilled.keys())

    @property
    def doubled(self) -> set[str]:
        """The orders whose goods were given more than once."""
        return {number for number, times in self.scene.merchant.fulfilled.items() if times > 1}

    @property
    def sent_again(self) -> int:
        """How many attempts told the merchant an event that it knew."""
        received = self.scene.merchant.received
        return len(received) - len({each.id for each in received})

    def findings(self) -> Iterator[Finding]:
        """Say what each judge finds."""
        trades = self.scene.alipay.ledger.trades.values()
        charged = {trade.out_trade_no for trade in trades if trade.paid_at is not None}
        yield self._kept("an order that a buyer got is there", "orders", self.buyers.began)
        yield self._kept(
            "answered `success`: one payment, one event", "paid_once", self.acknowledged
        )
        yield self._kept("charged by Alipay: one payment, one event", "paid_once", charged)
        yield self._kept("charged by Alipay: delivered", "delivered", charged)
        yield self._tables()
        yield self._success()
        yield self._goods()
        stacks, codes = unforeseen(self.scene.folder), self.exit_codes
        yield Finding(
            "a process of payplat lived on and ended with 0", len(codes), [*filter(None, codes)]
        )
        yield Finding("a process of payplat foresaw what happened", len(codes), stacks)

    def _kept(self, rule: str, where: str, wanted: Collection[str]) -> Finding:
        lacking = [
            f"{record.name} lacks {number}"
            for record in self.records
            for number in set(wanted) - getattr(record, where)
        ]
        return Finding(f"{rule}, on every node", len(wanted), lacking)

    def _tables(self) -> Finding:
        names = {name for record in self.records for name in record.tables}
        sums = {name: {record.tables.get(name) for record in self.records} for name in names}
        differ = [name for name in names if len(sums[name]) > 1]
        return Finding("a table has the same rows on every node", len(names), differ)

    def _success(self) -> Finding:
        notices = self.scene.alipay.herald.courier.notices
        unheard = [each.trade.out_trade_no for each in notices if each.state != DELIVERED]
        return Finding("Alipay heard `success` in the end", len(notices), unheard)

    def _goods(self) -> Finding:
        given, bought = self.scene.merchant.fulfilled, self.buyers.began
        wrong = [number for number in given.keys() | bought.keys() if given[number] != 1]
        return Finding("the merchant gave the goods exactly once", len(given), wrong)


async def _numbers(node: Node, statement: str) -> set[str]:
    return {number.decode() for (number,) in await _up_to_date(node, statement)}


async def _checksums(node: Node) -> dict[str, int]:
    tables = await _up_to_date(node, "SHOW TABLES FROM payplat")
    names = ", ".join(f"payplat.{table}" for (table,) in tables)
    return dict(await _up_to_date(node, f"CHECKSUM TABLE {names}"))


async def _up_to_date(node: Node, statement: str) -> list[Any]:
    """Ask a node after it has applied all that was committed before."""
    return await node.ask("SET SESSION wsrep_sync_wait = 15", "SELECT 1", statement)
