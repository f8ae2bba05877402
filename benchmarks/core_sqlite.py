"""The yardstick on SQLite: what a careful author writes on Tornado, SQLAlchemy Core and aiosqlite for Alipay alone.

It makes the checks that payplat makes and leaves the rows that payplat leaves, one transaction a notice, on one
connection that syncs every commit.
"""

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import bindparam, event, insert, make_url, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_ignore
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from tornado.web import Application, RequestHandler

from benchmarks import raw
from benchmarks.fixed import PATH
from benchmarks.raw_rows import Row, detail, event_body
from payplat.models import Base
from payplat.seam import new_id

_ORDERS, _PAYMENTS = (Base.metadata.tables[name] for name in ("orders", "payments"))
_EVIDENCE, _EVENTS = (Base.metadata.tables[name] for name in ("evidence", "events"))
_DELIVERIES, _TIMELINE = (Base.metadata.tables[name] for name in ("deliveries", "timeline"))
_ORDER = select(_ORDERS).where(_ORDERS.c.order_no == bindparam("number"))
_PAID_BY = select(_PAYMENTS.c.transaction_id).where(_PAYMENTS.c.order_no == bindparam("number"))
_PAY = (
    update(_ORDERS)
    .where(_ORDERS.c.order_no == bindparam("number"), _ORDERS.c.status == "pending")
    .values(status="paid", settled_at=bindparam("now"), next_check_at=None, lease_token=None)
)
_ADD_EVIDENCE = insert_or_ignore(_EVIDENCE).on_conflict_do_nothing()
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=4000", "foreign_keys=ON")


class Core(RequestHandler):
    """One notice, from its form to its rows."""

    def initialize(self, key: rsa.RSAPublicKey, engine: AsyncEngine) -> None:
        """Receive what all requests share."""
        self.key, self.engine = key, engine

    async def post(self) -> None:
        """Say ``success`` once the payment is committed, or was before."""
        fields = raw.read_notice(self.request, self.key)
        settled = False
        if fields is not None:
            async with self.engine.begin() as connection:
                settled = await _settle(connection, fields, self.request.body)
        self.write("success" if settled else "fail")


async def _settle(connection: AsyncConnection, fields: raw.Fields, body: bytes) -> bool:
    """Pay the order; return whether it is paid now."""
    found = (
        (await connection.execute(_ORDER, {"number": fields["out_trade_no"]})).mappings().first()
    )
    if found is None or not raw.fits(order := dict(found), fields):
        return False
    if order["status"] == "pending":
        await _write(connection, order, fields, body)
        return True
    paid_by = await connection.scalar(_PAID_BY, {"number": order["order_no"]})
    return bool(paid_by == fields["trade_no"])


async def _write(connection: AsyncConnection, order: Row, fields: raw.Fields, body: bytes) -> None:
    """Write what a payment leaves behind."""
    now, number, event_id = time.time_ns() // 1000, order["order_no"], f"evt_{new_id()}"
    payment = raw.payment_row(order, fields, body, now)
    await connection.execute(_PAY, {"number": number, "now": now})
    await connection.execute(insert(_PAYMENTS), payment)
    await connection.execute(_ADD_EVIDENCE, _evidence(payment, body, now))
    told = {"event_id": event_id, "order_no": number, "created_at": now}
    what = {"app": "default", "type": "order.paid", "cause": ""}
    text = event_body(order, fields["trade_no"], now)
    await connection.execute(insert(_EVENTS), told | what | {"body": text})
    due = {"endpoint": "default/main", "status": "due", "due_at": now, "failures": 0}
    await connection.execute(insert(_DELIVERIES), told | due)
    line = {"order_no": number, "at": now, "what": "paid", "actor": "callback"}
    line["detail"] = detail(payment, fields["trade_status"])
    await connection.execute(insert(_TIMELINE), line)


def _evidence(payment: Row, body: bytes, now: int) -> Row:
    return {
        **{name: payment[name] for name in ("kind", "environment", "order_no", "transaction_key")},
        "sha256": payment["evidence_sha256"],
        "source": "callback",
        "state": "used",
        "reason": "",
        "raw": body,
        "created_at": now,
    }


def make_engine(database_url: str) -> AsyncEngine:
    """Return the engine: one connection, every commit synced, and a transaction that writes from its beginning."""
    url = make_url(database_url).set(drivername="sqlite+aiosqlite")
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=60)

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _began(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


async def serve(port: int, database_url: str, key: rsa.RSAPublicKey) -> None:
    """Listen until the process is ended."""
    shared = {"key": key, "engine": make_engine(database_url)}
    Application([(PATH, Core, shared)], log_function=lambda _: None).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--key", type=Path, required=True)
    given = parser.parse_args()
    public = serialization.load_pem_public_key(given.key.read_bytes())
    if not isinstance(public, rsa.RSAPublicKey):
        raise SystemExit("this is no RSA key")
    asyncio.run(serve(given.port, given.database, public))
