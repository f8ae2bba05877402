"""Refunds: what moves money, what only repeats, and what is refused."""

import pytest

from tests.simulators.alipay_client import BEIJING_NOW


@pytest.fixture
async def paid(client, sim):
    """An order of 88.88 yuan, paid."""
    sim.enter(client.page_url("ORDER1"))
    return await sim.pay("ORDER1")


async def test_refund_fee_counts_every_refund(client, sim, paid):
    """The answer's refund_fee is cumulative, fund_change says that this one moved money."""
    first = (await client.refund("ORDER1", "8.00", "R1")).fields
    second = (await client.refund("ORDER1", "0.88", "R2")).fields
    assert (first["fund_change"], first["refund_fee"]) == ("Y", "8.00")
    assert (second["fund_change"], second["refund_fee"]) == ("Y", "8.88")
    assert paid.status == "TRADE_SUCCESS"
    assert paid.refunded_fen == 888
    await sim.idle()


async def test_a_repeated_refund_moves_nothing(client, sim, paid):
    """The same number and amount: 10000, fund_change N; also when the trade has closed by it."""
    await client.refund("ORDER1", "88.88", "R1")
    again = (await client.refund("ORDER1", "88.88", "R1")).fields
    assert (again["code"], again["fund_change"], again["refund_fee"]) == ("10000", "N", "88.88")
    assert paid.refunded_fen == 8888
    await sim.idle()


async def test_another_amount_under_the_same_number_is_discordant(client, sim, paid):
    """A request number belongs to one amount for ever."""
    await client.refund("ORDER1", "8.00", "R1")
    assert (await client.refund("ORDER1", "9.00", "R1")).sub_code == "ACQ.DISCORDANT_REPEAT_REQUEST"
    await sim.idle()


async def test_refunds_cannot_exceed_the_payment(client, sim, paid):
    """Neither at once nor in sum."""
    over = "ACQ.REASON_TRADE_REFUND_FEE_ERR"
    assert (await client.refund("ORDER1", "88.89", "R1")).sub_code == over
    assert (await client.refund("ORDER1", "0.00", "R1")).sub_code == over
    await client.refund("ORDER1", "80.00", "R2")
    assert (await client.refund("ORDER1", "8.89", "R3")).sub_code == over
    await sim.idle()


async def test_a_whole_refund_closes_the_trade(client, sim, paid):
    """TRADE_CLOSED is then not an unpaid trade; further refunds find it closed."""
    await client.refund("ORDER1", "88.88", "R1")
    assert paid.status == "TRADE_CLOSED"
    assert paid.paid_at is not None
    assert (await client.refund("ORDER1", "1.00", "R2")).sub_code == "ACQ.TRADE_HAS_CLOSE"
    await sim.idle()


async def test_only_paid_trades_are_refunded(client, sim, paid):
    """Unknown, unpaid, closed and finished trades each refuse in their own way."""
    assert (await client.refund("NONE", "1.00", "R")).sub_code == "ACQ.TRADE_NOT_EXIST"
    sim.enter(client.page_url("UNPAID"))
    assert (await client.refund("UNPAID", "1.00", "R")).sub_code == "ACQ.TRADE_STATUS_ERROR"
    await sim.expire("UNPAID")
    assert (await client.refund("UNPAID", "1.00", "R")).sub_code == "ACQ.TRADE_HAS_CLOSE"
    await sim.finish("ORDER1")
    assert (await client.refund("ORDER1", "1.00", "R")).sub_code == "ACQ.TRADE_HAS_FINISHED"


async def test_only_a_whole_refund_may_go_without_a_number(client, sim, paid):
    """It is then known by the order's own number."""
    assert (await client.refund("ORDER1", "1.00")).sub_code == "ACQ.INVALID_PARAMETER"
    assert (await client.refund("ORDER1", "88.88")).fields["fund_change"] == "Y"
    found = (await client.refund_query("ORDER1", "ORDER1")).fields
    assert found["refund_status"] == "REFUND_SUCCESS"
    await sim.idle()


async def test_a_refund_can_be_looked_up(client, sim, paid):
    """This refund's own amount and reason; details on request."""
    options = {"query_options": ["refund_detail_item_list"]}
    answer = await client.refund("ORDER1", "8.00", "R1", refund_reason="不想要了", **options)
    assert answer.fields["send_back_fee"] == "8.00"
    options = {"query_options": ["gmt_refund_pay", "refund_detail_item_list"]}
    found = (await client.refund_query("ORDER1", "R1", **options)).fields
    assert (found["refund_status"], found["refund_amount"]) == ("REFUND_SUCCESS", "8.00")
    assert (found["total_amount"], found["refund_reason"]) == ("88.88", "不想要了")
    assert found["gmt_refund_pay"] == BEIJING_NOW
    assert found["refund_detail_item_list"][0]["amount"] == "8.00"
    await sim.idle()


async def test_a_wrong_refund_number_is_answered_without_details(client, sim, paid):
    """10000 and nothing else: not received, failed, or mistyped."""
    assert (await client.refund_query("ORDER1", "R9")).fields == {"code": "10000", "msg": "Success"}
    assert (await client.refund_query("NONE", "R9")).sub_code == "ACQ.TRADE_NOT_EXIST"


async def test_a_refund_may_be_accepted_now_and_done_later(client, sim, paid, inbox):
    """Until then fund_change is N, refund_status is missing, and nobody is told."""
    sim.knobs.refund_delay = 60.0
    inbox.bodies.clear()
    answer = (await client.refund("ORDER1", "88.88", "R1")).fields
    assert (answer["fund_change"], answer["refund_fee"]) == ("N", "0.00")
    assert "refund_status" not in (await client.refund_query("ORDER1", "R1")).fields
    assert (paid.status, inbox.bodies) == ("TRADE_SUCCESS", [])
    await sim.advance(60)
    assert (await client.refund_query("ORDER1", "R1")).fields["refund_status"] == "REFUND_SUCCESS"
    assert (paid.status, len(inbox.bodies)) == ("TRADE_CLOSED", 1)


async def test_an_accepted_refund_reserves_its_money(client, sim, paid):
    """And may wait for a test to carry it out."""
    sim.knobs.refund_delay = None
    await client.refund("ORDER1", "80.00", "R1")
    answer = await client.refund("ORDER1", "80.00", "R2")
    assert answer.sub_code == "ACQ.REASON_TRADE_REFUND_FEE_ERR"
    assert (await client.refund("ORDER1", "80.00", "R1")).fields["fund_change"] == "N"
    await sim.complete_refund("ORDER1", "R1")
    assert paid.refunded_fen == 8000


async def test_staff_can_refund_in_alipays_console(sim, paid):
    """A refund nobody asked the gateway for."""
    refund = await sim.refund("ORDER1", 800, "CONSOLE1", "by hand")
    assert (refund.fen, paid.refunded_fen) == (800, 800)
