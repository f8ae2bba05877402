"""The contract of a provider: the plain object behind a channel that speaks with the company.

It knows no HTTP request of ours. Authenticity has no default: a channel that forgets it cannot be instantiated.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from payplat import seam
from payplat.purchase import Evidence, Inbound, Order, Prepared, Verdict

# A provider's clock and ours differ: only this long after its expiry can an order no longer begin to be paid.
EXPIRY_MARGIN = 60 * seam.SECOND


@dataclass(frozen=True, slots=True)
class Account:
    """What the installation tells a channel about itself: its name, and where the company shall send notifications."""

    channel: str
    environment: str
    notify_url: str


class Provider(ABC):
    """One account at one company.

    ``kind`` is the company's protocol, ``methods`` the ways to pay (the first is the default), ``remote_methods`` those
    for which ``prepare`` asks the company. ``currency`` is the one in which we set the price, None where a store does.
    ``account`` names our account there: a transaction id is unique within (kind, environment, account).
    """

    kind: ClassVar[str]
    methods: ClassVar[tuple[str, ...]]
    remote_methods: ClassVar[frozenset[str]] = frozenset()
    currency: ClassVar[str | None]
    account: str

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

        A purchase that does not exist there is PENDING, and CLOSED once it can no longer begin. Raises
        ProviderUnavailable when no believable answer came, ProviderMisconfigured when our account is refused.
        """

    @abstractmethod
    async def close(self, order: Order) -> None:
        """Ask the company to take no more money for ``order``; it may lose against a payment, so ask again afterwards.

        Raises like ``verify``; returns when there is nothing left to close.
        """

    @abstractmethod
    async def refund(self, order: Order, key: str) -> Verdict:
        """Give the whole payment of ``order`` back; ``key`` names this refund and makes a repeat harmless.

        Raises like ``prepare``. The verdict is REFUNDED once the money has gone back, UNKNOWN while that is not certain.
        """

    @abstractmethod
    async def probe(self) -> str:
        """Show that account, keys and network fit together, without touching an order; return one sentence.

        Raises like ``verify``.
        """

    async def aclose(self) -> None:  # noqa: B027 - most hold nothing open
        """Give back what the provider holds open."""
