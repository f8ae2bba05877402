"""The tables. Every guarantee that a key can carry is a key here.

Ids are byte-exact on every engine: most collations hold ``ORD1``, ``ord1`` and ``ORD1 `` for equal. Amounts are integers
of minor units; every ``…_at`` is microseconds since 1970 in UTC.
"""

from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.mysql import MEDIUMBLOB, MEDIUMTEXT, VARBINARY
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine


class Id(TypeDecorator[str]):
    """A name compared byte by byte: VARBINARY where text would be collated. Refuses other types and longer values."""

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type of the engine."""
        chosen = _BytesId if dialect.name == "mysql" else _TextId
        return dialect.type_descriptor(chosen(self.length))


class _BytesId(VARBINARY):
    # Most values of a payment are ids: one function has to do for each.
    def bind_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002
        length = cast("int", self.length)
        return lambda value: None if value is None else _checked(value, length)

    def result_processor(self, dialect: Dialect, coltype: Any) -> Any:  # noqa: ARG002
        return lambda value: None if value is None else value.decode()


class _TextId(String):
    def bind_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002
        length = cast("int", self.length)
        return lambda value: None if value is None else _checked(value, length).decode()


def _checked(value: Any, length: int) -> bytes:
    """Check type and length: MySQL compares a text column with 0 as equal, SQLite stores any length."""
    if not isinstance(value, str):
        raise TypeError(f"an id is text, not {type(value).__name__}")
    raw = value.encode()
    if len(raw) > length:
        raise ValueError(f"an id of {len(raw)} bytes does not fit in {length}")
    return raw


Serial = BigInteger().with_variant(Integer, "sqlite")
LongBytes = LargeBinary().with_variant(MEDIUMBLOB, "mysql")
LongText = Text().with_variant(MEDIUMTEXT, "mysql")
_MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


class Base(DeclarativeBase):
    """The schema; constraints have names, so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class OrderRow(Base):
    """What was sold. ``next_check_at`` is null once nothing is left to ask; a lease moves it ahead.

    ``waits`` says that some of the order's evidence waits for the provider's answer; ``checked_at`` is when the provider
    was asked last.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("app", "receiver", "idempotency_key"),
        Index(None, "channel", "status", "next_check_at"),
        Index(None, "receiver", "order_no"),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("(amount is null) = (currency is null)", name="currency"),
        CheckConstraint("refunded >= 0", name="refunded"),
        CheckConstraint("status in ('pending','paid','closed','held','refunded')", name="status"),
        _MYSQL,
    )

    order_no: Mapped[str] = mapped_column(Id(32), primary_key=True)
    app: Mapped[str] = mapped_column(Id(64))
    channel: Mapped[str] = mapped_column(Id(64))
    kind: Mapped[str] = mapped_column(Id(32))
    environment: Mapped[str] = mapped_column(Id(16))
    account: Mapped[str] = mapped_column(Id(128))
    method: Mapped[str] = mapped_column(Id(32))
    product_id: Mapped[str] = mapped_column(Id(128))
    sku: Mapped[str] = mapped_column(Id(191))
    quantity: Mapped[int] = mapped_column(Integer)
    consumable: Mapped[bool] = mapped_column(Integer)
    amount: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None] = mapped_column(Id(3))
    title: Mapped[str] = mapped_column(Text)
    receiver: Mapped[str] = mapped_column(Id(128))
    extra: Mapped[str] = mapped_column("metadata", LongText)
    return_url: Mapped[str | None] = mapped_column(Text)
    idempotency_key: Mapped[str | None] = mapped_column(Id(255))
    request_sha256: Mapped[str] = mapped_column(Id(64))
    status: Mapped[str] = mapped_column(Id(16))
    refunded: Mapped[int] = mapped_column(BigInteger)
    payment: Mapped[str | None] = mapped_column(LongText)
    preparing_until: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    settled_at: Mapped[int | None] = mapped_column(BigInteger)
    next_check_at: Mapped[int | None] = mapped_column(BigInteger)
    waits: Mapped[bool] = mapped_column(Integer)
    checks: Mapped[int] = mapped_column(Integer)
    checked_at: Mapped[int | None] = mapped_column(BigInteger)
    lease_token: Mapped[str | None] = mapped_column(Id(32))


class PaymentRow(Base):
    """The one provider transaction that paid an order, and why we believe it.

    ``receipt`` is the number that the provider shows to who paid, where it differs from the transaction's.
    """

    __tablename__ = "payments"
    __table_args__ = (
        UniqueConstraint("transaction_key"),
        Index(None, "receipt"),
        Index(None, "verified_at"),
        Index(None, "transaction_id", mysql_length=64),
        _MYSQL,
    )

    order_no: Mapped[str] = mapped_column(Id(32), primary_key=True)
    transaction_key: Mapped[str] = mapped_column(Id(64))
    kind: Mapped[str] = mapped_column(Id(32))
    environment: Mapped[str] = mapped_column(Id(16))
    account: Mapped[str] = mapped_column(Id(128))
    transaction_id: Mapped[str] = mapped_column(LongText)
    receipt: Mapped[str | None] = mapped_column(Id(191))
    amount: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None] = mapped_column(Id(3))
    product: Mapped[str | None] = mapped_column(Id(191))
    quantity: Mapped[int | None] = mapped_column(Integer)
    payer: Mapped[str | None] = mapped_column(Id(191))
    paid_at: Mapped[int | None] = mapped_column(BigInteger)
    verified_at: Mapped[int] = mapped_column(BigInteger)
    verifier: Mapped[str] = mapped_column(Id(128))
    evidence_sha256: Mapped[str] = mapped_column(Id(64))


class RefundRow(Base):
    """Money that went back. ``amount`` is this refund's own part, null where the provider states none.

    ``share`` is thousandths of a percent; ``refunded_at`` is when the provider says that it happened; ``returned`` is how
    many of the order's goods are paid back in all.
    """

    __tablename__ = "refunds"
    __table_args__ = (
        UniqueConstraint("kind", "environment", "account", "refund_key"),
        Index(None, "order_no"),
        Index(None, "refund_key"),
        _MYSQL,
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    order_no: Mapped[str] = mapped_column(Id(32))
    kind: Mapped[str] = mapped_column(Id(32))
    environment: Mapped[str] = mapped_column(Id(16))
    account: Mapped[str] = mapped_column(Id(128))
    transaction_key: Mapped[str] = mapped_column(Id(64))
    refund_key: Mapped[str] = mapped_column(Id(191))
    amount: Mapped[int | None] = mapped_column(BigInteger)
    share: Mapped[int | None] = mapped_column(Integer)
    type: Mapped[str] = mapped_column(Id(32))
    whole: Mapped[bool] = mapped_column(Integer)
    refunded_at: Mapped[int | None] = mapped_column(BigInteger)
    returned: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[int] = mapped_column(BigInteger)
    reversed_at: Mapped[int | None] = mapped_column(BigInteger)


class EvidenceRow(Base):
    """Raw bytes that settled an order, or that could not: kept whole, bounded by the size of a request.

    ``answer`` is what the provider said when it was asked about them; ``resolution`` is what a person said of those that
    had been put aside.
    """

    __tablename__ = "evidence"
    __table_args__ = (
        UniqueConstraint("kind", "environment", "sha256"),
        Index(None, "order_no"),
        Index(None, "state", "id"),
        Index(None, "transaction_key"),
        CheckConstraint(
            "state in ('used','waiting','quarantined','unclaimed','excess','resolved')",
            name="state",
        ),
        _MYSQL,
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    kind: Mapped[str] = mapped_column(Id(32))
    environment: Mapped[str] = mapped_column(Id(16))
    sha256: Mapped[str] = mapped_column(Id(64))
    order_no: Mapped[str | None] = mapped_column(Id(64))
    transaction_key: Mapped[str | None] = mapped_column(Id(64))
    source: Mapped[str] = mapped_column(Id(16))
    state: Mapped[str] = mapped_column(Id(16))
    reason: Mapped[str] = mapped_column(Id(64))
    raw: Mapped[bytes] = mapped_column(LongBytes)
    answer: Mapped[bytes | None] = mapped_column(LongBytes)
    resolution: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


class EventRow(Base):
    """Something the merchant must learn. ``body`` is sent as it stands here, byte for byte."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("order_no", "type", "cause"),
        Index(None, "app", "event_id"),
        Index(None, "app", "type", "event_id"),
        _MYSQL,
    )

    event_id: Mapped[str] = mapped_column(Id(40), primary_key=True)
    order_no: Mapped[str] = mapped_column(Id(32))
    app: Mapped[str] = mapped_column(Id(64))
    type: Mapped[str] = mapped_column(Id(64))
    cause: Mapped[str] = mapped_column(Id(200))
    body: Mapped[str] = mapped_column(LongText)
    created_at: Mapped[int] = mapped_column(BigInteger)


