"""What Apple's words mean: transactions and notifications read as verdicts. Pure functions.

Sources: App Store Server API, "JWSTransactionDecodedPayload"; App Store Server Notifications, "notificationType" and
"responseBodyV2DecodedPayload". Apple's times are milliseconds, its prices milliunits, its shares thousandths of a
percent.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from payplat import money, seam
from payplat.errors import InvalidRequest
from payplat.purchase import Evidence, Notice, Refund, State, Verdict

Payload = Mapping[str, Any]
KIND = "apple"
# Whether a product can be bought again, by Apple's word for its type; subscriptions are not sold yet.
_CONSUMABLE = {"Consumable": True, "Non-Consumable": False}
_WHOLE = 100_000
_LATEST = 10**14  # milliseconds; in the year 5138
_MILLISECOND = seam.SECOND // 1000
# Apple waits this long for an answer to a consumption request ("Send Consumption Information").
_CONSUMPTION_HOURS = 12
_OF_SUBSCRIPTIONS = frozenset(
    "SUBSCRIBED DID_RENEW DID_FAIL_TO_RENEW GRACE_PERIOD_EXPIRED EXPIRED OFFER_REDEEMED DID_CHANGE_RENEWAL_PREF "
    "DID_CHANGE_RENEWAL_STATUS PRICE_INCREASE RENEWAL_EXTENDED RENEWAL_EXTENSION PRICE_CHANGE METADATA_UPDATE "
    "MIGRATION EXTERNAL_PURCHASE_TOKEN RESCIND_CONSENT".split()
)


def environment_of(payload: Payload) -> str:
    """Return the environment in our words; one that is neither of the two stays what it is, and fits no order."""
    return (_text(payload, "environment") or "")[:16].lower()


def order_no_of(transaction: Payload) -> str | None:
    """Return the order number that the app gave as ``appAccountToken``, None where it gave none."""
    token = transaction.get("appAccountToken")
    try:
        return UUID(str(token)).hex if token else None
    except ValueError:
        return None


def is_whole(transaction: Payload) -> bool:
    """Whether a revoked transaction was given back in whole; a prorated refund says which share went back."""
    share = _share(transaction)
    prorated = transaction.get("revocationType", "REFUND_PRORATED") == "REFUND_PRORATED"
    return not (prorated and share is not None and share < _WHOLE)


def read_transaction(transaction: Payload, evidence: Evidence, verifier: str) -> Verdict:
    """Read a verified transaction; one that lacks what Apple always sends is UNKNOWN, with an objection."""
    unread = Verdict(
        state=State.UNKNOWN,
        kind=KIND,
        environment=environment_of(transaction),
        account=_text(transaction, "bundleId") or "",
        order_no=order_no_of(transaction),
        evidence=evidence,
        verifier=verifier,
        objection="form",
    )
    if not _is_complete(transaction):
        return unread
    amount, currency, unpriced = price_of(transaction)
    return replace(
        unread,
        transaction_id=_transaction_id(transaction),
        amount=amount,
        currency=currency,
        product=transaction["productId"],
        quantity=transaction["quantity"],
        consumable=_CONSUMABLE.get(transaction["type"]),
        payer=_text(transaction, "appTransactionId"),
        paid_at=transaction["purchaseDate"] * _MILLISECOND,
        objection=_objection(transaction),
        note=unpriced,
        **_revocation(transaction),
    )


def price_of(transaction: Payload) -> tuple[int | None, str | None, str]:
    """Return the price in minor units and its currency; both None, with a note, where it is none or not exact.

    ``price`` is the total for the quantity, in milliunits.
    """
    price, currency = transaction.get("price"), transaction.get("currency")
    if type(price) is not int or not isinstance(currency, str):
        return None, None, ""
    try:
        amount, rest = divmod(price * 10 ** money.exponent(currency), 1000)
    except InvalidRequest:
        rest = amount = -1
    if rest or not 0 < amount < money.MAX_AMOUNT:
        return None, None, f"price {price} milliunits of {currency[:8]}"
    return amount, currency, ""


def read_notification_of(
    notification: Payload, purchase: Verdict, *, asks_merchant: bool
) -> Verdict:
    """Read what a verified notification says of its verified transaction, whose own verdict is ``purchase``."""
    kind, key = _word(notification, "notificationType"), _word(notification, "notificationUUID")
    purchase = replace(purchase, note="; ".join(filter(None, (kind, purchase.note))))
    if kind == "ONE_TIME_CHARGE" and purchase.objection == "ownership":
        return _aside(purchase, Notice("family_shared", key))
    if kind in ("REFUND", "REVOKE") and purchase.refund is None:
        return replace(purchase, state=State.UNKNOWN, objection="refund")
    if kind in ("ONE_TIME_CHARGE", "REFUND", "REVOKE"):
        return purchase
    if kind == "REFUND_REVERSED":
        # What is revoked now has been refunded once more since, and that refund stands.
        since = purchase.refund.at if purchase.refund else None
        until = since - 1 if since else _signed_at(notification)
        reversal = Refund("", at=until, reversed=True, reversal=key)
        return replace(purchase, state=State.PAID, refund=reversal)
    if kind == "REFUND_DECLINED":
        return replace(purchase, notice=Notice("refund_declined", key))
    if kind == "CONSUMPTION_REQUEST":
        return replace(purchase, notice=_consumption(notification, key, is_event=asks_merchant))
    subtype = _word(notification, "subtype")
    if kind in _OF_SUBSCRIPTIONS or purchase.consumable is None:
        return _aside(purchase, Notice("notified", key, {"type": kind, "subtype": subtype}))
    return _aside(purchase, None)


def read_other(notification: Payload, environment: str, account: str) -> dict[str, Any]:
    """Return the facts of a notification without a transaction: a test, or one that names no purchase."""
    return {
        "state": State.UNKNOWN,
        "kind": KIND,
        "environment": environment,
        "account": account,
        "order_no": None,
        "note": _word(notification, "notificationType"),
    }


def _aside(purchase: Verdict, notice: Notice | None) -> Verdict:
    """Keep a notification with its order, and let it say nothing about payment."""
    bare = replace(purchase, state=State.UNKNOWN, amount=None, currency=None, refund=None)
    return replace(bare, product=None, quantity=None, consumable=None, objection="", notice=notice)


def _consumption(notification: Payload, key: str, *, is_event: bool) -> Notice:
    data = notification.get("data")
    reason = _word(data, "consumptionRequestReason") if isinstance(data, dict) else ""
    until = _signed_at(notification) + _CONSUMPTION_HOURS * 3600 * seam.SECOND
    detail = {"reason": reason, "answer_until": seam.rfc3339(until)}
    return Notice("consumption_requested", key, detail, is_event=is_event)


def _signed_at(signed: Payload) -> int:
    return int(signed["signedDate"]) * _MILLISECOND


def _is_complete(transaction: Payload) -> bool:
    texts = ("transactionId", "originalTransactionId", "productId", "type", "inAppOwnershipType")
    revoked = transaction.get("revocationDate")
    return (
        all(_text(transaction, name) for name in texts)
        and type(transaction.get("quantity")) is int
        and _is_time(transaction.get("purchaseDate"))
        and (revoked is None or _is_time(revoked))
    )


def _is_time(value: object) -> bool:
    """Whether it is a time in milliseconds; a bool is an int too, and what is later fits no column."""
    return type(value) is int and 0 < value < _LATEST


def _text(payload: Payload, name: str) -> str | None:
    """Return a text that fits where ids are kept, or None; Apple writes ids and words in ASCII."""
    value = payload.get(name)
    fits = isinstance(value, str) and value.isascii() and 0 < len(value) <= 150
    return value if fits else None


def _word(payload: Payload, name: str) -> str:
    """Return a text that fits where words are kept, empty where there is none."""
    return (_text(payload, name) or "")[:64]


def _share(transaction: Payload) -> int | None:
    share = transaction.get("revocationPercentage")
    return share if type(share) is int and 0 <= share <= _WHOLE else None


def _transaction_id(transaction: Payload) -> str:
    """What is bought once and for all is named by its first transaction: a restore is not a new payment."""
    is_once = transaction["type"] == "Non-Consumable"
    return str(transaction["originalTransactionId" if is_once else "transactionId"])


def _objection(transaction: Payload) -> str:
    if transaction["inAppOwnershipType"] != "PURCHASED":
        return "ownership"
    return "" if transaction["type"] in _CONSUMABLE else "type"


def _revocation(transaction: Payload) -> dict[str, Any]:
    """Return state and refund of a transaction that was revoked: refunded, or taken from a family member."""
    revoked = transaction.get("revocationDate")
    if revoked is None:
        return {"state": State.PAID}
    refund = Refund(
        f"{_transaction_id(transaction)}/{revoked}",
        share=_share(transaction),
        type=_word(transaction, "revocationType")[:32],
        at=revoked * _MILLISECOND,
    )
    return {"state": State.REFUNDED if is_whole(transaction) else State.PAID, "refund": refund}
