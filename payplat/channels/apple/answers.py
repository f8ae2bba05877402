"""What the App Store Server API's answers mean: refusals, when to come again, and members of the right type.

Sources: Apple, "App Store Server API": "Error codes", "Identifying rate limits". An answer is believed as far as it is
exactly what Apple documents; anything else is no answer.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from payplat import seam, strict_json
from payplat.errors import ProviderMisconfigured, ProviderRefused, ProviderUnavailable
from payplat.outbound import Answer

T = TypeVar("T")
_RETRY_AFTER = re.compile(r"[0-9]{1,15}")
# The codes that Apple's names call retryable, and the one for a rate limit.
_LATER = frozenset({4040002, 4040004, 4040006, 4290000, 5000001})


def raise_refusal(answer: Answer, done: int) -> None:
    """Raise what any status but ``done`` means; ProviderRefused only for what Apple says with a code and for good."""
    if answer.status == done:
        return
    if answer.status == 401:
        time = ascii(answer.date or "not told")[:40]
        raise ProviderMisconfigured(f"Apple does not accept our token; its time is {time}.")
    code = _error_code(answer)
    refused = 400 <= answer.status < 500 and answer.status != 429
    if refused and code is not None and code not in _LATER:
        body = answer.body.decode()
        raise ProviderRefused(f"Apple refused: {ascii(body)[:200]}.", code=str(code), answer=body)
    reason = f"Apple answered {answer.status} (code {code})."
    raise ProviderUnavailable(reason, retry_at=_retry_at(answer.retry_after))


def read_object(answer: Answer) -> dict[str, Any]:
    """Return the JSON object that an answer is; raises ProviderUnavailable when it is none."""
    kind = answer.content_type.partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ProviderUnavailable("Apple's answer is no JSON.")
    try:
        told = strict_json.read(answer.body.decode())
    except ValueError:
        raise ProviderUnavailable("Apple's answer cannot be read.") from None
    if not isinstance(told, dict):
        raise ProviderUnavailable("Apple's answer is no object.")
    return told


def member(told: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """Return a member that is exactly of this type; raises ProviderUnavailable."""
    value = told.get(name)
    if type(value) is not kind:
        raise ProviderUnavailable(f"Apple's answer has no {name}.")
    return value


def text(told: Mapping[str, Any], name: str) -> str:
    """Return a member that is text and not empty; raises ProviderUnavailable."""
    value = member(told, name, str)
    if not value:
        raise ProviderUnavailable(f"Apple's answer has no {name}.")
    return value


def items(told: Mapping[str, Any], name: str, kind: type[T]) -> list[T]:
    """Return a list whose items are of this type and not empty; raises ProviderUnavailable."""
    found = member(told, name, list)
    if any(type(item) is not kind or not item for item in found):
        raise ProviderUnavailable(f"Apple's answer has other {name}.")
    return found


def _error_code(answer: Answer) -> int | None:
    try:
        return member(read_object(answer), "errorCode", int)
    except ProviderUnavailable:
        return None


def _retry_at(header: str | None) -> int | None:
    """Read ``Retry-After``: Apple writes milliseconds since 1970 where HTTP has seconds from now ("… rate limits")."""
    if header is None or not _RETRY_AFTER.fullmatch(header):
        return None
    number = int(header)
    if number > 10**11:
        return number * 1000
    if number > 10**9:
        return number * seam.SECOND
    return seam.now() + number * seam.SECOND
