"""The company behind every channel of the model: it answers what the step says, one answer a question."""

from collections import deque
from collections.abc import Mapping
from typing import ClassVar

from payplat import seam
from payplat.errors import (
    NotAuthentic,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from payplat.provider import EXPIRY_MARGIN, Prepared, Provider
from payplat.purchase import Evidence, Inbound, Order, Verdict
from tests.ledger.build import refund
from tests.prove.model_words import Answer, Told, nothing_bought

TROUBLE = {
    "silent": ProviderUnavailable,
    "refuses": ProviderRefused,
    "misconfigured": ProviderMisconfigured,
    "forged": NotAuthentic,
}


class Company(Provider):
    """A shop's company knows orders by our number; a store must be shown evidence."""

    kind: ClassVar[str] = "model"
    methods: ClassVar[tuple[str, ...]] = ("page",)
    currency: ClassVar[str | None] = None

    def __init__(
        self, orders: Mapping[int, Order], answers: deque[Answer], *, is_store: bool
    ) -> None:
        self.environment, self.account = "sandbox", "model"
        self.knows_orders = not is_store
        self._orders, self._answers = orders, answers

    async def prepare(self, order: Order) -> Prepared:
        """Return nothing that a client would need."""
        return Prepared({})

    def read_notification(self, inbound: Inbound) -> Verdict:
        """Notifications of the model come as verdicts."""
        raise NotImplementedError

    async def verify(self, order: Order, evidence: Evidence) -> Verdict:
        """Answer about an order or about evidence; a store without evidence only knows that the time is over."""
        if not evidence.raw and not self.knows_orders:
            is_over = seam.now() > order.expires_at + EXPIRY_MARGIN
            return nothing_bought(is_over=is_over).verdict(self._orders, order, evidence)
        answer = self._next(Told(kind="pending"))
        assert isinstance(answer, Told)
        return answer.verdict(self._orders, order, evidence if evidence.raw else None)

    async def close(self, order: Order) -> None:
        """Take no more money; the answer that counts comes after it."""

    async def refund(self, order: Order, transaction_id: str, key: str) -> Verdict:
        """Give the whole payment back, or say that it is not certain."""
        answer = self._next("done")
        if answer == "done":
            return refund(order, key, whole=True, transaction_id=transaction_id)
        return Told(kind="unknown").verdict(self._orders, order)

    async def perform(self, what: str, order: Order, transaction_id: str) -> Verdict | None:
        """Do what is owed; now and then the money turns out to have gone back."""
        if self._next("done") != "refunded":
            return None
        key = f"{order.order_no}:store"
        return refund(order, key, whole=True, transaction_id=transaction_id)

    async def probe(self) -> str:
        """Nobody asks."""
        raise NotImplementedError

    def _next(self, usual: Answer) -> Answer:
        answer = self._answers.popleft() if self._answers else usual
        if isinstance(answer, str) and answer in TROUBLE:
            raise TROUBLE[answer]
        return answer
