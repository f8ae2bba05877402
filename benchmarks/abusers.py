"""The abusers: one floods the service with forged notices, others open sockets and send next to nothing.

A process of their own, so that what they cost burdens no measurement. It prints as JSON what they were told.
"""

import argparse
import asyncio
import json
from collections import Counter
from contextlib import suppress
from itertools import cycle
from pathlib import Path

from benchmarks.fixed import PATH
from benchmarks.pace import Pace, request

FORM = "application/x-www-form-urlencoded; charset=utf-8"
_HEAD = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
# Half of them never end their headers, half never their body.
_BEGINNINGS = (f"{_HEAD}X: ", f"{_HEAD}Content-Length: 60000\r\n\r\n")


async def abuse(given: argparse.Namespace) -> dict[str, object]:
    """Forge and dawdle for so many seconds; return how often which status came, and how many dawdlers were cut."""
    bodies = given.bodies.read_bytes().splitlines()
    forged = cycle([request(PATH, FORM, body) for body in bodies])
    dawdlers = Dawdlers(given.port)
    tasks = [
        asyncio.create_task(dawdlers.dawdle(_BEGINNINGS[number % 2]))
        for number in range(given.slow)
    ]
    answers = await Pace(given.port, forged, given.rate, given.seconds).run(given.connections)
    for task in tasks:
        task.cancel()
    statuses = Counter(answer.status for answer in answers)
    return {"answers": dict(statuses), "cut": dawdlers.cut}


class Dawdlers:
    """Sockets that send one byte a second; ``cut`` counts those that the service had enough of."""

    def __init__(self, port: int) -> None:
        self._port, self.cut = port, 0

    async def dawdle(self, beginning: str) -> None:
        """Keep one such socket open, and open another whenever it is cut."""
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.write(beginning.encode())
                dripping = asyncio.create_task(_drip(writer))
                try:
                    await reader.read()
                finally:
                    dripping.cancel()
                    writer.close()
            self.cut += 1
            await asyncio.sleep(1)


async def _drip(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while True:
            await asyncio.sleep(1)
            writer.write(b"x")
            await writer.drain()


def main() -> None:
    """Read the arguments; the file holds one forged body a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--rate", type=float, required=True, help="forged notices a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=64, help="those that forge")
    parser.add_argument("--slow", type=int, default=500, help="sockets that dawdle")
    told = asyncio.run(abuse(parser.parse_args()))
    print(json.dumps(told), flush=True)  # noqa: T201 - the other process reads it


if __name__ == "__main__":
    main()
