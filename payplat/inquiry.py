"""An inquiry: a provider is asked about one order, and what came of each question is kept for the timeline."""

from dataclasses import dataclass
from enum import StrEnum

from payplat import seam
from payplat.errors import PayplatError, ProviderMisconfigured, ProviderUnavailable
from payplat.provider import Provider
from payplat.purchase import Evidence, Order, Source, State, Verdict
from payplat.rows import Values, timeline_row


class Outcome(StrEnum):
    """What came of a question."""

    PAID = "paid"
    UNPAID = "unpaid"
    CLOSED = "closed"
    REFUNDED = "refunded"
    UNKNOWN = "unknown"
    REFUSED = "refused"  # the provider knows no such purchase, or did not sign the evidence
    MISCONFIGURED = "misconfigured"
    UNAVAILABLE = "unavailable"


# Nothing believable was said.
SILENT = (Outcome.MISCONFIGURED, Outcome.UNAVAILABLE)
_SAID = {
    State.PAID: Outcome.PAID,
    State.PENDING: Outcome.UNPAID,
    State.CLOSED: Outcome.CLOSED,
    State.REFUNDED: Outcome.REFUNDED,
    State.UNKNOWN: Outcome.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Question:
    """One question: when its answer came (microseconds, UTC), what that was, and how long it took."""

    at: int
    outcome: Outcome
    milliseconds: int
    error: str = ""

    @property
    def detail(self) -> Values:
        """What the timeline tells of it."""
        told: Values = {"outcome": self.outcome, "milliseconds": self.milliseconds}
        return told | ({"error": self.error} if self.error else {})

    def line(self, order: Order) -> Values:
        """Return it as a line of the order's timeline."""
        return timeline_row(order, self.at, "queried", Source.RECONCILE.value, self.detail)


class Inquiry:
    """Asks ``provider`` about ``order``, and keeps the ``questions``."""

    def __init__(self, provider: Provider, order: Order) -> None:
        self._provider, self._order = provider, order
        self.questions: list[Question] = []

    async def verify(self, evidence: Evidence) -> Verdict:
        """Return what the provider says, like its ``verify``, and raise what that raises."""
        started = seam.now()
        try:
            verdict = await self._provider.verify(self._order, evidence)
        except PayplatError as error:
            self._keep(started, _outcome(error), str(error))
            raise
        if self._provider.knows_orders or evidence.raw:  # otherwise the clock alone has answered
            self._keep(started, _SAID[verdict.state])
        return verdict

    async def close(self) -> None:
        """Have the provider take no more money for the order, like its ``close``."""
        await self._provider.close(self._order)

    def _keep(self, started: int, outcome: Outcome, error: str = "") -> None:
        now = seam.now()
        self.questions.append(Question(now, outcome, (now - started) // 1000, error[:500]))


def _outcome(error: PayplatError) -> Outcome:
    if isinstance(error, ProviderUnavailable):
        return Outcome.UNAVAILABLE
    return Outcome.MISCONFIGURED if isinstance(error, ProviderMisconfigured) else Outcome.REFUSED
