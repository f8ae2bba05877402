"""JSON from outside, read strictly: no key twice, no odd number, no text that cannot be stored, no depth without end."""

import json
import math
import re
from typing import Any, NoReturn

MOST_DEPTH = 64
# More than any number of ours or theirs; reading one takes time that grows with the square of its digits.
_MOST_DIGITS = 100
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def read(text: str) -> Any:
    """Return what the text says, which was UTF-8; raises ValueError that says what is wrong."""
    try:
        found = DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    # Only an escape can write what nobody can store, and only brackets nest.
    if "\\u" in text or text.count("{") + text.count("[") > MOST_DEPTH:
        require_storable(found)
    return found


def require_storable(found: Any) -> None:
    """Raise ValueError where something that was decoded holds what nobody can store, or is nested too deeply."""
    _check(found, MOST_DEPTH)


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if not depth:
            raise ValueError("it is nested too deeply")
        for inner in value:
            _check(inner, depth - 1)
        if isinstance(value, dict):
            _check(list(value.values()), depth)


def _check_text(text: str) -> None:
    """Raise ValueError for what databases, logs and UTF-8 cannot hold."""
    if "\0" in text:
        raise ValueError("a text contains NUL")
    if _SURROGATE.search(text):
        raise ValueError("a text contains half a surrogate pair")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("an integer is too large")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_finite, parse_constant=_no_number
)
