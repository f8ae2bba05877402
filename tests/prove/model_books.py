"""The books on paper: how evidence is kept, events are told, duties are owed, and refunds add up."""

import hashlib
from collections.abc import Mapping

from payplat import seam
from payplat.purchase import Verdict
from payplat.rows import Terms
from tests.prove.model_state import Back, Kept, Sold, State, Transaction, Work


class Books:
    """Writes into ``state``; ``terms`` say what each channel wants."""

    def __init__(self, state: State, terms: Mapping[str, Terms]) -> None:
        self.state, self.terms = state, terms

    def keep(self, told: Verdict, number: str | None, state: str) -> None:
        """Keep evidence; what is known already stays as it is, unless it only waited or settles something now."""
        name = (told.kind, told.environment, sha256(told.evidence.raw))
        fresh = Kept(
            state, number, transaction_of(told), told.evidence.raw, told.evidence.source.value
        )
        known = self.state.evidence.setdefault(name, fresh)
        if state == "used" or known.state in ("unclaimed", "waiting"):
            known.state, known.order, known.of = state, fresh.order, fresh.of

    def find_owner(self, transaction: Transaction | None, number: str) -> None:
        """Let what is unclaimed of a transaction belong to the order that it pays."""
        for kept in self.state.evidence.values():
            if kept.of == transaction and kept.state == "unclaimed":
                kept.state, kept.order = "used", number

    def owe_nothing_more_to_ask(self, order: Sold) -> None:
        """An order that has ended is asked about no more, unless evidence waits."""
        if order.status != "pending" and not order.waits:
            order.next_check_at = order.token = None

    def deliver(self, number: str, order: Sold) -> None:
        """Tell the merchant of the payment, and do what waited for that decision."""
        order.status = "paid"
        self.tell(number, "order.paid", "")
        self.turn(number, "due")

    def tell(self, number: str, kind: str, cause: str) -> None:
        """Make an event, on its way to everyone who wants it."""
        self.state.events[number, kind, cause] = self.name()
        for end, kinds in self.terms[self.state.orders[number].goods.channel].endpoints.items():
            if kinds is None or kind in kinds:
                self.state.deliveries[number, kind, cause, end] = Work("due", self.state.now)

    def owe(self, number: str, what: str, cause: str, status: str, seconds: int = 0) -> None:
        """Owe something to the company."""
        due_at = self.state.now + seconds * seam.SECOND
        self.state.duties[number, what, cause] = Work(status, due_at)

    def name(self) -> int:
        """Return a name that nothing else has."""
        self.state.made += 1
        return self.state.made

    def turn(self, number: str, status: str) -> None:
        """Let what waits for a decision about its order stand otherwise."""
        for (order, _, _), duty in self.state.duties.items():
            if order == number and duty.status in ("held", "void"):
                duty.status = status

    def standing(self, number: str, transaction: Transaction | None) -> dict[str, Back]:
        """Return a transaction's refunds that were not taken back."""
        backs = self.state.backs[number].items()
        return {key: b for key, b in backs if b.of == transaction and not b.reversed}

    def sum_back(self, number: str, transaction: Transaction | None) -> int:
        """Return how much of a transaction went back, as far as anybody stated it."""
        return sum(back.amount or 0 for back in self.standing(number, transaction).values())

    def part(self, number: str, told: Verdict) -> int | None:
        """Return how much goes back by this very refund, None where nobody says."""
        refund = told.refund
        if refund is None or refund.amount is not None or refund.total is None:
            return refund.amount if refund else None
        return refund.total - self.sum_back(number, transaction_of(told))

    def is_all_back(self, number: str, order: Sold) -> bool:
        """Tell whether all went back that came."""
        standing = self.standing(number, order.paid_by)
        is_sum = order.amount is not None and self.sum_back(number, order.paid_by) >= order.amount
        return any(back.whole for back in standing.values()) or bool(standing and is_sum)

    def refunded(self, number: str, order: Sold) -> int:
        """Return what the order says went back."""
        standing = self.standing(number, order.paid_by).values()
        if order.amount and any(back.whole and back.amount is None for back in standing):
            return order.amount
        return self.sum_back(number, order.paid_by)


def transaction_of(told: Verdict) -> Transaction | None:
    """Return the transaction that a verdict names."""
    if not told.transaction_id:
        return None
    return told.kind, told.environment, told.account, told.transaction_id


def sha256(raw: bytes) -> str:
    """Return the name of evidence."""
    return hashlib.sha256(raw).hexdigest()
