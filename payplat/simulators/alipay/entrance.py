"""The ways a buyer comes to the cashier: a signed address, a form, a QR code, an order string."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from html.entities import html5
from html.parser import HTMLParser
from urllib.parse import urlsplit

from tornado.escape import parse_qs_bytes

from payplat.simulators.alipay.fields import APP_PAY, PAGE_METHODS
from payplat.simulators.alipay.platform import Platform
from payplat.simulators.alipay.refusals import Refusal
from payplat.simulators.alipay.requests import check, read_parameters
from payplat.simulators.alipay.trades import Order, Trade


def enter(platform: Platform, what: str) -> Trade:
    """Do as a buyer with this in hand: page address, HTML form, QR address, or order string."""
    address = urlsplit(what.strip())
    if "/qr/" in address.path:
        return platform.scan(address.path)
    return enter_parameters(platform, parameters_of(what))


def enter_parameters(platform: Platform, parameters: Mapping[str, str]) -> Trade:
    """Check a signed order request; the trade exists from here on."""
    call = check(parameters, platform.apps)
    if call.method not in (APP_PAY, *PAGE_METHODS):
        raise Refusal("isv.invalid-method")
    return platform.take_up(Order.of(call))


def parameters_of(what: str) -> dict[str, str]:
    """The parameters a browser or the wallet would send."""
    what = what.strip()
    if "<form" in what:
        return _form(what)
    query = urlsplit(what).query if what.startswith(("http://", "https://")) else what
    return read_parameters(_decode(query), {})


def _form(page: str) -> dict[str, str]:
    reader = _FormReader()
    reader.feed(page)
    fields = {name: [value.encode()] for name, value in reader.fields.items()}
    return read_parameters(_decode(urlsplit(reader.action).query), fields)


def _decode(query: str) -> dict[str, list[bytes]]:
    return parse_qs_bytes(query.encode(), keep_blank_values=True)


class _FormReader(HTMLParser):
    """Finds the form's address and its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs  # these are decoded more eagerly than a browser decodes them
        text = self.get_starttag_text() or ""
        found = {name: _decode_attribute(value[1:-1]) for name, value in _ATTRIBUTE.findall(text)}
        if tag == "form":
            self.action = found.get("action", "")
        elif tag == "input" and found.get("name"):
            self.fields[found["name"]] = found.get("value", "")


_ATTRIBUTE = re.compile(r"""([\w-]+)\s*=\s*("[^"]*"|'[^']*')""")
_REFERENCE = re.compile(r"&(#\d+|#[xX][0-9A-Fa-f]+|[0-9A-Za-z]+)(;?)(=?)")


def _decode_attribute(text: str) -> str:
    """As browsers do inside an attribute: `&not` without semicolon stays before `=` or a letter."""

    def decode(found: re.Match[str]) -> str:
        name, semicolon, equals = found.groups()
        if name.startswith("#"):
            return html.unescape(f"&{name}{semicolon}") + equals
        if equals and not semicolon:
            return found[0]
        return html5.get(name + semicolon, f"&{name}{semicolon}") + equals

    return _REFERENCE.sub(decode, text)
