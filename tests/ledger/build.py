"""What the ledger's tests are made of: orders, verdicts, a second process, a clock to turn, a look at every row."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import pytest
from sqlalchemy import Result, Select, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database
from payplat.decisions import Result as Outcome
from payplat.models import Base
from payplat.orders import Orders
from payplat.purchase import (
    Evidence,
    LatePolicy,
    Notice,
    Order,
    Owed,
    Refund,
    Source,
    State,
    Status,
    Verdict,
)
from payplat.rows import Draft, Terms

# In a shop we set the price, in a store the store does.
TERMS = {
    "shop": Terms(LatePolicy.DELIVER, {"default/main": None, "default/stock": None}),
    "shop_hold": Terms(LatePolicy.HOLD, {"default/main": None}),
    "shop_refund": Terms(LatePolicy.REFUND, {"default/main": None}),
    "store": Terms(LatePolicy.DELIVER, {"default/main": None}),
    "store_hold": Terms(LatePolicy.HOLD, {"default/main": None}),
}
PRICE = 600
TABLES: dict[str, Table] = dict(Base.metadata.tables)
# For what only one engine does.
on_sqlite = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
on_mariadb = pytest.mark.parametrize("ledger_url", ["mariadb"], indirect=True)


@dataclass
class Ledger:
    """One process: its connections and its orders."""

    database: Database
    orders: Orders

    async def open(self, channel: str = "shop", **changes: Any) -> Order:
        """Open an order."""
        order, _ = await self.orders.open(draft(channel, **changes))
        return order

    async def settle(self, *verdicts: Verdict) -> list[Outcome]:
        """Settle verdicts one after the other; return what came of each."""
        return [(await self.orders.settle(verdict)).result for verdict in verdicts]

    async def now(self, order: Order) -> Order:
        """Return the order as it stands now."""
        return await self.orders.get(order.order_no)

    async def rows(self, name: str, order: Order | None = None) -> list[dict[str, Any]]:
        """Return a table's rows, or those of one order, in the order of their keys."""
        table = TABLES[name]
        wanted = select(table)
        if order is not None:
            wanted = wanted.where(table.c.order_no == order.order_no)
        return await fetch(self.database, wanted.order_by(*table.primary_key.columns))

    async def snapshot(self) -> dict[str, list[dict[str, Any]]]:
        """Return every row of every table, read at one moment."""
        wanted = {n: select(t).order_by(*t.primary_key.columns) for n, t in TABLES.items()}

        async def body(connection: AsyncConnection) -> dict[str, list[dict[str, Any]]]:
            return {n: _plain_rows(await connection.execute(w)) for n, w in wanted.items()}

        return await self.database.read(body)

    async def run(self, statement: Any) -> None:
        """Run one statement behind the ledger's back."""
        await self.database.transaction(lambda c: c.execute(statement))


class Clock(seam.World):
    """The real world with a clock that can be turned."""

    def __init__(self) -> None:
        self.ahead = 0

    def now(self) -> int:
        """The time, as far ahead as it was turned."""
        return super().now() + self.ahead

    def forward(self, seconds: float) -> None:
        """Turn the clock forward."""
        self.ahead += int(seconds * seam.SECOND)


class Crash(Exception):
    """A process that died; not an error that a database would report."""


class CrashPoints(seam.World):
    """The real world, but it remembers the crash points passed, and crashes at one of them when told to."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self._dies_at = ""

    async def reach(self, point: str) -> None:
        """Pass a crash point, or die there."""
        self.passed.append(point)
        if point == self._dies_at:
            raise Crash

    @contextmanager
    def dying_at(self, point: str) -> Iterator[None]:
        """Die whenever ``point`` is reached."""
        self._dies_at = point
        try:
            yield
        finally:
            self._dies_at = ""


@contextmanager
def in_world(world: seam.World) -> Iterator[None]:
    """Replace the real world."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seam, "world", world)
        yield


async def forget(connection: AsyncConnection) -> None:
    """Empty a database, for the next test or example."""
    for table in TABLES.values():
        await connection.execute(table.delete())


async def fetch(database: Database, wanted: Select) -> list[dict[str, Any]]:
    """Return rows as dictionaries."""
    return _plain_rows(await database.read(lambda c: c.execute(wanted)))


def ledger_on(database: Database, terms: Mapping[str, Terms] = TERMS) -> Ledger:
    """Return another process's ledger."""
    return Ledger(database, Orders(database, terms))


