"""A notification ("App Store Server Notifications V2"): its payload, its state, and each attempt."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from payplat.simulators.apple.faults import NoticeFault

TYPES = frozenset(
    "CONSUMPTION_REQUEST DID_CHANGE_RENEWAL_PREF DID_CHANGE_RENEWAL_STATUS DID_FAIL_TO_RENEW "
    "DID_RENEW EXPIRED EXTERNAL_PURCHASE_TOKEN GRACE_PERIOD_EXPIRED METADATA_UPDATE MIGRATION "
    "OFFER_REDEEMED ONE_TIME_CHARGE PRICE_CHANGE PRICE_INCREASE REFUND REFUND_DECLINED "
    "REFUND_REVERSED RENEWAL_EXTENDED RENEWAL_EXTENSION RESCIND_CONSENT REVOKE SUBSCRIBED "
    "TEST".split()
)

WAITING = "waiting"
HELD = "held"
SENDING = "sending"
DELIVERED = "delivered"
EXHAUSTED = "exhausted"

SUCCESS = "SUCCESS"


@dataclass
class Attempt:
    """One delivery as it went out, and what came of it; `at` in seconds since 1970.

    `result` is a "sendAttemptResult"; `status` None means that no answer came.
    """

    notification_uuid: str
    notification_type: str
    number: int
    at: float
    url: str
    body: bytes
    status: int | None = None
    result: str = ""

    @property
    def accepted(self) -> bool:
        """200 to 206 ("Responding to App Store Server Notifications")."""
        return self.result == SUCCESS


@dataclass
class Notice:
    """One notification on its way: its content, as it was when it happened.

    `data` goes into the payload; `transaction` is signed into it at each attempt.
    """

    notification_type: str
    notification_uuid: str
    bundle_id: str
    environment: str
    url: str
    at: float
    data: dict[str, Any]
    fault: NoticeFault
    subtype: str = ""
    transaction: dict[str, Any] | None = None
    customer: str = ""
    signed: str = ""
    state: str = WAITING
    rounds: int = 0
    ticket: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    tried: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def open(self) -> bool:
        """Whether it may go out at any moment."""
        return self.state in (WAITING, HELD)

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        """`sendAttempts`: one for each round, however many copies went out in it."""
        rounds = {attempt.number: attempt for attempt in self.attempts}
        return [
            {"attemptDate": int(each.at * 1000), "sendAttemptResult": each.result}
            for each in rounds.values()
            if each.result
        ]
