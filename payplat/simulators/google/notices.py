"""What a push says: `DeveloperNotification`, and the Pub/Sub envelope around it.

Source: developer.android.com, "Real-time developer notifications reference guide"; cloud.google.com
Pub/Sub, "Push subscriptions".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from payplat.simulators.google.purchases import Purchase, Refund
from payplat.simulators.google.wire import millis, rfc3339

ONE_TIME_PRODUCT_PURCHASED, ONE_TIME_PRODUCT_CANCELED = 1, 2
FULL, QUANTITY_BASED_PARTIAL = 1, 2

_VERSION = "1.0"
_ONE_TIME = 2
_CHARGEBACK = 7


@dataclass(frozen=True)
class Push:
    """One HTTP request to an endpoint."""

    headers: Mapping[str, str]
    body: bytes


def notification(package: str, at: float, member: str, content: Mapping[str, Any]) -> bytes:
    """`DeveloperNotification` with one member; `at` in seconds since the epoch."""
    told = {"version": _VERSION, "packageName": package, "eventTimeMillis": millis(at)}
    return json.dumps({**told, member: content}, separators=(",", ":")).encode()


def one_time(purchase: Purchase, kind: int, at: float) -> bytes:
    """`oneTimeProductNotification`: purchased, or a pending purchase canceled, or one revoked."""
    content = {
        "version": _VERSION,
        "notificationType": kind,
        "purchaseToken": purchase.purchase_token,
        "sku": purchase.product_id,
    }
    return notification(purchase.package, at, "oneTimeProductNotification", content)


def voided(purchase: Purchase, refund: Refund) -> bytes:
    """`voidedPurchaseNotification`: the refund that leaves nothing is a full one."""
    content = {
        "purchaseToken": purchase.purchase_token,
        "orderId": purchase.order_id or "",
        "productType": _ONE_TIME,
        "refundType": FULL if refund.whole else QUANTITY_BASED_PARTIAL,
    }
    return notification(purchase.package, refund.at, "voidedPurchaseNotification", content)


def test(package: str, at: float) -> bytes:
    """`testNotification`, sent by a button of the Play Console."""
    return notification(package, at, "testNotification", {"version": _VERSION})


def review(purchase: Purchase, pending_refund_token: str, at: float) -> bytes:
    """`pendingRefundReviewNotification`: Google asks before it decides about a chargeback."""
    content = {
        "version": _VERSION,
        "pendingRefundToken": pending_refund_token,
        "orderId": purchase.order_id or "",
        "refundReason": _CHARGEBACK,
    }
    ids = {
        "obfuscatedAccountId": purchase.terms.obfuscated_account_id,
        "obfuscatedProfileId": purchase.terms.obfuscated_profile_id,
    }
    content |= {name: value for name, value in ids.items() if value}
    return notification(purchase.package, at, "pendingRefundReviewNotification", content)


def envelope(
    data: bytes,
    message_id: str,
    published_at: float,
    subscription: str,
    delivery_attempt: int | None = None,
) -> bytes:
    """The wrapped format, with both spellings of id and time."""
    at = rfc3339(published_at)
    message = {
        "attributes": {},
        "data": base64.b64encode(data).decode(),
        "messageId": message_id,
        "message_id": message_id,
        "publishTime": at,
        "publish_time": at,
    }
    wrapped: dict[str, Any] = {"message": message, "subscription": subscription}
    if delivery_attempt is not None:
        wrapped["deliveryAttempt"] = delivery_attempt
    return json.dumps(wrapped).encode()
