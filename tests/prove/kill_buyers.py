"""Buyers who come at a steady rate, whatever is killed: they pay at Alipay or Google, hesitate, look, or stay away."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from tornado.httpclient import HTTPClientError

from payplat.demo.client import Json, Refused
from payplat.simulators.alipay.courier import Attempt
from tests.galera.patience import Failed
from tests.prove.kill_scene import Scene

# Seconds between two buyers; before a refused one asks again; that a slow one thinks at most.
_INTERVAL, _PAUSE, _LONGEST_THOUGHT = 0.2, (0.3, 1.0), 6.0
# What a repeated request may hear while the one that was cut off still counts.
_BUSY = {"still_running"}


class Buyers:
    """Their books. By order number: ``opened`` holds what each order costs, ``paid`` when its buyer began to pay.

    ``heard`` is when payplat has first said that an order is paid, at the latest: to Alipay, or to the game.
    """

    def __init__(self, scene: Scene, seed: int) -> None:
        self._scene, self._chance = scene, random.Random(f"{seed}/buyers")
        self.opened: dict[str, int | None] = {}
        self.paid: dict[str, float] = {}
        self.heard: dict[str, float] = {}
        self.refusals = 0
        self._seen, self._unanswered = 0, list[Attempt]()

    @asynccontextmanager
    async def coming(self) -> AsyncIterator[None]:
        """Let them come until the block ends, then wait until all are through; raises what went wrong first."""
        listener = asyncio.create_task(self._listen())
        try:
            async with asyncio.TaskGroup() as purchases:
                stream = purchases.create_task(self._come(purchases))
                yield
                stream.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            listener.cancel()

    def listen(self) -> None:
        """Note what Alipay has heard since the last time."""
        told = self._scene.companies.alipay.notifications
        self._unanswered += told[self._seen :]
        self._seen, asked, self._unanswered = len(told), self._unanswered, []
        for attempt in asked:
            if attempt.accepted:
                self.heard.setdefault(attempt.out_trade_no, time.time())
            elif attempt.status is None and not attempt.error:
                self._unanswered.append(attempt)

    async def _listen(self) -> None:
        while True:
            self.listen()
            await asyncio.sleep(0.02)

    async def _come(self, purchases: asyncio.TaskGroup) -> None:
        ways = [self._in_app, self._in_app, self._in_app, self._by_code, self._at_google]
        ways += [self._slowly, self._anxiously, self._not_at_all]
        while True:
            key = str(UUID(int=self._chance.getrandbits(128)))
            purchases.create_task(self._chance.choice(ways)(key))
            await asyncio.sleep(_INTERVAL)

    async def _in_app(self, key: str, thought: float = 0) -> str:
        created = await self._create(key, channel="alipay")
        (order_string,) = created["payment"].values()
        trade = self._scene.companies.alipay.enter(order_string)
        await asyncio.sleep(thought)
        self.paid[created["order_no"]] = time.time()
        self._scene.companies.alipay.settle(trade)
        return created["order_no"]

    async def _by_code(self, key: str) -> None:
        created = await self._create(key, channel="alipay", method="qr")
        trade = self._scene.companies.alipay.enter(created["payment"]["qr_code"])
        self.paid[created["order_no"]] = time.time()
        self._scene.companies.alipay.settle(trade)

    async def _slowly(self, key: str) -> None:
        await self._in_app(key, self._chance.uniform(0, _LONGEST_THOUGHT))

    async def _anxiously(self, key: str) -> None:
        """Pay, and ask payplat about it before anybody else has told it."""
        number = await self._in_app(key)
        game = self._scene.game
        await self._insist(lambda: game.verify("alipay", number), number)
        await self._insist(lambda: game.order(number), number)

    async def _not_at_all(self, key: str) -> None:
        created = await self._create(key, channel="alipay")
        (order_string,) = created["payment"].values()
        self._scene.companies.alipay.enter(order_string)
        number = created["order_no"]
        await self._insist(lambda: self._scene.game.order(number), number)

    async def _at_google(self, key: str) -> None:
        created = await self._create(key, channel="google")
        number = created["order_no"]
        self.paid[number] = time.time()
        receipt = await self._scene.phone.buy(created["payment"])
        token = receipt["purchase_token"]
        verify = self._scene.game.verify
        await self._insist(lambda: verify("google", number, purchase_token=token), number)

    async def _create(self, key: str, **wanted: str) -> Json:
        fields = {"product_id": "coins_500", "receiver": f"player-{key}", **wanted}
        created = await self._insist(lambda: self._scene.game.create(key, **fields))
        self.opened[created["order_no"]] = created["amount"]
        return created

    async def _insist(self, ask: Callable[[], Awaitable[Json]], number: str = "") -> Json:
        """Ask until there is an answer; raises Failed when it is called our own mistake."""
        while True:
            try:
                told = await ask()
            except Refused as refused:
                if refused.status < 500 and refused.code not in _BUSY:
                    raise Failed(
                        f"a buyer of {number or 'an order'} was refused: {refused}"
                    ) from refused
            except (HTTPClientError, OSError):
                pass
            else:
                if number and told["status"] == "paid":
                    self.heard.setdefault(number, time.time())
                return told
            self.refusals += 1
            await asyncio.sleep(self._chance.uniform(*_PAUSE))
