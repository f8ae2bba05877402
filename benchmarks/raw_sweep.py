"""The raw sweep: what a careful author writes by hand to ask about one due order after the other.

It claims an order, asks, and records question and next check in one transaction; it leaves the rows that payplat leaves.
"""

import json
import time
from collections.abc import Awaitable, Callable

import aiomysql

from benchmarks.raw_rows import connect
from payplat.seam import new_token

_SECOND = 1_000_000  # microseconds
_NEXT = (
    "SELECT order_no, checks FROM orders WHERE channel = 'alipay' AND status = 'pending' AND next_check_at <= %s"
    " ORDER BY next_check_at LIMIT 1"
)
_CLAIM = "UPDATE orders SET lease_token = %s, next_check_at = %s WHERE order_no = %s AND next_check_at <= %s"
_POSTPONE = (
    "UPDATE orders SET next_check_at = %s, checks = %s, checked_at = %s, waits = 0, lease_token = NULL"
    " WHERE order_no = %s AND lease_token = %s"
)
_ADD_LINE = "INSERT INTO timeline (order_no, at, what, actor, detail) VALUES (%s, %s, 'queried', 'reconcile', %s)"


async def sweep(database_url: str, ask: Callable[[str], Awaitable[str]]) -> None:
    """Ask about every order that is due; ``ask`` gets an order's number and returns what came of it."""
    connection = await connect(database_url)
    try:
        async with connection.cursor() as cursor:
            while await _check_next(connection, cursor, ask):
                pass
    finally:
        connection.close()


async def _check_next(
    connection: aiomysql.Connection,
    cursor: aiomysql.Cursor,
    ask: Callable[[str], Awaitable[str]],
) -> bool:
    """Ask about the order that has been due for longest; return whether there was one."""
    now, token = time.time_ns() // 1000, new_token()
    await cursor.execute(_NEXT, (now,))
    row = await cursor.fetchone()
    if row is None:
        return False
    order_no, checks = row
    if not await cursor.execute(_CLAIM, (token, now + 30 * _SECOND, order_no, now)):
        return True
    began = time.monotonic()
    outcome = await ask(order_no.decode())
    took = int((time.monotonic() - began) * 1000)
    now = time.time_ns() // 1000
    later = now + min(15 * 2**checks, 3600) * _SECOND
    await connection.begin()
    if not await cursor.execute(_POSTPONE, (later, checks + 1, now, order_no, token)):
        await connection.rollback()
        return True
    detail = json.dumps({"outcome": outcome, "milliseconds": took})
    await cursor.execute(_ADD_LINE, (order_no, now, detail))
    await connection.commit()
    return True
