"""The list of voided purchases: window, paging and quota ("Voided Purchases API", developers.google.com)."""

from __future__ import annotations

import base64
import binascii
import json
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from payplat.simulators.google.purchases import Purchase, Refund
from payplat.simulators.google.refusals import Refusal
from payplat.simulators.google.resources import voided_purchase

_WINDOW = 30 * 86400_000
_MOST = 1000
_QUOTAS = {30.0: 30, 86400.0: 6000}
"""Seconds, and how many questions an app may ask within them."""


@dataclass(frozen=True)
class Page:
    """What is asked for: `start` and `end` in milliseconds since the epoch."""

    start: int
    end: int
    partial: bool
    offset: int = 0

    @classmethod
    def of(cls, query: Mapping[str, str], now: float) -> Page:
        """Read the parameters; a page token stands for all filters. Raises Refusal."""
        if "token" in query:
            return cls._read(query["token"])
        moment = int(now * 1000)
        start = _number(query.get("startTime"), moment - _WINDOW)
        end = _number(query.get("endTime"), moment)
        if start < moment - _WINDOW or end > moment or start > end:
            raise Refusal("invalid")
        if query.get("type", "0") not in ("0", "1"):
            raise Refusal("invalid")
        return cls(start, end, query.get("includeQuantityBasedPartialRefund") == "true")

    @classmethod
    def _read(cls, token: str) -> Page:
        try:
            return cls(*json.loads(base64.urlsafe_b64decode(token)))
        except (binascii.Error, ValueError, TypeError):
            raise Refusal("invalid") from None

    def following(self, count: int) -> str:
        """The token of the page after this one."""
        parts = [self.start, self.end, self.partial, self.offset + count]
        return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()

    def shows(self, refund: Refund) -> bool:
        """By the time it was recorded; what was not revoked is not void."""
        within = self.start <= int(refund.recorded_at * 1000) <= self.end
        return within and refund.revoke and (refund.whole or self.partial)


class Quota:
    """How often each app has asked lately."""

    def __init__(self) -> None:
        self._asked: dict[str, deque[float]] = defaultdict(deque)

    def spend(self, package: str, now: float) -> None:
        """Count one question; raises Refusal for one too many."""
        asked = self._asked[package]
        while asked and asked[0] <= now - max(_QUOTAS):
            asked.popleft()
        for seconds, most in _QUOTAS.items():
            if len(asked) >= most and asked[-most] > now - seconds:
                raise Refusal("rateLimitExceeded")
        asked.append(now)


def list_voided(
    purchases: Iterable[Purchase], query: Mapping[str, str], now: float
) -> dict[str, Any]:
    """`VoidedPurchasesListResponse`, the oldest first; raises Refusal."""
    page = Page.of(query, now)
    most = min(_number(query.get("maxResults"), _MOST), _MOST)
    if most < 1:
        raise Refusal("invalid")
    all_of = [(each, refund) for each in purchases for refund in each.refunds]
    shown = sorted(
        (pair for pair in all_of if page.shows(pair[1])), key=lambda pair: pair[1].recorded_at
    )
    here = shown[page.offset : page.offset + most]
    reply: dict[str, Any] = {}
    if len(shown) > page.offset + most:
        reply["tokenPagination"] = {"nextPageToken": page.following(most)}
    if here:
        reply["voidedPurchases"] = [voided_purchase(*pair) for pair in here]
    return reply


def _number(text: str | None, default: int) -> int:
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise Refusal("invalid") from None
