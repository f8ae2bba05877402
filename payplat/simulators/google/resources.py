"""The resources of the Android Publisher API (v3 discovery document), each field as its schema has it."""

from __future__ import annotations

from typing import Any

from payplat.simulators.google.purchases import (
    CANCELED,
    CHARGEBACK,
    PENDING,
    PURCHASED,
    TEST,
    Purchase,
    Refund,
)
from payplat.simulators.google.wire import millis, money, present, rfc3339

Resource = dict[str, Any]

_STATES = {PURCHASED: "PURCHASED", CANCELED: "CANCELLED", PENDING: "PENDING"}


def product_purchase(purchase: Purchase) -> Resource:
    """`ProductPurchase`: numbers for enums; token and product id are not repeated."""
    terms = purchase.terms
    return present(
        {
            "kind": "androidpublisher#productPurchase",
            "purchaseTimeMillis": millis(purchase.created_at),
            "purchaseState": purchase.state,
            "consumptionState": int(purchase.consumed),
            "developerPayload": purchase.developer_payload or "",
            "orderId": purchase.order_id,
            "purchaseType": terms.kind,
            "acknowledgementState": int(purchase.acknowledged),
            "quantity": terms.quantity if terms.quantity > 1 else None,
            "refundableQuantity": purchase.refundable,
            "obfuscatedExternalAccountId": terms.obfuscated_account_id,
            "obfuscatedExternalProfileId": terms.obfuscated_profile_id,
            "regionCode": terms.region,
        }
    )


def product_purchase_v2(purchase: Purchase) -> Resource:
    """`ProductPurchaseV2`: names for enums, the products as line items."""
    terms, acknowledged = purchase.terms, purchase.acknowledged
    return present(
        {
            "kind": "androidpublisher#productPurchaseV2",
            "productLineItem": [_line(purchase)],
            "purchaseStateContext": {"purchaseState": _STATES[purchase.state]},
            "testPurchaseContext": {"fopType": "TEST"} if terms.kind == TEST else None,
            "orderId": purchase.order_id,
            "obfuscatedExternalAccountId": terms.obfuscated_account_id,
            "obfuscatedExternalProfileId": terms.obfuscated_profile_id,
            "regionCode": terms.region,
            "purchaseCompletionTime": purchase.paid_at and rfc3339(purchase.paid_at),
            "acknowledgementState": "ACKNOWLEDGEMENT_STATE_"
            + ("ACKNOWLEDGED" if acknowledged else "PENDING"),
        }
    )


def _line(purchase: Purchase) -> Resource:
    consumed = "CONSUMED" if purchase.consumed else "YET_TO_BE_CONSUMED"
    details = {
        "purchaseOptionId": "buy",
        "quantity": purchase.terms.quantity,
        "refundableQuantity": purchase.refundable,
        "consumptionState": f"CONSUMPTION_STATE_{consumed}",
    }
    return {"productId": purchase.product_id, "productOfferDetails": details}


def order(purchase: Purchase) -> Resource:
    """`Order` of a paid purchase: the only place with money."""
    paid, currency, terms = purchase.paid_at or 0.0, purchase.currency, purchase.terms
    return present(
        {
            "orderId": purchase.order_id,
            "purchaseToken": purchase.purchase_token,
            "state": _order_state(purchase),
            "createTime": rfc3339(purchase.created_at),
            "lastEventTime": rfc3339(max([paid, *(each.at for each in purchase.refunds)])),
            "buyerAddress": {"buyerCountry": terms.region},
            "total": money(purchase.paid_micros, currency),
            "tax": money(0, currency),
            "developerRevenueInBuyerCurrency": money(purchase.paid_micros * 85 // 100, currency),
            "lineItems": [_order_line(purchase)],
            "orderDetails": {"taxInclusive": True},
            "orderHistory": _history(purchase, paid),
            "pointsDetails": _points(purchase) if terms.points_micros else None,
            "salesChannel": "IN_APP",
        }
    )


def _order_state(purchase: Purchase) -> str:
    if not purchase.refundable:
        return "REFUNDED"
    return "PARTIALLY_REFUNDED" if purchase.refunds else "PROCESSED"


def _order_line(purchase: Purchase) -> Resource:
    once = {"quantity": purchase.terms.quantity, "purchaseOptionId": "buy"}
    return {
        "productId": purchase.product_id,
        "productTitle": purchase.title,
        "listingPrice": money(purchase.micros, purchase.currency),
        "total": money(purchase.paid_micros, purchase.currency),
        "tax": money(0, purchase.currency),
        "oneTimePurchaseDetails": once,
    }


def _history(purchase: Purchase, paid: float) -> Resource:
    parts = [each for each in purchase.refunds if each.quantity < purchase.terms.quantity]
    whole = next((each for each in purchase.refunds if each.whole), None)
    return present(
        {
            "processedEvent": {"eventTime": rfc3339(paid)},
            "partialRefundEvents": [_part(purchase, each) for each in parts] or None,
            "refundEvent": _refund_event(purchase, whole) if whole else None,
        }
    )


def _part(purchase: Purchase, refund: Refund) -> Resource:
    at = rfc3339(refund.at)
    details = _refund_details(purchase, refund)
    return {
        "createTime": at,
        "processTime": at,
        "state": "PROCESSED_SUCCESSFULLY",
        "refundDetails": details,
    }


def _refund_event(purchase: Purchase, refund: Refund) -> Resource:
    return {
        "eventTime": rfc3339(refund.at),
        "refundReason": "CHARGEBACK" if refund.reason == CHARGEBACK else "OTHER",
        "refundDetails": _refund_details(purchase, refund),
    }


def _refund_details(purchase: Purchase, refund: Refund) -> Resource:
    share = purchase.paid_micros * refund.quantity // purchase.terms.quantity
    return {"total": money(share, purchase.currency), "tax": money(0, purchase.currency)}


def _points(purchase: Purchase) -> Resource:
    points = purchase.terms.points_micros
    return {
        "pointsOfferId": "points",
        "pointsCouponValue": money(points, purchase.currency),
        "pointsDiscountRateMicros": "10000",
        "pointsSpent": str(points // 10_000),
    }


def voided_purchase(purchase: Purchase, refund: Refund) -> Resource:
    """`VoidedPurchase`: `voidedQuantity` only while something is left."""
    return present(
        {
            "kind": "androidpublisher#voidedPurchase",
            "purchaseToken": purchase.purchase_token,
            "purchaseTimeMillis": millis(purchase.created_at),
            "voidedTimeMillis": millis(refund.at),
            "orderId": purchase.order_id,
            "voidedSource": refund.source,
            "voidedReason": refund.reason,
            "voidedQuantity": None if refund.whole else refund.quantity,
        }
    )