class DeliveryRow(Base):
    """One event on its way to one endpoint (``app/name``). A lease moves ``due_at`` ahead; its token is the fence."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("event_id", "endpoint"),
        Index(None, "endpoint", "status", "due_at", "id"),
        Index(None, "delivered_at"),
        CheckConstraint("status in ('due','delivered','exhausted')", name="status"),
        _MYSQL,
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    event_id: Mapped[str] = mapped_column(Id(40))
    order_no: Mapped[str] = mapped_column(Id(32))
    endpoint: Mapped[str] = mapped_column(Id(130))
    status: Mapped[str] = mapped_column(Id(16))
    due_at: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int] = mapped_column(Integer)
    lease_token: Mapped[str | None] = mapped_column(Id(32))
    created_at: Mapped[int] = mapped_column(BigInteger)
    delivered_at: Mapped[int | None] = mapped_column(BigInteger)


class PauseRow(Base):
    """An endpoint (``app/name``) to which nothing is delivered until an operator resumes it."""

    __tablename__ = "pauses"
    __table_args__ = (_MYSQL,)

    endpoint: Mapped[str] = mapped_column(Id(130), primary_key=True)
    paused_at: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Id(191))


class DutyRow(Base):
    """Something owed to a provider, such as giving late money back; leased and retried like a delivery.

    ``held`` ones wait until their order is released; they are ``void`` when its money is given back instead.
    """

    __tablename__ = "duties"
    __table_args__ = (
        UniqueConstraint("order_no", "what", "cause"),
        Index(None, "channel", "status", "due_at", "id"),
        CheckConstraint("status in ('due','held','void','done','exhausted')", name="status"),
        _MYSQL,
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    order_no: Mapped[str] = mapped_column(Id(32))
    channel: Mapped[str] = mapped_column(Id(64))
    what: Mapped[str] = mapped_column(Id(32))
    cause: Mapped[str] = mapped_column(Id(191))
    status: Mapped[str] = mapped_column(Id(16))
    due_at: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int] = mapped_column(Integer)
    lease_token: Mapped[str | None] = mapped_column(Id(32))
    created_at: Mapped[int] = mapped_column(BigInteger)
    done_at: Mapped[int | None] = mapped_column(BigInteger)


class AttemptRow(Base):
    """One try to send a delivery or to do a duty: exactly one of the two ids is set."""

    __tablename__ = "attempts"
    __table_args__ = (Index(None, "delivery_id"), Index(None, "duty_id"), _MYSQL)

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    delivery_id: Mapped[int | None] = mapped_column(BigInteger)
    duty_id: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[int] = mapped_column(BigInteger)
    ok: Mapped[bool] = mapped_column(Integer)
    status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str] = mapped_column(Text)
    milliseconds: Mapped[int] = mapped_column(Integer)


class TimelineRow(Base):
    """What happened to an order, when and by whom; only ever appended. ``detail`` is a JSON object."""

    __tablename__ = "timeline"
    __table_args__ = (Index(None, "order_no", "id"), _MYSQL)

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    order_no: Mapped[str] = mapped_column(Id(32))
    at: Mapped[int] = mapped_column(BigInteger)
    what: Mapped[str] = mapped_column(Id(32))
    actor: Mapped[str] = mapped_column(Id(64))
    detail: Mapped[str] = mapped_column(LongText)


class SweepRow(Base):
    """A periodic sweep: when it runs next and how far it has come. A lease moves ``next_at`` ahead."""

    __tablename__ = "sweeps"
    __table_args__ = (_MYSQL,)

    name: Mapped[str] = mapped_column(Id(64), primary_key=True)
    next_at: Mapped[int] = mapped_column(BigInteger)
    position: Mapped[str] = mapped_column(Text)
    lease_token: Mapped[str | None] = mapped_column(Id(32))


class ApiKeyRow(Base):
    """What an app's backend calls with: ``sha256`` is of the whole key, ``scopes`` are words with spaces between."""

    __tablename__ = "api_keys"
    __table_args__ = (_MYSQL,)

    key_id: Mapped[str] = mapped_column(Id(12), primary_key=True)
    app: Mapped[str] = mapped_column(Id(64))
    sha256: Mapped[str] = mapped_column(Id(64))
    scopes: Mapped[str] = mapped_column(Id(191))
    note: Mapped[str] = mapped_column(String(191))
    created_at: Mapped[int] = mapped_column(BigInteger)
    ends_at: Mapped[int | None] = mapped_column(BigInteger)


