"""The raw server of orders: what a careful author writes by hand on Tornado and aiomysql for Apple and Alipay.

It makes the checks that payplat makes and leaves the row that payplat leaves, one INSERT an order.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import re
import time
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import aiomysql
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tornado.web import Application, HTTPError, RequestHandler

from benchmarks import statements as sql
from benchmarks.bare_json import read_key
from benchmarks.fixed import APP_ID, BUNDLE_ID, ORDER_PATH, SELLER_ID
from benchmarks.raw_rows import CONNECTIONS, Row, make_pool, order_answer, require_client
from payplat.seam import new_id

_SECOND, _LIFE, _BEIJING = 1_000_000, 1800, timedelta(hours=8)
_RECEIVER = re.compile(r"[\x21-\x7e]{1,128}")
_MEMBERS = {"channel", "product_id", "receiver", "quantity", "metadata"}
_ACCOUNTS = {"apple": BUNDLE_ID, "alipay": f"{APP_ID}/{SELLER_ID}"}
_FRESH = {"status": "pending", "app": "default", "environment": "sandbox", "refunded": 0}
_METHODS = {"apple": "storekit", "alipay": "app"}


class Raw(RequestHandler):
    """One order, from its request to its row."""

    def initialize(
        self,
        products: dict[str, Any],
        key: rsa.RSAPrivateKey,
        pool: aiomysql.Pool,
        gate: asyncio.Semaphore,
    ) -> None:
        """Receive what all requests share; the gate lets them to the pool in their order."""
        self.products, self.key, self.pool, self.gate = products, key, pool, gate

    async def post(self) -> None:
        """Open an order and say how it is paid, once it is committed."""
        require_client(self.request.headers.get("Authorization", ""))
        asked = _read(self.request.body)
        product = self.products.get(asked["product_id"])
        if product is None:
            raise HTTPError(422)
        order = _order(asked, product, hashlib.sha256(self.request.body).hexdigest())
        async with self.gate, self.pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.execute(sql.ADD_ORDER, order)
            await connection.commit()
        self.set_status(201)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        answer = {**order_answer({**order, **_FRESH}), "payment": self._payment(order)}
        self.finish(json.dumps(answer, ensure_ascii=False))

    def _payment(self, order: Row) -> Row:
        if order["kind"] == "alipay":
            return {"order_string": _order_string(order, self.key)}
        token = str(UUID(order["order_no"]))
        return {"product_id": order["sku"], "quantity": 1, "app_account_token": token}


def _read(body: bytes) -> dict[str, Any]:
    asked = {"quantity": 1, "metadata": {}, **json.loads(body)}
    metadata = asked["metadata"]
    fits = (
        asked.keys() == _MEMBERS
        and asked["channel"] in _ACCOUNTS
        and isinstance(asked["product_id"], str)
        and _RECEIVER.fullmatch(asked["receiver"])
        and type(asked["quantity"]) is int
        and 1 <= asked["quantity"] <= 100
        and len(metadata) <= 20
        and all(isinstance(v, str) and len(k) <= 40 and len(v) <= 500 for k, v in metadata.items())
    )
    if not fits:
        raise HTTPError(400)
    return asked


def _order(asked: dict[str, Any], product: dict[str, Any], request_sha256: str) -> Row:
    now, kind = time.time_ns() // 1000, asked["channel"]
    expires_at = now // _SECOND * _SECOND + _LIFE * _SECOND
    priced = kind == "alipay"
    return {
        "order_no": new_id(),
        "channel": kind,
        "kind": kind,
        "account": _ACCOUNTS[kind],
        "method": _METHODS[kind],
        "product_id": asked["product_id"],
        "sku": product.get("store", {}).get(kind, asked["product_id"]),
        "quantity": asked["quantity"],
        "consumable": product["consumable"],
        "amount": product["prices"]["CNY"] * asked["quantity"] if priced else None,
        "currency": "CNY" if priced else None,
        "title": product["title"],
        "receiver": asked["receiver"],
        "metadata": json.dumps(asked["metadata"], ensure_ascii=False),
        "request_sha256": request_sha256,
        "settled_at": None,
        "created_at": now,
        "expires_at": expires_at,
        "next_check_at": now + 15 * _SECOND if priced else expires_at + 60 * _SECOND,
    }


def _order_string(order: Row, key: rsa.RSAPrivateKey) -> str:
    """Return what Alipay's app takes: a request for the payment, signed."""
    content = {
        "out_trade_no": order["order_no"],
        "total_amount": f"{order['amount'] // 100}.{order['amount'] % 100:02}",
        "subject": order["title"],
        "product_code": "QUICK_MSECURITY_PAY",
        "time_expire": _beijing(order["expires_at"]),
        "passback_params": f"{order['quantity']}x{order['sku']}",
    }
    fields = {
        "app_id": APP_ID,
        "method": "alipay.trade.app.pay",
        "format": "JSON",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": _beijing(order["created_at"]),
        "version": "1.0",
        "notify_url": "http://127.0.0.1:1/v1/callback/alipay",
        "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
    }
    text = "&".join(f"{name}={value}" for name, value in sorted(fields.items()))
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return urlencode({**fields, "sign": base64.b64encode(signature).decode()})


def _beijing(micros: int) -> str:
    moment = datetime.fromtimestamp(micros // _SECOND, UTC) + _BEIJING
    return moment.strftime("%Y-%m-%d %H:%M:%S")


async def serve(
    port: int, database_url: str, products: dict[str, Any], key: rsa.RSAPrivateKey
) -> None:
    """Listen until the process is ended."""
    shared = {
        "products": products,
        "key": key,
        "pool": await make_pool(database_url),
        "gate": asyncio.Semaphore(CONNECTIONS),
    }
    doors = [(ORDER_PATH, Raw, shared)]
    Application(doors, log_function=lambda _: None).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--catalogue", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    given = parser.parse_args()
    sold = tomllib.loads(given.catalogue.read_text("utf-8"))["default"]
    asyncio.run(serve(given.port, given.database, sold, read_key(given.key)))
