"""What must hold whatever happened, counted over everything that was played.

The database is read, and everybody's books (the merchant's, Alipay's, Apple's, Google's) are compared with it; nothing
is asked of the ledger's code.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from payplat import money
from payplat.demo.stage import Stage


@dataclass(frozen=True)
class Count:
    """How many things were looked at, and how many of them break the rule; ``says`` are the figures."""

    seen: int
    broken: int
    says: str

    @property
    def holds(self) -> bool:
        """Whether the rule holds, and was put to the test at all."""
        return self.seen > 0 and not self.broken


@dataclass(frozen=True)
class Rule:
    """An invariant, in both languages."""

    en: str
    zh: str
    count: Callable[[Stage], Awaitable[Count]]


async def count_all(stage: Stage) -> AsyncIterator[tuple[Rule, Count]]:
    """Count every rule in turn."""
    for rule in RULES:
        yield rule, await rule.count(stage)


async def _one_payment(stage: Stage) -> Count:
    seen = await _number(stage, f"SELECT count(*) FROM orders WHERE {_SETTLED}")  # noqa: S608
    payments = await _number(stage, "SELECT count(*) FROM payments")
    transactions = await _number(stage, "SELECT count(DISTINCT transaction_key) FROM payments")
    unpaid = await _number(
        stage,
        f"SELECT count(*) FROM orders WHERE {_SETTLED} != EXISTS "  # noqa: S608
        "(SELECT 1 FROM payments WHERE payments.order_no = orders.order_no)",
    )
    return Count(seen, unpaid + abs(payments - transactions), f"{seen} = {payments}")


async def _verified(stage: Stage) -> Count:
    seen = await _number(stage, "SELECT count(*) FROM payments")
    proven = await _number(
        stage,
        "SELECT count(*) FROM payments p JOIN evidence e ON e.sha256 = p.evidence_sha256 "
        "AND e.order_no = p.order_no AND e.state = 'used' WHERE p.verifier != ''",
    )
    return Count(seen, seen - proven, f"{seen} = {proven}")


async def _one_event(stage: Stage) -> Count:
    seen = await _number(stage, f"SELECT count(*) FROM orders WHERE {_SETTLED}")  # noqa: S608
    events = await _number(stage, "SELECT count(*) FROM events WHERE type = 'order.paid'")
    wrong = await _number(
        stage,
        f"SELECT count(*) FROM orders WHERE (CASE WHEN {_SETTLED} THEN 1 ELSE 0 END) != "  # noqa: S608
        "(SELECT count(*) FROM events e WHERE e.order_no = orders.order_no "
        "AND e.type = 'order.paid')",
    )
    return Count(seen, wrong, f"{seen} = {events}")


async def _told_once(stage: Stage) -> Count:
    found = await _rows(stage, "SELECT event_id FROM events")
    events, merchant = {row.event_id for row in found}, stage.merchant
    unknown = events ^ merchant.events.keys()
    undelivered = await _number(
        stage, "SELECT count(*) FROM deliveries WHERE status != 'delivered'"
    )
    twice = sum(times != 1 for times in merchant.fulfilled.values())
    figures = f"{len(events)} = {len(merchant.events)}"
    return Count(len(events), len(unknown) + undelivered + twice, figures)


async def _alipay_balances(stage: Stage) -> Count:
    """Every fen that moved at Alipay is applied here, or lies in evidence that a person looks at."""
    trades = [trade for trade in stage.alipay.ledger.trades.values() if trade.paid_at is not None]
    rows = await _rows(stage, "SELECT order_no, amount FROM payments WHERE kind = 'alipay'")
    applied = {row.order_no: row.amount for row in rows}
    aside = await _rows(
        stage, "SELECT DISTINCT order_no FROM evidence WHERE state IN ('excess', 'quarantined')"
    )
    kept = {row.order_no for row in aside} - applied.keys()
    lost = [t for t in trades if t.out_trade_no not in applied.keys() | kept]
    theirs = sum(trade.total_fen for trade in trades if trade.out_trade_no not in kept)
    ours = sum(applied.values())
    back = sum(trade.refunded_fen for trade in trades)
    noted = await _number(
        stage, "SELECT coalesce(sum(refunded), 0) FROM orders WHERE kind = 'alipay'"
    )
    wrong = len(lost) + (theirs != ours) + (back != noted)
    figures = f"¥{_yuan(theirs)} − ¥{_yuan(back)} = ¥{_yuan(ours)} − ¥{_yuan(noted)}"
    return Count(len(trades), wrong, figures)


async def _apple_balances(stage: Stage) -> Count:
    """Every purchase in Apple's books was delivered as what it is, nothing else was, and every refund was told."""
    books = stage.apple.books.purchases
    sold = {number: str(each.fields["productId"]) for number, each in books.items()}
    back = {number for number, each in books.items() if each.revoked}
    return await _store_balances(stage, "apple", sold, back)


