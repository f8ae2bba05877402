"""What a verdict does to an order: the four checks and the state machine, without any input or output.

pending ──► paid ⇄ refunded             (back only by a provider's reversal of the refund)
   └──────► closed ──► paid | held       (late-payment policy)            held ⇄ refunded, held ──► paid
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from payplat.purchase import LatePolicy, Order, Source, State, Status, Verdict
from payplat.rows import (
    KnownRefund,
    Terms,
    Values,
    Writes,
    event_rows,
    evidence_row,
    payment_row,
    refund_row,
    timeline_row,
)


class Result(StrEnum):
    """What came of a verdict."""

    PAID = "paid"
    HELD = "held"
    REFUNDED = "refunded"  # in part or in whole
    REVERSED = "reversed"
    CLOSED = "closed"
    REPEATED = "repeated"  # known already; nothing changed
    UNCHANGED = "unchanged"  # nothing to change: pending, unknown, or no news
    EXCESS = "excess"  # authentic money for an order that another transaction has paid
    MISMATCH = "mismatch"  # authentic, but it differs from its order
    UNKNOWN_ORDER = "unknown_order"


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of one verdict; ``field`` names what differs in a MISMATCH, ``order`` is None when unknown."""

    result: Result
    order: Order | None
    field: str = ""


@dataclass(slots=True)
class Case:
    """One order while verdicts are applied to it: a later verdict sees what an earlier one did.

    ``is_told`` says whether its ``order.paid`` event exists; only a reversal needs to know.
    """

    order: Order
    transaction_key: str | None
    transaction_id: str | None
    refunds: dict[str, KnownRefund]
    terms: Terms
    now: int
    writes: Writes
    is_told: bool = False

    def settle(self, verdict: Verdict, owner: str | None) -> Settled:
        """Apply ``verdict``; ``owner`` is the order that its transaction has paid already, if any."""
        differs = _difference(self.order, verdict) or self._contradiction(verdict, owner)
        if differs:
            return self.quarantine(verdict, differs)
        if self._is_excess(verdict):
            self.writes.evidence.append(evidence_row(verdict, self.now, "excess", "transaction_id"))
            self._alert("excess", verdict, transaction_id=verdict.transaction_id)
            return Settled(Result.EXCESS, self.order)
        result = self._apply(verdict)
        if verdict.state is State.UNKNOWN and verdict.evidence.source is Source.CALLBACK:
            # Signed, but not understood: a person looks at it, and the job asks.
            self.writes.evidence.append(evidence_row(verdict, self.now, "quarantined", "state"))
        if result not in (Result.REPEATED, Result.UNCHANGED):
            self.writes.evidence.append(evidence_row(verdict, self.now, "used", ""))
        return Settled(result, self.order)

    def quarantine(self, verdict: Verdict, differs: str) -> Settled:
        """Keep authentic evidence that must not touch the order, and what differs in it."""
        self.writes.evidence.append(evidence_row(verdict, self.now, "quarantined", differs))
        self._alert("quarantined", verdict, field=differs)
        return Settled(Result.MISMATCH, self.order, differs)

    def release(self, actor: str) -> None:
        """Deliver a held order after all."""
        self._deliver()
        line = timeline_row(self.order, self.now, "released", actor, {"to": self.order.status})
        self.writes.timeline.append(line)

    def _contradiction(self, verdict: Verdict, owner: str | None) -> str:
        """Return what differs from what is on record: a transaction pays once, no more goes back than came."""
        if owner not in (None, self.order.order_no):
            return "transaction_id"
        came = self.order.amount
        if came is None and verdict.states_payment:
            came = verdict.amount
        back, refund = self._refunded(verdict.transaction_key), verdict.refund
        known = self.refunds.get(refund.key) if refund else None
        if known is not None and known.transaction_key != verdict.transaction_key:
            return "refund"
        if refund and not refund.reversed and known is None:
            back += self._refund_amount(verdict) or 0
        return "refund" if came is not None and back > came else ""

    def _is_excess(self, verdict: Verdict) -> bool:
        tells_money = verdict.state in (State.PAID, State.REFUNDED) and verdict.transaction_id
        another = verdict.transaction_key != self.transaction_key
        return bool(tells_money and self.transaction_key and another)

    def _apply(self, verdict: Verdict) -> Result:
        if verdict.state is State.CLOSED:
            return self._close(verdict)
        if verdict.state not in (State.PAID, State.REFUNDED):
            return Result.UNCHANGED
        refunded, is_paid = self._refund(verdict), self.transaction_key is not None
        paid = Result.REPEATED if is_paid else Result.UNCHANGED
        if verdict.states_payment and not is_paid:
            paid = self._pay(verdict)
        has_news = refunded not in (Result.UNCHANGED, Result.REPEATED)
        return refunded if has_news or paid is Result.UNCHANGED else paid

    def _close(self, verdict: Verdict) -> Result:
        if self.order.status is Status.PENDING:
            self._move(Status.CLOSED)
            self._tell("closed", verdict, to=Status.CLOSED)
            return Result.CLOSED
        if self.order.status is Status.PAID:
            # The provider contradicts itself: the order stays paid, and the timeline shows the contradiction.
            self.writes.evidence.append(evidence_row(verdict, self.now, "quarantined", "state"))
            self._alert("contradicted", verdict, state=State.CLOSED)
        return Result.UNCHANGED

    def _pay(self, verdict: Verdict) -> Result:
        late = self.order.status is Status.CLOSED
        self.transaction_key, self.transaction_id = verdict.transaction_key, verdict.transaction_id
        self.writes.payments.append(payment_row(verdict, self.order.order_no, self.now))
        if self.order.amount is None and verdict.amount is not None:
            self.order = replace(self.order, amount=verdict.amount, currency=verdict.currency)
        self._sum_refunds()
        if self._is_whole():
            self._move(Status.REFUNDED)
        elif late and self.terms.late is not LatePolicy.DELIVER:
            self._move(Status.HELD)
        else:
            self._deliver()
        for key, known in self._alive_refunds(self.transaction_key).items():
            self._event("order.refunded", key, refund=known)
        if self.order.status is Status.HELD and self.terms.late is LatePolicy.REFUND:
            self._owe("refund", "late")
        what = {Status.PAID: "paid_late" if late else "paid"}.get(self.order.status)
        self._tell(
            what or self.order.status,
            verdict,
            to=self.order.status,
            transaction_id=verdict.transaction_id,
            amount=verdict.amount,
            currency=verdict.currency,
        )
        return Result(self.order.status.value)

    def _refund(self, verdict: Verdict) -> Result:
        refund = verdict.refund
        if refund is None:
            return Result.UNCHANGED
        key, known = refund.key, self.refunds.get(refund.key)
        if refund.reversed:
            return self._reverse(verdict, key, known)
        amount = self._refund_amount(verdict)
        if known is not None or (amount is not None and amount <= 0):
            return Result.REPEATED
        whole = verdict.state is State.REFUNDED
        known = KnownRefund(verdict.transaction_key, amount, whole, reversed=False)
        self.refunds[key] = known
        self.writes.refunds.append(refund_row(verdict, self.order.order_no, key, known, self.now))
        if self.transaction_key is None:  # it waits for its payment
            self._tell("refund_waiting", verdict, refund=key, amount=amount)
            return Result.REFUNDED
        self._sum_refunds()
        if self._is_whole():
            self._move(Status.REFUNDED)
        self._event("order.refunded", key, refund=known)
        self._tell("refunded", verdict, refund=key, amount=amount, to=self.order.status)
        return Result.REFUNDED

    def _refund_amount(self, verdict: Verdict) -> int | None:
        """This refund's own part, in minor units; None where the provider states none."""
        refund = verdict.refund
        if refund is None or (refund.amount is None and refund.total is None):
            return None
        if refund.amount is not None:
            return refund.amount
        return (refund.total or 0) - self._refunded(verdict.transaction_key)

    def _reverse(self, verdict: Verdict, key: str, known: KnownRefund | None) -> Result:
        if known is None:  # the refund itself is still on its way: it must then change nothing
            known = KnownRefund(verdict.transaction_key, None, whole=False, reversed=True)
            self.refunds[key] = known
            self.writes.refunds.append(
                refund_row(verdict, self.order.order_no, key, known, self.now)
            )
            self._tell("refund_reversed", verdict, refund=key)
            return Result.REVERSED
        if known.reversed:
            return Result.REPEATED
        known.reversed = True
        self._sum_refunds()
        self.writes.reversals.append({"refund_key": key, "verdict": verdict})
        if self.order.status is Status.REFUNDED and not self._is_whole():
            self._come_back()
        if self.transaction_key is not None:
            self._event("order.refund_reversed", key, refund=known)
        self._tell("refund_reversed", verdict, refund=key, to=self.order.status)
        return Result.REVERSED

    def _come_back(self) -> None:
        """Undo the move to refunded; where nobody was told of the payment yet, the policy for late money decides."""
        if self.is_told:
            self._move(Status.PAID)
        elif self.terms.late is LatePolicy.DELIVER:
            self._deliver()
        else:
            self._move(Status.HELD)

    def _deliver(self) -> None:
        self._move(Status.PAID)
        self._event("order.paid", "")
        self.is_told = True

    def _alive_refunds(self, transaction_key: str | None) -> dict[str, KnownRefund]:
        return {
            key: known
            for key, known in self.refunds.items()
            if not known.reversed and known.transaction_key == transaction_key
        }

    def _refunded(self, transaction_key: str | None) -> int:
        return sum(known.amount or 0 for known in self._alive_refunds(transaction_key).values())

    def _sum_refunds(self) -> None:
        back, alive = (
            self._refunded(self.transaction_key),
            self._alive_refunds(self.transaction_key),
        )
        if any(known.whole and known.amount is None for known in alive.values()):
            back = self.order.amount or back
        self.order = replace(self.order, refunded=back)

    def _is_whole(self) -> bool:
        alive = self._alive_refunds(self.transaction_key)
        covered = self.order.amount is not None and self.order.refunded >= self.order.amount
        return bool(alive) and (covered or any(known.whole for known in alive.values()))

    def _move(self, status: Status) -> None:
        self.order = replace(self.order, status=status, settled_at=self.now)

    def _owe(self, what: str, cause: str) -> None:
        duty = {"order_no": self.order.order_no, "channel": self.order.channel, "what": what}
        queued = {"status": "due", "due_at": self.now, "failures": 0, "created_at": self.now}
        self.writes.duties.append({**duty, "cause": cause, **queued})

    def _event(self, kind: str, cause: str, refund: KnownRefund | None = None) -> None:
        event, deliveries = event_rows(
            kind, self.order, self.terms, self.transaction_id, self.now, cause, refund
        )
        self.writes.events.append(event)
        self.writes.deliveries += deliveries

    def _tell(self, what: str, verdict: Verdict, **detail: Any) -> None:
        self.writes.timeline.append(self._line(what, verdict, detail))

    def _alert(self, what: str, verdict: Verdict, **detail: Any) -> None:
        self.writes.alerts.append(self._line(what, verdict, detail))

    def _line(self, what: str, verdict: Verdict, detail: Values) -> Values:
        proof = {"evidence": verdict.evidence.sha256, "verifier": verdict.verifier}
        note = {"note": verdict.note} if verdict.note else {}
        actor = verdict.evidence.source.value
        return timeline_row(self.order, self.now, what, actor, {**detail, **note, **proof})


