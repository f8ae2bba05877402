"""Scheduled checks: what no notification told is found by asking, and nothing is closed on a guess."""

import pytest
from sqlalchemy import text

from payplat import seam


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """Checks that come soon, and late money given back where a test is about that."""
    late = {"PAYPLAT_CHANNELS__ALIPAY__LATE": "refund"} if "given_back" in request.node.name else {}
    soon = {"PAYPLAT_CHECKS__BASE_SECONDS": "0.3", "PAYPLAT_CHECKS__CAP_SECONDS": "0.5"}
    return soon | late


class LaterWorld(seam.World):
    """A world whose clock is ahead."""

    def __init__(self, seconds: float) -> None:
        self._ahead = int(seconds * seam.SECOND)

    def now(self) -> int:
        """The real time and more."""
        return super().now() + self._ahead


async def expire(stage, monkeypatch) -> None:
    """Let the orders' time run out for Alipay and for us."""
    await stage.alipay.advance(1000)
    monkeypatch.setattr(seam, "world", LaterWorld(1000))
    monkeypatch.setattr(stage.merchant, "_clock", lambda: seam.now() / seam.SECOND)


async def status_is(client, order_no: str, status: str) -> bool:
    """Whether the order stands there."""
    return (await client.order(order_no))["status"] == status


async def test_a_lost_notification_is_found_by_the_job(client, stage):
    """Without notice and without the client, the scheduled check pays and delivers."""
    stage.alipay.faults.notification(drop=True)
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    await client.until(lambda: stage.merchant.fulfilled[order_no])
    paid = next(m for m in (await client.order(order_no))["timeline"] if m["what"] == "paid")
    assert paid["actor"] == "reconcile"


async def test_an_order_that_was_never_begun_is_closed_after_its_time(client, stage, monkeypatch):
    """TRADE_NOT_EXIST means unpaid while the order lives, and closed once it can no longer begin."""
    order_no = (await client.create()).json["order_no"]
    await client.until(lambda: client.count("orders", "checks > 0"))
    assert await status_is(client, order_no, "pending")
    await expire(stage, monkeypatch)
    await client.until(lambda: status_is(client, order_no, "closed"))
    assert await client.count("orders", "next_check_at IS NULL") == 1


async def test_a_trade_left_waiting_is_closed_there_first(client, stage, monkeypatch):
    """A trade that still waits for its buyer after our expiry is closed at Alipay before we close the order."""
    order_no = await client.entered()
    monkeypatch.setattr(seam, "world", LaterWorld(1000))
    await client.until(lambda: status_is(client, order_no, "closed"))
    assert stage.alipay.trade(order_no).status == "TRADE_CLOSED"
    assert any(r.method == "alipay.trade.close" for r in stage.alipay.received)


async def test_no_answer_never_closes(client, stage, monkeypatch):
    """As long as Alipay cannot be asked, an expired order stays pending and is asked about again."""
    order_no = (await client.create()).json["order_no"]
    stage.alipay.faults.answer("http_500", times=None)
    await expire(stage, monkeypatch)
    await client.until(lambda: client.count("orders", "checks >= 2"))
    assert await status_is(client, order_no, "pending")
    stage.alipay.faults.clear()
    await client.until(lambda: status_is(client, order_no, "closed"))


async def test_a_payment_at_the_last_moment_wins(client, stage, monkeypatch):
    """When the buyer pays just before the end and no notice comes, the last question finds it."""
    stage.alipay.faults.notification(drop=True)
    stage.alipay.faults.answer("http_500", times=None)
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    await expire(stage, monkeypatch)
    stage.alipay.faults.clear()
    await client.until(lambda: status_is(client, order_no, "paid"))
    await client.until(lambda: stage.merchant.fulfilled[order_no])


async def test_a_payment_between_question_and_close_wins(client, stage, monkeypatch):
    """When the buyer pays after the last question and before the close, which is refused, asking again finds it."""
    stage.alipay.faults.notification(drop=True)
    order_no = await client.entered()

    class Paying(LaterWorld):
        """The world in which that happens."""

        async def reach(self, point: str) -> None:
            """Pay before the close."""
            if point == "before_close":
                await stage.alipay.pay(order_no)

    monkeypatch.setattr(seam, "world", Paying(1000))
    await client.until(lambda: status_is(client, order_no, "paid"))
    assert any(r.method == "alipay.trade.close" for r in stage.alipay.received)
    assert stage.alipay.trade(order_no).status == "TRADE_SUCCESS"


async def test_money_after_the_close_is_given_back_when_the_policy_says_so(
    client, stage, monkeypatch
):
    """Policy refund: the late payment becomes a duty, Alipay gives the money back, the order ends refunded."""
    order_no = await client.entered()
    monkeypatch.setattr(seam, "world", LaterWorld(1000))
    await client.until(lambda: status_is(client, order_no, "closed"))
    await stage.alipay.pay(order_no, late=True)
    await client.until(lambda: status_is(client, order_no, "refunded"))
    assert stage.alipay.trade(order_no).refunded_fen == 600
    assert await client.count("events", "type='order.paid'") == 0
    await client.until(lambda: client.count("duties", "status='done'"))


async def test_the_sweep_finds_a_paid_order_nobody_was_told_of(client, stage):
    """A paid order whose event has vanished gets it back, and the merchant learns of it."""
    order_no = await client.entered()
    await stage.merchant.go_down()
    await stage.alipay.pay(order_no)
    database = stage.platform.database
    for statement in (
        "DELETE FROM deliveries",
        "DELETE FROM events",
        "UPDATE sweeps SET next_at = 0",
    ):
        await database.transaction(lambda c, s=statement: c.execute(text(s)))
    await stage.merchant.come_back()
    await client.until(lambda: stage.merchant.fulfilled[order_no])
    assert await client.count("events") == 1
