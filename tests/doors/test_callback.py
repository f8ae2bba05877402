"""POST /v1/callback/alipay: each check of a confirmation fails alone."""

import asyncio

import pytest
from prometheus_client import REGISTRY

from payplat import seam


async def body_of(client, stage, **changes) -> tuple[str, bytes]:
    """A paid trade whose own notification never came, and a notification of it as ``changes`` make it."""
    stage.alipay.faults.notification(drop=True)
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    return order_no, stage.alipay.notification_body(order_no, **changes)


async def assert_nothing_paid(client, order_no: str, reply, *, evidence: str | None) -> None:
    """The provider hears ``fail``, the order is as before, and evidence is kept exactly when it is authentic."""
    assert (reply.status, reply.body) == (200, b"fail")
    assert (await client.order(order_no))["status"] == "pending"
    assert await client.count("payments") == await client.count("events") == 0
    assert await client.count("evidence") == (1 if evidence else 0)
    if evidence:
        assert await client.count("evidence", f"state='{evidence}'") == 1


def forged_count() -> float:
    """How many forged notices the counter has seen."""
    return REGISTRY.get_sample_value("payplat_forged_total", {"channel": "alipay"}) or 0.0


async def test_a_genuine_notice_pays(client, stage):
    """The order is paid and the answer is exactly the seven characters that end Alipay's retries."""
    order_no, body = await body_of(client, stage)
    reply = await client.callback(body)
    assert (reply.status, reply.body) == (200, b"success")
    order = await client.order(order_no)
    assert (order["status"], order["amount"]) == ("paid", 600)


async def test_the_same_notice_again_changes_nothing(client, stage):
    """A repeat is a success and leaves every table as it is."""
    _, body = await body_of(client, stage)
    await client.callback(body)
    tables = ("payments", "events", "deliveries", "evidence", "timeline")
    before = [await client.count(table) for table in tables]
    assert (await client.callback(body)).body == b"success"
    assert [await client.count(table) for table in tables] == before


@pytest.mark.parametrize(
    "changes",
    [
        {"sign_with": "wrong"},
        {"digest": "sha1"},
        {"sign_type": "RSA", "digest": "sha1"},
        {"signature": "none"},
        {"signature": "double"},
        {"tamper": {"total_amount": "0.01"}},
        {"charset": "gbk"},
    ],
    ids=["bad-signature", "sha1", "sha1-named", "unsigned", "double", "tampered", "other-charset"],
)
async def test_what_alipay_did_not_sign_is_refused(client, stage, changes):
    """A forged notice leaves no trace but a counter."""
    order_no, body = await body_of(client, stage, **changes)
    before = forged_count()
    reply = await client.callback(body)
    await assert_nothing_paid(client, order_no, reply, evidence=None)
    assert forged_count() == before + 1


async def test_a_repeated_parameter_is_refused(client, stage):
    """Neither the first nor the last of two values is believed."""
    order_no, body = await body_of(client, stage)
    reply = await client.callback(body + b"&total_amount=6.00")
    await assert_nothing_paid(client, order_no, reply, evidence=None)


async def test_the_query_string_is_never_looked_at(client, stage):
    """Parameters in the address neither help a forged notice nor harm a genuine one."""
    order_no, body = await body_of(client, stage)
    genuine = body.decode()
    without = "&".join(p for p in genuine.split("&") if not p.startswith("total_amount="))
    reply = await client.callback(without.encode(), "/v1/callback/alipay?total_amount=6.00")
    await assert_nothing_paid(client, order_no, reply, evidence=None)
    override = "/v1/callback/alipay?total_amount=0.01&trade_status=WAIT_BUYER_PAY"
    assert (await client.callback(body, override)).body == b"success"
    assert (await client.order(order_no))["amount"] == 600


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_off": 1},
        {"amount_off": -1},
        {"foreign_app": True},
        {"other_seller": True},
        {"seller_id": None},
        {"passback_params": "1xseason_pass"},
        {"passback_params": "2xcoins_500"},
        {"passback_params": "garbage"},
        {"total_amount": None},
        {"total_amount": "6.001"},
        {"total_amount": "6e0"},
    ],
    ids=[
        "one-fen-more", "one-fen-less", "other-app", "other-seller", "no-seller", "other-product",
        "other-quantity", "no-product", "no-amount", "broken-amount", "exponent",
    ],
)  # fmt: skip
async def test_what_differs_from_its_order_is_kept_but_does_not_pay(client, stage, changes):
    """An authentic notice that does not fit its order is quarantined and answered ``fail``."""
    order_no, body = await body_of(client, stage, **changes)
    reply = await client.callback(body)
    await assert_nothing_paid(client, order_no, reply, evidence="quarantined")
    timeline = (await client.order(order_no))["timeline"]
    assert timeline[-1]["what"] == "quarantined"


