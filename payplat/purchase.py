"""The words of a purchase: what was sold (Order), what arrived (Inbound, Evidence), what a provider says (Verdict).

Plain frozen records without behaviour. Amounts are minor units, times are microseconds since 1970 in UTC.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple


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


# How an app's users are named: printable ASCII without spaces.
RECEIVER = r"^[\x21-\x7e]{1,128}$"


def is_receiver(text: str) -> bool:
    """Whether this could be the name of a user."""
    return re.fullmatch(RECEIVER.rstrip("$"), text) is not None


class Order(NamedTuple):
    """What we sold to whom. ``amount`` and ``currency`` are None until paid where a store sets the price.

    ``waits`` says that its provider must still be asked about evidence.
    """

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
    consumable: bool = True
    waits: bool = False
    checks: int = 0


@dataclass(frozen=True, slots=True)
class Inbound:
    """A request as a provider sees it: raw bytes, no framework. Header names are lower case."""

    headers: Mapping[str, str]
    query: str
    body: bytes


@dataclass(frozen=True)
class Evidence:
    """Raw bytes that claim something about a purchase.

    ``answer`` is what the provider said when it was asked about them. The bytes alone name the evidence: the same ones
    submitted again are the same evidence, whatever is answered then.
    """

    source: Source
    raw: bytes = field(repr=False)
    answer: bytes = field(default=b"", repr=False)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the raw bytes as 64 hex characters."""
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(frozen=True, slots=True)
class Refund:
    """Money that went back. ``key`` is the provider's own name of this refund.

    Providers state the ``amount`` of this one refund, the ``total`` of all refunds so far (both minor units), or the
    ``share`` of the payment (thousandths of a percent: 100000 is all of it). ``type`` is the provider's word for it,
    ``at`` when it happened, ``returned`` how many of the order's ``quantity`` are paid back in all. ``reversed`` says
    that the provider took the refund back; with an empty ``key`` it does not say which one and means what stands of
    this transaction's refunds until ``at``; ``reversal`` is then the provider's own name of the reversal.
    """

    key: str
    amount: int | None = None
    total: int | None = None
    share: int | None = None
    type: str = ""
    at: int | None = None
    returned: int | None = None
    reversed: bool = False
    reversal: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a provider says about a purchase that leaves money and state as they are.

    ``key`` is the provider's own name of this notice. It becomes the event ``order.<what>`` where ``is_event`` says so.
    """

    what: str
    key: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    is_event: bool = False


@dataclass(frozen=True, slots=True)
class Owed:
    """A duty towards the provider: due at once, or when the merchant has the goods, at the latest after ``seconds``."""

    what: str
    seconds: int = 0


@dataclass(frozen=True)
class Verdict:
    """What a provider says of one purchase, and by which evidence.

    ``verifier`` names the key or the query that made it believable. ``product``, ``quantity`` and ``consumable`` are None
    where the provider does not repeat them. ``receipt`` is the number that it shows to who paid, where that is another
    than the transaction's. A partial refund is PAID with a ``refund``; the whole one is REFUNDED. ``objection`` names
    what makes the purchase unfit to pay any order. ``is_claimed``: not the provider but the client says which order it
    pays. ``owes`` names the duties towards the provider that arise when this verdict pays its order.
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
    consumable: bool | None = None
    payer: str | None = None
    receipt: str | None = None
    paid_at: int | None = None
    refund: Refund | None = None
    notice: Notice | None = None
    objection: str = ""
    is_claimed: bool = False
    owes: tuple[Owed, ...] = ()
    note: str = ""

    @property
    def states_payment(self) -> bool:
        """Whether it says by itself which transaction paid how much or what."""
        money = self.amount is not None or self.product is not None
        return self.state in (State.PAID, State.REFUNDED) and bool(self.transaction_id) and money

    @cached_property
    def transaction_key(self) -> str:
        """One name for (kind, environment, account, transaction id)."""
        return transaction_key(self.kind, self.environment, self.account, self.transaction_id or "")


def transaction_key(kind: str, environment: str, account: str, transaction_id: str) -> str:
    """Return one name for the four: the SHA-256 of them, each ended by a NUL."""
    parts = (kind, environment, account, transaction_id)
    return hashlib.sha256("".join(f"{part}\0" for part in parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the client hands to the provider's SDK or opens.

    ``keep`` says that asking again might give another answer, so that this one is stored with the order.
    """

    parameters: Mapping[str, Any]
    keep: bool = False
