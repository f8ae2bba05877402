"""The load: posts notices over keep-alive connections in a closed loop, each waiting for its answer.

A process of its own, so that its processor time is nobody else's. It warms up, says ``ready``, waits for a line on
standard input, posts the rest, and prints what it saw as JSON.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks.fixed import PATH

_HEAD = (
    f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
)


class Connection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.latencies: list[float] = []
        self.failures = 0

    async def post(self, requests: Iterator[bytes]) -> None:
        """Post one request after the other until there are none left."""
        for request in requests:
            began = time.perf_counter()
            self._writer.write(request)
            succeeded = await self._succeeds()
            self.latencies.append(time.perf_counter() - began)
            self.failures += not succeeded

    async def _succeeds(self) -> bool:
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        return head.startswith(b"HTTP/1.1 200 ") and body == b"success"


async def run(port: int, requests: Iterator[bytes], connections: int, warm_up: int) -> None:
    """Warm up, wait for the word, post everything, and print the result."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    clients = [Connection(*streams) for streams in opened]
    await _post(clients, islice(requests, warm_up))
    for client in clients:
        client.latencies.clear()
    print("ready", flush=True)  # noqa: T201 - the other process reads it
    sys.stdin.readline()
    began = time.perf_counter()
    await _post(clients, requests)
    seconds = time.perf_counter() - began
    latencies = sorted(latency for client in clients for latency in client.latencies)
    told = {
        "seconds": seconds,
        "requests": len(latencies),
        "failures": sum(client.failures for client in clients),
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
    }
    print(json.dumps(told), flush=True)  # noqa: T201 - the other process reads it
    sys.stdin.read()  # whoever measures us may still want to look


async def _post(clients: list[Connection], requests: Iterator[bytes]) -> None:
    """Share the requests among all connections; whoever is free takes the next one."""
    await asyncio.gather(*(client.post(requests) for client in clients))


def main() -> None:
    """Read the arguments; the file holds one body a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--warm-up", type=int, default=0)
    given = parser.parse_args()
    bodies = given.bodies.read_bytes().splitlines()
    requests = [(_HEAD % len(body)).encode() + body for body in bodies]
    asyncio.run(run(given.port, iter(requests), given.connections, given.warm_up))


if __name__ == "__main__":
    main()
