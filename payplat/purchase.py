"""The words of a purchase: what was sold (Order), what arrived (Inbound, Evidence), what a provider says (Verdict).

Plain frozen records without behaviour. Amounts are minor units, times are microseconds since 1970 in UTC.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any


class Status(StrEnum):
    """Where an order stands."""

    PENDING = "pending"
    PAID = "paid"
    CLOSED = "closed"
    HELD = "held"  # paid too late; an operator releases or refunds it
    REFUNDED = "refunded"


class State(StrEnum):
    """What a provider says of a purchase. What we do not understand is UNKNOWN: never failed and never paid."""

    PAID = "paid"
    PENDING = "pending"
    CLOSED = "closed"
    REFUNDED = "refunded"  # paid once, and given back in whole
    UNKNOWN = "unknown"


class LatePolicy(StrEnum):
    """What becomes of money that arrives after its order was closed."""

    DELIVER = "deliver"
    HOLD = "hold"
    REFUND = "refund"


class Source(StrEnum):
    """How evidence reached us; also the actor in the timeline."""

    CALLBACK = "callback"
    VERIFY = "verify"
    RECONCILE = "reconcile"


@dataclass(frozen=True, slots=True)
class Order:
    """What we sold to whom. ``amount`` and ``currency`` are None until paid where a store sets the price."""

    order_no: str
    app: str
    channel: str
    kind: str
    environment: str
    account: str
    method: str
    product_id: str
    sku: str
    quantity: int
    amount: int | None
    currency: str | None
    title: str
    receiver: str
    metadata: Mapping[str, str]
    return_url: str | None
    status: Status
    refunded: int
    payment: Mapping[str, Any] | None
    created_at: int
    expires_at: int
    settled_at: int | None
    checks: int = 0


@dataclass(frozen=True, slots=True)
class Inbound:
    """A request as a provider sees it: raw bytes, no framework. Header names are lower case."""

    headers: Mapping[str, str]
    query: str
    body: bytes


@dataclass(frozen=True)
class Evidence:
    """Raw bytes that claim something about a purchase."""

    source: Source
    raw: bytes = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the raw bytes as 64 hex characters."""
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(frozen=True, slots=True)
class Refund:
    """Money that went back. ``key`` is the provider's own name of this refund.

    Providers state either the ``amount`` of this one refund or the ``total`` of all refunds so far; both are minor units.
    ``reversed`` says that the provider took the refund back.
    """

    key: str
    amount: int | None = None
    total: int | None = None
    reversed: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a provider says of one purchase, and by which evidence.

    ``verifier`` names the key or the query that made it believable. ``product`` and ``quantity`` are None where the
    provider does not repeat them. A partial refund is PAID with a ``refund``; the whole one is REFUNDED.
    """

    state: State
    kind: str
    environment: str
    account: str
    order_no: str | None
    evidence: Evidence
    verifier: str
    transaction_id: str | None = None
    amount: int | None = None
    currency: str | None = None
    product: str | None = None
    quantity: int | None = None
    payer: str | None = None
    paid_at: int | None = None
    refund: Refund | None = None
    note: str = ""

    @property
    def states_payment(self) -> bool:
        """Whether it says by itself which transaction paid how much or what."""
        money = self.amount is not None or self.product is not None
        return self.state in (State.PAID, State.REFUNDED) and bool(self.transaction_id) and money

    @cached_property
    def transaction_key(self) -> str:
        """One name for (kind, environment, account, transaction id): the SHA-256 of the four, each ended by a NUL."""
        parts = (self.kind, self.environment, self.account, self.transaction_id or "")
        return hashlib.sha256("".join(f"{part}\0" for part in parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the client hands to the provider's SDK or opens.

    ``keep`` says that asking again might give another answer, so that this one is stored with the order.
    """

    parameters: Mapping[str, Any]
    keep: bool = False
