"""How Alipay writes things down: yuan, Beijing time, the text under a signature, answer JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta, timezone

BEIJING = timezone(timedelta(hours=8))
"""China has had no daylight saving time since 1991."""

_YUAN = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?")


def yuan(fen: int) -> str:
    """8880 fen as `88.80`."""
    return f"{fen // 100}.{fen % 100:02d}"


def fen(text: object) -> int:
    """Yuan text as fen, exactly; ValueError for a float, an exponent, a third decimal."""
    match = _YUAN.fullmatch(text) if isinstance(text, str) else None
    if not match:
        raise ValueError(f"not an amount in yuan: {text!r}")
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))


def beijing(at: float) -> str:
    """Seconds since the epoch as `yyyy-MM-dd HH:mm:ss`, Beijing time."""
    return datetime.fromtimestamp(at, BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def beijing_fractions(at: float) -> str:
    """As `gmt_refund` is written: with milliseconds."""
    return datetime.fromtimestamp(at, BEIJING).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def from_beijing(text: str) -> float:
    """Beijing time, seconds optional, as seconds since the epoch; ValueError for other formats."""
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError(f"not yyyy-MM-dd HH:mm:ss: {text!r}")
    layout = "%Y-%m-%d %H:%M:%S" if match[1] else "%Y-%m-%d %H:%M"
    return datetime.strptime(text, layout).replace(tzinfo=BEIJING).timestamp()


def canonical(
    parameters: Mapping[str, str], without: Collection[str], *, blanks: bool = True
) -> str:
    """The text under a signature: `name=value` by name, joined with `&`, values not encoded.

    Requests leave out `sign` and blank values; notifications `sign` and `sign_type`, keeping
    the blank ones.
    """
    names = sorted(name for name in parameters if name not in without)
    kept = (name for name in names if blanks or parameters[name].strip())
    return "&".join(f"{name}={parameters[name]}" for name in kept)


def compact(value: object) -> str:
    """JSON as the gateway writes it: no blanks, UTF-8 not escaped, `/` as `\\/`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("/", "\\/")
