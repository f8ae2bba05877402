"""Deliveries to a merchant that has a bad day: told later, with the same event id, and never twice for one reason."""

import json

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from payplat import seam
from payplat.deliveries import resend
from payplat.models import ATTEMPTS, DELIVERIES


async def paid(client, stage) -> str:
    """An order paid by notification."""
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    return order_no


async def test_a_delivery_is_signed_by_the_standard(client, stage):
    """The official Standard Webhooks library accepts the delivery, and its body tells the order."""
    order_no = await paid(client, stage)
    await client.until(lambda: stage.merchant.received)
    received = stage.merchant.received[0]
    secret = (stage.folder / "secrets" / "endpoint").read_text()
    headers = signature_headers(stage, received)
    told = Webhook(secret).verify(received.body.decode(), headers)
    assert (told["type"], told["data"]["order_no"], told["data"]["amount"]) == (
        "order.paid",
        order_no,
        600,
    )


def signature_headers(stage, received) -> dict[str, str]:
    """The delivery's headers, signed again by the library for comparison with what the merchant accepted."""
    from datetime import UTC, datetime

    secret = (stage.folder / "secrets" / "endpoint").read_text()
    moment = datetime.fromtimestamp(int(received.timestamp), UTC)
    signature = Webhook(secret).sign(received.id, moment, received.body.decode())
    assert received.valid
    return {
        "webhook-id": received.id,
        "webhook-timestamp": received.timestamp,
        "webhook-signature": signature,
    }


@pytest.mark.parametrize("kind", ["500", "302", "429", "reset", "garbage", "slow"])
async def test_a_merchant_that_stumbles_is_told_again(client, stage, kind):
    """After an error, a redirect, a reset or a slow answer the same event comes again until it is acknowledged."""
    stage.merchant.next(kind, kind, seconds=0.2)
    order_no = await paid(client, stage)
    await client.until(lambda: delivered(client))
    assert {r.id for r in stage.merchant.received} == set(stage.merchant.events)
    assert len(stage.merchant.events) == stage.merchant.fulfilled[order_no] == 1
    assert all(received.valid for received in stage.merchant.received)
    failures = 0 if kind in ("slow", "garbage") else 2
    assert await client.count("attempts", "ok=0") == failures


async def delivered(client) -> bool:
    """Whether every delivery has been acknowledged."""
    return await client.count("deliveries", "status='delivered'") == await client.count(
        "deliveries"
    )


async def test_a_merchant_that_is_down_is_told_when_it_is_back(client, stage):
    """Refused connections cost attempts, not events."""
    await stage.merchant.go_down()
    order_no = await paid(client, stage)
    await client.until(lambda: client.count("attempts"))
    await stage.merchant.come_back()
    await client.until(lambda: delivered(client))
    assert stage.merchant.fulfilled[order_no] == 1
    timeline = (await client.order(order_no))["timeline"]
    what = [moment["what"] for moment in timeline]
    assert what[:2] == ["opened", "paid"]
    assert "delivered" in what
    assert sum(moment["detail"].get("ok") is False for moment in timeline) >= 1


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """Impatient schedules, and few attempts where a test waits for the last one."""
    few, patient = ("exhausted" in request.node.name, "patience" in request.node.name)
    return {
        "PAYPLAT_DELIVERY__BASE_SECONDS": "0.1",
        "PAYPLAT_DELIVERY__CAP_SECONDS": "60" if patient else "0.3",
        "PAYPLAT_DELIVERY__TIMEOUT_SECONDS": "2",
        "PAYPLAT_DELIVERY__ATTEMPTS": "3" if few else "100",
    }


@pytest.mark.parametrize(("asked", "waits"), [(2, (2, 60)), (86_400, (59, 60))])
async def test_a_merchant_that_asks_for_patience(client, stage, asked, waits):
    """An endpoint is left alone for as long as it asks, but never for longer than the schedule's cap."""
    stage.merchant.misbehave("429", seconds=asked)
    await paid(client, stage)
    failed = select(DELIVERIES.c.due_at, ATTEMPTS.c.at).join(
        ATTEMPTS, ATTEMPTS.c.delivery_id == DELIVERIES.c.id
    )
    failed = failed.where(DELIVERIES.c.failures == 1, DELIVERIES.c.lease_token.is_(None))
    row = await client.until(lambda: _first(stage, failed))
    least, most = waits
    assert least - 1 <= (row.due_at - row.at) / seam.SECOND <= most + 1


async def _first(stage, statement):
    return (await stage.platform.database.read(lambda c: c.execute(statement))).first()


async def test_exhausted_deliveries_are_visible_and_can_be_sent_again(client, stage):
    """After the last attempt the delivery says so; resending it delivers the same event."""
    stage.merchant.next("500", "500", "500")
    order_no = await paid(client, stage)
    await client.until(lambda: client.count("deliveries", "status='exhausted'"))
    assert (await client.order(order_no))["timeline"][-1]["what"] in (
        "exhausted",
        "delivery_attempt",
    )
    await resend(stage.platform.database, 1, "operator")
    await client.until(lambda: stage.merchant.fulfilled[order_no])
    assert len({received.id for received in stage.merchant.received}) == 1


async def test_a_refund_is_told_as_its_own_event(client, stage):
    """A partial refund at Alipay reaches the merchant with its own amount and the sum so far."""
    order_no = await paid(client, stage)
    await stage.alipay.refund(order_no, 250, "r1")
    await client.until(lambda: len(stage.merchant.events) == 2)
    bodies = [json.loads(r.body) for r in stage.merchant.received]
    told = next(body["data"] for body in bodies if body["type"] == "order.refunded")
    trade_no = stage.alipay.trade(order_no).trade_no
    assert told["refund"] == {"id": f"{trade_no}/r1", "amount": 250, "total": 250}
    assert told["status"] == "paid"