class OperatorRow(Base):
    """Who may look into the console. ``password`` is a hash by argon2 with its parameters.

    ``totp_step`` is the last thirty seconds whose code was used, so that none is used twice; ``failures`` are those since
    the last sign-in, ``locked_until`` when the next may be tried.
    """

    __tablename__ = "operators"
    __table_args__ = (CheckConstraint("role in ('viewer','operator')", name="role"), _MYSQL)

    name: Mapped[str] = mapped_column(Id(64), primary_key=True)
    role: Mapped[str] = mapped_column(Id(16))
    password: Mapped[str] = mapped_column(Text)
    totp_secret: Mapped[str | None] = mapped_column(Text)
    totp_step: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int] = mapped_column(Integer)
    locked_until: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)


class SessionRow(Base):
    """One sign-in of an operator; ``sha256`` is of the token that the browser keeps."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "operator"), _MYSQL)

    sha256: Mapped[str] = mapped_column(Id(64), primary_key=True)
    operator: Mapped[str] = mapped_column(Id(64))
    created_at: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[int] = mapped_column(BigInteger)
    ends_at: Mapped[int] = mapped_column(BigInteger)


class AuditRow(Base):
    """What an operator did, to what; only ever appended. ``detail`` is a JSON object."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "subject", "id"), _MYSQL)

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)
    operator: Mapped[str] = mapped_column(Id(64))
    act: Mapped[str] = mapped_column(Id(32))
    subject: Mapped[str] = mapped_column(Id(191))
    detail: Mapped[str] = mapped_column(Text)


