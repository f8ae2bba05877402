"""What a verdict does to an order: the four checks and the state machine, without any input or output.

pending ──► paid ⇄ refunded             (back only by a provider's reversal of the refund)
   └──────► closed ──► paid | held       (late-payment policy)            held ⇄ refunded, held ──► paid
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from payplat import seam
from payplat.checks import compared, difference
from payplat.purchase import LatePolicy, Notice, Order, Refund, Source, State, Status, Verdict
from payplat.refunds import KnownRefund, RefundBook, mark_key
from payplat.rows import (
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
    NOTICED = "noticed"  # the provider said something that the merchant learns; no state changed
    CLOSED = "closed"
    REPEATED = "repeated"  # known already; nothing changed
    UNCHANGED = "unchanged"  # nothing to change: pending, unknown, or no news
    EXCESS = "excess"  # authentic money for an order that another transaction has paid
    MISMATCH = "mismatch"  # authentic, but it differs from its order
    UNKNOWN_ORDER = "unknown_order"
    RECORDED = "recorded"  # authentic, and about no purchase at all


_NO_NEWS = (Result.REPEATED, Result.UNCHANGED)


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of one verdict; ``field`` names what differs in a MISMATCH, ``order`` is None when unknown."""

    result: Result
    order: Order | None
    field: str = ""


