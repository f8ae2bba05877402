"""What must hold in the ledger's tables whenever nothing is under way: one rule, one function, one sentence a breach.

The rules read rows and share no code with the ledger, so that both would have to be wrong in the same way.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

from payplat.rows import Terms

Row = dict[str, Any]
_HAS_PAYMENT = {"paid", "held", "refunded"}
_EDGES = {
    "pending": {"paid", "refunded", "closed"},
    "closed": {"paid", "held", "refunded"},
    "held": {"paid", "refunded"},
    "paid": {"refunded"},
    "refunded": {"paid", "held"},
}


@dataclass
class Books:
    """All rows of a database, and the endpoints of each channel."""

    tables: Mapping[str, list[Row]]
    terms: Mapping[str, Terms]
    _groups: dict[str, dict[str, list[Row]]] = field(default_factory=dict)

    def of(self, name: str, order: Row) -> list[Row]:
        """Return an order's rows in a table."""
        if name not in self._groups:
            groups = self._groups[name] = defaultdict(list)
            for row in self.tables[name]:
                groups[row["order_no"]].append(row)
        return self._groups[name].get(order["order_no"], [])

    def payment(self, order: Row) -> Row | None:
        """Return an order's payment."""
        return next(iter(self.of("payments", order)), None)

    def refunds(self, order: Row) -> list[Row]:
        """Return the refunds of the transaction that paid an order."""
        key = (self.payment(order) or {}).get("transaction_key")
        return [row for row in self.of("refunds", order) if row["transaction_key"] == key]

    def path(self, order: Row) -> list[str]:
        """Return the statuses an order went through, as its timeline tells them."""
        told = [_detail(row).get("to") for row in self.of("timeline", order)]
        path = ["pending"]
        for status in filter(None, told):
            if status != path[-1]:
                path.append(status)
        return path

    @cached_property
    def evidence(self) -> dict[tuple[str, str, str], Row]:
        """The evidence by kind, environment and hash."""
        rows = self.tables["evidence"]
        return {(row["kind"], row["environment"], row["sha256"]): row for row in rows}


def breaches(tables: Mapping[str, list[Row]], terms: Mapping[str, Terms]) -> list[str]:
    """Return every breach of every rule, each as the rule's name and a sentence."""
    books = Books(tables, terms)
    return [
        f"{rule.__name__}: {order['order_no']}: {breach}"
        for rule in RULES
        for order in tables["orders"]
        for breach in rule(books, order)
    ] + [f"{rule.__name__}: {breach}" for rule in WIDE_RULES for breach in rule(books)]


# --- Rules for one order ---


def payment_behind_status(books: Books, order: Row) -> Iterator[str]:
    """An order has a payment exactly when its status says that money came."""
    count = len(books.of("payments", order))
    if count != (order["status"] in _HAS_PAYMENT):
        yield f"{order['status']} with {count} payments"


def payment_is_proven(books: Books, order: Row) -> Iterator[str]:
    """A payment says who verified it, when, and by which evidence, which is kept."""
    payment = books.payment(order)
    if payment is None:
        return
    if not payment["verified_at"] or not payment["verifier"]:
        yield "nobody verified the payment"
    name = payment["kind"], payment["environment"], payment["evidence_sha256"]
    kept = books.evidence.get(name)
    if kept is None or kept["state"] != "used" or kept["order_no"] != order["order_no"]:
        yield "the payment's evidence is not kept as used by it"
    came = [
        row["what"]
        for row in map(_detail, books.of("timeline", order))
        if (row.get("transaction_id"), "to" in row) == (payment["transaction_id"], True)
    ]
    if len(came) != 1:
        yield f"the payment came {len(came)} times in the timeline"


def payment_fits_order(books: Books, order: Row) -> Iterator[str]:
    """What was paid is what was sold: whom, where, what, how many, how much."""
    payment = books.payment(order)
    if payment is None:
        return
    price = ("amount", "currency") if payment["amount"] is not None else ("amount",)
    for name in ("kind", "environment", "account", *price):
        if payment[name] != order[name]:
            yield f"{name} differs"
    if payment["product"] not in (None, order["sku"]):
        yield "product differs"
    if payment["quantity"] not in (None, order["quantity"]):
        yield "quantity differs"


def money_is_whole_numbers(books: Books, order: Row) -> Iterator[str]:
    """Every amount is an integer."""
    rows = [order, *books.of("payments", order), *books.of("refunds", order)]
    for row in rows:
        for name in ("amount", "refunded"):
            if type(row.get(name)) not in (int, type(None)):
                yield f"{name} is {row[name]!r}"


def status_moves_along_edges(books: Books, order: Row) -> Iterator[str]:
    """An order goes only ways that are there, and its timeline leads to where it stands."""
    path = books.path(order)
    for before, after in pairwise(path):
        if after not in _EDGES[before]:
            yield f"went from {before} to {after}"
    if path[-1] != order["status"]:
        yield f"stands at {order['status']}, its timeline ends at {path[-1]}"


