"""Any verdicts in any order: one at a time or in groups, on either engine, the rows are the same and the books right."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, fields, replace
from itertools import chain

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from payplat import seam
from payplat.database import Database
from payplat.decisions import Case
from payplat.orders import _settle_one
from payplat.purchase import State
from payplat.records import Loaded
from payplat.refunds import RefundBook
from tests.ledger.build import (
    PRICE,
    TERMS,
    claimed,
    closed,
    draft,
    forget,
    ledger_on,
    noticed,
    paid,
    payment,
    refund,
    reversal,
    says,
)
from tests.ledger.invariants import breaches
from tests.migrated import migrated

# What depends on the moment, or counts the rows of all tests.
NOT_COMPARED = {"id", "event_id", "lease_token", "created_at", "due_at", "at", "verified_at"}
ONLY_IF_THERE = {"settled_at", "next_check_at", "reversed_at"}
KINDS = (
    "paid paid paid closed part part total total whole reversal reversal dear pending unknown "
    "claim share unnamed unnamed notice remark"
)


@dataclass(frozen=True)
class Step:
    """One verdict about the order of that number, naming the transaction of the order ``lender``.

    A stray one names no order; refunds and their reversals happened ``at`` that time.
    """

    order: int
    lender: int
    kind: str
    key: str
    amount: int
    transaction: str
    has_facts: bool
    at: int
    is_stray: bool

    def verdict(self, orders):
        """Return it as a verdict."""
        order, lender = orders[self.order], orders[self.lender]
        facts = {"transaction_id": f"T{self.transaction}-{lender.order_no}"}
        if self.has_facts:
            facts |= payment(order)
        if self.is_stray:
            facts |= {"order_no": None}
        key, at = f"{order.order_no}:{self.key}", {"at": self.at}
        make = {
            "paid": lambda: paid(order, **facts),
            "dear": lambda: paid(order, **{**facts, "amount": PRICE + 1}),
            "closed": lambda: closed(order, **facts),
            "claim": lambda: claimed(order, **facts | payment(order)),
            "part": lambda: refund(order, key, part=self.amount, **at, **facts),
            "total": lambda: refund(order, key, total=self.amount, **at, **facts),
            "whole": lambda: refund(order, key, whole=True, **at, **facts),
            "share": lambda: refund(order, key, share=50_000, **at, **facts),
            "reversal": lambda: reversal(order, key, **facts),
            "unnamed": lambda: reversal(order, "", **at, **facts),
            "notice": lambda: noticed(order, key=self.key, detail={"reason": "other"}, **facts),
            "remark": lambda: noticed(order, "refund_declined", self.key, **facts),
        }
        return make.get(self.kind, lambda: says(order, State(self.kind), **facts))()


strays = st.builds(
    Step,
    order=st.sampled_from([0, 0, 0, 1]),
    lender=st.sampled_from([0, 1]),
    kind=st.sampled_from(KINDS.split()),
    key=st.sampled_from(["r1", "r2", "r3"]),
    amount=st.sampled_from([0, 100, 100, 250, 350, PRICE, PRICE + 1]),
    transaction=st.sampled_from(["", "", "", "other"]),
    has_facts=st.booleans(),
    at=st.sampled_from([10, 20, 30]),
    is_stray=st.sampled_from([False, False, False, True]),
)
steps = strays.map(lambda step: replace(step, lender=step.order, is_stray=False))
plans = st.tuples(
    st.lists(st.sampled_from(sorted(TERMS)), min_size=2, max_size=2),
    st.lists(st.lists(steps | steps | steps | strays, min_size=1, max_size=6), max_size=4),
)


def plan_of(plan):
    """Return a plan's orders and its groups of verdicts."""
    channels, groups = plan
    drafts = [draft(channel) for channel in channels]
    orders = [each.order for each in drafts]
    return drafts, [[step.verdict(orders) for step in group] for group in groups]


# --- On paper: thousands of steps without a database ---


@settings(max_examples=400, deadline=None)
@given(plans)
def test_decisions_keep_the_books_right(plan):
    """Whatever verdicts come in whatever order, the rows that would be written break no rule."""
    drafts, groups = plan_of(plan)
    assert breaches(on_paper([each.order for each in drafts], chain(*groups)), TERMS) == []