async def test_a_notice_for_an_unknown_order_is_kept(client, stage):
    """Alipay hears ``fail``, so that it comes again; the evidence waits for a person."""
    order_no, body = await body_of(client, stage, overrides={"out_trade_no": "0" * 32})
    reply = await client.callback(body)
    await assert_nothing_paid(client, order_no, reply, evidence="unclaimed")


async def test_another_transaction_for_a_paid_order_is_excess(client, stage):
    """Authentic money beyond the order's payment is kept and acknowledged, never delivered."""
    order_no, body = await body_of(client, stage)
    await client.callback(body)
    another = stage.alipay.notification_body(order_no, trade_no="2026112222001400000000009999")
    assert (await client.callback(another)).body == b"success"
    assert await client.count("payments") == await client.count("events") == 1
    assert await client.count("evidence", "state='excess'") == 1


async def test_one_transaction_pays_one_order(client, stage):
    """A transaction that has paid an order cannot pay a second one."""
    first, body = await body_of(client, stage)
    await client.callback(body)
    trade_no = stage.alipay.trade(first).trade_no
    second, other = await body_of(client, stage, trade_no=trade_no)
    assert (await client.callback(other)).body == b"fail"
    assert (await client.order(second))["status"] == "pending"


@pytest.mark.parametrize(
    ("policy", "status", "events"),
    [("deliver", "paid", 1), ("hold", "held", 0), ("refund", "held", 0)],
)
async def test_late_money_follows_the_policy(client, stage, policy, status, events):
    """Money for a closed order is never dropped: delivered, held, or owed back, as configured."""
    order_no, body = await body_of(client, stage)
    closed = stage.alipay.notification_body(order_no, trade_status="TRADE_CLOSED", gmt_payment=None)
    assert (await client.callback(closed)).body == b"success"
    assert (await client.order(order_no))["status"] == "closed"
    assert (await client.callback(body)).body == b"success"
    assert (await client.order(order_no))["status"] == status
    assert await client.count("events") == events
    assert await client.count("duties", "what='refund'") == (policy == "refund")


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """The late policy that a parametrised test asks for."""
    policy = (
        request.node.callspec.params.get("policy") if hasattr(request.node, "callspec") else None
    )
    return {"PAYPLAT_CHANNELS__ALIPAY__LATE": policy} if policy else {}


async def test_a_close_notice_is_no_payment_and_cannot_undo_one(client, stage):
    """TRADE_CLOSED after payment without a refund changes nothing."""
    order_no, body = await body_of(client, stage)
    await client.callback(body)
    closed = stage.alipay.notification_body(order_no, trade_status="TRADE_CLOSED", gmt_payment=None)
    assert (await client.callback(closed)).body == b"success"
    assert (await client.order(order_no))["status"] == "paid"


@pytest.mark.parametrize("status", ["WAIT_BUYER_PAY", "TRADE_INVENTED", ""])
async def test_other_states_pay_nothing(client, stage, status):
    """Waiting is no payment, and neither is what we do not understand."""
    order_no, body = await body_of(client, stage, trade_status=status)
    await client.callback(body)
    assert (await client.order(order_no))["status"] == "pending"
    assert await client.count("payments") == 0


async def test_finished_pays_too(client, stage):
    """TRADE_FINISHED is a payment that can no longer be refunded."""
    order_no, body = await body_of(client, stage, trade_status="TRADE_FINISHED")
    await client.callback(body)
    assert (await client.order(order_no))["status"] == "paid"


