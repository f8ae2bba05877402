"""Django's callback: the ORM on unmanaged models, mysqlclient, and python-alipay-sdk for the signature."""

import hashlib
import json
import os
import secrets
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote, urlsplit

import django
from alipay import AliPay
from alipay.exceptions import AliPayException
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

_DATABASE = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_hex(32),
    ALLOWED_HOSTS=["127.0.0.1"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "HOST": _DATABASE.hostname,
            "PORT": _DATABASE.port,
            "USER": _DATABASE.username,
            "PASSWORD": _DATABASE.password or "",
            "NAME": _DATABASE.path[1:],
            "CONN_MAX_AGE": None,
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

_APP_ID, _SELLER_ID = os.environ["APP_ID"], os.environ["SELLER_ID"]
_ACCOUNT = f"{_APP_ID}/{_SELLER_ID}"
_PAID = ("TRADE_SUCCESS", "TRADE_FINISHED")
_EXPECTED = {
    "app_id": _APP_ID,
    "seller_id": _SELLER_ID,
    "notify_type": "trade_status_sync",
    "sign_type": "RSA2",
}
_VERIFIER = "key:0123456789abcdef"
_ALIPAY = AliPay(
    appid=_APP_ID,
    app_private_key_string=Path(os.environ["APP_PRIVATE_KEY"]).read_text(),
    alipay_public_key_string=Path(os.environ["ALIPAY_PUBLIC_KEY"]).read_text(),
    sign_type="RSA2",
)


class IdField(models.CharField):
    """Text in a VARBINARY column."""

    def from_db_value(self, value, _expression, _connection):
        """Return text."""
        return value.decode() if isinstance(value, bytes) else value


class Order(models.Model):
    """The columns of ``orders`` that a callback needs."""

    order_no = IdField(max_length=32, primary_key=True)
    app = IdField(max_length=64)
    channel = IdField(max_length=64)
    kind = IdField(max_length=32)
    environment = IdField(max_length=16)
    account = IdField(max_length=128)
    product_id = IdField(max_length=128)
    sku = IdField(max_length=191)
    quantity = models.IntegerField()
    amount = models.BigIntegerField()
    currency = IdField(max_length=3)
    receiver = IdField(max_length=128)
    metadata = models.TextField()
    status = IdField(max_length=16)
    settled_at = models.BigIntegerField(null=True)
    next_check_at = models.BigIntegerField(null=True)
    lease_token = IdField(max_length=32, null=True)

    class Meta:
        managed, db_table, app_label = False, "orders", "peer"


class Payment(models.Model):
    """A row of ``payments``."""

    order_no = IdField(max_length=32, primary_key=True)
    transaction_key = IdField(max_length=64)
    kind = IdField(max_length=32)
    environment = IdField(max_length=16)
    account = IdField(max_length=128)
    transaction_id = models.TextField()
    amount = models.BigIntegerField()
    currency = IdField(max_length=3)
    product = IdField(max_length=191)
    quantity = models.IntegerField()
    payer = IdField(max_length=191)
    paid_at = models.BigIntegerField()
    verified_at = models.BigIntegerField()
    verifier = IdField(max_length=128)
    evidence_sha256 = IdField(max_length=64)

    class Meta:
        managed, db_table, app_label = False, "payments", "peer"


class Evidence(models.Model):
    """A row of ``evidence``."""

    kind = IdField(max_length=32)
    environment = IdField(max_length=16)
    sha256 = IdField(max_length=64)
    order_no = IdField(max_length=64)
    source = IdField(max_length=16)
    state = IdField(max_length=16)
    reason = IdField(max_length=64)
    raw = models.BinaryField()
    created_at = models.BigIntegerField()

    class Meta:
        managed, db_table, app_label = False, "evidence", "peer"


class Event(models.Model):
    """A row of ``events``."""

    event_id = IdField(max_length=40, primary_key=True)
    order_no = IdField(max_length=32)
    app = IdField(max_length=64)
    type = IdField(max_length=64)
    cause = IdField(max_length=200)
    body = models.TextField()
    created_at = models.BigIntegerField()

    class Meta:
        managed, db_table, app_label = False, "events", "peer"


class Delivery(models.Model):
    """A row of ``deliveries``."""

    event_id = IdField(max_length=40)
    order_no = IdField(max_length=32)
    endpoint = IdField(max_length=130)
    status = IdField(max_length=16)
    due_at = models.BigIntegerField()
    failures = models.IntegerField()
    created_at = models.BigIntegerField()

    class Meta:
        managed, db_table, app_label = False, "deliveries", "peer"


class Timeline(models.Model):
    """A row of ``timeline``."""

    order_no = IdField(max_length=32)
    at = models.BigIntegerField()
    what = IdField(max_length=32)
    actor = IdField(max_length=64)
    detail = models.TextField()

    class Meta:
        managed, db_table, app_label = False, "timeline", "peer"


@csrf_exempt
@require_POST
def callback(request: HttpRequest) -> HttpResponse:
    """Say ``success`` once the payment is committed, or was before."""
    fields = request.POST.dict()
    single = all(len(values) == 1 for _, values in request.POST.lists())
    settled = single and is_ours(fields) and is_signed(fields) and settle(fields, request.body)
    return HttpResponse("success" if settled else "fail", content_type="text/plain")


def is_ours(fields: dict[str, str]) -> bool:
    """Tell whether the notice is of a payment to us."""
    same = all(fields.get(name) == value for name, value in _EXPECTED.items())
    return same and fields.get("trade_status") in _PAID


def is_signed(fields: dict[str, str]) -> bool:
    """Tell whether Alipay signed the notice; the SDK takes fields out of what it is given."""
    data = dict(fields)
    try:
        return _ALIPAY.verify(data, data.pop("sign"))
    except (KeyError, ValueError, AliPayException):
        return False


@transaction.atomic
def settle(fields: dict[str, str], body: bytes) -> bool:
    """Pay the order in one transaction; return whether it is paid now."""
    number = fields["out_trade_no"]
    try:
        order = Order.objects.select_for_update().get(order_no=number)
    except Order.DoesNotExist:
        return False
    if not fits(order, fields):
        return False
    if order.status != "pending":
        payments = Payment.objects.filter(order_no=number, transaction_id=fields["trade_no"])
        return payments.exists()
    write(order, fields, body)
    return True


def fits(order: Order, fields: dict[str, str]) -> bool:
    """Compare what was paid with what was sold."""
    quantity, _, product = fields.get("passback_params", "").partition("x")
    ours = (order.kind, order.environment, order.account, order.sku, order.currency)
    numbers = (order.amount, order.quantity)
    return ours == ("alipay", "sandbox", _ACCOUNT, unquote(product), "CNY") and numbers == (
        Decimal(fields["total_amount"]) * 100,
        int(quantity or 0),
    )


def write(order: Order, fields: dict[str, str], body: bytes) -> None:
    """Write what a payment leaves behind."""
    now, number, trade_no = time.time_ns() // 1000, order.order_no, fields["trade_no"]
    sha256 = hashlib.sha256(body).hexdigest()
    order.status, order.settled_at = "paid", now
    order.next_check_at = order.lease_token = None
    order.save(update_fields=["status", "settled_at", "next_check_at", "lease_token"])
    believed = {"kind": "alipay", "environment": "sandbox"}
    Payment.objects.create(
        order_no=number,
        transaction_key=hashlib.sha256(
            f"alipay\0sandbox\0{_ACCOUNT}\0{trade_no}\0".encode()
        ).hexdigest(),
        account=_ACCOUNT,
        transaction_id=trade_no,
        amount=order.amount,
        currency="CNY",
        product=order.sku,
        quantity=1,
        payer=fields["buyer_id"],
        paid_at=from_beijing(fields["gmt_payment"]),
        verified_at=now,
        verifier=_VERIFIER,
        evidence_sha256=sha256,
        **believed,
    )
    used = {"source": "callback", "state": "used", "reason": "", "raw": body, "created_at": now}
    evidence = Evidence(sha256=sha256, order_no=number, **used, **believed)
    Evidence.objects.bulk_create([evidence], ignore_conflicts=True)
    event = Event.objects.create(
        event_id=f"evt_{now // 1000:012x}{secrets.token_hex(10)}",
        order_no=number,
        app="default",
        type="order.paid",
        cause="",
        body=told(order, trade_no, now),
        created_at=now,
    )
    Delivery.objects.create(
        event_id=event.event_id,
        order_no=number,
        endpoint="default/main",
        status="due",
        due_at=now,
        failures=0,
        created_at=now,
    )
    detail = {
        "to": "paid",
        "transaction_id": trade_no,
        "amount": order.amount,
        "currency": "CNY",
        "note": fields["trade_status"],
        "evidence": sha256,
        "verifier": _VERIFIER,
    }
    line = {"what": "paid", "actor": "callback", "detail": json.dumps(detail, ensure_ascii=False)}
    Timeline.objects.create(order_no=number, at=now, **line)


def told(order: Order, trade_no: str, now: int) -> str:
    """Return the event's body."""
    names = ("order_no", "app", "channel", "environment", "product_id", "receiver", "currency")
    data = {
        **{name: getattr(order, name) for name in names},
        "quantity": order.quantity,
        "amount": order.amount,
        "status": "paid",
        "transaction_id": trade_no,
        "metadata": json.loads(order.metadata),
    }
    moment = datetime.fromtimestamp(now / 1_000_000, UTC).isoformat(timespec="milliseconds")
    event = {"type": "order.paid", "timestamp": moment.replace("+00:00", "Z"), "data": data}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def from_beijing(text: str) -> int:
    """Return Alipay's local time as microseconds since 1970."""
    moment = datetime.strptime(f"{text}+0800", "%Y-%m-%d %H:%M:%S%z")
    return int(moment.timestamp()) * 1_000_000


urlpatterns = [path("v1/callback/alipay", callback)]
application = get_wsgi_application()
