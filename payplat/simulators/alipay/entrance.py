"""The ways a buyer comes to the cashier: a signed address, a form, a QR code, an order string."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Undoes the HTML escapes as a browser does."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = found.get("action", "")
        elif tag == "input" and found.get("name"):
            self.fields[found["name"]] = found.get("value", "")
