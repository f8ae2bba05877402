"""The stories of Alipay: notifications that are lost, repeated, forged or wrong, refunds, and money that comes late."""

import asyncio

from payplat.demo.scene import Scene, expect, until
from payplat.demo.story import Story, into

STORIES: list[Story] = []
story, story_alone = into(STORIES), into(STORIES, alone=True)


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
    alipay = scene.stage.alipay
    body = alipay.notification_body(order_no, trade_status="TRADE_SUCCESS", amount_off=-1)
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
