"""An order's explanation says in two languages why the order is where it is and what happens next."""

import asyncio
import json
import re

import pytest

from payplat.deliveries import resend
from payplat.delivery_list import Filter, list_deliveries
from payplat.endpoints import resume
from tests.processes import run_here

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """Late money is held; where a merchant fails it soon fails for good, or never."""
    attempts = "2" if "gave_up" in request.node.name else "1000"
    return {"PAYPLAT_CHANNELS__ALIPAY__LATE": "hold", "PAYPLAT_DELIVERY__ATTEMPTS": attempts}


async def told(client, order_no) -> str:
    """The explanation in English, after its Chinese was seen to name the same times."""
    order = await client.order(order_no)
    english, chinese = order["explanation"]["en"], order["explanation"]["zh"]
    assert re.findall(TIME, english) == re.findall(TIME, chinese) or sorted(
        re.findall(TIME, english)
    ) == sorted(re.findall(TIME, chinese))
    assert re.search(r"[\u4e00-\u9fff]", chinese)
    return re.sub(TIME, "TIME", english)


async def paid(client) -> str:
    """An order that was paid."""
    order_no = await client.entered()
    await client.stage.alipay.pay(order_no)
    return order_no


async def test_a_pending_order(client):
    """Before the payment it says until when one may pay and when the provider is asked."""
    assert await told(client, await client.entered()) == (
        "No payment is known yet. The provider is asked at TIME; the order can be paid until TIME."
    )


async def test_a_delivered_order(client):
    """After the delivery it says who acknowledged it, and when."""
    order_no = await paid(client)
    await client.until(lambda: client.stage.merchant.fulfilled[order_no])
    await client.until(lambda: client.count("deliveries", "status='delivered'"))
    assert await told(client, order_no) == (
        "The order was paid at TIME. default/main has acknowledged order.paid at TIME."
    )


async def test_a_merchant_that_fails(client):
    """While the merchant fails it says how often, with which answer, and when the next attempt is."""
    client.stage.merchant.misbehave("500")
    order_no = await paid(client)
    await client.until(lambda: client.count("deliveries", "failures >= 2"))
    assert re.fullmatch(
        r"The order was paid at TIME\. default/main has not acknowledged order\.paid yet: \d+ failed attempts "
        r"\(answered 500\); the next is at TIME\.",
        await told(client, order_no),
    )


async def test_a_merchant_that_gave_up(client):
    """When no more attempts are made it says which delivery to send again; that is done, and told."""
    client.stage.merchant.misbehave("500")
    order_no = await paid(client)
    await client.until(lambda: client.count("deliveries", "status='exhausted'"))
    (row,) = await list_deliveries(client.stage.platform.database, Filter())
    assert f"in 2 attempts (answered 500); no more are made. Send delivery {row.id} again." in (
        await told(client, order_no)
    )
    client.stage.merchant.behave()
    await resend(client.stage.platform.database, row.id, "operator")
    client.stage.platform.wake()
    await client.until(lambda: client.count("deliveries", "status='delivered'"))
    assert "has acknowledged" in await told(client, order_no)


async def test_an_endpoint_that_is_paused(client):
    """An endpoint that answered 410 is named with the reason, until it is resumed."""
    client.stage.merchant.misbehave("410")
    order_no = await paid(client)
    await client.until(lambda: client.count("pauses"))
    assert (await told(client, order_no)).endswith(
        "default/main is paused (answered 410): order.paid waits until an operator resumes it."
    )
    client.stage.merchant.behave()
    await resume(client.stage.platform.database, "default/main")
    await client.until(lambda: client.count("deliveries", "status='delivered'"))
    assert "has acknowledged" in await told(client, order_no)


async def test_late_money_that_is_held(client):
    """Money that came after the close is said to wait for an operator."""
    order_no = await client.entered()
    platform = client.stage.platform
    closing = "UPDATE orders SET status='closed', next_check_at=NULL"
    await platform.database.transaction(lambda c: c.exec_driver_sql(closing))
    assert (await told(client, order_no)).startswith("The order was closed at TIME")
    await client.stage.alipay.pay(order_no)
    assert await told(client, order_no) == (
        "The order was paid after it had closed and is held since TIME: an operator releases it or gives the money back."
    )


async def test_what_was_put_aside(client):
    """A genuine notice that does not fit is counted, with what differs; the order's state is told first."""
    client.stage.alipay.faults.notification(drop=True)
    order_no = await paid(client)
    notice = client.stage.alipay.notification_body(order_no, amount_off=1)
    assert (await client.callback(notice)).body == b"fail"
    assert (await told(client, order_no)).endswith(
        "Authentic messages of the provider that did not fit (amount) were put aside: 1. A person must look."
    )


async def test_an_operator_reads_it_in_a_terminal(client, database_url):
    """`payplat orders list` finds a user's order, and `show` tells in either language what the API tells."""
    order_no = await paid(client)
    await client.until(lambda: client.count("deliveries", "status='delivered'"))
    environ = {"PAYPLAT_DATABASE__URL": database_url}

    async def typed(*arguments: str) -> str:
        ended = await asyncio.to_thread(run_here, client.stage, "orders", *arguments, **environ)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    listed = json.loads(await typed("list", "--receiver", "player-1", "--status", "paid", "--json"))
    assert [row["order_no"] for row in listed] == [order_no]
    assert json.loads(await typed("list", "--receiver", "nobody", "--json")) == []
    explanation = (await client.order(order_no))["explanation"]
    for language, text in explanation.items():
        assert text in await typed("show", order_no, "--lang", language)
    shown = json.loads(await typed("show", order_no, "--json"))
    assert (shown["explanation"], shown["order_no"]) == (explanation, order_no)
    assert shown.keys() == (await client.order(order_no)).keys() - {"timeline"}
