"""Buyers who come at a steady rate, whatever happens, and pay at Alipay."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from tornado.httpclient import HTTPClientError

from payplat.demo.client import Game, Json, Refused
from payplat.simulators.alipay.server import AlipaySimulator
from payplat.simulators.merchant import Merchant
from tests.galera.patience import Failed, until

# Seconds between two buyers; before a refused one asks again; for which every fourth thinks at most before paying, so
# that some pay whatever has become of the database since they came.
_INTERVAL = 0.1
_PAUSE = (1.0, 3.0)
_LONGEST_THOUGHT = 6.0


class Buyers:
    """``began`` holds when each order was first asked for, by its number; ``errors`` what the buyers met."""

    def __init__(self, game: Game, alipay: AlipaySimulator, merchant: Merchant) -> None:
        self._game, self._alipay, self._merchant = game, alipay, merchant
        self.began: dict[str, float] = {}
        self.errors: Counter[str] = Counter()

    @asynccontextmanager
    async def coming(self) -> AsyncIterator[None]:
        """Let them come until the block ends, then wait until everyone has paid; raises what went wrong first."""
        try:
            async with asyncio.TaskGroup() as purchases:
                stream = purchases.create_task(self._come(purchases))
                yield
                stream.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def served(self, since: float) -> None:
        """Wait until somebody who came after ``since`` has got the goods."""

        def is_served() -> bool:
            return any(self.began.get(number, 0) >= since for number in self._merchant.fulfilled)

        await until("a purchase goes through", is_served)

    @property
    def longest_gap(self) -> float:
        """The longest time in which nobody got goods, in seconds."""
        first: dict[str, float] = {}
        for received in self._merchant.received:
            first.setdefault(received.id, received.at)
        return max(b - a for a, b in itertools.pairwise(sorted(first.values())))

    async def _come(self, purchases: asyncio.TaskGroup) -> None:
        for number in itertools.count():
            purchases.create_task(self._buy(is_slow=number % 4 == 0))
            await asyncio.sleep(_INTERVAL)

    async def _buy(self, *, is_slow: bool) -> None:
        began = time.time()
        created = await self._create(uuid4().hex)
        self.began[created["order_no"]] = began
        (order_string,) = created["payment"].values()
        trade = self._alipay.enter(order_string)
        if is_slow:
            await asyncio.sleep(random.uniform(0, _LONGEST_THOUGHT))
        self._alipay.settle(trade)

    async def _create(self, key: str) -> Json:
        """Ask for an order, again and again with the same key; raises Failed when it is called our own mistake."""
        wanted = {"channel": "alipay", "product_id": "coins_500", "receiver": f"player-{key}"}
        while True:
            try:
                return await self._game.create(key, **wanted)
            except Refused as refused:
                if refused.status < 500:
                    raise Failed(f"a buyer was refused: {refused}") from refused
                self.errors[f"create_order: {refused.status} {refused.code}"] += 1
            except (HTTPClientError, OSError) as error:
                self.errors[f"create_order: {type(error).__name__}"] += 1
            await asyncio.sleep(random.uniform(*_PAUSE))