def told_exactly_once(books: Books, order: Row) -> Iterator[str]:
    """The merchant learns of payment once if the order ever became paid, and never otherwise."""
    paid = [event for event in books.of("events", order) if event["type"] == "order.paid"]
    if len(paid) != ("paid" in books.path(order)):
        yield f"went {' → '.join(books.path(order))} with {len(paid)} events order.paid"
    if any(event["cause"] for event in paid):
        yield "the payment's event names a cause, so that the key does not keep a second one away"


def refunds_are_told(books: Books, order: Row) -> Iterator[str]:
    """Each standing refund of the payment has its event; no event tells of a refund that is not on record."""
    refunds = {row["refund_key"]: row for row in books.refunds(order)}
    told = defaultdict(list)
    for event in books.of("events", order):
        told[event["type"]].append(event["cause"])
    standing = [key for key, row in refunds.items() if row["reversed_at"] is None]
    yield from (f"{key} not told" for key in standing if key not in told["order.refunded"])
    strange = set(told["order.refunded"]) | set(told["order.refund_reversed"])
    yield from (f"{key} told, but not on record" for key in strange - refunds.keys())
    early = set(told["order.refund_reversed"]) & set(standing)
    yield from (f"{key} told as reversed, but it stands" for key in early)


def refunds_within_payment(books: Books, order: Row) -> Iterator[str]:
    """What went back adds up, is never more than what came, and makes the order refunded when it is all."""
    if books.payment(order) is None:
        return
    standing = [row for row in books.refunds(order) if row["reversed_at"] is None]
    whole = any(row["whole"] for row in standing)
    back = sum(row["amount"] or 0 for row in standing)
    if whole and order["amount"] is not None:
        back = max(back, order["amount"])
    if back != order["refunded"]:
        yield f"{back} went back, {order['refunded']} is on record"
    if order["amount"] is not None and back > order["amount"]:
        yield f"{back} went back of {order['amount']}"
    covered = order["amount"] is not None and back >= order["amount"]
    if (order["status"] == "refunded") != bool(standing and (whole or covered)):
        yield f"{order['status']} with {back} of {order['amount']} gone back"


def waiting_is_scheduled(books: Books, order: Row) -> Iterator[str]:
    """An order has a next check while it is pending or evidence waits, and no other has; what waits is not forgotten."""
    if (order["next_check_at"] is not None) != (order["status"] == "pending" or order["waits"]):
        yield f"{order['status']}, waits {order['waits']}, next check {order['next_check_at']}"
    waiting = [row for row in books.of("evidence", order) if row["state"] == "waiting"]
    if waiting and not order["waits"]:
        yield f"{len(waiting)} pieces of evidence wait, and nobody will ask"


def duties_have_reasons(books: Books, order: Row) -> Iterator[str]:
    """Late money is owed back only where channel or operator say so, another duty only by a payment."""
    for duty in books.of("duties", order):
        is_meant = duty["cause"] != "late" or books.terms[order["channel"]].late == "refund"
        is_late = "held" in books.path(order) and is_meant
        if not (is_late if duty["what"] == "refund" else books.payment(order)):
            yield f"{duty['what']} is owed without a reason"


def duties_wait_for_release(books: Books, order: Row) -> Iterator[str]:
    """What a payment owes waits exactly as long as nobody has decided to deliver; a refund never waits."""
    waits = "void" if order["status"] == "refunded" else "held"
    for duty in books.of("duties", order):
        must_wait = duty["what"] != "refund" and "paid" not in books.path(order)
        if duty["status"] != waits if must_wait else duty["status"] in ("held", "void"):
            yield f"{duty['what']} is {duty['status']} after {' → '.join(books.path(order))}"


def endings_have_dates(books: Books, order: Row) -> Iterator[str]:
    """An order says when it left pending, and only then."""
    if (order["settled_at"] is None) != (order["status"] == "pending"):
        yield f"{order['status']} since {order['settled_at']}"


def excess_is_beyond_payment(books: Books, order: Row) -> Iterator[str]:
    """Excess is of an order that another transaction has paid."""
    payment = books.payment(order) or {"transaction_key": None}
    for row in books.of("evidence", order):
        if row["state"] == "excess" and payment["transaction_key"] in (
            None,
            row["transaction_key"],
        ):
            yield f"{row['sha256']} is excess of nothing"


RULES: list[Callable[[Books, Row], Iterator[str]]] = [
    payment_behind_status,
    payment_is_proven,
    payment_fits_order,
    money_is_whole_numbers,
    status_moves_along_edges,
    told_exactly_once,
    refunds_are_told,
    refunds_within_payment,
    waiting_is_scheduled,
    duties_have_reasons,
    duties_wait_for_release,
    endings_have_dates,
    excess_is_beyond_payment,
]


# --- Rules for all rows together ---


