"""The endpoints that are about notifications: their history, and a test."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from payplat.simulators.apple.books import PRODUCTION, SANDBOX
from payplat.simulators.apple.calls import Answer, Call
from payplat.simulators.apple.history import PAGE
from payplat.simulators.apple.notices import DELIVERED, TYPES, Notice
from payplat.simulators.apple.refusals import Refusal
from payplat.simulators.apple.tickets import read_ticket, ticket

_DAY = 86_400_000
_REACH = {PRODUCTION: 180 * _DAY, SANDBOX: 30 * _DAY}
"""How far back the history goes, in milliseconds ("NotificationHistoryRequest")."""

_TEST_TOKEN = re.compile(r"[0-9a-f-]{36}_\d+")


def request_test(call: Call) -> Answer:
    """ "Request a Test Notification"."""
    if not call.app.notification_urls.get(call.environment):
        raise Refusal(4040007)
    token = call.store.start_test(call.app.bundle_id, call.environment)
    return Answer({"testNotificationToken": token})


def test_status(call: Call, token: str) -> Answer:
    """ "Get Test Notification Status"."""
    if not _TEST_TOKEN.fullmatch(token):
        raise Refusal(4000020)
    notice = call.store.tests.get(token)
    if notice is None or not notice.outcomes or not _of(call, notice):
        raise Refusal(4040008)
    return Answer(_item(notice))


def notifications(call: Call) -> Answer:
    """ "Get Notification History": what was sent or tried, as it was then."""
    wish = call.json()
    start, end = _span(call, wish)
    fits = _filter(call, wish)
    found = [
        notice
        for notice in call.store.courier.notices
        if notice.outcomes and _of(call, notice) and start <= notice.at * 1000 < end
        if fits(notice)
    ]
    return Answer(_page(call, wish, found))


def _page(call: Call, wish: dict[str, Any], found: list[Notice]) -> dict[str, Any]:
    """A token is good for the request that it was given to, and no other."""
    digest = hashlib.sha256(json.dumps(wish, sort_keys=True).encode()).hexdigest()[:16]
    text = call.one("paginationToken")
    place = read_ticket(digest, text, 4000014) if text is not None else 0
    more = len(found) > place + PAGE
    following = {"paginationToken": ticket(digest, place + PAGE)} if more else {}
    items = [_item(notice) for notice in found[place : place + PAGE]]
    return {"notificationHistory": items, "hasMore": more, **following}


def _item(notice: Notice) -> dict[str, Any]:
    return {"signedPayload": notice.signed, "sendAttempts": notice.outcomes}


def _of(call: Call, notice: Notice) -> bool:
    return (notice.bundle_id, notice.environment) == (call.app.bundle_id, call.environment)


def _span(call: Call, wish: dict[str, Any]) -> tuple[int, int]:
    start = _milliseconds(wish.get("startDate"), 4000015)
    end = _milliseconds(wish.get("endDate"), 4000016)
    if start >= end:
        raise Refusal(4000013)
    if start < call.store.milliseconds - _REACH[call.environment]:
        raise Refusal(4000012)
    return start, end


def _milliseconds(value: object, wrong: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Refusal(wrong)
    return value


def _filter(call: Call, wish: dict[str, Any]) -> Callable[[Notice], bool]:
    number, kind = wish.get("transactionId"), wish.get("notificationType")
    subtype = wish.get("notificationSubtype")
    if number is not None and kind is not None:
        raise Refusal(4000019)
    if kind not in (None, *TYPES) or (subtype is not None and kind is None):
        raise Refusal(4000018)
    owner = call.owner(str(number)) if number is not None else None

    def fits(notice: Notice) -> bool:
        theirs = (notice.customer, notice.bundle_id, notice.environment)
        return (
            owner in (None, theirs)
            and kind in (None, notice.notification_type)
            and subtype in (None, notice.subtype)
            and not (wish.get("onlyFailures") and notice.state == DELIVERED)
        )

    return fits
