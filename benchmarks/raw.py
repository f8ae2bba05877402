"""The raw server: what a careful author writes by hand on Tornado and aiomysql for Alipay alone.

It makes the checks that payplat makes and leaves the rows that payplat leaves, one transaction a notice.
"""

import argparse
import asyncio
import base64
import hashlib
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote

import aiomysql
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler

from benchmarks import statements as sql
from benchmarks.fixed import APP_ID, PATH, SELLER_ID
from benchmarks.raw_rows import (
    CONNECTIONS,
    Row,
    as_text,
    detail,
    event_body,
    make_pool,
    transaction_key,
)
from payplat.seam import new_id

_PAID = ("TRADE_SUCCESS", "TRADE_FINISHED")
_EXPECTED = {"app_id": APP_ID, "seller_id": SELLER_ID, "notify_type": "trade_status_sync"}
_ACCOUNT = f"{APP_ID}/{SELLER_ID}"
_VERIFIER = "key:0123456789abcdef"
Fields = dict[str, str]


class Raw(RequestHandler):
    """One notice, from its form to its rows."""

    def initialize(
        self, key: rsa.RSAPublicKey, pool: aiomysql.Pool, gate: asyncio.Semaphore
    ) -> None:
        """Receive what all requests share; the gate lets them to the pool in their order."""
        self.key, self.pool, self.gate = key, pool, gate

    async def post(self) -> None:
        """Say ``success`` once the payment is committed, or was before."""
        fields = read_notice(self.request, self.key)
        async with self.gate, self.pool.acquire() as connection:
            settled = fields is not None and await _settle(connection, fields, self.request.body)
        self.write("success" if settled else "fail")


def read_notice(request: HTTPServerRequest, key: rsa.RSAPublicKey) -> Fields | None:
    """Return the fields of a notice that Alipay signed for us, None for any other."""
    arguments = request.body_arguments
    fields = {name: values[0].decode() for name, values in arguments.items()}
    single = all(len(values) == 1 for values in arguments.values())
    return fields if single and _is_signed(fields, key) and _is_ours(fields) else None


def _is_signed(fields: Fields, key: rsa.RSAPublicKey) -> bool:
    unsigned = ("sign", "sign_type")
    text = "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k not in unsigned)
    try:
        signature = base64.b64decode(fields["sign"], validate=True)
        key.verify(signature, text.encode(), padding.PKCS1v15(), hashes.SHA256())
    except (KeyError, ValueError, InvalidSignature):
        return False
    return fields.get("sign_type") == "RSA2"


def _is_ours(fields: Fields) -> bool:
    same = all(fields.get(name) == value for name, value in _EXPECTED.items())
    return same and fields.get("trade_status") in _PAID


async def _settle(connection: aiomysql.Connection, fields: Fields, body: bytes) -> bool:
    """Pay the order in one transaction; return whether it is paid now."""
    async with connection.cursor(aiomysql.DictCursor) as cursor:
        try:
            await cursor.execute(sql.ORDER, (fields["out_trade_no"],))
            found = await cursor.fetchone()
            if found is None or not fits(order := as_text(found), fields):
                await connection.rollback()
                return False
            if order["status"] != "pending":
                repeated = await _is_repeated(cursor, order, fields)
                await connection.rollback()
                return repeated
            await _write(cursor, order, fields, body)
            await connection.commit()
        except BaseException:
            await connection.rollback()
            raise
    return True


async def _is_repeated(cursor: aiomysql.Cursor, order: Row, fields: Fields) -> bool:
    await cursor.execute(sql.PAYMENT, (order["order_no"],))
    payment = await cursor.fetchone()
    return payment is not None and payment["transaction_id"] == fields["trade_no"]


def fits(order: Row, fields: Fields) -> bool:
    """Compare what was paid with what was sold."""
    quantity, _, product = fields.get("passback_params", "").partition("x")
    amount = Decimal(fields["total_amount"]).scaleb(2)
    ours = (order["kind"], order["environment"], order["account"], order["sku"], order["currency"])
    theirs = ("alipay", "sandbox", _ACCOUNT, unquote(product), "CNY")
    numbers = (order["amount"], order["quantity"]) == (amount, int(quantity or 0))
    return numbers and ours == theirs


async def _write(cursor: aiomysql.Cursor, order: Row, fields: Fields, body: bytes) -> None:
    """Write what a payment leaves behind."""
    now, number, event_id = time.time_ns() // 1000, order["order_no"], f"evt_{new_id()}"
    payment = payment_row(order, fields, body, now)
    if not await cursor.execute(sql.PAY, (now, number)):
        raise RuntimeError("somebody else paid an order that we have locked")
    await cursor.execute(sql.ADD_PAYMENT, payment)
    named = ("alipay", payment["evidence_sha256"], number, payment["transaction_key"])
    await cursor.execute(sql.ADD_EVIDENCE, (*named, "callback", body, None, now))
    event = event_body(order, fields["trade_no"], now)
    await cursor.execute(sql.ADD_EVENT, (event_id, number, event, now))
    await cursor.execute(sql.ADD_DELIVERY, (event_id, number, now, now))
    line = (number, now, "callback", detail(payment, fields["trade_status"]))
    await cursor.execute(sql.ADD_LINE, line)


def payment_row(order: Row, fields: Fields, body: bytes, now: int) -> Row:
    """Return the payment that a notice proves; ``now`` is microseconds since 1970."""
    named = ("alipay", "sandbox", _ACCOUNT, fields["trade_no"])
    return {
        "order_no": order["order_no"],
        "transaction_key": transaction_key(*named),
        **dict(zip(("kind", "environment", "account", "transaction_id"), named, strict=True)),
        "receipt": None,
        "amount": order["amount"],
        "currency": "CNY",
        "product": order["sku"],
        "quantity": order["quantity"],
        "payer": fields["buyer_id"],
        "paid_at": _from_beijing(fields["gmt_payment"]),
        "verified_at": now,
        "verifier": _VERIFIER,
        "evidence_sha256": hashlib.sha256(body).hexdigest(),
    }


def _from_beijing(text: str) -> int:
    moment = datetime.strptime(f"{text}+0800", "%Y-%m-%d %H:%M:%S%z")
    return int(moment.timestamp()) * 1_000_000


async def serve(port: int, database_url: str, key: rsa.RSAPublicKey) -> None:
    """Listen until the process is ended."""
    pool = await make_pool(database_url)
    shared = {"key": key, "pool": pool, "gate": asyncio.Semaphore(CONNECTIONS)}
    Application([(PATH, Raw, shared)], log_function=lambda _: None).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--key", type=Path, required=True)
    given = parser.parse_args()
    key = serialization.load_pem_public_key(given.key.read_bytes())
    if not isinstance(key, rsa.RSAPublicKey):
        raise SystemExit("this is no RSA key")
    asyncio.run(serve(given.port, given.database, key))


if __name__ == "__main__":
    main()
