"""An Alipay account in certificate mode: the same purchase, other papers."""

import pytest
from tornado.httputil import parse_qs_bytes

APP_ID, SELLER_ID = "2021000000000002", "2088000000000002"


@pytest.fixture
def papers(alipay, our_keys):
    """What the account's owner downloads from Alipay's console."""
    return alipay.add_certified_app(APP_ID, SELLER_ID, our_keys.alipay[1])


@pytest.fixture
def overrides(alipay, papers, our_keys) -> dict[str, str]:
    """A second channel of kind alipay, by certificates."""
    options = {
        "kind": "alipay",
        "app_id": APP_ID,
        "seller_id": SELLER_ID,
        "gateway": alipay.gateway,
        "private_key": our_keys.alipay[0],
        "app_cert": papers.app_cert_pem,
        "alipay_cert": papers.alipay_cert_pem,
        "root_cert": papers.root_cert_pem,
    }
    return {f"PAYPLAT_CHANNELS__ALIPAY_CERT__{k.upper()}": v for k, v in options.items()}


@pytest.mark.parametrize("method", ["app", "wap", "page", "qr"])
async def test_a_purchase_by_certificates(client, stage, method):
    """Each way to pay works in certificate mode, beside a channel with plain keys."""
    order_no = await client.entered(channel="alipay_cert", method=method)
    await stage.alipay.pay(order_no)
    assert (await client.order(order_no))["status"] == "paid"
    await client.until(lambda: stage.merchant.fulfilled[order_no])


async def test_requests_carry_the_serial_numbers(client, papers):
    """Alipay finds our certificate and its own root by their serial numbers in every request."""
    created = (await client.create(channel="alipay_cert", method="app")).json
    sent = parse_qs_bytes(created["payment"]["order_string"])
    assert sent["app_cert_sn"] == [papers.app_cert_sn.encode()]
    assert sent["alipay_root_cert_sn"] == [papers.root_cert_sn.encode()]


async def test_answers_are_verified_by_certificate(client, stage):
    """A lost notification is found by asking, and an answer signed by a stranger is no answer."""
    stage.alipay.faults.notification(drop=True)
    order_no = await client.entered(channel="alipay_cert")
    await stage.alipay.pay(order_no)
    stage.alipay.next_answers("wrong_key", "wrong_key", "wrong_key")
    assert (await client.verify(order_no, "alipay_cert")).status == 503
    assert (await client.verify(order_no, "alipay_cert")).json["status"] == "paid"


async def test_a_renewed_certificate_of_the_same_key_still_verifies(client, stage):
    """Alipay re-issues its certificate with the same key and a new serial number: nothing stops."""
    stage.alipay.renew_certificate()
    order_no = await client.entered(channel="alipay_cert")
    await stage.alipay.pay(order_no)
    assert (await client.order(order_no))["status"] == "paid"


async def test_one_accounts_notice_does_not_pay_anothers_order(client, stage):
    """A notice of the certified account that comes to the plain channel pays nothing, though Alipay signed it."""
    stage.alipay.faults.notification(drop=True)
    order_no = await client.entered(channel="alipay_cert")
    await stage.alipay.pay(order_no)
    body = stage.alipay.notification_body(order_no)
    assert (await client.callback(body)).body == b"fail"
    assert (await client.order(order_no))["status"] == "pending"
    assert (await client.callback(body, "/v1/callback/alipay_cert")).body == b"success"
    assert (await client.verify(order_no, "alipay")).status == 404