def on_paper(orders, verdicts):
    """Decide verdicts one after the other; return the rows as a database would then hold them."""
    loaded, now = Loaded(), seam.now()
    writes, cases = loaded.writes, loaded.cases
    for order in orders:
        case = Case(order, None, None, RefundBook(), TERMS[order.channel], now, writes)
        cases[order.order_no] = case
    for verdict in verdicts:
        _settle_on_paper(loaded, verdict)
    tables = {field.name: getattr(writes, field.name) for field in fields(writes)}
    for taken_back in writes.reversals:
        for row in writes.refunds:
            if row["refund_key"] == taken_back["refund_key"]:
                row["reversed_at"] = now
    for row in writes.evidence:
        if row["state"] == "unclaimed" and row["transaction_key"] in writes.claims:
            row["state"] = "used"
    for duty in writes.duties:
        if duty["status"] == "held":
            duty["status"] = writes.held_duties.get(duty["order_no"], "held")
    by_hash = {row["sha256"]: row for row in writes.evidence}
    used = {row["sha256"]: row for row in writes.evidence if row["state"] == "used"}
    tables["evidence"] = [*(by_hash | used).values()]
    tables["orders"] = [order_row(case.order) for case in cases.values()]
    return tables


def _settle_on_paper(loaded, verdict):
    """Settle a verdict, unless a database would put it aside: another order has a refund of that name."""
    order_no = verdict.order_no or loaded.owners.get(verdict.transaction_key)
    names = {row["refund_key"]: row["order_no"] for row in loaded.writes.refunds}
    if verdict.refund is None or names.get(verdict.refund.key, order_no) == order_no:
        _settle_one(loaded, verdict)


def order_row(order):
    """Return an order as its row."""
    row = order._asdict()
    return {**row, "next_check_at": 1 if order.status == "pending" else None}


# --- In databases: groups against single verdicts, one engine against the other ---


def comparable(tables):
    """Return every row, without what depends on the moment, in an order that does not."""
    return {name: sorted(map(plain, rows), key=repr) for name, rows in tables.items()}


def plain(row):
    """Return a row as it should be everywhere."""
    row = {name: value for name, value in row.items() if name not in NOT_COMPARED}
    row |= {name: row[name] is not None for name in ONLY_IF_THERE & row.keys()}
    if "body" in row:
        row["body"] = {**json.loads(row["body"]), "timestamp": ""}
    return row


async def told(ledger, verdicts):
    """Settle verdicts that share a commit; return what came of each."""
    answers = await asyncio.gather(*map(ledger.orders.settle, verdicts))
    return [(answer.result, answer.field) for answer in answers]


async def compare(plan, grouped, single):
    """Settle a plan in groups on one ledger and one by one on another: answers and rows must be the same."""
    drafts, groups = plan_of(plan)
    for ledger in (grouped, single):
        await ledger.database.transaction(forget)
        await asyncio.gather(*map(ledger.orders.open, drafts))
    together = [await told(grouped, group) for group in groups]
    alone = [await told(single, [verdict]) for verdict in chain(*groups)]
    assert list(chain(*together)) == list(chain(*alone))
    books, same = await grouped.snapshot(), await single.snapshot()
    assert comparable(books) == comparable(same)
    assert breaches(books, TERMS) == breaches(same, TERMS) == []


@contextlib.contextmanager
def new_database(engine, request, file):
    """The address of a new database of that engine, with the newest schema."""
    if engine == "sqlite":
        yield migrated(f"sqlite:///{file}")
    else:
        with request.getfixturevalue("mariadb").fresh_database() as url:
            yield migrated(url)


def hurry(database):
    """Let SQLite not wait for the disk: power cuts are not what is tested here."""
    if database.is_sqlite:
        swift = "PRAGMA synchronous=OFF"
        engine = database.engine.sync_engine
        event.listen(engine, "connect", lambda connection, _: connection.execute(swift).close())


@contextlib.contextmanager
def two_ledgers(engines, request, tmp_path):
    """A loop's runner, and a ledger on a new database of each engine."""
    with contextlib.ExitStack() as stack:
        files = [tmp_path / f"{number}.db" for number, _ in enumerate(engines)]
        urls = [
            stack.enter_context(new_database(engine, request, file))
            for engine, file in zip(engines, files, strict=True)
        ]
        runner = stack.enter_context(asyncio.Runner())
        ledgers = [ledger_on(Database(url)) for url in urls]
        for ledger in ledgers:
            hurry(ledger.database)
        yield runner, ledgers
        for ledger in ledgers:
            runner.run(ledger.database.close())


@pytest.mark.parametrize(
    ("engines", "examples"),
    [(["sqlite"] * 2, 30), (["mariadb"] * 2, 12), (["sqlite", "mariadb"], 12)],
    ids=["sqlite", "mariadb", "both"],
)
def test_groups_and_engines_make_no_difference(request, tmp_path, engines, examples):
    """Payments, claims, closes, refunds, reversals, notices, excess and mismatches give the same rows everywhere."""
    request.node.user_properties.append(("lane", engines[-1]))
    with two_ledgers(engines, request, tmp_path) as (runner, ledgers):

        @settings(
            max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        )
        @given(plans)
        def check(plan):
            runner.run(compare(plan, *ledgers))

        check()
