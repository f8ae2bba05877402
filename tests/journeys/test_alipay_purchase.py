"""One purchase through Alipay, from order to delivered."""

import pytest


@pytest.mark.parametrize("method", ["app", "wap", "page", "qr"])
async def test_a_purchase_from_order_to_delivered(client, stage, method):
    """Each way to pay ends in one payment and one signed delivery, told once."""
    order_no = await client.entered(method=method)
    await stage.alipay.pay(order_no)
    assert (await client.order(order_no))["status"] == "paid"
    await client.until(lambda: stage.merchant.fulfilled[order_no])
    assert stage.merchant.fulfilled[order_no] == 1
    assert all(received.valid for received in stage.merchant.received)
    assert await client.count("payments") == await client.count("deliveries") == 1
