"""The stories of Apple: receipts from a device, notifications, and an App Store that cannot be asked."""

from payplat.demo.scene import Scene, expect
from payplat.demo.story import Story, into
from payplat.simulators.apple.forgeries import FORGERIES

STORIES: list[Story] = []
story = into(STORIES)


@story
async def verified_by_receipt(scene: Scene) -> None:
    """The game submits its StoreKit receipt; we check Apple's signature, ask Apple, and deliver.

    游戏提交 StoreKit 收据，我们核对苹果的签名并向苹果核实后发货。
    """
    order_no, receipt = await scene.buys_on(scene.iphone)
    verified = await scene.submits(scene.iphone, order_no, receipt)
    expect(verified["status"] == "paid", "the answer did not say that it is paid")
    await scene.told(order_no, "paid", actor="verify")
    await scene.delivered_once(order_no)


@story
async def app_died_after_paying(scene: Scene) -> None:
    """The app dies after the purchase: Apple's notification comes first, and the receipt later changes nothing.

    付款后应用崩溃：苹果的通知先到并完成发货，之后补交收据也不会重复发货。
    """
    order_no, receipt = await scene.buys_on(scene.iphone, notify=True)
    await scene.told(order_no, "paid", actor="callback")
    await scene.delivered_once(order_no)
    again = await scene.submits(scene.iphone, order_no, receipt)
    expect(again["status"] == "paid", "the answer did not say that it is paid")
    await scene.delivered_once(order_no)


@story
async def receipt_used_twice(scene: Scene) -> None:
    """A receipt that paid one order is refused for another.

    已用于一个订单的收据，再拿来给另一个订单充数：拒绝。
    """
    first, receipt = await scene.buys_on(scene.iphone)
    await scene.submits(scene.iphone, first, receipt)
    second, _ = await scene.opens_on(scene.iphone)
    await scene.refuses(scene.iphone, second, receipt, "another_order")
    await scene.stays_pending(second)
    await scene.delivered_once(first)


@story
async def forged_receipts_refused(scene: Scene) -> None:
    """Forged receipts (home-made certificates, changed after signing, unsigned) are refused; the true one pays.

    伪造的收据（自制证书、签名后篡改、没有签名）一律拒绝，真收据照常入账。
    """
    order_no, receipt = await scene.buys_on(scene.iphone)
    apple = scene.stage.apple
    bought = apple.purchase(receipt["transaction_id"])
    for name in ("home_made_chain", "altered", "algorithm_none"):
        forged = FORGERIES[name](apple, {**bought.fields, "signedDate": apple.milliseconds})
        await scene.refuses(scene.iphone, order_no, {"signed_transaction": forged}, "not_authentic")
    await scene.stays_pending(order_no)
    await scene.submits(scene.iphone, order_no, receipt)
    await scene.delivered_once(order_no)


@story
async def apple_down_then_asked_again(scene: Scene) -> None:
    """Apple does not answer: the receipt is kept, Apple is asked again, and the goods are given.

    苹果暂时没有应答：先保存收据，稍后自动再次核实并发货。
    """
    order_no, receipt = await scene.buys_on(scene.iphone)
    scene.stage.apple.next_answers("503", "503", "503", path=receipt["transaction_id"])
    verified = await scene.submits(scene.iphone, order_no, receipt)
    expect(verified["status"] == "pending", "it was called paid before Apple was asked")
    await scene.told(order_no, "evidence_waiting")
    await scene.told(order_no, "paid", actor="verify")
    await scene.delivered_once(order_no)


@story
async def apple_gives_money_back(scene: Scene) -> None:
    """Apple gives the money back after delivery: the game's server learns of it.

    发货后苹果退款：及时告知游戏服务器。
    """
    order_no, receipt = await scene.buys_on(scene.iphone, notify=True)
    await scene.delivered_once(order_no)
    await scene.stage.apple.refund(receipt["transaction_id"])
    await scene.refunded_whole(order_no)
