"""A service for which nobody opened this machine: it takes payments and calls nobody here."""

import pytest

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def overrides() -> dict[str, str]:
    """No network is opened, and what fails is tried again soon."""
    return {"PAYPLAT_OUTBOUND__NETWORKS": "[]", "PAYPLAT_DELIVERY__BASE_SECONDS": "0.1"}


async def test_a_delivery_to_this_machine_is_not_made(client, stage):
    """The attempt is on record with the reason, the merchant hears nothing, and the delivery waits for its next turn."""
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    refused = "error = '127.0.0.1: address not permitted'"
    await client.until(lambda: client.count("attempts", refused))
    assert await client.count("deliveries", "status = 'due' AND failures > 0") == 1
    assert not stage.merchant.received


async def test_a_provider_on_this_machine_is_not_asked(client, stage):
    """A question to it has no answer, and the order stays as it is."""
    created = (await client.create()).json["order_no"]
    asked = len(stage.alipay.received)
    assert (await client.verify(created)).status == 503
    assert len(stage.alipay.received) == asked
    assert (await client.order(created))["status"] == "pending"
