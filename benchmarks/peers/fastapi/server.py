"""FastAPI's callback: SQLAlchemy's async ORM on asyncmy, and the official alipay-sdk-python for the signature."""

import hashlib
import json
import os
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from alipay.aop.api.util.SignatureUtils import get_sign_content, verify_with_rsa
from fastapi import Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse
from rsa import VerificationError
from sqlalchemy import BigInteger, LargeBinary, Text, TypeDecorator, make_url, select
from sqlalchemy.dialects.mysql import VARBINARY, insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_APP_ID, _SELLER_ID = os.environ["APP_ID"], os.environ["SELLER_ID"]
_ACCOUNT = f"{_APP_ID}/{_SELLER_ID}"
_PAID = ("TRADE_SUCCESS", "TRADE_FINISHED")
_EXPECTED = {
    "app_id": _APP_ID,
    "seller_id": _SELLER_ID,
    "notify_type": "trade_status_sync",
    "sign_type": "RSA2",
}
_VERIFIER = "key:0123456789abcdef"
_ALIPAY_PUBLIC_KEY = Path(os.environ["ALIPAY_PUBLIC_KEY"]).read_text()

app = FastAPI()
_engine = create_async_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="mysql+asyncmy"),
    pool_size=16,
    max_overflow=0,
    pool_recycle=3600,
    isolation_level="READ COMMITTED",
)
_sessions = async_sessionmaker(_engine, expire_on_commit=False)


class Id(TypeDecorator[str]):
    """Text in a VARBINARY column."""

    impl = VARBINARY
    cache_ok = True

    def process_bind_param(self, value, _dialect):
        """Send bytes."""
        return None if value is None else value.encode()

    def process_result_value(self, value, _dialect):
        """Return text."""
        return None if value is None else value.decode()


class Base(DeclarativeBase):
    """Payplat's tables, as far as a callback needs them."""

    type_annotation_map = {str: Id(191), int: BigInteger, bytes: LargeBinary}  # noqa: RUF012


class Order(Base):
    """The columns of ``orders`` that a callback needs."""

    __tablename__ = "orders"
    order_no: Mapped[str] = mapped_column(primary_key=True)
    app: Mapped[str]
    channel: Mapped[str]
    kind: Mapped[str]
    environment: Mapped[str]
    account: Mapped[str]
    product_id: Mapped[str]
    sku: Mapped[str]
    quantity: Mapped[int]
    amount: Mapped[int]
    currency: Mapped[str]
    receiver: Mapped[str]
    extra: Mapped[str] = mapped_column("metadata", Text)
    status: Mapped[str]
    settled_at: Mapped[int | None]
    next_check_at: Mapped[int | None]
    lease_token: Mapped[str | None]


class Payment(Base):
    """A row of ``payments``."""

    __tablename__ = "payments"
    order_no: Mapped[str] = mapped_column(primary_key=True)
    transaction_key: Mapped[str]
    kind: Mapped[str]
    environment: Mapped[str]
    account: Mapped[str]
    transaction_id: Mapped[str] = mapped_column(Text)
    amount: Mapped[int]
    currency: Mapped[str]
    product: Mapped[str]
    quantity: Mapped[int]
    payer: Mapped[str]
    paid_at: Mapped[int]
    verified_at: Mapped[int]
    verifier: Mapped[str]
    evidence_sha256: Mapped[str]


class Evidence(Base):
    """A row of ``evidence``."""

    __tablename__ = "evidence"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    environment: Mapped[str]
    sha256: Mapped[str]
    order_no: Mapped[str]
    source: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str]
    raw: Mapped[bytes]
    created_at: Mapped[int]


class Event(Base):
    """A row of ``events``."""

    __tablename__ = "events"
    event_id: Mapped[str] = mapped_column(primary_key=True)
    order_no: Mapped[str]
    app: Mapped[str]
    type: Mapped[str]
    cause: Mapped[str]
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[int]


class Delivery(Base):
    """A row of ``deliveries``."""

    __tablename__ = "deliveries"
    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[str]
    order_no: Mapped[str]
    endpoint: Mapped[str]
    status: Mapped[str]
    due_at: Mapped[int]
    failures: Mapped[int]
    created_at: Mapped[int]


class Timeline(Base):
    """A row of ``timeline``."""

    __tablename__ = "timeline"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_no: Mapped[str]
    at: Mapped[int]
    what: Mapped[str]
    actor: Mapped[str]
    detail: Mapped[str] = mapped_column(Text)


async def open_session() -> AsyncIterator[AsyncSession]:
    """Yield a session; it takes a connection with its first statement."""
    async with _sessions() as session:
        yield session


@app.post("/v1/callback/alipay", response_class=PlainTextResponse)
async def callback(
    request: Request, session: Annotated[AsyncSession, Depends(open_session)]
) -> str:
    """Say ``success`` once the payment is committed, or was before."""
    body, form = await request.body(), await request.form()
    fields = {name: str(value) for name, value in form.items()}
    single = len(form.multi_items()) == len(fields)
    known = single and is_ours(fields) and is_signed(fields)
    return "success" if known and await settle(session, fields, body) else "fail"


