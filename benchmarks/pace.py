"""Requests at a given rate, whatever the answers take: who waits for a slow answer measures that wait too."""

import asyncio
import time
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple


class Answer(NamedTuple):
    """What came back, and how many seconds after the request should have gone out."""

    status: int
    body: bytes
    seconds: float


def request(path: str, kind: str, body: bytes, more: str = "") -> bytes:
    """Return a POST of ``body``, which is of the media type ``kind``; ``more`` are further header lines."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Pace:
    """A line of connections to ``port`` that take the requests in turn, ``rate`` a second, for at most ``seconds``."""

    def __init__(self, port: int, requests: Iterator[bytes], rate: float, seconds: float) -> None:
        self._port, self._requests, self._rate, self._seconds = port, requests, rate, seconds
        self._turns = count()
        self.answers: list[Answer] = []

    async def run(self, connections: int) -> list[Answer]:
        """Send until the requests or the time are used up; return the answers."""
        self._began = time.perf_counter()
        await asyncio.gather(*(self._connection() for _ in range(connections)))
        return self.answers

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while (due := self._began + next(self._turns) / self._rate) < self._began + self._seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            wanted = next(self._requests, None)
            if wanted is None or time.perf_counter() > self._began + self._seconds:
                break
            writer.write(wanted)
            status, body = await read_answer(reader)
            self.answers.append(Answer(status, body, time.perf_counter() - due))
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read an HTTP answer that states its length; return its status and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)