def draft(
    channel: str = "shop", *, key: str | None = None, body: str = "{}", **changes: Any
) -> Draft:
    """Return an order about to be opened; ``key`` is its idempotency key, ``body`` the client's request."""
    order = _order(channel)._replace(**changes)
    return Draft(
        order=order,
        idempotency_key=key,
        request_sha256=hashlib.sha256(body.encode()).hexdigest(),
        preparing_until=0,
        next_check_at=order.created_at + 15 * seam.SECOND,
    )


def _order(channel: str) -> Order:
    is_store, now = channel.startswith("store"), seam.now()
    return Order(
        order_no=seam.new_id(),
        app="default",
        channel=channel,
        kind="apple" if is_store else "alipay",
        environment="sandbox",
        account="com.example.game" if is_store else "2021/2088",
        method="store" if is_store else "page",
        product_id="coins_500",
        sku="coins.500",
        quantity=1,
        amount=None if is_store else PRICE,
        currency=None if is_store else "CNY",
        title="500 coins 金币",
        receiver="player-1",
        metadata={"区": "一"},
        return_url=None,
        status=Status.PENDING,
        refunded=0,
        payment=None,
        created_at=now,
        expires_at=now + 1800 * seam.SECOND,
        settled_at=None,
    )


def says(
    order: Order,
    state: State,
    *,
    source: Source = Source.CALLBACK,
    evidence: Evidence | None = None,
    **facts: Any,
) -> Verdict:
    """Return a verdict about ``order``; equal facts come with equal ``evidence`` unless a test brings its own."""
    told = {
        "kind": order.kind,
        "environment": order.environment,
        "account": order.account,
        "order_no": order.order_no,
        "verifier": "key:test",
        **facts,
    }
    raw = json.dumps({"state": state, **told}, sort_keys=True, default=_plain).encode()
    return Verdict(state, evidence=evidence or Evidence(source, raw), **told)


def payment(order: Order) -> dict[str, Any]:
    """Return what a verdict says of a payment as it should be."""
    price = {"amount": PRICE, "currency": order.currency or "USD"}
    return {**price, "product": order.sku, "quantity": order.quantity}


def transaction_of(order: Order) -> str:
    """Return the name of the transaction that pays ``order`` unless a test says otherwise."""
    return f"T-{order.order_no}"


def paid(order: Order, transaction: str | None = None, **facts: Any) -> Verdict:
    """Return the verdict that pays ``order``."""
    named = {"transaction_id": transaction or transaction_of(order)}
    return says(order, State.PAID, **{**named, **payment(order), **facts})


def claimed(order: Order, transaction: str | None = None, **facts: Any) -> Verdict:
    """Return the verdict of a purchase without an order number, which its client says pays ``order``."""
    told = {"is_claimed": True, "owes": (Owed("bind"),), "source": Source.VERIFY}
    return paid(order, transaction, **{**told, **facts})


def closed(order: Order, **facts: Any) -> Verdict:
    """Return the verdict that closes ``order``."""
    return says(order, State.CLOSED, **facts)


def refund(
    order: Order,
    key: str = "r1",
    *,
    part: int | None = None,
    total: int | None = None,
    share: int | None = None,
    at: int | None = None,
    whole: bool = False,
    **facts: Any,
) -> Verdict:
    """Return a verdict of money going back: this refund's own ``part`` of it, the ``total`` so far, or a ``share``.

    It says nothing about the payment itself unless ``facts`` does.
    """
    told = Refund(key, part, total, share, "by_hand" if share else "", at)
    named = {"transaction_id": transaction_of(order), "refund": told}
    return says(order, State.REFUNDED if whole else State.PAID, **{**named, **facts})


def reversal(order: Order, key: str = "r1", *, at: int | None = None, **facts: Any) -> Verdict:
    """Return the verdict that a refund was taken back; without a ``key``, what stands of them until ``at``."""
    named = {"transaction_id": transaction_of(order), "refund": Refund(key, at=at, reversed=True)}
    return says(order, State.PAID, **{**named, **facts})


def noticed(
    order: Order, what: str = "consumption_requested", key: str = "n1", **facts: Any
) -> Verdict:
    """Return a verdict that leaves money and state as they are; one with a ``detail`` is for the merchant too."""
    detail = facts.pop("detail", {})
    told = Notice(what, key, detail, is_event=bool(detail))
    named = {"transaction_id": transaction_of(order), "notice": told}
    return says(order, State.UNKNOWN, **{**named, **facts})


def _plain_rows(result: Result) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in result]


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
