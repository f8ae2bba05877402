"""The stories: each shows that one thing which can go wrong does no harm.

A story acts as the people of a purchase do, over HTTP and by what the simulators let one turn. Its docstring is the
sentence that is printed, in English and in Chinese. A story that does not come true raises Broken.
"""

import asyncio
import inspect
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from payplat.demo.client import Buyer, Game, Json, Stranger, Web
from payplat.demo.stage import Stage
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
    stranger: Stranger

    @classmethod
    def of(cls, stage: Stage, web: Web) -> "Scene":
        """Put the actors on a stage."""
        buyer = Buyer(web, stage.alipay.url)
        return cls(stage, Game(web, stage.url), buyer, Stranger(web, stage.url))

    async def opens(self, method: str = "app") -> tuple[str, str]:
        """A player opens an order and the cashier for it; return its number and the cashier's address."""
        fields = {"channel": "alipay", "product_id": "coins_500", "receiver": "player-1"}
        created = await self.game.create(**fields, method=method)
        return created["order_no"], await self.buyer.open_cashier(created["payment"])

    async def buys(self, method: str = "app") -> str:
        """A player opens an order and pays it; return its number."""
        order_no, cashier = await self.opens(method)
        await self.buyer.press_pay(cashier)
        return order_no

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


Play = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Story:
    """Something to be shown; ``alone`` when others would be disturbed by it."""

    play: Play
    alone: bool = False

    def sentence(self, language: str) -> str:
        """Return what the story shows, in ``en`` or ``zh``."""
        paragraphs = (inspect.getdoc(self.play) or self.play.__name__).split("\n\n")
        return paragraphs[-1 if language == "zh" else 0]


STORIES: list[Story] = []


def story(play: Play) -> Play:
    """Add a story to those that are played."""
    STORIES.append(Story(play))
    return play


def story_alone(play: Play) -> Play:
    """Add a story during which no other is played."""
    STORIES.append(Story(play, alone=True))
    return play


@story
async def paid_by_notification(scene: Scene) -> None:
    """Alipay notifies us, and the game's server, which checks our signature, gives the goods.

    支付宝通知我们，游戏服务器核对我们的签名后发货。
    """
    order_no = await scene.buys()
    await scene.told(order_no, "paid", actor="callback")
    await scene.delivered_once(order_no)


@story
async def paid_by_page_wap_and_qr(scene: Scene) -> None:
    """Desktop page, mobile page and QR code pay just as well.

    电脑网页、手机网页、扫码三种方式同样完成支付。
    """
    orders = await asyncio.gather(*(scene.buys(method) for method in ("page", "wap", "qr")))
    await asyncio.gather(*(scene.delivered_once(order_no) for order_no in orders))


@story
async def verified_by_the_client(scene: Scene) -> None:
    """No notification yet: the client asks, we ask Alipay, and the order is paid.

    通知未到：客户端主动查询，我们向支付宝核实，订单完成。
    """
    order_no, cashier = await scene.opens()
    scene.stage.alipay.faults.notification(out_trade_no=order_no, hold=True)
    await scene.buyer.press_pay(cashier)
    verified = await scene.game.verify("alipay", order_no)
    expect(verified["status"] == "paid", "the answer did not say that it is paid")
    await scene.told(order_no, "paid", actor="verify")
    await scene.delivered_once(order_no)


@story
async def lost_notification_found(scene: Scene) -> None:
    """A lost notification is found by asking Alipay on a schedule.

    通知丢失：定时向支付宝查询，把掉单补回来。
    """
    order_no, cashier = await scene.opens()
    scene.stage.alipay.faults.notification(out_trade_no=order_no, drop=True)
    await scene.buyer.press_pay(cashier)
    await scene.told(order_no, "paid", actor="reconcile")
    await scene.delivered_once(order_no)


