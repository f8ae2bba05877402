"""Old business in bulk: millions of settled orders with all that they left behind, made by MariaDB's sequence engine.

Every table gets one statement while it is empty: InnoDB then sorts the indexes instead of growing them row by row.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from string import Template
from urllib.parse import urlsplit

import pymysql

from benchmarks.fixed import APP_ID, SELLER_ID
from payplat import seam

_MONTH = 30 * 86400 * 1000  # milliseconds, over which the orders are spread
# Without the checks InnoDB loads an empty table in one go.
_SESSION = "SET unique_checks = 0, foreign_key_checks = 0, sql_mode = 'TRADITIONAL'"
_EVENT = (
    '\'{"type":"order.paid","timestamp":"2026-01-01T00:00:00.000Z","data":{"order_no":"\', $order,'
    ' \'","app":"default","channel":"alipay","environment":"sandbox","product_id":"coins_500","quantity":1,'
    '"receiver":"player-1","amount":600,"currency":"CNY","status":"paid","transaction_id":"\', $trade,'
    ' \'","metadata":{"server":"eu-1","role":"4711"}}}\''
)
# $order, $at and $trade stand for the order's number, its time in microseconds and its transaction.
_ROWS = {
    "orders": {
        "order_no": "$order",
        "app": "'default'",
        "channel": "'alipay'",
        "kind": "'alipay'",
        "environment": "'sandbox'",
        "account": f"'{APP_ID}/{SELLER_ID}'",
        "method": "'app'",
        "product_id": "'coins_500'",
        "sku": "'coins_500'",
        "quantity": "1",
        "amount": "600",
        "currency": "'CNY'",
        "title": "'500 coins'",
        "receiver": "concat('player-', seq % 100000)",
        "metadata": '\'{"server": "eu-1", "role": "4711"}\'',
        "request_sha256": "sha2(seq, 256)",
        "idempotency_key": "concat('key-', $order)",
        "status": "'paid'",
        "refunded": "0",
        "preparing_until": "0",
        "created_at": "$at",
        "expires_at": "$at + 1800000000",
        "settled_at": "$at + 20000000",
        "checks": "1",
    },
    "payments": {
        "order_no": "$order",
        "transaction_key": "sha2(concat('trade', seq), 256)",
        "kind": "'alipay'",
        "environment": "'sandbox'",
        "account": f"'{APP_ID}/{SELLER_ID}'",
        "transaction_id": "$trade",
        "amount": "600",
        "currency": "'CNY'",
        "product": "'coins_500'",
        "quantity": "1",
        "payer": "concat('2088', lpad(seq % 100000, 12, '0'))",
        "paid_at": "$at + 19000000",
        "verified_at": "$at + 20000000",
        "verifier": "'key:0123456789abcdef'",
        "evidence_sha256": "sha2(concat('notice', seq), 256)",
    },
    "evidence": {
        "kind": "'alipay'",
        "environment": "'sandbox'",
        "sha256": "sha2(concat('notice', seq), 256)",
        "order_no": "$order",
        "source": "'callback'",
        "state": "'used'",
        "reason": "''",
        "raw": "repeat('out_trade_no=&', 80)",
        "created_at": "$at + 20000000",
    },
    "events": {
        "event_id": "concat('evt_', $order)",
        "order_no": "$order",
        "app": "'default'",
        "type": "'order.paid'",
        "cause": "''",
        "body": f"concat({_EVENT})",
        "created_at": "$at + 20000000",
    },
    "deliveries": {
        "event_id": "concat('evt_', $order)",
        "order_no": "$order",
        "endpoint": "'default/main'",
        "status": "'delivered'",
        "due_at": "$at + 20000000",
        "failures": "0",
        "created_at": "$at + 20000000",
        "delivered_at": "$at + 20100000",
    },
    "attempts": {
        "delivery_id": "seq",
        "at": "$at + 20100000",
        "ok": "1",
        "status": "204",
        "error": "''",
        "milliseconds": "20",
    },
    "timeline": {
        "order_no": "$order",
        "at": "$at + 10000000 * line",
        "what": "elt(line + 1, 'opened', 'paid', 'delivered')",
        "actor": "elt(line + 1, 'client', 'callback', 'relay')",
        "detail": 'concat(\'{"transaction_id": "\', $trade, \'", "amount": 600, "currency": "CNY"}\')',
    },
}
_TELLS = 3  # lines in each order's timeline


def seed(database_url: str, count: int, tables: Iterable[str] = tuple(_ROWS)) -> None:
    """Fill the empty ``tables`` of a migrated database with ``count`` orders that were paid and delivered.

    Their numbers, times and ids grow as those of real ones do; what is a digest in a real one is one here.
    """
    now = seam.now() // 1000
    with ThreadPoolExecutor(2) as pool:
        statements = [_insert(table, count, now) for table in tables]
        for done in [pool.submit(_run, database_url, statement) for statement in statements]:
            done.result()


def _run(database_url: str, statement: str) -> None:
    parts = urlsplit(database_url)
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.path[1:],
        autocommit=True,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(_SESSION)
        cursor.execute(statement)


def _insert(table: str, count: int, now: int) -> str:
    """Return the statement that fills a table; the last order is an hour older than ``now`` (milliseconds)."""
    lines = _TELLS if table == "timeline" else 1
    at = f"({now - 3600_000} - ({count} - seq) * {_MONTH // count})"
    meant = {
        "order": f"concat(lpad(lower(hex({at})), 12, '0'), '7', substr(md5(seq), 1, 19))",
        "trade": "concat('20260101220014', lpad(seq, 14, '0'))",
        "at": f"{at} * 1000",
    }
    columns = ", ".join(_ROWS[table])
    values = Template(", ".join(_ROWS[table].values())).substitute(meant)
    each = (
        f"SELECT (seq + {lines - 1}) DIV {lines} AS seq, (seq - 1) % {lines} AS line"  # noqa: S608
        f" FROM seq_1_to_{count * lines}"
    )
    return f"INSERT INTO {table} ({columns}) SELECT {values} FROM ({each}) AS each_line"  # noqa: S608 - all of it is ours
