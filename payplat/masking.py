"""Masking: what others sent, made readable for a person and safe to show.

Values that identify a person or authorise anything are shortened, signatures of tokens are left out, sizes are bounded.
Amounts, order numbers, transaction ids and states stay as they are. Whatever the bytes are, nothing is raised.
"""

import base64
import json
import math
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

# Parts of names, in lower case without anything but letters and digits.
_SECRET = re.compile(
    r"sign(?!type|eddate)|token|secret|password|key|authorization|cookie|credential|x5c|mail|phone|mobile|address|logon"
    r"|buyer|payer|openid|userid|obfuscated|card|receipt|name"
)
_PLAIN = re.compile(r"amount$|status$|state$|^(appaccounttoken|packagename|productname)$")
# App Store and Google Play carry our order's number under a name that sounds secret.
_OURS = {"obfuscatedexternalprofileid", "obfuscatedprofileid"}
_OPAQUE = re.compile(r"[\w+/=.%~-]{65,}", re.ASCII)
_PAIR = re.compile(r"([\w.-]{1,64})(\"?\s{0,4}[=:]\s{0,4}\"?)([^\"&,;{}\r\n]+)")
_FORM = re.compile(r"[\w.%+*\[\]-]{1,64}=[^\s<>{}\"]*", re.ASCII)
_JWS = re.compile(r"(e[yw][\w-]*)\.([\w-]+)\.[\w-]*", re.ASCII)
_BASE64_JSON = re.compile(r"e[yw][\w+/-]{6,}={0,2}", re.ASCII)
# So many characters of a text, members of a container, levels and leaves are shown.
_LONGEST, _WIDEST, _DEEPEST, _MOST = 300, 60, 12, 200
_CUT = "…"


def masked(raw: bytes) -> Any:
    """Return what the bytes say as JSON's types: a form or an object as a dict, anything else as a text."""
    return _Mask().text(raw.decode("utf-8", "replace"), 0)


def shortened(text: str) -> str:
    """Return the first and last characters of a value that nobody may use, or nothing of a short one."""
    shown = 4 if len(text) >= 24 else 1
    return f"{text[:shown]}{_CUT}{text[-shown:]}" if len(text) >= 8 else _CUT


class _Mask:
    """Masks one message; counts its leaves."""

    def __init__(self) -> None:
        self._left = _MOST

    def text(self, text: str, depth: int) -> Any:
        """Return a text as what it holds: an object, a token, a form, an address, or only words."""
        if (read := _read(text)) is not None:
            return self._value(read, depth + 1)
        return _address(text) if re.match(r"https?://", text) else _words(text)

    def _value(self, value: Any, depth: int, *, secret: bool = False) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            return _CUT
        if isinstance(value, dict):
            return self._members(value, depth, secret=secret)
        if isinstance(value, list):
            return [self._value(each, depth + 1, secret=secret) for each in value[:_WIDEST]]
        if value is None or isinstance(value, bool):
            return value
        return self._leaf(value, depth, secret=secret)

    def _members(self, members: dict[str, Any], depth: int, *, secret: bool) -> dict[str, Any]:
        shown = {}
        for name, value in list(members.items())[:_WIDEST]:
            hides = secret or _is_secret(name)
            shown[_words(name)] = self._value(value, depth + 1, secret=hides)
        return shown

    def _leaf(self, value: Any, depth: int, *, secret: bool) -> Any:
        text = str(value)
        if secret:
            token = _read_token(text)
            return shortened(_clean(text)) if token is None else self._value(token, depth + 1)
        is_number = isinstance(value, int) and abs(value) < 1 << 63
        is_number = is_number or (isinstance(value, float) and math.isfinite(value))
        return value if is_number else self.text(text, depth)


def _address(text: str) -> str:
    """Return a URL without its user and fragment, and with its query masked."""
    try:
        parts = urlsplit(_clean(text))
        shown = [
            (name, shortened(value) if _is_secret(name) else value)
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        ]
        host, query = parts.netloc.rpartition("@")[2], urlencode(shown, safe=_CUT)
        return _words(parts._replace(netloc=host, query=query, fragment="").geturl())
    except ValueError:
        return shortened(_clean(text))


def _words(text: str) -> str:
    """Return a text of no form, without what is opaque in it or follows a name that hides it."""
    text = _OPAQUE.sub(lambda found: shortened(found[0]), _clean(text))
    told = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}{_CUT} ({len(text)})"
    return _PAIR.sub(_masked_pair, told)


def _masked_pair(found: re.Match[str]) -> str:
    name, between, value = found.groups()
    return name + between + (shortened(value) if _is_secret(name) else value)


def _is_secret(name: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    is_plain = plain in _OURS or _PLAIN.search(plain) is not None
    return not is_plain and _SECRET.search(plain) is not None


def _read(text: str) -> Any:
    """Return what is in a text that has a form of its own, None where it has none."""
    token = _read_token(text)
    if token is not None:
        return token
    if text.lstrip()[:1] in ("{", "["):
        return _read_json(text)
    if _BASE64_JSON.fullmatch(text):
        return _decoded(text)
    if _FORM.fullmatch(text):
        return dict(parse_qsl(text, keep_blank_values=True))
    return None


def _read_token(text: str) -> Any:
    """Return header and payload of a JWS, None where there is none."""
    found = _JWS.fullmatch(text)
    header = _decoded(found[1]) if found else None
    if found is None or not isinstance(header, dict):
        return None
    return {"header": header, "payload": _decoded(found[2])}


def _decoded(text: str) -> Any:
    try:
        raw = base64.urlsafe_b64decode(text.translate({43: "-", 47: "_"}).rstrip("=") + "==")
        return _read_json(raw.decode())
    except ValueError:
        return None


def _read_json(text: str) -> Any:
    """Return the object or list, None where it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
