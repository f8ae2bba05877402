"""POST /v1/verify/alipay: the client asks, Alipay answers."""

import pytest


async def unpaid_by_notice(client, stage) -> str:
    """A trade that was paid, and whose notification never came."""
    stage.alipay.faults.notification(drop=True)
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    return order_no


async def test_a_lost_notification_is_found_by_asking(client, stage):
    """Verify asks alipay.trade.query and settles what it says."""
    order_no = await unpaid_by_notice(client, stage)
    reply = await client.verify(order_no)
    assert (reply.status, reply.json["status"]) == (200, "paid")
    assert await client.count("events") == 1


async def test_an_unpaid_order_stays_pending(client, stage):
    """Neither a trade that never began nor one that waits for its buyer is paid."""
    never = (await client.create()).json["order_no"]
    waiting = await client.entered()
    for order_no in (never, waiting):
        reply = await client.verify(order_no)
        assert (reply.status, reply.json["status"]) == (200, "pending")


async def test_the_provider_fails_twice_then_answers(client, stage):
    """The backoff inside one request gets the answer at the third try."""
    order_no = await unpaid_by_notice(client, stage)
    stage.alipay.next_answers("20000", "http_500")
    reply = await client.verify(order_no)
    assert (reply.status, reply.json["status"]) == (200, "paid")
    asked = [r for r in stage.alipay.received if r.method == "alipay.trade.query"]
    assert len(asked) >= 2


@pytest.mark.parametrize(
    "kind",
    [
        "http_500",
        "html",
        "20000",
        "40005",
        "system_error",
        "cut",
        "unsigned",
        "wrong_key",
        "sha1",
        "altered",
    ],
)
async def test_no_believable_answer_changes_nothing(client, stage, kind):
    """After the last try the error is answered 5xx, the order is unchanged, and its next check still stands."""
    order_no = await unpaid_by_notice(client, stage)
    stage.alipay.next_answers(*[kind] * 3)
    reply = await client.verify(order_no)
    assert (reply.status, reply.json["code"]) == (503, "provider_unavailable")
    assert (await client.order(order_no))["status"] == "pending"
    assert await client.count("orders", "next_check_at > 0") == 1
    assert (await client.verify(order_no)).json["status"] == "paid"


async def test_a_paid_order_needs_no_question(client, stage):
    """Asking again about a paid order costs Alipay nothing."""
    order_no = await unpaid_by_notice(client, stage)
    await client.verify(order_no)
    before = len(stage.alipay.received)
    assert (await client.verify(order_no)).json["status"] == "paid"
    assert len(stage.alipay.received) == before


@pytest.mark.parametrize("order_no", ["0" * 32, "nonsense", "A" * 32, "../../etc"])
async def test_an_order_that_does_not_exist_is_404(client, order_no):
    """An unknown number is 404 whatever it looks like."""
    reply = await client.verify(order_no)
    assert (reply.status, reply.json["code"]) == (404, "order_not_found")
    reply = await client.call("GET", f"/v1/orders/{order_no.replace('/', '%2F')}")
    assert reply.status == 404


async def test_the_client_cannot_state_anything(client):
    """Fields that claim a state or a price are refused by name."""
    order_no = (await client.create()).json["order_no"]
    reply = await client.call("POST", "/v1/verify/alipay", {"order_no": order_no, "status": "paid"})
    assert (reply.status, reply.json["field"]) == (400, "status")


async def test_a_refund_that_was_never_told_is_seen(client, stage):
    """A trade that was paid and wholly refunded before we ever heard of it ends refunded, not paid."""
    order_no = await unpaid_by_notice(client, stage)
    stage.alipay.knobs.refund_notices = False
    await stage.alipay.refund(order_no, 600, "r1")
    reply = await client.verify(order_no)
    assert (reply.status, reply.json["status"]) == (200, "refunded")
    assert await client.count("events", "type='order.paid'") == 0
