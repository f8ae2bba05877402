"""The refunds of one order: what went back of which transaction, what was taken back again, and how much that makes."""

from dataclasses import dataclass, field

from payplat.purchase import Refund, State, Verdict


@dataclass(slots=True)
class KnownRefund:
    """A refund on record, of one transaction. ``amount`` is None where the provider states none.

    ``share`` is thousandths of a percent; ``at`` is when the provider says that it happened; ``returned`` is how many of
    the order's goods are paid back in all.
    """

    transaction_key: str
    amount: int | None
    whole: bool
    reversed: bool
    share: int | None = None
    type: str = ""
    at: int | None = None
    returned: int | None = None


@dataclass(slots=True)
class RefundBook:
    """All refunds of an order by their keys, those of transactions that did not pay it too."""

    by_key: dict[str, KnownRefund] = field(default_factory=dict)

    def get(self, key: str) -> KnownRefund | None:
        """Return the refund of that key."""
        return self.by_key.get(key)

    def alive(self, transaction_key: str | None) -> dict[str, KnownRefund]:
        """Return the transaction's refunds that were not taken back."""
        return {
            key: known
            for key, known in self.by_key.items()
            if not known.reversed and known.transaction_key == transaction_key
        }

    def money_back(self, transaction_key: str | None) -> int:
        """Return how much of the transaction went back, in minor units, as far as the provider states amounts."""
        return sum(known.amount or 0 for known in self.alive(transaction_key).values())

    def covers_all(self, transaction_key: str | None, amount: int | None) -> bool:
        """Whether what went back of the transaction is all of ``amount``."""
        alive = self.alive(transaction_key)
        covered = amount is not None and self.money_back(transaction_key) >= amount
        return bool(alive) and (covered or any(known.whole for known in alive.values()))

    def sum(self, transaction_key: str | None, amount: int | None) -> int:
        """Return what the order says was refunded: the whole ``amount`` where a refund of all states none itself."""
        untold = (k.whole and k.amount is None for k in self.alive(transaction_key).values())
        return (amount if any(untold) else None) or self.money_back(transaction_key)

    def amount_of(self, verdict: Verdict) -> int | None:
        """Return the own part of the verdict's refund, in minor units; None where the provider states none."""
        refund = verdict.refund
        if refund is None or refund.amount is not None:
            return refund.amount if refund else None
        if refund.total is None:
            return None
        return refund.total - self.money_back(verdict.transaction_key)

    def add(self, verdict: Verdict, refund: Refund) -> KnownRefund:
        """Enter the verdict's refund; one that the provider took back before it was told of changes nothing."""
        known = KnownRefund(
            verdict.transaction_key,
            self.amount_of(verdict),
            whole=verdict.state is State.REFUNDED,
            reversed=refund.reversed or self._is_taken_back(verdict.transaction_key, refund),
            share=refund.share,
            type=refund.type,
            at=refund.at,
            returned=refund.returned,
        )
        self.by_key[refund.key] = known
        return known

    def meant_by(self, verdict: Verdict, reversal: Refund) -> dict[str, KnownRefund]:
        """Return the refunds that a reversal is about, those taken back already too."""
        if reversal.key:
            known = self.by_key.get(reversal.key)
            return {reversal.key: known} if known else {}
        return {
            key: known
            for key, known in self.by_key.items()
            if known.transaction_key == verdict.transaction_key
            and (known.at or 0) <= (reversal.at or 0)
        }

    def _is_taken_back(self, transaction_key: str, refund: Refund) -> bool:
        """Whether a reversal that names no refund came before this one was told of."""
        marks = [
            known.at or 0
            for key, known in self.by_key.items()
            if key.endswith(MARK) and known.transaction_key == transaction_key
        ]
        return refund.at is not None and refund.at <= max(marks, default=-1)


MARK = "/reversed"


def mark_key(verdict: Verdict, reversal: Refund) -> str:
    """Return the key under which a reversal without a refund is remembered."""
    return reversal.key or f"{verdict.transaction_id}/{reversal.reversal or reversal.at}{MARK}"