async def test_refund_notices_become_refunds(client, stage):
    """Partial refunds leave the order paid, the last one makes it refunded; each is told once, with its own part."""
    order_no, body = await body_of(client, stage)
    await client.callback(body)
    stage.alipay.knobs.refund_notices = False
    for number, fen in (("r1", 100), ("r2", 200), ("r3", 300)):
        await stage.alipay.refund(order_no, fen, number)
        notice = stage.alipay.notification_body(order_no, out_request_no=number)
        assert (
            (await client.callback(notice)).body
            == (await client.callback(notice)).body
            == b"success"
        )
        assert (await client.order(order_no))["status"] == (
            "refunded" if number == "r3" else "paid"
        )
    assert (
        await client.count("refunds") == await client.count("events", "type='order.refunded'") == 3
    )
    assert await client.count("refunds", "amount=200") == 1
    assert (await client.order(order_no))["refunded"] == 600


async def test_a_refund_number_belongs_to_its_trade(client, stage):
    """Two orders may each have a refund of the same number, as Alipay allows."""
    for _ in range(2):
        order_no, body = await body_of(client, stage)
        await client.callback(body)
        await stage.alipay.refund(order_no, 100, "1")
        notice = stage.alipay.notification_body(order_no, out_request_no="1")
        assert (await client.callback(notice)).body == b"success"
        assert (await client.order(order_no))["refunded"] == 100
    assert await client.count("refunds") == 2


async def test_a_whole_refund_before_its_payment_is_never_delivered(client, stage):
    """When the refund's notice comes first, the order goes straight to refunded, and the late payment notice with it."""
    order_no, paid = await body_of(client, stage)
    stage.alipay.knobs.refund_notices = False
    await stage.alipay.refund(order_no, 600, "r1")
    assert (
        await client.callback(stage.alipay.notification_body(order_no, out_request_no="r1"))
    ).body == b"success"
    assert (await client.callback(paid)).body == b"success"
    assert (await client.order(order_no))["status"] == "refunded"
    assert await client.count("payments") == 1
    assert await client.count("events", "type='order.paid'") == 0


async def test_callbacks_that_are_no_form_hear_fail(client):
    """What Alipay would never send hears its word for no, not a stack."""
    for body in (b"", b"{}", b"\xff=1", b"a=%zz&sign=x", b"=x", b"&" * 5000):
        reply = await client.callback(body)
        assert (reply.status, reply.body) == (200, b"fail")


async def test_a_large_callback_is_refused(client):
    """A body over 64 KiB is cut off, not read."""
    reply = await client.callback(b"a=" + b"x" * 70000)
    assert (reply.status, reply.body) == (413, b"fail")


async def test_a_channel_that_is_not_open_is_not_there(client):
    """A callback for a channel that nobody opened is our JSON 404; another method is 405 with Allow."""
    reply = await client.callback(b"x=1", "/v1/callback/pigeon")
    assert (reply.status, reply.json["code"]) == (404, "not_found")
    reply = await client.call("GET", "/v1/callback/alipay")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


async def test_a_wrong_notice_that_comes_again_is_told_once(client, stage):
    """Alipay repeats what was answered ``fail``: one line in the timeline, one piece of evidence."""
    _, body = await body_of(client, stage, amount_off=1)
    for _ in range(4):
        assert (await client.callback(body)).body == b"fail"
    assert await client.count("timeline") == await client.count("evidence") == 1


async def test_parameters_that_come_back_decoded_are_still_ours(client, stage):
    """Our product and quantity read the same whether Alipay decodes passback_params or not."""
    _, body = await body_of(client, stage, passback_params="1xcoins_500")
    assert (await client.callback(body)).body == b"success"


async def test_no_answer_before_the_commit(client, stage, monkeypatch):
    """When the database cannot store the payment, Alipay hears a 5xx and comes again."""
    order_no, body = await body_of(client, stage)

    class Broken(seam.World):
        async def reach(self, point: str) -> None:
            if point == "before_commit":
                raise OSError("the database went away")

    with monkeypatch.context() as patched:
        patched.setattr(seam, "world", Broken())
        reply = await client.callback(body)
        assert (reply.status, reply.body) == (503, b"fail")
    assert (await client.order(order_no))["status"] == "pending"
    assert (await client.callback(body)).body == b"success"


async def test_parallel_repeats_pay_once(client, stage):
    """Twenty identical callbacks at once: one payment, one event, twenty times ``success``."""
    _, body = await body_of(client, stage)
    replies = await asyncio.gather(*(client.callback(body) for _ in range(20)))
    assert {reply.body for reply in replies} == {b"success"}
    assert await client.count("payments") == await client.count("events") == 1
