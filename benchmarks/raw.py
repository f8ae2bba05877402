"""The raw server: what a careful author writes by hand on Tornado and aiomysql for Alipay alone.

It makes the checks that payplat makes and leaves the rows that payplat leaves, one transaction a notice.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomysql
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tornado.web import Application, RequestHandler

from benchmarks import statements as sql
from benchmarks.fixed import APP_ID, PATH, SELLER_ID
from payplat.seam import new_id

_CONNECTIONS = 16
_SESSION = "SET time_zone='+00:00', sql_mode='TRADITIONAL', tx_isolation='READ-COMMITTED'"
_PAID = ("TRADE_SUCCESS", "TRADE_FINISHED")
_EXPECTED = {"app_id": APP_ID, "seller_id": SELLER_ID, "notify_type": "trade_status_sync"}
_ACCOUNT = f"{APP_ID}/{SELLER_ID}"
_VERIFIER = "key:0123456789abcdef"
Fields = dict[str, str]
Row = dict[str, Any]


class Raw(RequestHandler):
    """One notice, from its form to its rows."""

    def initialize(
        self, key: rsa.RSAPublicKey, pool: aiomysql.Pool, gate: asyncio.Semaphore
    ) -> None:
        """Receive what all requests share; the gate lets them to the pool in their order."""
        self.key, self.pool, self.gate = key, pool, gate

    async def post(self) -> None:
        """Say ``success`` once the payment is committed, or was before."""
        arguments = self.request.body_arguments
        fields = {name: values[0].decode() for name, values in arguments.items()}
        single = all(len(values) == 1 for values in arguments.values())
        known = single and self._is_signed(fields) and _is_ours(fields)
        async with self.gate, self.pool.acquire() as connection:
            settled = known and await _settle(connection, fields, self.request.body)
        self.write("success" if settled else "fail")

    def _is_signed(self, fields: Fields) -> bool:
        unsigned = ("sign", "sign_type")
        text = "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k not in unsigned)
        try:
            signature = base64.b64decode(fields["sign"], validate=True)
            self.key.verify(signature, text.encode(), padding.PKCS1v15(), hashes.SHA256())
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
            order = await cursor.fetchone()
            if order is None or not _fits(order, fields):
                await connection.rollback()
                return False
            if order["status"] != b"pending":
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


def _fits(order: Row, fields: Fields) -> bool:
    """Compare what was paid with what was sold."""
    quantity, _, product = fields.get("passback_params", "").partition("x")
    amount = Decimal(fields["total_amount"]).scaleb(2)
    ours = (order["kind"], order["environment"], order["account"], order["sku"], order["currency"])
    theirs = ("alipay", "sandbox", _ACCOUNT, unquote(product), "CNY")
    numbers = (order["amount"], order["quantity"]) == (amount, int(quantity or 0))
    return numbers and ours == tuple(text.encode() for text in theirs)


async def _write(cursor: aiomysql.Cursor, order: Row, fields: Fields, body: bytes) -> None:
    """Write what a payment leaves behind."""
    now, number = time.time_ns() // 1000, order["order_no"].decode()
    sha256, trade_no = hashlib.sha256(body).hexdigest(), fields["trade_no"]
    key = hashlib.sha256(f"alipay\0sandbox\0{_ACCOUNT}\0{trade_no}\0".encode()).hexdigest()
    if not await cursor.execute(sql.PAY, (now, number)):
        raise RuntimeError("somebody else paid an order that we have locked")
    shared = ("alipay", "sandbox", _ACCOUNT, trade_no, order["amount"], "CNY", order["sku"], 1)
    paid_at = _from_beijing(fields["gmt_payment"])
    believed = (fields["buyer_id"], paid_at, now, _VERIFIER, sha256)
    await cursor.execute(sql.ADD_PAYMENT, (number, key, *shared, *believed))
    await cursor.execute(sql.ADD_EVIDENCE, (sha256, number, body, now))
    event_id = f"evt_{new_id()}"
    await cursor.execute(sql.ADD_EVENT, (event_id, number, _event(order, trade_no, now), now))
    await cursor.execute(sql.ADD_DELIVERY, (event_id, number, now, now))
    await cursor.execute(sql.ADD_LINE, (number, now, _detail(order, fields, sha256)))


def _event(order: Row, trade_no: str, now: int) -> str:
    names = ("app", "channel", "environment", "product_id", "receiver", "currency")
    data = {
        "order_no": order["order_no"].decode(),
        **{name: order[name].decode() for name in names},
        "quantity": order["quantity"],
        "amount": order["amount"],
        "status": "paid",
        "transaction_id": trade_no,
        "metadata": json.loads(order["metadata"]),
    }
    moment = datetime.fromtimestamp(now / 1_000_000, UTC).isoformat(timespec="milliseconds")
    told = {"type": "order.paid", "timestamp": moment.replace("+00:00", "Z"), "data": data}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def _detail(order: Row, fields: Fields, sha256: str) -> str:
    detail = {
        "to": "paid",
        "transaction_id": fields["trade_no"],
        "amount": order["amount"],
        "currency": "CNY",
        "note": fields["trade_status"],
        "evidence": sha256,
        "verifier": _VERIFIER,
    }
    return json.dumps(detail, ensure_ascii=False)


def _from_beijing(text: str) -> int:
    moment = datetime.strptime(f"{text}+0800", "%Y-%m-%d %H:%M:%S%z")
    return int(moment.timestamp()) * 1_000_000


async def serve(port: int, database_url: str, key: rsa.RSAPublicKey) -> None:
    """Listen until the process is ended."""
    parts = urlsplit(database_url)
    pool = await aiomysql.create_pool(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=parts.password or "",
        db=parts.path[1:],
        charset="utf8mb4",
        init_command=_SESSION,
        minsize=_CONNECTIONS,
        maxsize=_CONNECTIONS,
    )
    shared = {"key": key, "pool": pool, "gate": asyncio.Semaphore(_CONNECTIONS)}
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
