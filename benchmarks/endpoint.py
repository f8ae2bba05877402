"""A merchant's endpoint that costs next to nothing: it answers 204 to whatever is posted, over keep-alive connections.

A process of its own. ``GET /n`` tells, as JSON, how many deliveries came, how many different ones, and the seconds from
the first of the last ``n`` to the last.
"""

import asyncio
import json
import time
from typing import ClassVar

_ACKNOWLEDGED = b"HTTP/1.1 204 No Content\r\n\r\n"


class Endpoint(asyncio.Protocol):
    """One connection; all share what was received."""

    received: ClassVar[dict[bytes, None]] = {}
    times: ClassVar[list[float]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        self._transport, self._unread = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._unread += data
        while b"\r\n\r\n" in self._unread:
            head, _, rest = self._unread.partition(b"\r\n\r\n")
            headers = head.lower()
            length = int(_value(headers, b"content-length") or 0)
            if len(rest) < length:
                return
            self._unread = rest[length:]
            self._answer(head, _value(headers, b"webhook-id"))

    def _answer(self, head: bytes, event_id: bytes) -> None:
        if not isinstance(self._transport, asyncio.Transport):
            return
        if head.startswith(b"GET"):
            self._transport.write(_report(int(head.split()[1][1:])))
            return
        Endpoint.received[event_id] = None
        Endpoint.times.append(time.monotonic())
        self._transport.write(_ACKNOWLEDGED)


def _value(headers: bytes, name: bytes) -> bytes:
    return headers.partition(b"\r\n%b:" % name)[2].partition(b"\r\n")[0].strip()


def _report(last: int) -> bytes:
    times = Endpoint.times
    told = {"count": len(times), "different": len(Endpoint.received)}
    seconds = times[-1] - times[-last] if len(times) >= last > 0 else 0
    body = json.dumps({**told, "seconds": seconds}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def serve() -> None:
    """Listen on a free port and print it, until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Endpoint, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - who started it reads it
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
