"""The checks of a confirmation: whether authentic evidence fits the order that it names. Pure functions."""

from typing import Any

from payplat.purchase import Order, State, Verdict


def difference(order: Order, verdict: Verdict, *, is_repeat: bool = False) -> str:
    """Return the name of the first thing in which the verdict differs from its order, or nothing.

    ``is_repeat``: it speaks of the transaction that paid the order; then a store need not state its price again, and what
    would have kept it from paying no longer matters.
    """
    pairs = {**_identity(order, verdict), **_goods(order, verdict)}
    if not (is_repeat and verdict.amount is None):
        pairs |= _money(order, verdict)
    pairs |= _refund(order, verdict)
    differs = (name for name, (ours, theirs) in pairs.items() if ours != theirs)
    return next(differs, "" if is_repeat else verdict.objection)


def compared(order: Order, verdict: Verdict) -> list[str]:
    """Return which of amount and product there was something to compare with."""
    has_amount = verdict.states_payment and order.amount is not None
    known = {"product": verdict.product is not None, "amount": has_amount}
    return [name for name, is_known in known.items() if is_known]


Pairs = dict[str, tuple[Any, Any]]


def _identity(order: Order, verdict: Verdict) -> Pairs:
    return {
        "kind": (order.kind, verdict.kind),
        "environment": (order.environment, verdict.environment),
        "account": (order.account, verdict.account),
    }


def _goods(order: Order, verdict: Verdict) -> Pairs:
    """What the provider repeats of the goods; for the rest the order number that it signed stands."""
    pairs = {
        "product": (order.sku, verdict.product),
        "quantity": (order.quantity, verdict.quantity),
        "consumable": (order.consumable, verdict.consumable),
    }
    return {name: pair for name, pair in pairs.items() if pair[1] is not None}


def _money(order: Order, verdict: Verdict) -> Pairs:
    pairs: Pairs = {}
    if verdict.states_payment and order.amount is not None:
        pairs["amount"] = (order.amount, verdict.amount)
        pairs["currency"] = (order.currency, verdict.currency)
    elif verdict.states_payment and verdict.amount is not None:
        pairs["amount"] = (True, verdict.amount > 0)
        pairs["currency"] = (True, verdict.currency is not None)
    if verdict.state is State.PAID and verdict.refund is None:
        pairs.setdefault("payment", (True, verdict.states_payment))
    return pairs


def _refund(order: Order, verdict: Verdict) -> Pairs:
    refund = verdict.refund
    if refund is None:
        # All is back, but by no refund: it must neither pay nor be believed.
        return {"refund": (True, verdict.state is not State.REFUNDED)}
    named = {"transaction_id": (True, bool(verdict.transaction_id))}
    if order.amount is None:
        return named
    return {**named, "refund": (True, max(refund.total or 0, refund.amount or 0) <= order.amount)}