@dataclass(slots=True)
class Case:
    """One order while verdicts are applied to it: a later verdict sees what an earlier one did.

    ``events`` holds type and cause of the events that exist; only reversals and notices need to know.
    ``compared`` is what of amount and product the present verdict could be compared in.
    """

    order: Order
    transaction_key: str | None
    transaction_id: str | None
    refunds: RefundBook
    terms: Terms
    now: int
    writes: Writes
    events: set[tuple[str, str]] = field(default_factory=set)
    compared: list[str] = field(default_factory=list)

    def settle(self, verdict: Verdict, owner: str | None) -> Settled:
        """Apply ``verdict``; ``owner`` is the order that its transaction has paid already, if any."""
        is_repeat = verdict.transaction_key == self.transaction_key
        self.compared = compared(self.order, verdict)
        differs = difference(self.order, verdict, is_repeat=is_repeat)
        differs = differs or self._contradiction(verdict, owner)
        if differs:
            return self.quarantine(verdict, differs)
        if self._is_excess(verdict):
            self.writes.evidence.append(evidence_row(verdict, self.now, "excess", "transaction_id"))
            self._alert("excess", verdict, transaction_id=verdict.transaction_id)
            return Settled(Result.EXCESS, self.order)
        result = self._apply(verdict)
        if verdict.notice is not None:
            noticed = self._notice(verdict, verdict.notice)
            result = noticed if result in _NO_NEWS else result
        self._keep(verdict, result)
        return Settled(result, self.order)

    def _keep(self, verdict: Verdict, result: Result) -> None:
        is_notice = verdict.evidence.source is Source.CALLBACK
        if result not in _NO_NEWS:
            self.writes.evidence.append(evidence_row(verdict, self.now, "used", ""))
        elif verdict.state is State.UNKNOWN and is_notice and verdict.notice is None:
            # Signed, but not understood: a person looks at it, and the job asks.
            self.writes.evidence.append(evidence_row(verdict, self.now, "quarantined", "state"))

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

    def give_back(self, actor: str) -> None:
        """Owe a held order's money to its payer."""
        # The provider is told the cause as the refund's name: the same one, whoever orders it.
        self._owe("refund", "operator", "due")
        line = timeline_row(self.order, self.now, "refund_ordered", actor, {})
        self.writes.timeline.append(line)

    def _contradiction(self, verdict: Verdict, owner: str | None) -> str:
        """Return what differs from what is on record: a transaction pays once, no more goes back than came."""
        if owner not in (None, self.order.order_no):
            return "transaction_id"
        came = self.order.amount
        if came is None and verdict.states_payment:
            came = verdict.amount
        back, refund = self.refunds.money_back(verdict.transaction_key), verdict.refund
        known = self.refunds.get(refund.key) if refund else None
        if known is not None and known.transaction_key != verdict.transaction_key:
            return "refund"
        if refund and not refund.reversed and known is None:
            back += self.refunds.amount_of(verdict) or 0
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
        has_news = refunded not in _NO_NEWS
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
        if verdict.is_claimed:
            self.writes.claim(verdict.transaction_key, self.order.order_no)
        if self.order.amount is None and verdict.amount is not None:
            self.order = self.order._replace(amount=verdict.amount, currency=verdict.currency)
        self._sum_refunds()
        if self._is_whole():
            self._move(Status.REFUNDED)
        elif late and self.terms.late is not LatePolicy.DELIVER:
            self._move(Status.HELD)
        else:
            self._deliver()
        self._owe_all(verdict)
        for key, known in self.refunds.alive(self.transaction_key).items():
            self._refund_event("order.refunded", key, known)
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

    def _owe_all(self, verdict: Verdict) -> None:
        """Write what a payment owes to the provider; what is held waits for the operator, refunded money owes nothing."""
        held = self.order.status is Status.HELD
        if self.order.status is not Status.REFUNDED:
            for owed in verdict.owes:
                self._owe(owed.what, "", "held" if held else "due", owed.seconds)
        if held and self.terms.late is LatePolicy.REFUND:
            self._owe("refund", "late", "due")

    def _refund(self, verdict: Verdict) -> Result:
        refund = verdict.refund
        if refund is None:
            return Result.UNCHANGED
        if refund.reversed:
            return self._reverse(verdict, refund)
        amount = self.refunds.amount_of(verdict)
        if self.refunds.get(refund.key) or (amount is not None and amount <= 0):
            return Result.REPEATED
        known = self._enter(verdict, refund, refund.key)
        if known.reversed:
            return self._told_of_reversal(verdict, refund.key)
        told = {"refund": refund.key, "amount": amount, "share": refund.share, "type": refund.type}
        told = {name: value for name, value in told.items() if value not in (None, "")}
        if self.transaction_key is None:  # it waits for its payment
            self._tell("refund_waiting", verdict, **told)
            return Result.REFUNDED
        self._sum_refunds()
        if self._is_whole():
            if self.order.status is Status.HELD:
                self.writes.held_duties[self.order.order_no] = "void"
            self._move(Status.REFUNDED)
        self._refund_event("order.refunded", refund.key, known)
        self._tell("refunded", verdict, **told, to=self.order.status)
        return Result.REFUNDED

    def _enter(self, verdict: Verdict, refund: Refund, key: str) -> KnownRefund:
        known = self.refunds.add(verdict, replace(refund, key=key))
        self.writes.refunds.append(refund_row(verdict, self.order.order_no, key, known, self.now))
        return known

    def _reverse(self, verdict: Verdict, reversal: Refund) -> Result:
        meant, mark = self.refunds.meant_by(verdict, reversal), mark_key(verdict, reversal)
        alive = {key: known for key, known in meant.items() if not known.reversed}
        is_known = self.refunds.get(mark) is not None
        if not is_known:  # a refund that is still on its way must then change nothing
            self._enter(verdict, reversal, mark)
        if not alive:
            return Result.REPEATED if is_known else self._told_of_reversal(verdict, mark)
        for key, known in alive.items():
            known.reversed = True
            self.writes.reversals.append({"refund_key": key, "verdict": verdict})
        self._sum_refunds()
        if self.order.status is Status.REFUNDED and not self._is_whole():
            self._come_back()
        for key, known in alive.items():
            if self.transaction_key is not None:
                self._refund_event("order.refund_reversed", key, known)
            self._tell("refund_reversed", verdict, refund=key, to=self.order.status)
        return Result.REVERSED

    def _told_of_reversal(self, verdict: Verdict, key: str) -> Result:
        self._tell("refund_reversed", verdict, refund=key)
        return Result.REVERSED

    def _notice(self, verdict: Verdict, notice: Notice) -> Result:
        """Tell the timeline, and the merchant where it is for the merchant, what leaves the order as it is."""
        told = (f"order.{notice.what}", notice.key)
        if told in self.events:
            return Result.REPEATED
        if notice.is_event and self.transaction_key is not None:
            self._event(*told, {"notice": {"id": notice.key, **notice.detail}})
        self._alert("noticed", verdict, notice=notice.what, key=notice.key, **notice.detail)
        return Result.NOTICED

    def _come_back(self) -> None:
        """Undo the move to refunded; where nobody was told of the payment yet, the policy for late money decides."""
        if ("order.paid", "") in self.events:
            self._move(Status.PAID)
        elif self.terms.late is LatePolicy.DELIVER:
            self._deliver()
        else:
            self.writes.held_duties[self.order.order_no] = "held"
            self._move(Status.HELD)

    def _deliver(self) -> None:
        if self.order.status in (Status.HELD, Status.REFUNDED):
            self.writes.held_duties[self.order.order_no] = "due"
        self._move(Status.PAID)
        self._event("order.paid", "", {})

    def _sum_refunds(self) -> None:
        back = self.refunds.sum(self.transaction_key, self.order.amount)
        if back != self.order.refunded:
            self.order = self.order._replace(refunded=back)

    def _is_whole(self) -> bool:
        return self.refunds.covers_all(self.transaction_key, self.order.amount)

    def _move(self, status: Status) -> None:
        self.order = self.order._replace(status=status, settled_at=self.now)

    def _owe(self, what: str, cause: str, status: str, seconds: int = 0) -> None:
        due_at = self.now + seconds * seam.SECOND
        duty = {"order_no": self.order.order_no, "channel": self.order.channel, "what": what}
        queued = {"status": status, "due_at": due_at, "failures": 0, "created_at": self.now}
        self.writes.duties.append({**duty, "cause": cause, **queued})

    def _refund_event(self, kind: str, key: str, known: KnownRefund) -> None:
        told = {"id": key, "amount": known.amount, "total": self.order.refunded}
        more = {"share": known.share, "type": known.type, "returned": known.returned}
        stated = {name: value for name, value in more.items() if value not in (None, "")}
        self._event(kind, key, {"refund": {**told, **stated}})

    def _event(self, kind: str, cause: str, more: Values) -> None:
        event, deliveries = event_rows(
            kind, self.order, self.terms, self.transaction_id, self.now, cause, more
        )
        self.events.add((kind, cause))
        self.writes.events.append(event)
        self.writes.deliveries += deliveries

    def _tell(self, what: str, verdict: Verdict, **detail: Any) -> None:
        self.writes.timeline.append(self._line(what, verdict, detail))

    def _alert(self, what: str, verdict: Verdict, **detail: Any) -> None:
        self.writes.alerts.append(self._line(what, verdict, detail))

    def _line(self, what: str, verdict: Verdict, detail: Values) -> Values:
        proof: Values = {"evidence": verdict.evidence.sha256, "verifier": verdict.verifier}
        proof |= {"compared": self.compared} if self.compared else {}
        note = {"note": verdict.note} if verdict.note else {}
        actor = verdict.evidence.source.value
        return timeline_row(self.order, self.now, what, actor, {**detail, **note, **proof})
