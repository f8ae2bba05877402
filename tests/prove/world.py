"""What the simulated processes see of the world: their clock, their ids, their crash points, their HTTP client."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from payplat import seam
from tests.prove.loop import RUNNER, VirtualLoop

# When the simulated world begins: microseconds since 1970, UTC.
EPOCH = 1_800_000_000 * 1_000_000


class SimulatedWorld(seam.World):
    """Time is the loop's, put off by each process's own error; chance comes from the seed.

    ``reached`` is told of every crash point that a process passes; ``client`` makes what calls go through.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        seed: str,
        reached: Callable[[Any, str], Awaitable[None]],
        client: Callable[[], Any],
    ) -> None:
        self._loop, self._reached, self._client = loop, reached, client
        self._chance = random.Random(seed)

    def now(self) -> int:
        """Return what the running process's clock shows."""
        process: Any = RUNNER.get()
        return self.true_time() + (process.clock_error if process else 0)

    def true_time(self) -> int:
        """Return the time: microseconds since 1970, UTC."""
        return EPOCH + int(self._loop.time() * seam.SECOND)

    def random_bytes(self, count: int) -> bytes:
        """Return bytes from the seed."""
        return self._chance.randbytes(count)

    def uniform(self) -> float:
        """Return a number in [0, 1) from the seed."""
        return self._chance.random()

    async def sleep(self, seconds: float) -> None:
        """Sleep that many virtual seconds."""
        await asyncio.sleep(seconds)

    async def reach(self, point: str) -> None:
        """Pass a crash point, or not."""
        process = RUNNER.get()
        if process is not None:
            await self._reached(process, point)

    def http_client(self, make: Callable[[], Any]) -> Any:
        """Return the simulated network's client."""
        return self._client()
