"""The contract of a provider: the plain object behind a channel that speaks with the company.

It knows no HTTP request of ours. Authenticity has no default: a channel that forgets it cannot be instantiated.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from payplat import seam
from payplat.addresses import Network
from payplat.circuit import Circuit
from payplat.credentials import Credential
from payplat.errors import ProviderRefused
from payplat.purchase import Evidence, Inbound, Order, Prepared, State, Verdict

# A provider's clock and ours differ: only this long after its expiry can an order no longer begin to be paid.
EXPIRY_MARGIN = 60 * seam.SECOND
# The verifier of a verdict for which nobody was asked.
CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Account:
    """What the installation tells a channel about itself: its name, and where the company shall send notifications.

    ``opened`` are the networks that may be called besides public addresses.
    """

    channel: str
    environment: str
    notify_url: str
    opened: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Missed:
    """Notifications that never came, found by asking; ``position`` is where the next question begins."""

    verdicts: Sequence[Verdict]
    position: str
    has_more: bool = False


class Provider(ABC):
    """One account at one company.

    ``kind`` is the company's protocol, ``methods`` the ways to pay (the first is the default), ``remote_methods`` those
    for which ``prepare`` asks the company. ``currency`` is the one in which we set the price, None where a store does.
    ``account`` names our account there: a transaction id is unique within (kind, environment, account).
    ``knows_orders`` says whether it can be asked about an order by our number; a store needs the client's evidence.
    ``sweep_seconds`` is how often ``missed`` is asked, None where the company keeps no such list.
    ``circuits`` are those of the company's hosts, ``credentials`` what expires of the configuration.
    """

    kind: ClassVar[str]
    methods: ClassVar[tuple[str, ...]]
    remote_methods: ClassVar[frozenset[str]] = frozenset()
    currency: ClassVar[str | None]
    knows_orders: ClassVar[bool] = True
    sweep_seconds: float | None = None
    environment: str
    account: str
    testers: frozenset[str] = frozenset()
    circuits: Sequence[Circuit] = ()
    credentials: Sequence[Credential] = ()

    def environment_of(self, receiver: str) -> str:
        """Return in which environment ``receiver`` buys: a store's listed testers in the sandbox, where nobody pays."""
        return "sandbox" if receiver in self.testers else self.environment

    def without_evidence(self, order: Order, evidence: Evidence) -> Verdict:
        """Return all that can be said of an order where a store has nothing to be asked about: its time may be over."""
        is_over = seam.now() > order.expires_at + EXPIRY_MARGIN
        return Verdict(
            state=State.CLOSED if is_over else State.PENDING,
            kind=self.kind,
            environment=order.environment,
            account=order.account,
            order_no=order.order_no,
            evidence=evidence,
            verifier=CLOCK,
        )

    @abstractmethod
    async def prepare(self, order: Order) -> Prepared:
        """Return what the client needs to pay ``order``.

        Must not move money and must be safe to repeat. Raises ProviderRefused, ProviderMisconfigured or
        ProviderUnavailable.
        """

    @abstractmethod
    def read_notification(self, inbound: Inbound) -> Verdict:
        """Verify and read a notification from its raw bytes, without asking anybody.

        Raises NotAuthentic unless the company itself signed exactly these bytes. What is authentic but not understood
        is an UNKNOWN verdict.
        """

    @abstractmethod
    async def verify(self, order: Order, evidence: Evidence) -> Verdict:
        """Ask the company about ``order``; ``evidence.raw`` is what the client submitted, or empty.

        A purchase that does not exist there is PENDING, and CLOSED once it can no longer begin. Raises NotAuthentic for
        evidence that the company did not sign, ProviderRefused for a purchase that it does not know,
        ProviderUnavailable when no believable answer came, ProviderMisconfigured when our account is refused.
        """

    @abstractmethod
    async def close(self, order: Order) -> None:
        """Ask the company to take no more money for ``order``; it may lose against a payment, so ask again afterwards.

        Raises like ``verify``; returns when there is nothing left to close.
        """

    @abstractmethod
    async def refund(self, order: Order, transaction_id: str, key: str) -> Verdict:
        """Give the whole payment of ``order`` back; ``key`` names this refund and makes a repeat harmless.

        Raises like ``prepare``. The verdict is REFUNDED once the money has gone back, UNKNOWN while that is not certain.
        """

    async def perform(self, what: str, order: Order, transaction_id: str) -> Verdict | None:  # noqa: ARG002
        """Do the duty ``what`` that a verdict said we owe for ``order``; safe to repeat. Raises like ``prepare``.

        May return what the company says of the purchase afterwards.
        """
        raise ProviderRefused(f"There is no duty {what} here.")

    async def missed(self, position: str) -> Missed:
        """Return a page of notifications that never came, from ``position`` on; first that is empty.

        Raises like ``verify``.
        """
        return Missed((), position)

    @abstractmethod
    async def probe(self) -> str:
        """Show that account, keys and network fit together, without touching an order; return one sentence.

        Raises like ``verify``.
        """

    async def aclose(self) -> None:  # noqa: B027 - most hold nothing open
        """Give back what the provider holds open."""
