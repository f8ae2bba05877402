"""The scene of the stories: who acts in them, what they can see, and how long they wait for it."""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from payplat.demo.client import RECEIPTS, Buyer, Game, Json, Phone, Refused, Stranger, Web
from payplat.demo.stage import BUNDLE_ID, PACKAGE, Stage
from payplat.simulators.merchant import Received

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds after which something that should have happened has not."""


class Broken(Exception):
    """A story took another course than it should."""


@dataclass
class Scene:
    """Who acts in a story, and what they can see."""

    stage: Stage
    game: Game
    buyer: Buyer
    iphone: Phone
    android: Phone
    stranger: Stranger

    @classmethod
    def of(cls, stage: Stage, web: Web) -> "Scene":
        """Put the actors on a stage."""
        iphone = Phone(web, "apple", stage.apple.url, {"bundle_id": BUNDLE_ID})
        android = Phone(web, "google", stage.google.url, {"package": PACKAGE, "test": True})
        buyer, stranger = Buyer(web, stage.alipay.url), Stranger(web, stage.url)
        return cls(stage, Game(web, stage.url), buyer, iphone, android, stranger)

    async def opens(self, method: str = "app") -> tuple[str, str]:
        """A player opens an order and the cashier for it; return its number and the cashier's address."""
        created = await self.game.create(channel="alipay", method=method, **_wanted())
        return created["order_no"], await self.buyer.open_cashier(created["payment"])

    async def buys(self, method: str = "app") -> str:
        """A player opens an order and pays it; return its number."""
        order_no, cashier = await self.opens(method)
        await self.buyer.press_pay(cashier)
        return order_no

    async def opens_on(self, phone: Phone) -> tuple[str, Json]:
        """A player opens an order at a store; return its number and what the game hands to the store's library."""
        created = await self.game.create(channel=phone.kind, **_wanted())
        return created["order_no"], created["payment"]

    async def buys_on(
        self, phone: Phone, *, notify: bool = False, **wishes: bool
    ) -> tuple[str, Json]:
        """A player opens an order at a store and buys; return its number and what the store gave the game."""
        order_no, payment = await self.opens_on(phone)
        return order_no, await phone.buy(payment, notify=notify, **wishes)

    async def submits(self, phone: Phone, order_no: str, receipt: Json) -> Json:
        """The game submits what the store gave it; return the answer."""
        name = RECEIPTS[phone.kind]
        return await self.game.verify(phone.kind, order_no, **{name: receipt[name]})

    async def refuses(self, phone: Phone, order_no: str, receipt: Json, code: str) -> None:
        """Make sure that what the game submits is refused with this ``code``."""
        try:
            await self.submits(phone, order_no, receipt)
        except Refused as refused:
            expect(refused.code == code, f"it was refused as {refused.code}, not {code}")
        else:
            expect(holds=False, otherwise=f"it was not refused as {code}")

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

    async def refunded_whole(self, order_no: str) -> None:
        """Wait until the merchant has taken the refund of all that an order cost."""
        await self.told(order_no, "refunded", to="refunded")
        attempts = await self.arrived(order_no, "order.refunded")
        await self.told(order_no, "delivered", event_id=attempts[-1].id)
        order = await self.game.order(order_no)
        expect(order["refunded"] == order["amount"], "not all of the money went back")

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


def _wanted() -> dict[str, str]:
    """Each order is another player's: Google sells nobody a second one before the first is consumed."""
    return {"product_id": "coins_500", "receiver": f"player-{secrets.token_hex(4)}"}


def _fits(line: Json, what: str, detail: Json) -> bool:
    known = {"actor": line["actor"], **line["detail"]}
    return line["what"] == what and all(known.get(name) == each for name, each in detail.items())


def _is_about(event: Json, order_no: str, kind: str) -> bool:
    return bool(event["type"] == kind and event["data"]["order_no"] == order_no)
