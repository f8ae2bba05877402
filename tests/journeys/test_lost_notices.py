"""Lost notices: for an hour not one arrives; what was paid is found by asking, what was not is closed."""

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from itertools import count, pairwise
from statistics import median

import pytest
from sqlalchemy import Row, select, text

from payplat import seam
from payplat.models import ORDERS
from payplat.settings import CheckSettings, OrderSettings
from payplat.simulators.alipay.server import AlipaySimulator
from payplat.simulators.alipay.trades import TRADE_CLOSED, Trade
from tests.stage import Client

LAST_SECOND, LEAVES, NEVER_BEGINS = "pays in the last second", "leaves", "never begins"
# What the buyers do, in turn: pay so many seconds after ordering, or something else.
BUYERS = (8, 25, LEAVES, 40, 70, LAST_SECOND, 110, 200, NEVER_BEGINS, 500, 1100, LAST_SECOND) * 2
BETWEEN_ORDERS = 3600 / len(BUYERS)
# How many seconds late the worker comes at most; a real one looks every second.
POLL = 10
_WAITING = (
    "(SELECT next_check_at AS at, lease_token FROM orders"
    " UNION ALL SELECT due_at, lease_token FROM deliveries WHERE status = 'due') AS waiting"
)


class Turned(seam.World):
    """A world whose clock stands where it was turned to."""

    def __init__(self) -> None:
        self.at = super().now()

    def now(self) -> int:
        """That time."""
        return self.at


@pytest.fixture
def world(monkeypatch) -> Turned:
    """The turned world, before anybody has read a clock."""
    world = Turned()
    monkeypatch.setattr(seam, "world", world)
    return world


@pytest.fixture
async def alipay(their_keys, world) -> AlipaySimulator:
    """Alipay, by the turned clock."""
    simulator = AlipaySimulator(clock=_seconds, platform_key=their_keys[0])
    await simulator.start()
    return simulator


@pytest.fixture
def overrides() -> dict[str, str]:
    """The schedule and the lifetime that an installation has unless told otherwise."""
    usual = {"checks": CheckSettings(), "orders": OrderSettings()}
    return {
        f"PAYPLAT_{table}__{key}".upper(): str(value)
        for table, settings in usual.items()
        for key, value in settings
    }


class Hour:
    """Turns the clock from one thing that happens to the next, and lets the service do each time what is due."""

    def __init__(self, client: Client, world: Turned) -> None:
        self._client, self._stage, self._world = client, client.stage, world
        self._number = count()
        self._agenda: list[tuple[int, int, Callable[[], Awaitable[object]]]] = []

    def at(self, moment: int, happens: Callable[[], Awaitable[object]]) -> None:
        """Let something happen at that moment."""
        heapq.heappush(self._agenda, (moment, next(self._number), happens))

    async def buyer(self, does: int | str) -> None:
        """Order, and do what this buyer does."""
        created = (await self._client.create()).json
        if does is NEVER_BEGINS:
            return
        trade = self._stage.alipay.enter(created["payment"]["order_string"])
        if does is LAST_SECOND:
            self._pays(trade, int((trade.expires_at - 0.5) * seam.SECOND))
        elif does is not LEAVES:
            self._pays(trade, seam.now() + does * seam.SECOND)

    async def pass_by(self) -> None:
        """Live until nothing more will happen and nothing is left to ask or to tell."""
        while True:
            due = await self._select(f"min(at) FROM {_WAITING}")
            moments = [] if due is None else [due + POLL * seam.SECOND]
            moments += [moment for moment, *_ in self._agenda[:1]]
            if not moments:
                return
            self._world.at = max(self._world.at, min(moments))
            while self._agenda and self._agenda[0][0] <= seam.now():
                await heapq.heappop(self._agenda)[2]()
            await self._work()

    def _pays(self, trade: Trade, moment: int) -> None:
        self.at(moment, lambda: self._stage.alipay.pay(trade.out_trade_no))

    async def _work(self) -> None:
        for lane in self._stage.worker._lanes:
            if lane._name == "alipay":  # it polls by another clock
                lane.wake()
        busy = f"count(*) FROM {_WAITING} WHERE at <= {seam.now()} OR lease_token IS NOT NULL"
        while await self._select(busy):
            await asyncio.sleep(0.01)

    async def _select(self, what: str) -> int | None:
        statement = text(f"SELECT {what}")
        return await self._stage.platform.database.read(lambda c: c.scalar(statement))


@pytest.mark.gen_test(timeout=280)
async def test_an_hour_without_notices(client, stage, world, monkeypatch):
    """Each payment is found on schedule, by the first question after it, and delivered once; the rest is closed."""
    monkeypatch.setattr(stage.merchant, "_clock", _seconds)
    stage.alipay.faults.notification(drop=True, times=None)
    hour = Hour(client, world)
    for number, does in enumerate(BUYERS):
        moment = seam.now() + int(number * BETWEEN_ORDERS * seam.SECOND)
        hour.at(moment, lambda does=does: hour.buyer(does))
    await hour.pass_by()
    assert stage.alipay.notifications == []
    paid = {trade.out_trade_no for trade in stage.alipay.ledger.trades.values() if trade.paid_at}
    assert len(paid) == sum(does not in (LEAVES, NEVER_BEGINS) for does in BUYERS)
    assert stage.merchant.fulfilled == dict.fromkeys(paid, 1)
    assert await client.count("timeline", "what='paid' AND actor='reconcile'") == len(paid)
    assert await client.count("timeline", "what='closed'") == len(BUYERS) - len(paid)
    await assert_all_ended(stage, paid)
    late = sorted(await lateness(stage))
    assert len(late) == len(paid)
    assert median(late) <= 2 * 60
    assert late[-1] <= 15 * 60


async def orders(stage) -> Sequence[Row]:
    """All orders."""
    return (await stage.platform.database.read(lambda c: c.execute(select(ORDERS)))).all()


async def assert_all_ended(stage, paid: set[str]) -> None:
    """What is paid at Alipay is paid here and was never closed, what is not is closed on both sides."""
    for order in await orders(stage):
        trade = stage.alipay.trade(order.order_no)
        if order.order_no in paid:
            assert order.status == "paid"
        else:
            assert order.status == "closed"
            assert order.settled_at >= order.expires_at
            assert trade is None or trade.status == TRADE_CLOSED


async def lateness(stage) -> list[float]:
    """How long each payment was unknown, in seconds; checks that no question came later than the schedule says."""
    asked, late = defaultdict(list), []
    for question in stage.alipay.received:
        if question.method == "alipay.trade.query":
            asked[question.biz["out_trade_no"]].append(question.at)
    schedule = stage.settings.checks.backoff()
    for order in await orders(stage):
        moments = [order.created_at / seam.SECOND, *asked[order.order_no]]
        for number, (before, after) in enumerate(pairwise(moments), 1):
            assert after - before <= schedule.delay(number, chance=0) + POLL
        trade = stage.alipay.trade(order.order_no)
        if trade and trade.paid_at:
            assert moments[-2] < trade.paid_at <= moments[-1]
            late.append(order.settled_at / seam.SECOND - trade.paid_at)
    return late


def _seconds() -> float:
    return seam.now() / seam.SECOND
