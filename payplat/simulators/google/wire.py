"""How the Android Publisher API writes times and money."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

_NANOS = 1000
"""Nanos in a micro."""


def millis(at: float) -> str:
    """Milliseconds since the epoch, an int64 and so a string in JSON."""
    return str(round(at * 1000))


def rfc3339(at: float) -> str:
    """UTC with `Z`; the fraction only where there is one."""
    moment = datetime.fromtimestamp(round(at * 1000) / 1000, UTC)
    spec = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def money(micros: int, currency: str) -> dict[str, Any]:
    """`google.type.Money`: `units` a string, either part absent when zero, both of one sign."""
    units, rest = divmod(abs(micros), 1_000_000)
    sign = -1 if micros < 0 else 1
    parts = {"units": str(sign * units) if units else None, "nanos": sign * rest * _NANOS or None}
    return {"currencyCode": currency, **present(parts)}


def present(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what is None: an optional field that is not set is not written."""
    return {name: value for name, value in fields.items() if value is not None}
