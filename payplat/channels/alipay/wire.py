"""Alipay's wire formats: what is signed, how forms and answers are read. Pure functions on exact bytes.

Sources: Alipay Open Platform, "Request signature", "Synchronous response verification", "Asynchronous notification".
"""

import re
from binascii import a2b_qp
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from payplat import seam, strict_json

BEIJING = timezone(timedelta(hours=8))
_MOMENT = re.compile(r"[0-9]{4}(-[0-9]{2}){2} [0-9]{2}(:[0-9]{2}){2}")
_TIME = "%Y-%m-%d %H:%M:%S"
_MAX_FIELDS = 100
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TO_QUOTE = re.compile(r"[^A-Za-z0-9_.~-]+")
# Names, and what stands between words, are the same in most requests.
_quoted = lru_cache(1024)(quote_plus)
_BLANK = re.compile(r"[ \t\n\r]*")
_UNSIGNED = frozenset({"sign", "sign_type"})
# The fields of a notification on which something depends.
_READ = frozenset(
    "app_id seller_id charset notify_type out_trade_no trade_no trade_status total_amount refund_fee out_biz_no "
    "gmt_payment passback_params buyer_id buyer_user_id buyer_open_id send_pay_date".split()
)


class Malformed(Exception):
    """These bytes are not what Alipay sends."""


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """A gateway answer taken apart: ``text`` is the exact source text that was signed, ``node`` its content."""

    text: str
    node: Mapping[str, Any]
    sign: str | None


def request_text(parameters: Mapping[str, str]) -> bytes:
    """Return what is signed of a request: all but ``sign``, sorted, ``name=value`` joined by ``&``, not encoded."""
    return "&".join(f"{k}={v}" for k, v in sorted(parameters.items()) if k != "sign" and v).encode()


def notification_text(parameters: Mapping[str, str], *, blanks: bool = True) -> bytes:
    """Return what is signed of a notification: as of a request, without ``sign_type`` too; blank values count."""
    named = sorted(parameters.items())
    return "&".join([f"{k}={v}" for k, v in named if k not in _UNSIGNED and (v or blanks)]).encode()


def is_ambiguous(parameters: Mapping[str, str]) -> bool:
    """Whether what is signed of a notification could be cut into other fields than these.

    It has no escapes: a name or value that holds ``&total_amount=…`` hides a field, or was itself cut out of one.
    """
    names = "".join(parameters)
    if "=" not in names and "&" not in names and "&" not in "".join(parameters.values()):
        return False
    pieces = (
        p.split("=", 1) for p in notification_text(parameters).decode().split("&") if "=" in p
    )
    told = sorted([k, v] for k, v in parameters.items() if k in _READ)
    return told != sorted(piece for piece in pieces if piece[0] in _READ)


def query_string(parameters: Mapping[str, str]) -> str:
    """Return parameters as a URL query, each value encoded once."""
    return "&".join([f"{_quoted(name)}={_encoded(value)}" for name, value in parameters.items()])


def _encoded(text: str) -> str:
    return _TO_QUOTE.sub(lambda run: _quoted(run[0]), text)


def parse_form(body: bytes) -> dict[str, str]:
    """Read an ``application/x-www-form-urlencoded`` body as UTF-8, decoded exactly once.

    Raises Malformed for a repeated name, a broken escape, bytes that are no UTF-8, or too many fields.
    """
    pairs = body.replace(b"+", b" ").split(b"&")
    if len(pairs) > _MAX_FIELDS or _BAD_ESCAPE.search(body):
        raise Malformed
    fields: dict[str, str] = {}
    try:
        for pair in pairs:
            name, equals, value = pair.partition(b"=")
            if b"%" in pair:
                name, value = _unescaped(name), _unescaped(value)
            key = name.decode()
            if not equals or not key or key in fields:
                raise Malformed
            fields[key] = value.decode()
    except UnicodeDecodeError:
        raise Malformed from None
    return fields


def parse_answer(raw: str, method: str) -> SignedAnswer:
    """Take a gateway answer apart; the signed text is the exact source text of the node's value.

    Only the top level is searched, strings and escapes are respected, and a repeated name is refused. Raises Malformed.
    """
    wanted = (method.replace(".", "_") + "_response", "error_response")
    spans = _top_level(raw)
    for name in wanted:
        if name in spans:
            text, node = spans[name]
            sign = spans.get("sign", ("", None))[1]
            if isinstance(node, dict):
                return SignedAnswer(text, node, sign if isinstance(sign, str) else None)
    raise Malformed


def beijing(micros: int) -> str:
    """Write microseconds since 1970 as Alipay's ``yyyy-MM-dd HH:mm:ss`` in Beijing time."""
    return datetime.fromtimestamp(micros // seam.SECOND, BEIJING).strftime(_TIME)


def from_beijing(text: str | None) -> int | None:
    """Read Alipay's time, with or without fractions, as microseconds since 1970; None when it is not one."""
    if text is None or not _MOMENT.match(text):
        return None
    try:
        moment = datetime.fromisoformat(text[:19]).replace(tzinfo=BEIJING)
    except ValueError:
        return None
    return int(moment.timestamp()) * seam.SECOND


def passback(sku: str, quantity: int) -> str:
    """Return our quantity and product as ``passback_params``, URL-encoded as Alipay demands inside ``biz_content``.

    It reads the same whether Alipay hands it back encoded or decoded, and never looks like another parameter.
    """
    return f"{quantity}x{quote(sku, safe='')}"


def read_passback(value: str | None) -> tuple[str | None, int | None]:
    """Return product and quantity as they came back; ("", 0), which no order has, for what is not ours."""
    if not value:
        return None, None
    quantity, mark, sku = value.partition("x")
    if not mark or not quantity.isdecimal() or len(quantity) > 9:
        return "", 0
    return unquote(sku), int(quantity)


def _unescaped(raw: bytes) -> bytes:
    # Quoted-printable is the same with another sign, and the library reads it many times faster.
    return a2b_qp(raw.replace(b"=", b"=3D").replace(b"%", b"="))


def _top_level(raw: str) -> dict[str, tuple[str, Any]]:
    """Return each top-level member of the JSON object ``raw``: its exact source text and its value."""
    decoder = strict_json.DECODER
    spans: dict[str, tuple[str, Any]] = {}
    try:
        at = _expect(raw, 0, "{")
        while True:
            name, at = scanstring(raw, _expect(raw, at, '"'))
            start = _skip(raw, _expect(raw, at, ":"))
            value, at = decoder.raw_decode(raw, start)
            if name in spans:
                raise Malformed
            spans[name] = raw[start:at], value
            at = _skip(raw, at)
            if raw[at] == "}":
                break
            at = _expect(raw, at, ",")
        if _skip(raw, at + 1) != len(raw):
            raise Malformed
        strict_json.require_storable([*spans, *(value for _, value in spans.values())])
    except (ValueError, IndexError, RecursionError):
        raise Malformed from None
    return spans


def _skip(raw: str, at: int) -> int:
    match = _BLANK.match(raw, at)
    return match.end() if match else at


def _expect(raw: str, at: int, sign: str) -> int:
    at = _skip(raw, at)
    if raw[at] != sign:
        raise Malformed
    return at + 1