async def _google_balances(stage: Stage) -> Count:
    """The same for what was paid at Google; what stands there is acknowledged, and consumed if it can be."""
    books = stage.google.books.purchases
    paid = {token: each for token, each in books.items() if each.paid_at is not None}
    sold = {token: each.product_id for token, each in paid.items()}
    back = {token for token, each in paid.items() if not each.refundable}
    products = stage.platform.catalogue.products["default"]
    consumable = {each.sku("google", name) for name, each in products.items() if each.consumable}
    standing = [each for token, each in paid.items() if token not in back]
    done = [
        e for e in standing if e.consumed or (e.acknowledged and e.product_id not in consumable)
    ]
    count = await _store_balances(stage, "google", sold, back)
    figures = f"{count.says}, {len(standing)} = {len(done)}"
    return Count(count.seen, count.broken + len(standing) - len(done), figures)


async def _store_balances(
    stage: Stage, kind: str, sold: Mapping[str, str], back: set[str]
) -> Count:
    """Compare a store's books (what each transaction sold, and which were refunded) with what the merchant got."""
    paid, refunded = (_told_of(stage, kind, what) for what in ("order.paid", "order.refunded"))
    payments = f"SELECT transaction_id, product FROM payments WHERE kind = '{kind}'"  # noqa: S608
    skus = {row.transaction_id: row.product for row in await _rows(stage, payments)}
    given = {number: skus.get(number) for number in paid}
    wrong = sum(sold.get(number) != given.get(number) for number in sold.keys() | given.keys())
    wrong += len(back ^ refunded)
    figures = f"{len(sold)} − {len(back)} = {len(paid)} − {len(refunded)}"
    return Count(len(sold), wrong, figures)


async def _refused_is_kept(stage: Stage) -> Count:
    seen = await _number(stage, "SELECT count(*) FROM evidence WHERE state = 'quarantined'")
    gone = await _number(
        stage, "SELECT count(*) FROM evidence WHERE state = 'quarantined' AND length(raw) = 0"
    )
    wrong = await _number(
        stage,
        "SELECT count(*) FROM events e JOIN orders o ON o.order_no = e.order_no "
        "WHERE o.status IN ('pending', 'closed')",
    )
    return Count(seen, gone + wrong, str(seen))


RULES = (
    Rule("every paid order has one payment", "每笔已付订单恰有一笔支付", _one_payment),
    Rule("every payment has verified evidence", "每笔支付都有核验过的凭证", _verified),
    Rule("every paid order has one order.paid", "每笔已付订单恰有一个 order.paid", _one_event),
    Rule("every event reached the game once", "每个事件只让游戏处理一次", _told_once),
    Rule(
        "what was put aside is kept, and told nobody", "被搁置的凭证留存且未通知", _refused_is_kept
    ),
    Rule("Alipay's books equal ours", "支付宝账本与我们一致", _alipay_balances),
    Rule("Apple's books equal ours", "苹果账本与我们一致", _apple_balances),
    Rule("Google's books equal ours", "Google 账本与我们一致", _google_balances),
)
_SETTLED = "(status IN ('paid', 'refunded'))"


async def count_orders(stage: Stage) -> int:
    """Return how many orders there are."""
    return await _number(stage, "SELECT count(*) FROM orders")


def _told_of(stage: Stage, kind: str, what: str) -> set[str]:
    """Return the transactions at a store of which the merchant took an event of this type."""
    events = (each for each in stage.merchant.events.values() if each["type"] == what)
    return {e["data"]["transaction_id"] for e in events if e["data"]["channel"] == kind}


async def _rows(stage: Stage, statement: str) -> list[Any]:
    result = await stage.platform.database.read(lambda c: c.execute(text(statement)))
    return list(result.all())


async def _number(stage: Stage, statement: str) -> int:
    return int((await _rows(stage, statement))[0][0])


def _yuan(fen: int) -> str:
    return money.to_text(fen, "CNY")
