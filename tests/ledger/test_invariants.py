"""The check of the books itself: each rule finds the breach it is there for."""

import pytest

from payplat import seam
from payplat.attempts import Attempt, Record, record
from payplat.deliveries import QUEUE
from payplat.proposals import Decision, Deed, Proposals
from payplat.quarantine import Quarantine
from tests.ledger.build import TABLES, TERMS, closed, paid, refund
from tests.ledger.invariants import RULES, WIDE_RULES, breaches

# Which rule finds what: the table, the column, the false value, for the first row.
FORGERIES = {
    "payment_behind_status": ("orders", "status", "pending"),
    "payment_is_proven": ("evidence", "state", "quarantined"),
    "payment_fits_order": ("orders", "amount", 601),
    "money_is_whole_numbers": ("payments", "amount", "600"),
    "status_moves_along_edges": ("timeline", "detail", '{"to": "held"}'),
    "told_exactly_once": ("events", "type", "order.refunded"),
    "refunds_are_told": ("refunds", "refund_key", "r9"),
    "refunds_within_payment": ("refunds", "amount", 601),
    "waiting_is_scheduled": ("orders", "next_check_at", 1),
    "duties_have_reasons": ("orders", "channel", "shop_hold"),
    "duties_wait_for_release": ("duties", "status", "held"),
    "endings_have_dates": ("orders", "settled_at", None),
    "excess_is_beyond_payment": ("payments", "transaction_key", None),
    "transactions_pay_once": ("payments", "transaction_id", "T9"),
    "events_are_on_their_way": ("deliveries", "endpoint", "default/other"),
    "work_is_done_by_trying": ("attempts", "ok", 0),
    "events_are_themselves": ("events", "body", '{"type": "x", "data": {"order_no": "y"}}'),
    "stories_are_proven": ("timeline", "actor", ""),
    "orphans": ("duties", "order_no", "0" * 32),
    "what_was_resolved_says_why": ("audit", "subject", "evidence 0"),
    "money_takes_two_people": ("proposals", "decided_by", "ann"),
}


OF_NO_PURCHASE = set("sweeps duties pauses api_keys operators sessions signs proposals".split())


async def books(ledger):
    """Fill a database so that every rule has something to look at; return its rows."""
    order = await ledger.open("shop_refund")
    await ledger.settle(paid(order), refund(order, part=100), paid(order, "T9"))
    for row in await QUEUE.claim(ledger.database, "default/main", limit=1, lease=30):
        done = Record("delivery_id", {"status": "delivered", "delivered_at": seam.now()})
        await record(ledger.database, QUEUE, row, Attempt(ok=True, milliseconds=1), done)
    late = await ledger.open("shop_refund")
    await ledger.settle(closed(late), paid(late), paid(order, "T8"))
    (*_, put_aside) = await ledger.rows("evidence", order)
    await Quarantine(ledger.database).resolve(put_aside["id"], "ann", "seen")
    held = await ledger.open("shop_hold")
    await ledger.settle(closed(held), paid(held))
    proposals = Proposals(ledger.database, ledger.orders)
    made = await proposals.propose(held.order_no, Deed.RELEASE, "why", "ann")
    await proposals.decide(made, Decision.APPROVED, "ben")
    return await ledger.snapshot()


def test_every_rule_is_tried():
    """No rule goes without its own forgery below."""
    assert {rule.__name__ for rule in (*RULES, *WIDE_RULES)} == FORGERIES.keys()


@pytest.mark.parametrize("rule", FORGERIES)
async def test_a_forgery_is_found(ledger, rule):
    """True books have no breach; with one false value the rule named for it speaks."""
    tables, (table, column, value) = await books(ledger), FORGERIES[rule]
    assert breaches(tables, TERMS) == []
    assert tables[table][0][column] != value
    for row in tables[table][: 2 if rule == "duties_have_reasons" else 1]:
        row[column] = value
    assert rule in {found.split(":")[0] for found in breaches(tables, TERMS)}


@pytest.mark.parametrize("table", sorted(TABLES.keys() - OF_NO_PURCHASE))
async def test_a_lost_row_is_found(ledger, table):
    """Whatever row of a purchase is missing, some rule speaks; only a duty may be absent."""
    tables = await books(ledger)
    del tables[table][0]
    assert breaches(tables, TERMS)


@pytest.mark.parametrize("table", ["payments", "events", "deliveries"])
async def test_a_doubled_row_is_found(ledger, table):
    """Whatever row of a purchase is there twice, some rule speaks."""
    tables = await books(ledger)
    tables[table].append(tables[table][0])
    assert breaches(tables, TERMS)