@story
async def notified_five_times(scene: Scene) -> None:
    """Notified five times at the same moment, delivered once.

    同一时刻收到五次通知，只发货一次。
    """
    order_no, cashier = await scene.opens()
    scene.stage.alipay.faults.notification(out_trade_no=order_no, copies=5, parallel=True)
    await scene.buyer.press_pay(cashier)

    async def five_answers() -> bool:
        sent = (each for each in scene.stage.alipay.notifications if each.out_trade_no == order_no)
        return sum(each.answer == b"success" for each in sent) == 5

    await until(five_answers, "not all five notifications were answered with success")
    await scene.delivered_once(order_no)
    expect(len(scene.attempts(order_no)) == 1, "the merchant was told more than once")


@story
async def forged_notification_refused(scene: Scene) -> None:
    """Forged notifications (a stranger's key, changed after signing, unsigned) are refused.

    伪造的通知（他人密钥、签名后篡改、没有签名）一律拒绝。
    """
    order_no, _ = await scene.opens()
    body = scene.stage.alipay.notification_body
    paid = {"trade_status": "TRADE_SUCCESS"}
    for forged in (
        body(order_no, sign_with="wrong", **paid),
        body(order_no, tamper=paid),
        body(order_no, signature="none", **paid),
    ):
        expect(await scene.stranger.notify(forged) == "fail", "a forgery was accepted")
    await scene.stays_pending(order_no)


@story
async def wrong_amount_quarantined(scene: Scene) -> None:
    """An amount that is one fen short is put aside with its evidence, though Alipay signed it.

    金额少一分：即使签名属实也不入账，证据留存待查。
    """
    order_no, _ = await scene.opens()
    short = {"trade_status": "TRADE_SUCCESS", "amount_off": -1}
    body = scene.stage.alipay.notification_body(order_no, **short)
    expect(await scene.stranger.notify(body) == "fail", "a wrong amount was accepted")
    kept = await scene.told(order_no, "quarantined", field="amount")
    expect(bool(kept["detail"].get("evidence")), "no evidence was kept")
    await scene.stays_pending(order_no)


@story
async def partly_then_wholly_refunded(scene: Scene) -> None:
    """Money goes back, in part and then in whole: the game's server learns of each refund.

    先部分退款、再全额退款：每一笔都告知游戏服务器。
    """
    order_no = await scene.buys()
    await scene.delivered_once(order_no)
    await scene.stage.alipay.refund(order_no, 200, "refund-1")
    await scene.arrived(order_no, "order.refunded")
    partly = await scene.game.order(order_no)
    expect((partly["status"], partly["refunded"]) == ("paid", 200), "2.00 of 6.00 went back")
    await scene.stage.alipay.refund(order_no, 400, "refund-2")
    await scene.told(order_no, "refunded", to="refunded")

    async def both() -> bool:
        return len({each.id for each in scene.attempts(order_no, "order.refunded")}) == 2

    await until(both, "the merchant did not learn of both refunds")


@story
async def paid_too_late(scene: Scene) -> None:
    """Money that arrives after its order was closed is delivered all the same.

    订单关闭后才到账的钱，仍按约定发货。
    """
    order_no, _ = await scene.opens()
    await scene.stage.alipay.expire(order_no)
    closed = await scene.game.verify("alipay", order_no)
    expect(closed["status"] == "closed", "the order was not closed")
    await scene.stage.alipay.pay(order_no, late=True)
    await scene.told(order_no, "paid_late")
    await scene.delivered_once(order_no)


@story_alone
async def merchant_down_then_delivered(scene: Scene) -> None:
    """The game's server is down, then fails twice: told again, with one event id, until it has the goods.

    游戏服务器先停机、再出错两次：用同一事件编号反复通知，直到发货。
    """
    merchant = scene.stage.merchant
    await merchant.go_down()
    order_no = await scene.buys()
    await scene.told(order_no, "delivery_attempt", ok=False)
    merchant.next("500", "reset")
    await merchant.come_back()
    await scene.delivered_once(order_no)
    attempts = scene.attempts(order_no)
    expect(len(attempts) == 3, f"{len(attempts)} attempts reached the merchant, not 3")
    expect(len({each.id for each in attempts}) == 1, "the event id changed between attempts")


async def until(look: Callable[[], Awaitable[T]], otherwise: str) -> T:
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
    return event["type"] == kind and event["data"]["order_no"] == order_no
