"""The stories of Google Play: purchase tokens, what payplat owes Google for them, slow money, and money taken back."""

from payplat.demo.client import Json
from payplat.demo.scene import Scene, expect
from payplat.demo.story import Story, into

STORIES: list[Story] = []
story = into(STORIES)


@story
async def bought_by_token(scene: Scene) -> None:
    """The game submits its purchase token; we ask Google, deliver, acknowledge the purchase, and then consume it.

    游戏提交 Google Play 购买令牌，我们向 Google 核实、发货、确认购买，到账后再消耗。
    """
    order_no, receipt = await scene.buys_on(scene.android)
    verified = await scene.submits(scene.android, order_no, receipt)
    expect(verified["status"] == "paid", "the answer did not say that it is paid")
    await scene.told(order_no, "paid", actor="verify")
    delivered, consumed = await _ends_well(scene, order_no)
    expect(delivered["at"] <= consumed["at"], "it was consumed before the goods were there")


@story
async def cash_comes_later(scene: Scene) -> None:
    """Bought for cash, and nothing is given until the money comes: Google's push tells of it, and Google is asked.

    现金付款，未到账不发货：款项到账后 Google 推送通知，我们核实后发货。
    """
    order_no, receipt = await scene.buys_on(scene.android, pending=True)
    verified = await scene.submits(scene.android, order_no, receipt)
    expect(verified["status"] == "pending", "it was called paid before the money came")
    await scene.told(order_no, "evidence_waiting")
    await scene.stays_pending(order_no)
    await scene.stage.google.complete_pending(receipt["purchase_token"])
    await scene.told(order_no, "paid", actor="callback")
    await _ends_well(scene, order_no)


@story
async def token_stolen(scene: Scene) -> None:
    """A purchase token that paid for one player is refused for another.

    拿别人已付款的购买令牌给自己的订单充数：拒绝。
    """
    owner, receipt = await scene.buys_on(scene.android)
    await scene.submits(scene.android, owner, receipt)
    thief, _ = await scene.opens_on(scene.android)
    await scene.refuses(scene.android, thief, receipt, "another_order")
    await scene.stays_pending(thief)
    await _ends_well(scene, owner)


@story
async def voided_after_delivery(scene: Scene) -> None:
    """Google voids a purchase after delivery: the game's server learns of it.

    发货后 Google 撤销购买并退款：及时告知游戏服务器。
    """
    order_no, receipt = await scene.buys_on(scene.android, notify=True)
    await _ends_well(scene, order_no)
    await scene.stage.google.void(receipt["purchase_token"])
    await scene.refunded_whole(order_no)


async def _ends_well(scene: Scene, order_no: str) -> tuple[Json, Json]:
    """Wait until the goods are there and Google has its due; return the lines that tell of delivery and consumption."""
    await scene.delivered_once(order_no)
    await scene.told(order_no, "duty_attempt", duty="acknowledge", ok=True)
    consumed = await scene.told(order_no, "duty_attempt", duty="consume", ok=True)
    return await scene.told(order_no, "delivered"), consumed
