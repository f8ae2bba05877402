"""How inputs are made from others: bytes turned, cut, repeated, swapped and spliced; JSON changed by its structure.

An input may consist of several parts, a ``PART`` between them; each change stays within one of them.
"""

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

PART = b"\x1e"
MOST = 64 * 1024
"""Bytes of an input: no door lets in more."""

_TOKENS = (
    *b"\x00 \xff \xc0\xaf \xed\xa0\x80 \xef\xbb\xbf \xe9\x87\x91 \xf0\x9f\x92\xb0 \xe2\x80\xa8 \xd9\xa1".split(
        b" "
    ),
    *b"% %00 %ff %2526 + & = ; . , : - _ / \\ \" ' [ ] { } [] {} \r\n \n \t \\u0022".split(b" "),
    *b"null true false NaN Infinity -Infinity 0 -0 -1 1e400 1e-400 0.1 0x1F 1_000".split(b" "),
    *b"2147483648 9223372036854775808 \\ud800 \\u0000 \\udc00\\ud800".split(b" "),
    *(b" ", b"9" * 400, b"9" * 5000),
)
_DIGITS = re.compile(rb"[0-9]+")
_NUMBERS = (b"0", b"00", b"1", b"-1", b"999999999999999", b"1000000000000001", b"1" + b"0" * 19)
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**400, -(10**400), 0.5, 1e308, -0.0),
    *("", " ", "0", "a" * 200, "\ud800", "\x00", "金" * 64, "1e5", "9" * 500),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "9999-12-31 23:59:59", "2026-13-01"),
    *([], {}, [None], {"": None}),
)


def mutated(rng: Random, data: bytes, other: bytes, tokens: Sequence[bytes]) -> bytes:
    """Return ``data`` after one to four changes; ``other`` is what it may be spliced with."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        data = _in_one_part(rng, data, other, tokens)
    return data[:MOST]


def _in_one_part(rng: Random, data: bytes, other: bytes, tokens: Sequence[bytes]) -> bytes:
    parts, others = data.split(PART), other.split(PART)
    at = rng.randrange(len(parts))
    change = rng.choice(_STRUCTURAL if parts[at][:1] in (b"{", b"[") else _PLAIN)
    parts[at] = change(rng, parts[at], others[min(at, len(others) - 1)], tokens)
    return PART.join(parts)


Change = Callable[[Random, bytes, bytes, Sequence[bytes]], bytes]


def _span(rng: Random, data: bytes, longest: int = 64) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.randrange(1, longest))


def _flip(rng: Random, data: bytes, *_: Any) -> bytes:
    if not data:
        return bytes([rng.randrange(256)])
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _set(rng: Random, data: bytes, *_: Any) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def _cut(rng: Random, data: bytes, *_: Any) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _end(rng: Random, data: bytes, *_: Any) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _repeat(rng: Random, data: bytes, *_: Any) -> bytes:
    start, end = _span(rng, data)
    times = rng.choice((2, 2, 2, 3, 3, 10, 10, 100, 1000) if rng.random() < 0.2 else (2,))
    return data[:start] + data[start:end] * times + data[end:]


def _swap(rng: Random, data: bytes, *_: Any) -> bytes:
    a, b, c, d = sorted(rng.randrange(len(data) + 1) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _insert(rng: Random, data: bytes, _: bytes, tokens: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + _token(rng, tokens) + data[at:]


def _overwrite(rng: Random, data: bytes, _: bytes, tokens: Sequence[bytes]) -> bytes:
    start, end = _span(rng, data, 16)
    return data[:start] + _token(rng, tokens) + data[end:]


def _token(rng: Random, tokens: Sequence[bytes]) -> bytes:
    return rng.choice(tokens if tokens and rng.random() < 0.5 else _TOKENS)


def _splice(rng: Random, data: bytes, other: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(rng, other, len(other) + 2)
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at + (end - start) * rng.randrange(2) :]


def _number(rng: Random, data: bytes, *_: Any) -> bytes:
    found = list(_DIGITS.finditer(data))
    if not found:
        return data + rng.choice(_NUMBERS)
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(_NUMBERS) + data[match.end() :]


def _nest(rng: Random, data: bytes, *_: Any) -> bytes:
    opened, closed = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"(", b")"), (b"{a=", b"}")))
    depth = rng.choice((1, 2, 3, 50, rng.randrange(800, 1100), 5000)) if rng.random() < 0.1 else 1
    start, end = _span(rng, data)
    return data[:start] + opened * depth + data[start:end] + closed * depth + data[end:]


def _restructure(rng: Random, data: bytes, other: bytes, tokens: Sequence[bytes]) -> bytes:
    """Change a place of JSON: another value there, none, one from elsewhere, or the place twice."""
    try:
        tree = json.loads(data)
        elsewhere = (
            [value for _, _, value in _places(json.loads(other))] if other[:1] == b"{" else []
        )
    except (ValueError, RecursionError):
        return _insert(rng, data, other, tokens)
    places = _places(tree)
    if not places:
        return _insert(rng, data, other, tokens)
    holder, key, value = rng.choice(places)
    odd = (*_ODD, *elsewhere, [value], {"a": value}, str(value), [value, value])
    if rng.random() < 0.15:
        del holder[key]
    elif rng.random() < 0.1:
        return _written(rng, tree).replace(
            b"{", b'{"%s":%d,' % (str(key).encode(errors="replace"), 1), 1
        )
    elif rng.random() < 0.15 and type(value) is int:
        holder[key] = rng.choice((value + 1, value - 1, value * 1000, -value, float(value % 10**9)))
    else:
        holder[key] = rng.choice(odd)
    return _written(rng, tree)


def _places(tree: Any) -> list[tuple[Any, Any, Any]]:
    """Return all places of a tree, at most a hundred: what holds them, at which key, and the value."""
    found: list[tuple[Any, Any, Any]] = []
    waiting = [tree]
    while waiting and len(found) < 100:
        holder = waiting.pop()
        if isinstance(holder, dict | list):
            items = list(holder.items() if isinstance(holder, dict) else enumerate(holder))
            found += [(holder, key, value) for key, value in items]
            waiting += [value for _, value in items]
    return found


def _written(rng: Random, tree: Any) -> bytes:
    if rng.random() < 0.2:
        return json.dumps(tree, ensure_ascii=False, indent=1).encode(errors="surrogatepass")
    return json.dumps(tree, separators=(",", ":")).encode()


_PLAIN: tuple[Change, ...] = (
    *(_flip, _set, _cut, _end, _repeat, _swap, _insert, _insert),
    *(_overwrite, _overwrite, _splice, _number, _number, _nest),
)
_STRUCTURAL: tuple[Change, ...] = (*_PLAIN, *(_restructure,) * len(_PLAIN))
