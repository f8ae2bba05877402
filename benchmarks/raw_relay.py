"""The raw relays: what a careful author writes by hand to deliver one event after the other, and the client by itself.

With ``--database`` it claims one row, posts its event signed, records the result in one transaction, and takes the next;
it leaves the rows that payplat leaves. Without, it posts ``--count`` signed bodies, ``--at-once`` at a time.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import sys
import time
from pathlib import Path

import aiomysql
from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.httpclient import HTTPRequest

from benchmarks.raw_rows import connect
from payplat.seam import new_id, new_token

_LEASE = 30_000_000  # microseconds
_NEXT = (
    "SELECT d.id, d.event_id, d.order_no, e.body FROM deliveries d JOIN events e USING (event_id)"
    " WHERE d.endpoint = 'default/main' AND d.status = 'due' AND d.due_at <= %s ORDER BY d.due_at LIMIT 1"
)
_CLAIM = "UPDATE deliveries SET lease_token = %s, due_at = %s WHERE id = %s AND status = 'due' AND due_at <= %s"
_DONE = (
    "UPDATE deliveries SET status = 'delivered', delivered_at = %s, lease_token = NULL"
    " WHERE id = %s AND lease_token = %s"
)
_ADD_ATTEMPT = "INSERT INTO attempts (delivery_id, at, ok, status, error, milliseconds) VALUES (%s, %s, 1, %s, '', %s)"
_ADD_LINE = "INSERT INTO timeline (order_no, at, what, actor, detail) VALUES (%s, %s, 'delivered', 'relay', %s)"
_BODY = json.dumps({"type": "order.paid", "data": {"order_no": "0" * 32, "filler": "x" * 320}})


class Poster:
    """Posts signed events to one endpoint."""

    def __init__(self, url: str, secret: bytes, connections: int) -> None:
        self._url, self._secret = url, secret
        self._client = CurlAsyncHTTPClient(force_instance=True, max_clients=connections)

    async def post(self, event_id: str, body: bytes) -> int:
        """Post one event signed by Standard Webhooks and return the answer's status."""
        timestamp = str(int(time.time()))
        signed = f"{event_id}.{timestamp}.".encode() + body
        digest = hmac.new(self._secret, signed, hashlib.sha256).digest()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }
        request = HTTPRequest(
            self._url,
            method="POST",
            body=body,
            headers=headers,
            request_timeout=10,
            follow_redirects=False,
        )
        return (await self._client.fetch(request, raise_error=False)).code


async def one_by_one(poster: Poster, database_url: str) -> None:
    """Deliver what is due, one after the other, until the process is ended."""
    connection = await connect(database_url)
    async with connection.cursor() as cursor:
        while True:
            if not await _deliver_next(connection, cursor, poster):
                await asyncio.sleep(0.2)


async def _deliver_next(
    connection: aiomysql.Connection, cursor: aiomysql.Cursor, poster: Poster
) -> bool:
    """Deliver the longest due; return whether there was one."""
    now, token = time.time_ns() // 1000, new_token()
    await cursor.execute(_NEXT, (now,))
    row = await cursor.fetchone()
    if row is None:
        return False
    number, event_id, order_no, body = row
    if not await cursor.execute(_CLAIM, (token, now + _LEASE, number, now)):
        return True
    began = time.monotonic()
    status = await poster.post(event_id.decode(), body.encode())
    took = int((time.monotonic() - began) * 1000)
    if not 200 <= status < 300:
        return True
    now = time.time_ns() // 1000
    await connection.begin()
    if not await cursor.execute(_DONE, (now, number, token)):
        await connection.rollback()
        return True
    await cursor.execute(_ADD_ATTEMPT, (number, now, status, took))
    detail = json.dumps({"endpoint": "default/main", "event_id": event_id.decode()})
    await cursor.execute(_ADD_LINE, (order_no, now, detail))
    await connection.commit()
    return True


async def bare(poster: Poster, count: int, warm_up: int, at_once: int) -> None:
    """Warm up, say so, wait for a line, and post ``count`` bodies."""
    await _post_all(poster, warm_up, at_once)
    print("ready", flush=True)  # noqa: T201 - the other process reads it
    await asyncio.to_thread(sys.stdin.readline)
    await _post_all(poster, count, at_once)
    await asyncio.Event().wait()


async def _post_all(poster: Poster, count: int, at_once: int) -> None:
    numbers, body = iter(range(count)), _BODY.encode()

    async def post_next() -> None:
        for _ in numbers:
            await poster.post(f"evt_{new_id()}", body)

    await asyncio.gather(*(post_next() for _ in range(at_once)))


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--secret", type=Path, required=True)
    parser.add_argument("--database")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--warm-up", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=16)
    given = parser.parse_args()
    secret = base64.b64decode(given.secret.read_text().removeprefix("whsec_"))

    async def run() -> None:
        poster = Poster(given.url, secret, given.at_once)
        if given.database:
            await one_by_one(poster, given.database)
        else:
            await bare(poster, given.count, given.warm_up, given.at_once)

    asyncio.run(run())


if __name__ == "__main__":
    main()
