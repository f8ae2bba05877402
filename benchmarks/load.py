"""The load: sends requests over keep-alive connections and sees whether each answer is as it must be.

A process of its own, so that its processor time is nobody else's. It warms up, says ``ready``, waits for a line on
standard input, sends the rest, and prints what it saw as JSON. Without a rate each connection waits for its answer before
it sends the next request: a closed loop.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from benchmarks.pace import Answer, Pace, read_answer

# Between two requests in a file of them; no request holds it.
SEPARATOR = b"\0"
_LONGEST = 3600.0  # seconds; the requests are used up before


@dataclass
class Seen:
    """What came back: latencies in seconds, and how many answers were others than they must be."""

    status: int
    body: re.Pattern[bytes]
    latencies: list[float] = field(default_factory=list)
    failures: int = 0

    def note(self, answer: Answer) -> None:
        """Take an answer in."""
        self.latencies.append(answer.seconds)
        fits = answer.status == self.status and self.body.fullmatch(answer.body)
        self.failures += not fits

    def told(self, seconds: float) -> dict[str, float]:
        """Return the figures of a load that took so long."""
        ordered = sorted(self.latencies)
        return {
            "seconds": seconds,
            "requests": len(ordered),
            "failures": self.failures,
            "p50": ordered[len(ordered) // 2],
            "p99": ordered[len(ordered) * 99 // 100],
        }


class Connection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, requests: Iterator[bytes], seen: Seen) -> None:
        """Send one request after the other until there are none left."""
        for request in requests:
            began = time.perf_counter()
            self._writer.write(request)
            status, body = await read_answer(self._reader)
            seen.note(Answer(status, body, time.perf_counter() - began))


async def run(given: argparse.Namespace) -> None:
    """Warm up, wait for the word, send everything, and print the result."""
    requests = iter(given.requests.read_bytes().split(SEPARATOR))
    opened = [
        await asyncio.open_connection("127.0.0.1", given.port) for _ in range(given.connections)
    ]
    clients = [Connection(*streams) for streams in opened]
    warming, seen = (Seen(given.status, re.compile(given.body.encode(), re.S)) for _ in range(2))
    await _share(clients, islice(requests, given.warm_up), warming)
    print("ready", flush=True)  # noqa: T201 - the other process reads it
    sys.stdin.readline()
    began = time.perf_counter()
    if given.rate:
        pace = Pace(given.port, requests, given.rate, _LONGEST)
        for answer in await pace.run(given.connections):
            seen.note(answer)
    else:
        await _share(clients, requests, seen)
    told = seen.told(time.perf_counter() - began)
    told["failures"] += warming.failures
    print(json.dumps(told), flush=True)  # noqa: T201 - the other process reads it
    sys.stdin.read()  # whoever measures us may still want to look


async def _share(clients: list[Connection], requests: Iterator[bytes], seen: Seen) -> None:
    """Share the requests among all connections; whoever is free takes the next one."""
    await asyncio.gather(*(client.send(requests, seen) for client in clients))


def main() -> None:
    """Read the arguments; the file holds whole HTTP requests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path)
    parser.add_argument("--status", type=int, default=200, help="of every answer")
    parser.add_argument("--body", default=".*", help="a pattern that every answer's body fits")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--warm-up", type=int, default=0)
    parser.add_argument("--rate", type=float, help="requests a second, whatever the answers take")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