def is_ours(fields: dict[str, str]) -> bool:
    """Tell whether the notice is of a payment to us."""
    same = all(fields.get(name) == value for name, value in _EXPECTED.items())
    return same and fields.get("trade_status") in _PAID


def is_signed(fields: dict[str, str]) -> bool:
    """Tell whether Alipay signed the notice."""
    signed = {name: fields[name] for name in fields if name not in ("sign", "sign_type")}
    try:
        return verify_with_rsa(
            _ALIPAY_PUBLIC_KEY, get_sign_content(signed).encode(), fields["sign"]
        )
    except (KeyError, ValueError, VerificationError):
        return False


async def settle(session: AsyncSession, fields: dict[str, str], body: bytes) -> bool:
    """Pay the order in one transaction; return whether it is paid now."""
    number = fields["out_trade_no"]
    async with session.begin():
        found = select(Order).where(Order.order_no == number).with_for_update()
        order = await session.scalar(found)
        if order is None or not fits(order, fields):
            return False
        if order.status != "pending":
            payment = await session.get(Payment, number)
            return payment is not None and payment.transaction_id == fields["trade_no"]
        await write(session, order, fields, body)
    return True


def fits(order: Order, fields: dict[str, str]) -> bool:
    """Compare what was paid with what was sold."""
    quantity, _, product = fields.get("passback_params", "").partition("x")
    ours = (order.kind, order.environment, order.account, order.sku, order.currency)
    numbers = (order.amount, order.quantity)
    return ours == ("alipay", "sandbox", _ACCOUNT, unquote(product), "CNY") and numbers == (
        Decimal(fields["total_amount"]) * 100,
        int(quantity or 0),
    )


async def write(session: AsyncSession, order: Order, fields: dict[str, str], body: bytes) -> None:
    """Write what a payment leaves behind."""
    now, number, trade_no = time.time_ns() // 1000, order.order_no, fields["trade_no"]
    sha256 = hashlib.sha256(body).hexdigest()
    event_id = f"evt_{now // 1000:012x}{secrets.token_hex(10)}"
    order.status, order.settled_at = "paid", now
    order.next_check_at = order.lease_token = None
    believed = {"kind": "alipay", "environment": "sandbox"}
    payment = Payment(
        order_no=number,
        transaction_key=hashlib.sha256(
            f"alipay\0sandbox\0{_ACCOUNT}\0{trade_no}\0".encode()
        ).hexdigest(),
        account=_ACCOUNT,
        transaction_id=trade_no,
        amount=order.amount,
        currency="CNY",
        product=order.sku,
        quantity=1,
        payer=fields["buyer_id"],
        paid_at=from_beijing(fields["gmt_payment"]),
        verified_at=now,
        verifier=_VERIFIER,
        evidence_sha256=sha256,
        **believed,
    )
    event = Event(
        event_id=event_id,
        order_no=number,
        app="default",
        type="order.paid",
        cause="",
        body=told(order, trade_no, now),
        created_at=now,
    )
    delivery = Delivery(
        event_id=event_id,
        order_no=number,
        endpoint="default/main",
        status="due",
        due_at=now,
        failures=0,
        created_at=now,
    )
    detail = {
        "to": "paid",
        "transaction_id": trade_no,
        "amount": order.amount,
        "currency": "CNY",
        "note": fields["trade_status"],
        "evidence": sha256,
        "verifier": _VERIFIER,
    }
    line = {"what": "paid", "actor": "callback", "detail": json.dumps(detail, ensure_ascii=False)}
    session.add_all([payment, event, delivery, Timeline(order_no=number, at=now, **line)])
    used = {"source": "callback", "state": "used", "reason": "", "raw": body, "created_at": now}
    evidence = insert(Evidence).values(sha256=sha256, order_no=number, **used, **believed)
    await session.execute(evidence.on_duplicate_key_update(id=Evidence.id))


def told(order: Order, trade_no: str, now: int) -> str:
    """Return the event's body."""
    names = ("order_no", "app", "channel", "environment", "product_id", "receiver", "currency")
    data = {
        **{name: getattr(order, name) for name in names},
        "quantity": order.quantity,
        "amount": order.amount,
        "status": "paid",
        "transaction_id": trade_no,
        "metadata": json.loads(order.extra),
    }
    moment = datetime.fromtimestamp(now / 1_000_000, UTC).isoformat(timespec="milliseconds")
    event = {"type": "order.paid", "timestamp": moment.replace("+00:00", "Z"), "data": data}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def from_beijing(text: str) -> int:
    """Return Alipay's local time as microseconds since 1970."""
    moment = datetime.strptime(f"{text}+0800", "%Y-%m-%d %H:%M:%S%z")
    return int(moment.timestamp()) * 1_000_000
