"""What the hand-written servers share: whom they let in, what a payment leaves behind, how they reach MariaDB."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiomysql
from tornado.web import HTTPError

from benchmarks.fixed import API_KEY

CONNECTIONS = 16
_SESSION = "SET time_zone='+00:00', sql_mode='TRADITIONAL', tx_isolation='READ-COMMITTED'"
_KEY_SHA256 = hashlib.sha256(API_KEY.encode()).hexdigest()
_TOLD = (
    "order_no status app channel environment method product_id quantity amount currency refunded receiver"
).split()
Row = dict[str, Any]


def require_client(authorization: str) -> None:
    """Raise HTTPError unless this header brings the key of the app's backend."""
    kind, _, token = authorization.partition(" ")
    digest = hashlib.sha256(token.encode()).hexdigest()
    if kind != "Bearer" or not hmac.compare_digest(digest, _KEY_SHA256):
        raise HTTPError(401)


def order_answer(order: Row) -> Row:
    """Return an order as clients see it."""
    return {
        **{name: order[name] for name in _TOLD},
        "metadata": json.loads(order["metadata"]),
        "created_at": rfc3339(order["created_at"]),
        "expires_at": rfc3339(order["expires_at"]),
        "settled_at": rfc3339(order["settled_at"]) if order["settled_at"] else None,
    }


async def make_pool(database_url: str) -> aiomysql.Pool:
    """Return connections to MariaDB; a gate in front of them must let requests through in their order."""
    return await aiomysql.create_pool(
        **_session(database_url), minsize=CONNECTIONS, maxsize=CONNECTIONS
    )


async def connect(database_url: str) -> aiomysql.Connection:
    """Return one connection to MariaDB, on which each statement outside a transaction is one of its own."""
    return await aiomysql.connect(**_session(database_url), autocommit=True)


def _session(database_url: str) -> dict[str, Any]:
    parts = urlsplit(database_url)
    return {
        "host": parts.hostname,
        "port": parts.port,
        "user": parts.username,
        "password": parts.password or "",
        "db": parts.path[1:],
        "charset": "utf8mb4",
        "init_command": _SESSION,
    }


def as_text(row: Row) -> Row:
    """Return a row of MariaDB's with its ids as text, which are bytes there."""
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in row.items()}


def transaction_key(*parts: str) -> str:
    """Return one name for a transaction's kind, environment, account and id."""
    return hashlib.sha256("".join(f"{part}\0" for part in parts).encode()).hexdigest()


def event_body(order: Row, transaction_id: str, now: int) -> str:
    """Return what the merchant is told; ``now`` is microseconds since 1970."""
    names = ("order_no", "app", "channel", "environment", "product_id", "receiver", "currency")
    data = {
        **{name: order[name] for name in names},
        "quantity": order["quantity"],
        "amount": order["amount"],
        "status": "paid",
        "transaction_id": transaction_id,
        "metadata": json.loads(order["metadata"]),
    }
    told = {"type": "order.paid", "timestamp": rfc3339(now), "data": data}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def detail(payment: Row, note: str) -> str:
    """Return what the timeline tells of a payment."""
    told = {
        "to": "paid",
        "transaction_id": payment["transaction_id"],
        "amount": payment["amount"],
        "currency": payment["currency"],
        "note": note,
        "evidence": payment["evidence_sha256"],
        "verifier": payment["verifier"],
    }
    return json.dumps({k: v for k, v in told.items() if v != ""}, ensure_ascii=False)


def rfc3339(micros: int) -> str:
    """Write microseconds since 1970 as RFC 3339 text in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")
