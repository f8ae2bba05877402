"""The model's words: what is told of an order, what fails meanwhile, and the steps made of both, as plain data.

A step holds no object of the ledger, so that the same steps can be taken on another engine, or pasted into a command.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from payplat.purchase import Evidence, LatePolicy, Order, Owed, Source, State, Verdict
from payplat.rows import Terms
from tests.ledger.build import (
    PRICE,
    claimed,
    closed,
    noticed,
    paid,
    payment,
    refund,
    reversal,
    says,
)

_MAIN, _STOCK = "default/main", "default/stock"
# Each policy for late money, prices that are ours and a store's; one end learns of payments only.
TERMS = {
    "shop": Terms(LatePolicy.DELIVER, {_MAIN: None, _STOCK: {"order.paid"}}),
    "shop_hold": Terms(LatePolicy.HOLD, {_MAIN: None}),
    "shop_refund": Terms(LatePolicy.REFUND, {_MAIN: None}),
    "store": Terms(LatePolicy.DELIVER, {_MAIN: None, _STOCK: {"order.paid"}}),
    "store_hold": Terms(LatePolicy.HOLD, {_MAIN: None}, gives_back=False),
    "store_refund": Terms(LatePolicy.REFUND, {_MAIN: None}),
}
ENDPOINTS = (_MAIN, _STOCK)
# What can be wrong with what is told, and how it is told then.
WRONG: dict[str, dict[str, Any]] = {
    "": {},
    "amount": {"amount": PRICE + 1},
    "currency": {"currency": "EUR"},
    "product": {"product": "coins.9"},
    "quantity": {"quantity": 2},
    "consumable": {"consumable": False},
    "account": {"account": "somebody else's"},
    "environment": {"environment": "production"},
    "kind": {"kind": "google"},
    "objection": {"objection": "family"},
    "old": {"paid_at": 1},  # which is no reason to refuse it: clocks are wrong, too
    "price unstated": {"amount": None, "currency": None},
    "no payment": {"amount": None, "product": None},
    "nothing sold": {"amount": 0},
    "order unknown": {"order_no": "f" * 32},
    "order nonsense": {"order_no": "' or 1=1"},
}
OWES = {"": (), "bind": (Owed("bind"),), "consume": (Owed("bind"), Owed("consume", 3600))}


@dataclass(frozen=True)
class Told:
    """Something that a provider says about the order of that number.

    It names the transaction of the order ``lender``, and a refund by the name that the order ``key_of`` gives it;
    refunds and reversals happened ``at`` that time. A ``stray`` one names no order.
    """

    order: int = 0
    kind: str = "paid"
    transaction: str = ""
    lender: int | None = None
    wrong: str = ""
    states_payment: bool = True
    amount: int = PRICE
    key: str = "r1"
    key_of: int | None = None
    at: int = 10
    stray: bool = False
    owes: str = ""
    source: str = "callback"

    def verdict(
        self, orders: Mapping[int, Order], about: Order | None = None, by: Evidence | None = None
    ) -> Verdict:
        """Return it as a verdict: of its own order or of the one asked ``about``, ``by`` the evidence asked with."""
        order = about or orders[self.order]
        verdict = self._made(order, self._facts(orders, order), self._key(orders, order))
        return verdict if by is None else replace(verdict, evidence=by)

    def _facts(self, orders: Mapping[int, Order], order: Order) -> dict[str, Any]:
        lender = order if self.lender is None else orders[self.lender]
        told: dict[str, Any] = {"transaction_id": f"T{self.transaction}-{lender.order_no}"}
        if self.states_payment:
            told |= payment(order)
        told |= {"owes": OWES[self.owes], "source": Source(self.source), **WRONG[self.wrong]}
        return told | ({"order_no": None} if self.stray else {})

    def _key(self, orders: Mapping[int, Order], order: Order) -> str:
        named = order if self.key_of is None else orders[self.key_of]
        return f"{named.order_no}:{self.key}"

    def _made(self, order: Order, facts: dict[str, Any], key: str) -> Verdict:
        at, part = {"at": self.at}, self.amount
        make = {
            "paid": lambda: paid(order, **_only_stated(facts)),
            "closed": lambda: closed(order, **facts),
            "claim": lambda: claimed(order, **facts),
            "part": lambda: refund(order, key, part=part, **at, **facts),
            "total": lambda: refund(order, key, total=part, **at, **facts),
            "whole": lambda: refund(order, key, whole=True, **at, **facts),
            "share": lambda: refund(order, key, share=50_000, **at, **facts),
            "reversal": lambda: reversal(order, key, **at, **facts),
            "unnamed": lambda: reversal(order, "", **at, **facts),
            "notice": lambda: noticed(order, key=self.key, detail={"why": "other"}, **facts),
            "remark": lambda: noticed(order, "refund_declined", self.key, **facts),
        }
        return make.get(self.kind, lambda: says(order, State(self.kind), **facts))()


def nothing_bought(*, is_over: bool) -> Told:
    """Return what is told of an order for which nobody has paid: that it may still come, or that it is over."""
    kind = "closed" if is_over else "pending"
    return Told(kind=kind, transaction="none", states_payment=False)


def _only_stated(facts: dict[str, Any]) -> dict[str, Any]:
    """Without facts a payment would state the usual ones."""
    return facts if "amount" in facts else {"amount": None, "product": None, **facts}


# What a provider answers when it is asked: something told, or a word for something that went wrong.
Answer = Told | str


# What names a row on any engine: its order's number and what it is there for.
Key = tuple[Any, ...]
COMMITS = ("before_commit", "after_commit")
ANYWHERE = "anywhere"


@dataclass(frozen=True)
class Fault:
    """What strikes when a crash point, or any, is passed for the ``nth`` time (from 0) in a step.

    ``dies``: the process; ``fails``: this one try; ``is down``: the database from here to the end of the step;
    ``hangs up``: whoever waits for the result.
    """

    what: str
    at: str = "before_commit"
    nth: int = 0


@dataclass(frozen=True)
class Step:
    """One step: the ``rule`` that made it, the ``action`` taken, with what, and what fails meanwhile."""

    rule: str
    action: str
    given: dict[str, Any] = field(default_factory=dict)
    fault: Fault | None = None

    def __str__(self) -> str:
        given = ", ".join(f"{name}={_short(value)}" for name, value in self.given.items())
        return f"{self.rule}: {self.action}({given})" + (f" !{self.fault}" if self.fault else "")


def number_of(order: int) -> str:
    """Return an order's number as the ledger writes it."""
    return f"{order:032x}"


def dump(steps: list[Step]) -> str:
    """Write steps as one line of JSON."""
    told = [[step.rule, step.action, step.given, step.fault] for step in steps]
    return json.dumps(told, separators=(",", ":"), default=_unusual)


def load(text: str) -> list[Step]:
    """Read steps from JSON."""
    return [
        Step(
            rule,
            action,
            {name: _read(name, value) for name, value in given.items()},
            Fault(**fault) if fault else None,
        )
        for rule, action, given, fault in json.loads(text)
    ]


def _unusual(part: Told | Fault) -> dict[str, Any]:
    """Return what is not as usual."""
    values = {each.name: getattr(part, each.name) for each in fields(part)}
    usual = {each.name: each.default for each in fields(part)}
    return {name: value for name, value in values.items() if value != usual[name]}


def _read(name: str, value: Any) -> Any:
    if name == "key" and isinstance(value, list):
        return tuple(value)
    if name in ("told", "answers"):
        return [Told(**each) if isinstance(each, dict) else each for each in value]
    return value


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_short, value))}]"
    if not isinstance(value, Told):
        return repr(value)
    return f"Told({', '.join(f'{name}={part!r}' for name, part in _unusual(value).items())})"
