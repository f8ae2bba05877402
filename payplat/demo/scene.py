"""The scene of the stories: who acts in them, what they can see, and how long they wait for it."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from payplat.demo.client import Buyer, Game, Json, Phone, Stranger, Web
from payplat.demo.stage import BUNDLE_ID, Stage
from payplat.simulators.merchant import Received

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds after which something that should have happened has not."""
_WANTED = {"product_id": "coins_500", "receiver": "player-1"}


class Broken(Exception):
    """A story took another course than it should."""


@dataclass
class Scene:
    """Who acts in a story, and what they can see."""

    stage: Stage
    game: Game
    buyer: Buyer
    phone: Phone
    stranger: Stranger

    @classmethod
    def of(cls, stage: Stage, web: Web) -> "Scene":
        """Put the actors on a stage."""
        buyer, phone = Buyer(web, stage.alipay.url), Phone(web, stage.apple.url, BUNDLE_ID)
        return cls(stage, Game(web, stage.url), buyer, phone, Stranger(web, stage.url))

    async def opens(self, method: str = "app") -> tuple[str, str]:
        """A player opens an order and the cashier for it; return its number and the cashier's address."""
        created = await self.game.create(channel="alipay", method=method, **_WANTED)
        return created["order_no"], await self.buyer.open_cashier(created["payment"])

    async def buys(self, method: str = "app") -> str:
        """A player opens an order and pays it; return its number."""
        order_no, cashier = await self.opens(method)
        await self.buyer.press_pay(cashier)
        return order_no

    async def opens_on_phone(self) -> tuple[str, Json]:
        """A player opens an order at Apple; return its number and what the game hands to StoreKit."""
        created = await self.game.create(channel="apple", **_WANTED)
        return created["order_no"], created["payment"]

    async def buys_on_phone(self, *, notify: bool = False) -> tuple[str, Json]:
        """A player opens an order at Apple and buys; return its number and what StoreKit gave the game."""
        order_no, payment = await self.opens_on_phone()
        return order_no, await self.phone.buy(payment, notify=notify)

    async def submits(self, order_no: str, receipt: Json) -> Json:
        """The game submits what StoreKit gave it; return the answer."""
        signed = receipt["signed_transaction"]
        return await self.game.verify("apple", order_no, signed_transaction=signed)

    async def told(self, order_no: str, what: str, **detail: Any) -> Json:
        """Wait for a line in the order's timeline; return it."""

        async def look() -> Json | None:
            lines = (await self.game.order(order_no))["timeline"]
            return next((line for line in lines if _fits(line, what, detail)), None)

        return await until(look, f"the timeline never told of {what}")

    async def arrived(self, order_no: str, kind: str = "order.paid") -> list[Received]:
        """Wait until the merchant has taken an event of the order; return every attempt at it."""

        async def look() -> bool:
            events = self.stage.merchant.events.values()
            return any(_is_about(event, order_no, kind) for event in events)

        await until(look, f"the merchant never learned of {kind}")
        return self.attempts(order_no, kind)

    def attempts(self, order_no: str, kind: str = "order.paid") -> list[Received]:
        """Every attempt that reached the merchant."""
        received = self.stage.merchant.received
        return [each for each in received if _is_about(json.loads(each.body), order_no, kind)]

    async def delivered_once(self, order_no: str) -> None:
        """Wait for the goods and make sure that they were given once, for a signature that is right."""
        attempts = await self.arrived(order_no)
        await self.told(order_no, "delivered")
        expect(all(each.valid for each in attempts), "the merchant refused a signature")
        expect(self.stage.merchant.fulfilled[order_no] == 1, "the goods were not given once")

    async def stays_pending(self, order_no: str) -> None:
        """Make sure that the order is not paid and nobody was told that it is."""
        status = (await self.game.order(order_no))["status"]
        expect(status == "pending", f"the order is {status}, not pending")
        expect(not self.attempts(order_no), "the merchant was told of a payment")


async def until(look: Callable[[], Awaitable[T | None]], otherwise: str) -> T:
    """Look again and again until there is something to see, and return it; raise Broken when patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not (seen := await look()):
        expect(time.monotonic() < deadline, otherwise)
        await asyncio.sleep(0.05)
    return seen


def expect(holds: object, otherwise: str) -> None:
    """Raise Broken unless it holds."""
    if not holds:
        raise Broken(otherwise)


def _fits(line: Json, what: str, detail: Json) -> bool:
    known = {"actor": line["actor"], **line["detail"]}
    return line["what"] == what and all(known.get(name) == each for name, each in detail.items())


def _is_about(event: Json, order_no: str, kind: str) -> bool:
    return bool(event["type"] == kind and event["data"]["order_no"] == order_no)
