"""The raw server of receipts: what a careful author writes by hand on Tornado and aiomysql for Apple and Google.

It makes the checks that payplat makes and leaves the rows that payplat leaves, one transaction a receipt.
"""

import argparse
import asyncio
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import aiomysql
from tornado.web import Application, HTTPError, RequestHandler

from benchmarks import statements as sql
from benchmarks.fixed import VERIFY_PATH
from benchmarks.raw_rows import (
    CONNECTIONS,
    Row,
    as_text,
    detail,
    event_body,
    make_pool,
    order_answer,
    require_client,
    transaction_key,
)
from benchmarks.raw_stores import AppleStore, GoogleStore, Receipt, Store
from payplat.seam import new_id

_SECOND = 1_000_000
_CONSUME_WITHIN = 48 * 3600 * _SECOND


class Raw(RequestHandler):
    """One receipt, from its request to its rows."""

    def initialize(self, store: Store, pool: aiomysql.Pool, gate: asyncio.Semaphore) -> None:
        """Receive what all requests share; the gate lets them to the pool in their order."""
        self.store, self.pool, self.gate = store, pool, gate

    async def post(self) -> None:
        """Answer with the order once its payment is committed, or was before."""
        require_client(self.request.headers.get("Authorization", ""))
        asked = json.loads(self.request.body)
        if asked.keys() != {"order_no", self.store.member}:
            raise HTTPError(400)
        receipt = await self.store.read(asked)
        if receipt.order_no != asked["order_no"]:
            raise HTTPError(409)
        async with self.gate, self.pool.acquire() as connection:
            order = await _settle(connection, receipt)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(order_answer(order), ensure_ascii=False))


async def _settle(connection: aiomysql.Connection, receipt: Receipt) -> Row:
    """Pay the order in one transaction; return it as it is then."""
    async with connection.cursor(aiomysql.DictCursor) as cursor:
        try:
            await cursor.execute(sql.WHOLE_ORDER, (receipt.order_no,))
            found = await cursor.fetchone()
            if found is None or not _fits(order := as_text(found), receipt):
                raise HTTPError(409)
            if order["status"] == "pending":
                order = await _write(cursor, order, receipt)
            elif not await _is_repeated(cursor, receipt):
                raise HTTPError(409)
            await connection.commit()
        except BaseException:
            await connection.rollback()
            raise
    return order


async def _is_repeated(cursor: aiomysql.Cursor, receipt: Receipt) -> bool:
    await cursor.execute(sql.PAYMENT, (receipt.order_no,))
    payment = await cursor.fetchone()
    return payment is not None and payment["transaction_id"] == receipt.transaction_id


def _fits(order: Row, receipt: Receipt) -> bool:
    """Compare what was paid with what was sold."""
    ours = (order["kind"], order["environment"], order["account"], order["sku"], order["quantity"])
    theirs = (receipt.kind, "sandbox", receipt.account, receipt.product, receipt.quantity)
    return ours == theirs and receipt.is_of(order["receiver"])


async def _write(cursor: aiomysql.Cursor, order: Row, receipt: Receipt) -> Row:
    """Write what a payment leaves behind; return the order as it is then."""
    now, number, event_id = time.time_ns() // 1000, order["order_no"], f"evt_{new_id()}"
    payment = _payment_row(receipt, now)
    price = (receipt.amount, receipt.currency)
    if not await cursor.execute(sql.PAY_PRICED, (*price, now, number)):
        raise RuntimeError("somebody else paid an order that we have locked")
    paid = {**order, "status": "paid", "settled_at": now}
    paid["amount"], paid["currency"] = price
    await cursor.execute(sql.ADD_PAYMENT, payment)
    named = (receipt.kind, payment["evidence_sha256"], number, payment["transaction_key"])
    await cursor.execute(
        sql.ADD_EVIDENCE, (*named, "verify", receipt.raw, receipt.answer or None, now)
    )
    event = event_body(paid, receipt.transaction_id, now)
    await cursor.execute(sql.ADD_EVENT, (event_id, number, event, now))
    await cursor.execute(sql.ADD_DELIVERY, (event_id, number, now, now))
    for what, due_at in (("acknowledge", now), ("consume", now + _CONSUME_WITHIN)):
        if receipt.kind == "google":
            await cursor.execute(sql.ADD_DUTY, (number, "google", what, due_at, now))
    await cursor.execute(sql.ADD_LINE, (number, now, "verify", detail(payment, receipt.note)))
    return paid


def _payment_row(receipt: Receipt, now: int) -> Row:
    named = (receipt.kind, "sandbox", receipt.account, receipt.transaction_id)
    return {
        "order_no": receipt.order_no,
        "transaction_key": transaction_key(*named),
        **dict(zip(("kind", "environment", "account", "transaction_id"), named, strict=True)),
        "receipt": receipt.receipt,
        "amount": receipt.amount,
        "currency": receipt.currency,
        "product": receipt.product,
        "quantity": receipt.quantity,
        "payer": receipt.payer,
        "paid_at": receipt.paid_at,
        "verified_at": now,
        "verifier": receipt.verifier,
        "evidence_sha256": hashlib.sha256(receipt.raw).hexdigest(),
    }


async def serve(port: int, database_url: str, store: Store) -> None:
    """Listen until the process is ended."""
    pool = await make_pool(database_url)
    shared = {"store": store, "pool": pool, "gate": asyncio.Semaphore(CONNECTIONS)}
    doors = [(VERIFY_PATH + store.kind, Raw, shared)]
    Application(doors, log_function=lambda _: None).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


async def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--channel", choices=["apple", "google"], required=True)
    parser.add_argument("--folder", type=Path, required=True, help="with the keys")
    parser.add_argument("--url", default="", help="of the store, where it is asked")
    given: Any = parser.parse_args()
    kind = AppleStore if given.channel == "apple" else GoogleStore
    await serve(given.port, given.database, kind(given.folder, given.url))


if __name__ == "__main__":
    asyncio.run(main())