class ProposalRow(Base):
    """What one operator wants to become of held money, until another decides.

    ``open_for`` is the order's number until then, and null afterwards: an order has one open proposal.
    """

    __tablename__ = "proposals"
    __table_args__ = (
        UniqueConstraint("open_for"),
        Index(None, "order_no"),
        CheckConstraint("act in ('release','refund')", name="act"),
        CheckConstraint("decision in ('approved','rejected')", name="decision"),
        _MYSQL,
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    order_no: Mapped[str] = mapped_column(Id(32))
    act: Mapped[str] = mapped_column(Id(16))
    reason: Mapped[str] = mapped_column(Text)
    proposed_by: Mapped[str] = mapped_column(Id(64))
    proposed_at: Mapped[int] = mapped_column(BigInteger)
    open_for: Mapped[str | None] = mapped_column(Id(32))
    decision: Mapped[str | None] = mapped_column(Id(16))
    decided_by: Mapped[str | None] = mapped_column(Id(64))
    decided_at: Mapped[int | None] = mapped_column(BigInteger)


class SignRow(Base):
    """A sign of a channel's life: how often something has happened, when last, and what it said."""

    __tablename__ = "signs"
    __table_args__ = (_MYSQL,)

    channel: Mapped[str] = mapped_column(Id(64), primary_key=True)
    what: Mapped[str] = mapped_column(Id(32), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[int] = mapped_column(BigInteger)
    detail: Mapped[str] = mapped_column(Text)


def _table(row: type[Base]) -> Table:
    return cast("Table", row.__table__)


# The hot paths speak of tables and columns, not of objects.
ORDERS = _table(OrderRow)
PAYMENTS = _table(PaymentRow)
REFUNDS = _table(RefundRow)
EVIDENCE = _table(EvidenceRow)
EVENTS = _table(EventRow)
DELIVERIES = _table(DeliveryRow)
PAUSES = _table(PauseRow)
DUTIES = _table(DutyRow)
ATTEMPTS = _table(AttemptRow)
TIMELINE = _table(TimelineRow)
SWEEPS = _table(SweepRow)
API_KEYS = _table(ApiKeyRow)
OPERATORS = _table(OperatorRow)
SESSIONS = _table(SessionRow)
AUDIT = _table(AuditRow)
PROPOSALS = _table(ProposalRow)
SIGNS = _table(SignRow)