def transactions_pay_once(books: Books) -> Iterator[str]:
    """One provider transaction pays one order, and its key is made of all that names it."""
    for row in books.tables["payments"]:
        parts = (row["kind"], row["environment"], row["account"], row["transaction_id"])
        if row["transaction_key"] != _key(parts):
            yield f"{row['order_no']} has another transaction's key"
    named = Counter(row["transaction_key"] for row in books.tables["payments"])
    yield from (f"{key} paid {count} orders" for key, count in named.items() if count > 1)


def events_are_on_their_way(books: Books) -> Iterator[str]:
    """Each event has one delivery for each endpoint of its channel, and no delivery is without its event."""
    channels = {order["order_no"]: order["channel"] for order in books.tables["orders"]}
    ways = defaultdict(list)
    for delivery in books.tables["deliveries"]:
        ways[delivery["event_id"]].append(delivery["endpoint"])
    for event in books.tables["events"]:
        found = sorted(ways.pop(event["event_id"], []))
        channel = channels.get(event["order_no"])
        if channel and found != sorted(books.terms[channel].endpoints_of(event["type"])):
            yield f"{event['event_id']} goes to {found}"
    yield from (f"{event_id} is delivered, but it is no event" for event_id in ways)


def work_is_done_by_trying(books: Books) -> Iterator[str]:
    """What is delivered or done says when, is nobody's any more, and a try of it succeeded."""
    tries = books.tables.get("attempts", ())
    for name, ended, dated in (
        ("delivery", "delivered", "delivered_at"),
        ("duty", "done", "done_at"),
    ):
        succeeded = {row[f"{name}_id"] for row in tries if row["ok"]}
        for row in books.tables["deliveries" if name == "delivery" else "duties"]:
            is_over = row["status"] == ended
            if is_over and (row["lease_token"] or not row[dated] or row["id"] not in succeeded):
                yield f"{name} {row['id']} of {row['order_no']} is {ended}, but nobody did it"


def events_are_themselves(books: Books) -> Iterator[str]:
    """An event's name and cause are its own, and its body tells what its row says."""
    rows = books.tables["events"]
    causes = Counter((row["order_no"], row["type"], row["cause"]) for row in rows)
    yield from (f"{cause} has {count} events" for cause, count in causes.items() if count > 1)
    for row in rows:
        body = _parsed(row["body"])
        if (body["type"], body["data"]["order_no"]) != (row["type"], row["order_no"]):
            yield f"{row['event_id']} tells of something else"


def stories_are_proven(books: Books) -> Iterator[str]:
    """Each line of a timeline names its actor, and evidence that is kept."""
    hashes = {row["sha256"] for row in books.tables["evidence"]}
    for row in books.tables["timeline"]:
        proof = _detail(row).get("evidence")
        if not row["actor"] or (proof is not None and proof not in hashes):
            yield f"{row['order_no']} {row['what']} has no proof"


def orphans(books: Books) -> Iterator[str]:
    """Nothing is on record for an order that there is not; evidence alone may name a stranger."""
    numbers = {order["order_no"] for order in books.tables["orders"]}
    for name in ("payments", "refunds", "events", "deliveries", "duties", "timeline"):
        for row in books.tables[name]:
            if row["order_no"] not in numbers:
                yield f"{name} of {row['order_no']}"


def what_was_resolved_says_why(books: Books) -> Iterator[str]:
    """Who resolves evidence gives a reason, and the audit knows who it was."""
    known = {row["subject"] for row in books.tables.get("audit", ())}
    for row in books.tables["evidence"]:
        is_known = f"evidence {row.get('id')}" in known
        if row["state"] == "resolved" and not (row["resolution"] and is_known):
            yield f"evidence {row['id']} is resolved, and nobody says why"


def money_takes_two_people(books: Books) -> Iterator[str]:
    """What was approved was proposed by somebody else and is done; what is decided is open no more."""
    told = {(row["order_no"], row["what"], row["actor"]) for row in books.tables["timeline"]}
    for row in books.tables.get("proposals", ()):
        if (row["open_for"] is None) != (row["decision"] is not None):
            yield f"proposal {row['id']} is open for {row['open_for']}, decided: {row['decision']}"
        what = {"release": "released", "refund": "refund_ordered"}[row["act"]]
        if row["decision"] == "approved" and (
            row["decided_by"] == row["proposed_by"]
            or (row["order_no"], what, row["decided_by"]) not in told
        ):
            yield f"proposal {row['id']} was approved, but not by another or not done"


WIDE_RULES: list[Callable[[Books], Iterator[str]]] = [
    transactions_pay_once,
    events_are_on_their_way,
    work_is_done_by_trying,
    events_are_themselves,
    stories_are_proven,
    orphans,
    what_was_resolved_says_why,
    money_takes_two_people,
]


def _detail(line: Row) -> dict[str, Any]:
    return {**_parsed(line["detail"]), "what": line["what"]}


@lru_cache(4096)
def _parsed(text: str) -> dict[str, Any]:
    """Read JSON, once for however many looks at the same rows."""
    return json.loads(text)


def _key(parts: tuple[str, ...]) -> str:
    return hashlib.sha256("".join(f"{part}\0" for part in parts).encode()).hexdigest()
