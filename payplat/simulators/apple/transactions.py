"""The endpoints that are about one transaction."""

from __future__ import annotations

import re
from typing import Any

from payplat.simulators.apple.books import AUTO_RENEWABLE, FAMILY_SHARED
from payplat.simulators.apple.calls import Answer, Call
from payplat.simulators.apple.refusals import Refusal

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DELIVERED = "DELIVERED"
_DELIVERY = (
    _DELIVERED,
    "UNDELIVERED_QUALITY_ISSUE",
    "UNDELIVERED_WRONG_ITEM",
    "UNDELIVERED_SERVER_OUTAGE",
    "UNDELIVERED_OTHER",
)
_PREFERENCES = ("DECLINE", "GRANT_FULL", "GRANT_PRORATED")


def info(call: Call, number: str) -> Answer:
    """ "Get Transaction Info"."""
    return Answer({"signedTransactionInfo": call.purchase(number).jws})


def finish(call: Call, number: str) -> Answer:
    """ "Finish Transaction"."""
    call.purchase(number).finished = True
    return Answer()


def set_token(call: Call, number: str) -> Answer:
    """ "Set App Account Token": every transaction of this original carries it from now on."""
    purchase = call.purchase(number, missing=4040005)
    if purchase.fields["inAppOwnershipType"] == FAMILY_SHARED:
        raise Refusal(4000185)
    if purchase.original_transaction_id != number:
        raise Refusal(4000187)
    token = call.json().get("appAccountToken")
    if not (isinstance(token, str) and _UUID.fullmatch(token)):
        raise Refusal(4000183)
    for each in call.store.books.original(number):
        each.fields["appAccountToken"] = token.lower()
        call.store.books.changed(each)
    return Answer()


def consumption(call: Call, number: str) -> Answer:
    """ "Send Consumption Information"; `consumption` of the purchase keeps what was sent."""
    purchase = call.purchase(number)
    told = call.json()
    _check_consumption(told)
    if "consumptionPercentage" in told and purchase.fields["type"] == AUTO_RENEWABLE:
        raise Refusal(4000209)
    purchase.consumption.append(told)
    return Answer(status=202)


def _check_consumption(told: dict[str, Any]) -> None:
    if told.get("customerConsented") is not True:
        raise Refusal(4000035)
    if not isinstance(told.get("sampleContentProvided"), bool):
        raise Refusal(4000041)
    if told.get("deliveryStatus") not in _DELIVERY:
        raise Refusal(4000036)
    if told.get("refundPreference", _PREFERENCES[0]) not in _PREFERENCES:
        raise Refusal(4000044)
    _check_percentage(told.get("consumptionPercentage", 0), told["deliveryStatus"])


def _check_percentage(percentage: object, delivery: str) -> None:
    """Apple has numbers of its own for these two errors; they are not in its public table."""
    whole = isinstance(percentage, int) and not isinstance(percentage, bool)
    highest = 100000 if delivery == _DELIVERED else 0
    if not (whole and 0 <= percentage <= highest):  # type: ignore[operator]
        raise Refusal(4000000)
