"""Rows beside what they must be, and beside another engine's."""

import hashlib
import re
from collections import Counter
from typing import Any

from tests.prove.model_state import Sold, State, Transaction, Work

Row = dict[str, Any]
Tables = dict[str, list[Row]]
_EVENT_ID = re.compile(r"evt_[0-9a-f]{32}")
# What each engine names for itself, and what takes its own time there.
_OWN = {"id", "event_id", "delivery_id", "duty_id", "milliseconds"}


def differences(state: State, tables: Tables) -> list[str]:
    """Return where the rows are not what they must be, one sentence each."""
    must, are = _must_be(state), _are(tables)
    return [
        f"{name} {key} is {are[name].get(key)}, must be {must[name].get(key)}"
        for name in must
        if must[name] != are[name]
        for key in must[name].keys() | are[name].keys()
        if must[name].get(key) != are[name].get(key)
    ]


def contrasts(ours: Tables, theirs: Tables) -> list[str]:
    """Return the rows that one engine has and another has not, and the tables that are in another order."""
    ours_told, theirs_told = _comparable(ours), _comparable(theirs)
    found = []
    for name, rows in ours_told.items():
        others = theirs_told[name]
        found += [f"{name} differs: {row}" for row in sorted(set(rows) ^ set(others))]
        if set(rows) == set(others) and rows != others:
            found += [f"{name} differs in its order"]
    return found


def _comparable(tables: Tables) -> dict[str, list[str]]:
    """Return all rows in words that are the same on every engine; a timeline keeps its order."""
    names = {event_id: " ".join(key) for event_id, key in _events(tables).items()}
    told = {name: [_words(row, names) for row in rows] for name, rows in tables.items()}
    timeline = zip(tables["timeline"], told.pop("timeline"), strict=True)
    by_order = sorted(timeline, key=lambda each: (each[0]["order_no"], each[0]["id"]))
    return {name: sorted(rows) for name, rows in told.items()} | {
        "timeline": [words for _, words in by_order]
    }


def _words(row: Row, names: dict[str, str]) -> str:
    plain = {name: value for name, value in row.items() if name not in _OWN}
    if "lease_token" in plain:
        plain["lease_token"] = plain["lease_token"] is not None
    own_event = names.get(row.get("event_id", ""), "")
    words = repr((own_event, sorted(plain.items())))
    return _EVENT_ID.sub(lambda found: names.get(found[0], "a lost event"), words)


def _must_be(state: State) -> dict[str, dict[Any, Any]]:
    orders = state.orders.items()
    return {
        "order": {number: _sold(order) for number, order in orders},
        "payment": {number: _hash(order.paid_by) for number, order in orders if order.paid_by},
        "refund": {
            (number, key): (_hash(back.of), back.amount, back.whole, back.reversed)
            for number, backs in state.backs.items()
            for key, back in backs.items()
        },
        "event": dict.fromkeys(state.events, 1),
        "delivery": {key: _work(work) for key, work in state.deliveries.items()},
        "duty": {key: _work(work) for key, work in state.duties.items()},
        "evidence": {key: (kept.state, kept.order) for key, kept in state.evidence.items()},
        "pause": dict.fromkeys(state.paused, 1),
    }


def _are(tables: Tables) -> dict[str, dict[Any, Any]]:
    events = _events(tables)
    return {
        "order": {row["order_no"]: _order(row) for row in tables["orders"]},
        "payment": {row["order_no"]: row["transaction_key"] for row in tables["payments"]},
        "refund": {(r["order_no"], r["refund_key"]): _refund(r) for r in tables["refunds"]},
        "event": dict(Counter(events.values())),
        "delivery": {
            (*events.get(row["event_id"], (row["event_id"],)), row["endpoint"]): _way(row)
            for row in tables["deliveries"]
        },
        "duty": {(r["order_no"], r["what"], r["cause"]): _way(r) for r in tables["duties"]},
        "evidence": {
            (row["kind"], row["environment"], row["sha256"]): (row["state"], row["order_no"])
            for row in tables["evidence"]
        },
        "pause": {row["endpoint"]: 1 for row in tables["pauses"]},
    }


def _events(tables: Tables) -> dict[str, tuple[str, str, str]]:
    rows = tables["events"]
    return {row["event_id"]: (row["order_no"], row["type"], row["cause"]) for row in rows}


def _sold(order: Sold) -> tuple[Any, ...]:
    money = (order.amount, order.currency, order.refunded)
    checks = (order.next_check_at, order.token is not None, order.waits)
    return (order.status, *money, *checks, order.checks, order.checked_at, order.preparing_until)


def _order(row: Row) -> tuple[Any, ...]:
    money = (row["amount"], row["currency"], row["refunded"])
    checks = (row["next_check_at"], row["lease_token"] is not None, bool(row["waits"]))
    asked = (row["checks"], row["checked_at"], row["preparing_until"])
    return (row["status"], *money, *checks, *asked)


def _refund(row: Row) -> tuple[Any, ...]:
    is_reversed = row["reversed_at"] is not None
    return row["transaction_key"], row["amount"], bool(row["whole"]), is_reversed


def _work(work: Work) -> tuple[Any, ...]:
    due_at = work.due_at if work.status in ("due", "held") else None
    return work.status, due_at, work.failures, work.token is not None


def _way(row: Row) -> tuple[Any, ...]:
    due_at = row["due_at"] if row["status"] in ("due", "held") else None
    return row["status"], due_at, row["failures"], row["lease_token"] is not None


def _hash(transaction: Transaction) -> str:
    return hashlib.sha256("".join(f"{part}\0" for part in transaction).encode()).hexdigest()
