"""Which endpoint answers which path of the App Store Server API."""

from __future__ import annotations

import re
from collections.abc import Callable

from payplat.simulators.apple import history, told, transactions
from payplat.simulators.apple.calls import Answer, Call
from payplat.simulators.apple.refusals import NO_SUCH_PATH, Refusal

Endpoint = Callable[..., Answer]

_V1 = "/inApps/v1"
_V2 = "/inApps/v2"

_ENDPOINTS: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", f"{_V1}/transactions/([^/]+)", transactions.info),
    ("POST", f"{_V1}/transactions/([^/]+)/finish", transactions.finish),
    ("PUT", f"{_V1}/transactions/([^/]+)/appAccountToken", transactions.set_token),
    ("PUT", f"{_V2}/transactions/consumption/([^/]+)", transactions.consumption),
    ("GET", f"{_V2}/history/([^/]+)", history.transactions),
    ("GET", f"{_V2}/refund/lookup/([^/]+)", history.refunds),
    ("POST", f"{_V1}/notifications/test", told.request_test),
    ("GET", f"{_V1}/notifications/test/([^/]+)", told.test_status),
    ("POST", f"{_V1}/notifications/history", told.notifications),
)


def perform(call: Call, method: str, path: str) -> Answer:
    """Answer; paths are case-sensitive. Raises Refusal."""
    for known, pattern, endpoint in _ENDPOINTS:
        found = re.fullmatch(pattern, path)
        if found and method == known:
            return endpoint(call, *found.groups())
    raise Refusal(NO_SUCH_PATH)
