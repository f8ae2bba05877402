"""What Google Play's words mean: purchases, orders and voided purchases read as verdicts. Pure functions.

Sources: Google Play Developer API v3, "purchases.productsv2", "purchases.voidedpurchases", "orders". A purchase is named
by its token; int64 travels as text, money as units and nanos.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from payplat import money, seam
from payplat.errors import InvalidRequest
from payplat.purchase import Evidence, Owed, Refund, State, Verdict

Payload = Mapping[str, Any]
KIND = "google"
# Google gives the money of a purchase back that is not acknowledged in three days; consuming frees the product again.
CONSUME_WITHIN = 48 * 3600
_NANOS = 9
_SUBSCRIPTION, _PARTIAL = 1, 2


def read_purchase(
    purchase: Payload, token: str, account: str, evidence: Evidence, verifier: str
) -> Verdict:
    """Read what "purchases.productsv2" says of the purchase with this token."""
    item = _only(purchase.get("productLineItem"))
    offer = _inner(item, "productOfferDetails")
    unread = Verdict(
        state=State.UNKNOWN,
        kind=KIND,
        # A test is one by the member's presence, whatever it holds.
        environment="sandbox" if "testPurchaseContext" in purchase else "production",
        account=account,
        order_no=_text(purchase, "obfuscatedExternalProfileId"),
        evidence=evidence,
        verifier=verifier,
        transaction_id=token,
        payer=_text(purchase, "obfuscatedExternalAccountId"),
        receipt=_text(purchase, "orderId"),
        note=_note(purchase),
    )
    quantity = _count(offer.get("quantity", 1))
    if quantity is None or _text(item, "productId") is None:
        return replace(unread, objection="form")
    context = _inner(purchase, "purchaseStateContext")
    completed = _moment(purchase.get("purchaseCompletionTime"))
    read = replace(unread, product=item["productId"], quantity=quantity, paid_at=completed)
    if read.order_no is None and is_consumed(purchase):
        # Somebody has had these goods already: nobody may claim them once more.
        read = replace(read, objection="consumed")
    return _in_state(read, str(context.get("purchaseState")), offer)


def _note(purchase: Payload) -> str:
    """What people ask Google about: its own order id, and where it was bought."""
    order_id, region = _text(purchase, "orderId"), _text(purchase, "regionCode", 8)
    told = f"order {order_id}" if order_id else "no order id: nothing was charged"
    return f"{told}, region {region}" if region else told


def _in_state(read: Verdict, state: str, offer: Payload) -> Verdict:
    """A purchase is cancelled before it is complete, or revoked afterwards: then its money went back."""
    if state == "PENDING":
        return replace(read, state=State.PENDING)
    if state == "CANCELLED" and read.paid_at is None:
        return replace(read, state=State.CLOSED)
    if state not in ("PURCHASED", "CANCELLED"):
        return replace(read, product=None, quantity=None, objection="form")
    quantity = read.quantity or 1
    left = _count(offer.get("refundableQuantity", quantity))
    if state == "CANCELLED" or left == 0:
        refund = whole_refund(str(read.transaction_id), quantity)
        return replace(read, state=State.REFUNDED, refund=refund)
    paid = replace(read, state=State.PAID)
    if left is None or left >= quantity:
        return paid
    returned = quantity - left
    key = f"{_name(str(read.transaction_id))}/{returned}"
    return replace(paid, refund=Refund(key, type="QUANTITY", returned=returned))


def whole_refund(token: str, quantity: int | None = None) -> Refund:
    """Return the refund of all that a token bought; whoever tells of it, it is the same one."""
    return Refund(f"{_name(token)}/all", type="FULL", returned=quantity)


def voided(row: Payload, account: str, environment: str, evidence: Evidence) -> Verdict | None:
    """Read a row of the voided purchases; None for a part, of which only the purchase itself tells how much it is."""
    if row.get("voidedQuantity") is not None or _text(row, "purchaseToken", 2048) is None:
        return None
    reason = f"voided: source {row.get('voidedSource')}, reason {row.get('voidedReason')}"
    return Verdict(
        state=State.REFUNDED,
        kind=KIND,
        environment=environment,
        account=account,
        order_no=None,
        evidence=evidence,
        verifier="query:voidedpurchases",
        transaction_id=row["purchaseToken"],
        refund=whole_refund(row["purchaseToken"]),
        note=reason,
    )


def owed(consumable: bool) -> tuple[Owed, ...]:  # noqa: FBT001 - reads as what it is
    """Return what a payment owes to Google: to acknowledge at once, to consume when the merchant has the goods."""
    acknowledge = Owed("acknowledge")
    return (acknowledge, Owed("consume", CONSUME_WITHIN)) if consumable else (acknowledge,)


def priced(verdict: Verdict, order: Payload) -> Verdict:
    """Add what was charged ("orders.get": ``total``, with tax); a partial refund becomes its share of that."""
    amount, currency = _amount(order.get("total"))
    if amount is None:
        return verdict
    refund, quantity = verdict.refund, verdict.quantity or 1
    if refund is not None and refund.returned and verdict.state is State.PAID:
        part, rest = divmod(amount * refund.returned, quantity)
        refund = refund if rest else replace(refund, total=part)
    return replace(verdict, amount=amount, currency=currency, refund=refund)


def is_acknowledged(purchase: Payload) -> bool:
    """Whether Google has our acknowledgement."""
    return purchase.get("acknowledgementState") == "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"


def is_consumed(purchase: Payload) -> bool:
    """Whether the purchase was consumed."""
    offer = _inner(_only(purchase.get("productLineItem")), "productOfferDetails")
    return bool(offer.get("consumptionState") == "CONSUMPTION_STATE_CONSUMED")


def _amount(total: Any) -> tuple[int | None, str | None]:
    """Read ``Money`` as minor units, exactly or not at all; free of charge is no amount."""
    if not isinstance(total, dict):
        return None, None
    try:
        currency = str(total.get("currencyCode"))
        nanos = int(total.get("units", "0")) * 10**_NANOS + int(total.get("nanos", 0))
        amount, rest = divmod(nanos, 10 ** (_NANOS - money.exponent(currency)))
    except (InvalidRequest, TypeError, ValueError):
        return None, None
    fits = not rest and 0 < amount < money.MAX_AMOUNT
    return (amount, currency) if fits else (None, None)


def _name(token: str) -> str:
    """A token is longer than a key may be."""
    return hashlib.sha256(token.encode()).hexdigest()


def _only(items: Any) -> Payload:
    """Return the one line item; bundles are not sold."""
    is_one = isinstance(items, list) and len(items) == 1 and isinstance(items[0], dict)
    return items[0] if is_one else {}


def _inner(payload: Payload, name: str) -> Payload:
    """Return the object of that name; an empty one where there is none."""
    value = payload.get(name)
    return value if isinstance(value, dict) else {}


def _text(payload: Payload, name: str, length: int = 150) -> str | None:
    value = payload.get(name)
    return value if isinstance(value, str) and 0 < len(value.encode()) <= length else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _moment(text: Any) -> int | None:
    """Read an RFC 3339 time as microseconds."""
    try:
        return int(datetime.fromisoformat(str(text)).timestamp() * seam.SECOND)
    except ValueError:
        return None
