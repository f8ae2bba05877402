"""Orders to be paid and the notices that pay them, signed by an "Alipay" that was made a moment ago."""

import base64
import json
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from benchmarks.fixed import APP_ID, SELLER_ID
from payplat import seam

_BEIJING = timedelta(hours=8)


@dataclass(frozen=True)
class Sale:
    """One order that waits for its payment."""

    order_no: str
    product_id: str
    title: str
    amount: int


def make_sales(catalogue: Path, count: int) -> list[Sale]:
    """Return ``count`` sales of the catalogue's products in turn."""
    products = tomllib.loads(catalogue.read_text("utf-8"))["default"]
    return [
        Sale(seam.new_id(), name, product["title"], product["prices"]["CNY"])
        for name, product in islice(cycle(products.items()), count)
    ]


def sign_notices(sales: Iterable[Sale], key: rsa.RSAPrivateKey, first: int = 1) -> list[bytes]:
    """Return the notice that pays each sale, as the body that Alipay would post; trades are numbered from ``first``."""
    return [_body(_fields(sale, number), key) for number, sale in enumerate(sales, first)]


def _body(fields: dict[str, str], key: rsa.RSAPrivateKey) -> bytes:
    text = "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k != "sign_type")
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return urlencode({**fields, "sign": base64.b64encode(signature).decode()}).encode()


def _fields(sale: Sale, number: int) -> dict[str, str]:
    """Return all 27 fields but the signature."""
    yuan = f"{sale.amount // 100}.{sale.amount % 100:02}"
    moment = datetime.now(UTC) + _BEIJING
    told = f"{moment:%Y-%m-%d %H:%M:%S}"
    return {
        "notify_time": told,
        "notify_type": "trade_status_sync",
        "notify_id": f"{moment:%Y%m%d}00222{number:018}",
        "charset": "utf-8",
        "version": "1.0",
        "sign_type": "RSA2",
        "app_id": APP_ID,
        "auth_app_id": APP_ID,
        "trade_no": f"{moment:%Y%m%d}22001400{number:012}",
        "out_trade_no": sale.order_no,
        "trade_status": "TRADE_SUCCESS",
        **dict.fromkeys(_AMOUNTS, yuan),
        "point_amount": "0.00",
        "subject": sale.title,
        "body": sale.title,
        "gmt_create": told,
        "gmt_payment": told,
        "buyer_id": f"2088{number:012}",
        "buyer_logon_id": "buy***@example.com",
        "seller_id": SELLER_ID,
        "seller_email": "sel***@example.com",
        "fund_bill_list": json.dumps([{"amount": yuan, "fundChannel": "ALIPAYACCOUNT"}]),
        "passback_params": f"1x{sale.product_id}",
    }


_AMOUNTS = ("total_amount", "receipt_amount", "invoice_amount", "buyer_pay_amount")


def order_rows(sales: Iterable[Sale]) -> Iterator[dict[str, object]]:
    """Yield each sale as a pending row of payplat's table ``orders``."""
    now = seam.now()
    for sale in sales:
        yield {
            "order_no": sale.order_no,
            "app": "default",
            "channel": "alipay",
            "kind": "alipay",
            "environment": "sandbox",
            "account": f"{APP_ID}/{SELLER_ID}",
            "method": "app",
            "product_id": sale.product_id,
            "sku": sale.product_id,
            "quantity": 1,
            "amount": sale.amount,
            "currency": "CNY",
            "title": sale.title,
            "receiver": "player-1",
            "metadata": json.dumps({"server": "eu-1", "role": "4711"}),
            "request_sha256": "0" * 64,
            "status": "pending",
            "refunded": 0,
            "preparing_until": 0,
            "created_at": now,
            "expires_at": now + 1800 * seam.SECOND,
            "next_check_at": now + 15 * seam.SECOND,
            "checks": 0,
        }
