"""All that an installation must have on record, as plain records in plain dictionaries."""

from collections import defaultdict
from dataclasses import dataclass, field

from payplat.purchase import Order

Transaction = tuple[str, str, str, str]


@dataclass
class Sold:
    """One order. ``paid_by`` is the transaction that paid it; ``token`` is who asks about it now."""

    goods: Order
    next_check_at: int | None
    status: str = "pending"
    amount: int | None = None
    currency: str | None = None
    refunded: int = 0
    paid_by: Transaction | None = None
    waits: bool = False
    checks: int = 0
    checked_at: int | None = None
    token: int | None = None
    preparing_until: int = 0


@dataclass
class Back:
    """Money that went back, of a transaction; ``amount`` is None where nobody stated it."""

    of: Transaction
    amount: int | None
    whole: bool
    reversed: bool
    at: int
    is_mark: bool = False


@dataclass
class Work:
    """A delivery or a duty on its way."""

    status: str
    due_at: int
    failures: int = 0
    token: int | None = None


@dataclass
class Kept:
    """Evidence: how it stands, whose it is, of which transaction; ``raw`` is what was kept."""

    state: str
    order: str | None
    of: Transaction | None
    raw: bytes
    source: str


@dataclass
class State:
    """All that is on record. Orders are named by the number that the ledger writes."""

    now: int
    orders: dict[str, Sold] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    backs: dict[str, dict[str, Back]] = field(
        default_factory=lambda: defaultdict[str, dict[str, Back]](dict)
    )
    events: dict[tuple[str, str, str], int] = field(default_factory=dict)
    deliveries: dict[tuple[str, str, str, str], Work] = field(default_factory=dict)
    duties: dict[tuple[str, str, str], Work] = field(default_factory=dict)
    evidence: dict[tuple[str, str, str], Kept] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    made: int = 0  # how many names were given: tokens, editions of an event
