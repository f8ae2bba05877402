"""A store that says what a test tells it to say, and the jobs that ask it."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, ClassVar

from payplat import seam
from payplat.duties import QUEUE as DUTIES
from payplat.duties import Duties
from payplat.provider import EXPIRY_MARGIN, Missed, Prepared, Provider
from payplat.purchase import Evidence, Inbound, Order, Source, State, Verdict
from payplat.reconcile import QUEUE as CHECKS
from payplat.reconcile import Reconciler
from payplat.retry import Backoff
from tests.ledger.build import Ledger, says

CHANNEL = "store"
BACKOFF = Backoff(base=15, factor=2, cap=3600, jitter=0)
Answer = Verdict | State | Exception


async def nothing_happens() -> None:
    """Let the world stand still while the store thinks."""


class Store(Provider):
    """A store: about evidence it gives its next ``answers``, without evidence an order is open until its end.

    ``meanwhile`` happens while it is being asked.
    """

    kind: ClassVar[str] = "apple"
    methods: ClassVar[tuple[str, ...]] = ("store",)
    currency: ClassVar[str | None] = None
    knows_orders: ClassVar[bool] = False

    def __init__(self) -> None:
        self.environment, self.account = "sandbox", "com.example.game"
        self.answers: dict[bytes, list[Answer]] = defaultdict(list)
        self.pages: dict[str, Missed] = {}
        self.asked: list[bytes] = []
        self.done: list[tuple[str, str, str]] = []
        self.afterwards: Verdict | Exception | None = None
        self.meanwhile: Callable[[], Awaitable[None]] = nothing_happens

    async def prepare(self, order: Order) -> Prepared:
        """Return nothing that a client would need."""
        return Prepared({})

    def read_notification(self, inbound: Inbound) -> Verdict:
        """No test sends one."""
        raise NotImplementedError

    async def verify(self, order: Order, evidence: Evidence) -> Verdict:
        """Give the next answer about this evidence; a verdict is by the evidence asked about."""
        self.asked.append(evidence.raw)
        await self.meanwhile()
        if not evidence.raw:
            is_over = seam.now() > order.expires_at + EXPIRY_MARGIN
            return says(order, State.CLOSED if is_over else State.PENDING, evidence=evidence)
        answer = self.answers[evidence.raw].pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, State):
            return says(order, answer, evidence=evidence)
        return replace(answer, evidence=replace(evidence, answer=b"the store's words"))

    async def close(self, order: Order) -> None:
        """There is nothing to close."""

    async def refund(self, order: Order, transaction_id: str, key: str) -> Verdict:
        """No test asks for one."""
        raise NotImplementedError

    async def perform(self, what: str, order: Order, transaction_id: str) -> Verdict | None:
        """Remember the duty; tell what is told to be found afterwards."""
        self.done.append((what, order.order_no, transaction_id))
        if isinstance(self.afterwards, Exception):
            raise self.afterwards
        return self.afterwards

    async def missed(self, position: str) -> Missed:
        """Return the page of that position."""
        self.asked.append(position.encode())
        return self.pages[position]

    async def probe(self) -> str:
        """No test asks."""
        raise NotImplementedError


def receipt(text: str = "receipt") -> Evidence:
    """Return evidence as a client submits it."""
    return Evidence(Source.VERIFY, text.encode())


def reconciler(ledger: Ledger, store: Provider, wake: Any = lambda: None) -> Reconciler:
    """Return the job that asks the store."""
    return Reconciler(ledger.database, ledger.orders, {CHANNEL: store}, BACKOFF, wake)


async def check(ledger: Ledger, store: Provider) -> int:
    """Run every check that is due once; return how many there were."""
    rows = await CHECKS.claim(ledger.database, CHANNEL, limit=9, lease=90)
    for row in rows:
        await reconciler(ledger, store).check(row)
    return len(rows)


async def perform(ledger: Ledger, store: Provider) -> int:
    """Try every duty that is due once; return how many there were."""
    rows = await DUTIES.claim(ledger.database, CHANNEL, limit=9, lease=60)
    for row in rows:
        await Duties(ledger.database, ledger.orders, {CHANNEL: store}).perform(row)
    return len(rows)