def _difference(order: Order, verdict: Verdict) -> str:
    """Return the name of the first thing in which the verdict differs from its order, or nothing."""
    pairs: dict[str, tuple[Any, Any]] = {
        "kind": (order.kind, verdict.kind),
        "environment": (order.environment, verdict.environment),
        "account": (order.account, verdict.account),
    }
    if verdict.product is not None:
        pairs["product"] = (order.sku, verdict.product)
    if verdict.quantity is not None:
        pairs["quantity"] = (order.quantity, verdict.quantity)
    if verdict.states_payment and order.amount is not None:
        pairs["amount"] = (order.amount, verdict.amount)
        pairs["currency"] = (order.currency, verdict.currency)
    elif verdict.states_payment and verdict.amount is not None:
        pairs["amount"] = (True, verdict.amount > 0)
        pairs["currency"] = (True, verdict.currency is not None)
    if verdict.state is State.PAID and verdict.refund is None:
        pairs.setdefault("payment", (True, verdict.states_payment))
    pairs |= _refund_difference(order, verdict)
    return next((name for name, (ours, theirs) in pairs.items() if ours != theirs), "")


def _refund_difference(order: Order, verdict: Verdict) -> dict[str, tuple[Any, Any]]:
    refund = verdict.refund
    if refund is None:
        # All is back, but by no refund: it must neither pay nor be believed.
        return {"refund": (True, verdict.state is not State.REFUNDED)}
    named = {"transaction_id": (True, bool(verdict.transaction_id))}
    if order.amount is None:
        return named
    return {**named, "refund": (True, max(refund.total or 0, refund.amount or 0) <= order.amount)}
