"""Customers: they open orders, pay, ask, lose patience, click twice, and some of them are thieves."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

from tests.prove.alipay import Alipay, Trade
from tests.prove.faults import Faults
from tests.prove.judge import Judge
from tests.prove.wire import Call, NoReply, Reply

# What one of each costs, in fen; two versions of the configuration may differ.
PRICES = {"coins_500": {600, 650}, "season_pass": {6800}}
_METHODS = ("app", "app", "page", "wap", "qr")
_FORGERIES = ("unsigned", "stranger", "amount", "app", "seller", "cheap", "state")


class Customers:
    """Everybody who buys; ``call`` reaches the service. Each customer's whims come from its own number."""

    def __init__(
        self,
        seed: str,
        faults: Faults,
        alipay: Alipay,
        judge: Judge,
        call: Callable[[Call], Awaitable[Reply]],
    ) -> None:
        self._seed, self._faults, self._alipay, self._judge = seed, faults, alipay, judge
        self._call = call

    async def buy(self, number: int) -> None:
        """Live through one purchase."""
        whim = random.Random(f"{self._seed}/customer/{number}")
        wanted = {
            "channel": "alipay",
            "product_id": whim.choice(tuple(PRICES)),
            "receiver": f"player-{number}",
            "quantity": whim.randint(1, 3),
            "method": whim.choice(_METHODS),
        }
        order = await self._open(wanted, whim, f"key-{number}" if whim.random() < 0.8 else None)
        if order is None or self._faults.strikes("order abandoned"):
            return
        await asyncio.sleep(whim.expovariate(1 / 6))
        trade = self._alipay.enter(order["payment"])
        self._check_price(wanted, trade)
        if self._faults.strikes("notice forged"):
            await self._forge(trade, whim)
        if self._faults.strikes("paid at the last moment"):
            await asyncio.sleep(self._alipay.left(trade) - whim.uniform(0.1, 3))
        else:
            await asyncio.sleep(whim.expovariate(1 / 6))
        if self._alipay.pay(trade):
            await self._after_paying(trade, whim)

    async def _after_paying(self, trade: Trade, whim: random.Random) -> None:
        faults, alipay = self._faults, self._alipay
        if faults.strikes("refunded before the notice"):
            alipay.give_back(trade, trade.total, "at-once")
        if faults.strikes("order verified"):
            await asyncio.sleep(whim.uniform(0, 10))
            await self._ask("POST", "/v1/verify/alipay", {"order_no": trade.order_no})
        if whim.random() < 0.3:
            await self._ask("GET", f"/v1/orders/{trade.order_no}")
        # What a closed order's policy makes of two payments and a refund is a person's affair.
        is_plain = not (
            trade.is_late or trade.is_silent or faults.rates["clock put wrong by hours"]
        )
        if is_plain and not trade.refunds and faults.strikes("paid twice"):
            trade.is_honest = True
            alipay.pay_again(trade)
            return
        await asyncio.sleep(whim.expovariate(1 / 20))
        if faults.strikes("refunded in part"):
            alipay.give_back(trade, trade.total // 3, "part")
            await asyncio.sleep(whim.expovariate(1 / 10))
        if faults.strikes("refunded in whole") and trade.refunded < trade.total:
            alipay.give_back(trade, trade.total - trade.refunded, "rest")

    async def _open(
        self, wanted: dict[str, Any], whim: random.Random, key: str | None
    ) -> dict[str, Any] | None:
        """Open an order, as often as it takes; every answer to one key is the same."""
        known: dict[str, Any] | None = None
        again = 2 if self._faults.strikes("create repeated") else 1
        for _ in range(12):
            times = 2 if key and self._faults.strikes("create repeated at once") else 1
            replies = await asyncio.gather(*(self._create(wanted, key) for _ in range(times)))
            for reply in replies:
                if reply is None or reply.status != 201:
                    continue
                if key and known and _telling(known) != _telling(reply.json):
                    self._judge.find("double", known["order_no"], "one key, two orders")
                known = reply.json
                again -= 1
            if any(
                reply is not None and reply.json.get("code") == "order_closed" for reply in replies
            ):
                return None
            if known and again <= 0:
                break
            await asyncio.sleep(whim.uniform(0.2, 5))
        if known and key and self._faults.strikes("key used for another order"):
            await self._misuse(wanted, key)
        return known

    async def _create(self, wanted: dict[str, Any], key: str | None) -> Reply | None:
        headers = {"Idempotency-Key": key} if key else {}
        call = Call("POST", "/v1/create_order/", json.dumps(wanted).encode(), headers)
        return await self._try(call, {201, 409, 503})

    async def _misuse(self, wanted: dict[str, Any], key: str) -> None:
        body = json.dumps({**wanted, "quantity": wanted["quantity"] + 1}).encode()
        call = Call("POST", "/v1/create_order/", body, {"Idempotency-Key": key})
        await self._try(call, {422, 503})

    async def _ask(self, method: str, target: str, content: Any = None) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        await self._try(Call(method, target, body), {200, 503})

    async def _try(self, call: Call, expected: set[int]) -> Reply | None:
        try:
            reply = await self._call(call)
        except NoReply:
            return None
        if reply.status not in expected:
            said = f"{call.method} {call.target} answered {reply.status} {reply.body[:300]!r}"
            self._judge.find("unexplained", "", said)
        return reply

    def _check_price(self, wanted: dict[str, Any], trade: Trade) -> None:
        prices = {price * wanted["quantity"] for price in PRICES[wanted["product_id"]]}
        if trade.total not in prices:
            self._judge.find("unexplained", trade.order_no, f"costs {trade.total}")

    async def _forge(self, trade: Trade, whim: random.Random) -> None:
        """Claim a payment that never was, in one of the ways of forgers."""
        way = whim.choice(_FORGERIES)
        body = self._forged(trade, way)
        reply = await self._try(Call("POST", trade.notify, body), {200, 503})
        if reply is not None and reply.body == b"success":
            self._judge.find("early", trade.order_no, f"a forged notice was believed: {way}")

    def _forged(self, trade: Trade, way: str) -> bytes:
        signed, sample = self._alipay.signed, self._alipay.sample
        told = {
            "app": {"app_id": "2021000000000099"},
            "seller": {"seller_id": "2088000000000099"},
            "cheap": {"total_amount": "0.01", "trade_no": f"{trade.number}1"},
            "state": {"trade_status": "TRADE_PENDING"},
        }
        if way in told and way != "state":
            return signed(sample(trade, **told[way]))  # authentic, and about something else
        if way == "stranger":
            return signed(sample(trade), "stranger")
        honest = signed(sample(trade, **told["state"]) if way == "state" else sample(trade))
        if way == "unsigned":
            return honest.split(b"&sign=")[0]
        if way == "state":
            return honest.replace(b"TRADE_PENDING", b"TRADE_SUCCESS")
        return honest.replace(b"total_amount=", b"total_amount=9")


def _telling(order: dict[str, Any]) -> tuple[Any, Any]:
    return order["order_no"], order["payment"]
