"""What Google's answers mean: strict JSON, refusals by their reason, and when to come again.

Sources: Android Publisher API v3, the error envelope as its clients read it, and "Quotas". Google publishes no complete
list of reasons; those here are from public reports. What is not understood is no answer.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any

from payplat import seam, strict_json
from payplat.errors import ProviderMisconfigured, ProviderRefused, ProviderUnavailable
from payplat.outbound import Answer

_RETRY_AFTER = re.compile(r"[0-9]{1,7}")
_REFUSALS = frozenset({400, 404, 410})
_NOT_OURS = frozenset({401, 403})
# These come with 403 too, and pass by themselves.
_QUOTA = frozenset(
    {
        "rateLimitExceeded",
        "userRateLimitExceeded",
        "quotaExceeded",
        "dailyLimitExceeded",
        "RESOURCE_EXHAUSTED",
    }
)
# It is said of the package name, never of the purchase.
_NO_APPLICATION = "applicationNotFound"


def read_json(raw: bytes) -> dict[str, Any]:
    """Return the JSON object that this is; raises ValueError for anything else, or anything that reads in two ways."""
    told = strict_json.read(raw.decode())
    if not isinstance(told, dict):
        raise ValueError("it is no object")
    return told


def from_base64url(text: str) -> bytes:
    """Decode base64url without padding; raises ValueError for what does not read back as the same text."""
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("this is no base64url")
    return raw


def read_object(answer: Answer) -> dict[str, Any]:
    """Return the JSON object that an answer is; raises ProviderUnavailable when it is none."""
    kind = answer.content_type.partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ProviderUnavailable("Google's answer is no JSON.")
    try:
        return read_json(answer.body)
    except ValueError:
        raise ProviderUnavailable("Google's answer cannot be read.") from None


def raise_refusal(answer: Answer) -> None:
    """Raise what any status but success means; ProviderRefused only for what Google says with a reason and for good."""
    if 200 <= answer.status < 300:
        return
    reason = _reason(answer)
    told = f"Google answered {answer.status} ({ascii(reason)[:80]})."
    if reason and answer.status in _REFUSALS and reason != _NO_APPLICATION:
        raise ProviderRefused(told, code=reason, answer=answer.body.decode())
    if reason == _NO_APPLICATION or (reason not in _QUOTA and answer.status in _NOT_OURS):
        raise ProviderMisconfigured(told)
    raise ProviderUnavailable(told, retry_at=retry_at(answer))


def retry_at(answer: Answer) -> int | None:
    """Return when to come again (microseconds, UTC), or None where ``Retry-After`` does not say it in seconds."""
    header = answer.retry_after
    if header is None or not _RETRY_AFTER.fullmatch(header):
        return None
    return seam.now() + int(header) * seam.SECOND


def _reason(answer: Answer) -> str:
    """Return the reason of an error in Google's envelope, its status where it gives none, or nothing."""
    try:
        error = read_object(answer).get("error")
    except ProviderUnavailable:
        return ""
    if not isinstance(error, Mapping):
        return ""
    details = error.get("errors")
    first = details[0] if isinstance(details, list) and details else None
    reason = first.get("reason") if isinstance(first, Mapping) else error.get("status")
    return reason if isinstance(reason, str) else ""
