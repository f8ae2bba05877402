"""Our own parsers: amounts, what clients send, the configuration, and the receiver that merchants copy."""

import atexit
import base64
import importlib.util
import json
import math
import re
import tempfile
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

from pydantic import BaseModel
from standardwebhooks import Webhook

from payplat import money, seam
from payplat.catalogue import read_catalogue
from payplat.channels.alipay import door as alipay_door
from payplat.channels.apple import door as apple_door
from payplat.channels.google import door as google_door
from payplat.configuration import read_settings, walk
from payplat.deliveries import signed_headers
from payplat.errors import ConfigurationError, InvalidRequest
from payplat.handlers.base import _checked, _parse_json, _parse_query
from payplat.handlers.create_order import OrderRequest
from payplat.handlers.events import EventsRequest
from payplat.registry import installed_doors
from tests.prove.fuzz_loop import ROOT, Target
from tests.prove.fuzz_mutations import PART

_NOW = 1_790_000_000
_MICROS = _NOW * seam.SECOND
_KEY = b"0123456789abcdef0123456789abcdef"
_SECRET = "whsec_" + base64.b64encode(_KEY).decode()
_MIDDLE = _SECRET[6:26]
_KINDS = {kind: door.settings_type for kind, door in installed_doors().items()}
_PLAIN = re.compile(r"(?=.{1,20}\Z)[0-9]*\.?[0-9]*", re.DOTALL)
_REQUESTS: tuple[type[BaseModel], ...] = (
    OrderRequest,
    alipay_door.AlipayVerification,
    apple_door.AppleVerification,
    google_door.GoogleVerification,
)


def targets() -> list[Target]:
    """Return the targets."""
    base, channels = "payplat/handlers/base.py", "payplat/channels/"
    requests = [base, "payplat/strict_json.py", "payplat/handlers/", channels]
    files = ["payplat/configuration.py", "payplat/settings.py", "payplat/catalogue.py", channels]
    tomls = (
        b"[a]\n",
        b"[[a]]\n",
        b"a.b=1\n",
        b'"""',
        b"file:",
        b"file:.",
        b"inf",
        b"nan",
        b"2026-11-22",
    )
    config = _Configuration()
    return [
        Target("money", _read_amount, _AMOUNTS, ["payplat/money.py"], (b"JPY", b"KWD", b"CNY")),
        Target("requests", _read_request, _BODIES, requests, _names(_REQUESTS)),
        Target("query", _read_query, [b"app=default&limit=20&type=order.paid&after="], requests),
        Target("configuration", config.read_file, [_TOML], files, tomls),
        Target(
            "environment", config.read_environment, [_ENVIRONMENT], files, (b"\nPAYPLAT_", b"__")
        ),
        Target("products", config.read_products, [_PRODUCTS], files, tomls),
        Target(
            "webhook", _Receiver().check, _deliveries(), ["docs/receiver/"], (PART, b"v1,"), _MICROS
        ),
    ]


def _read_amount(data: bytes) -> None:
    """What is read is exact, and nothing that is exact is refused."""
    text, _, currency = data.decode("utf-8", "surrogateescape").partition("\x1e")
    try:
        places = money.exponent(currency)
    except InvalidRequest:
        return
    exact = Fraction(text) * 10**places if _PLAIN.fullmatch(text) and text != "." else None
    fits = exact is not None and exact.denominator == 1 and exact <= money.MAX_AMOUNT
    try:
        amount = money.from_text(text, currency)
    except InvalidRequest as error:
        str(error).encode()
        assert not fits, "an exact amount is refused"
        return
    assert fits and amount == exact, "the amount is another"  # noqa: PT018
    assert money.from_text(money.to_text(amount, currency), currency) == amount


def _read_request(body: bytes) -> None:
    """What is accepted is what stands there; a refusal can be told."""
    for model in _REQUESTS:
        try:
            told = _checked(model, _parse_json(body))
        except InvalidRequest as error:
            _told(error)
            continue
        assert told.model_dump(exclude_unset=True) == json.loads(body), "it reads in another way"
        told.model_dump_json().encode()


def _read_query(data: bytes) -> None:
    try:
        _checked(EventsRequest, _parse_query(data.decode("latin-1")))
    except InvalidRequest as error:
        _told(error)


def _told(error: InvalidRequest) -> None:
    problem = json.dumps({"detail": str(error), "field": error.field}, ensure_ascii=False)
    assert len(problem.encode()) < 70_000, "the refusal is longer than what was refused"


class _Configuration:
    """Reads files in a folder of its own."""

    def __init__(self) -> None:
        held = tempfile.TemporaryDirectory()
        atexit.register(held.cleanup)
        self._folder = Path(held.name)
        (self._folder / "key").write_text(_SECRET)

    def read_file(self, data: bytes) -> None:
        """Read a configuration."""
        path = self._folder / "payplat.toml"
        path.write_bytes(data)
        if _MIDDLE not in _keys_of(data):
            self._read(path, {})

    def read_environment(self, data: bytes) -> None:
        """Read an environment, a line for each variable, as an operating system could give it."""
        text = data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
        pairs = (line.partition("=") for line in text.split("\n"))
        pointers = ("PAYPLAT_SECRETS", "CREDENTIALS_DIRECTORY")
        environ = {name: value for name, _, value in pairs if name not in pointers}
        if _MIDDLE.lower() not in repr(list(environ)).lower():
            self._read(None, environ)

    def read_products(self, data: bytes) -> None:
        """Read a catalogue: what is accepted are the file's products at the file's prices."""
        path = self._folder / "products.toml"
        path.write_bytes(data)
        try:
            found = read_catalogue(path)
        except ConfigurationError:
            return
        told = tomllib.loads(data.decode())
        assert {app: set(products) for app, products in told.items()} == {
            app: set(products) for app, products in found.products.items()
        }
        for app, products in found.products.items():
            for name, product in products.items():
                assert product.prices == told[app][name].get("prices", {})

    def _read(self, path: Path | None, environ: dict[str, str]) -> None:
        try:
            settings = read_settings(path, environ, _KINDS)
        except ConfigurationError as error:
            told = str(error)
            assert _MIDDLE not in told, "a fault tells a secret"
            return
        for name, section in walk(settings):
            for key in type(section).model_fields:
                value = getattr(section, key)
                assert not isinstance(value, float) or math.isfinite(value), (
                    f"{name}.{key} is endless"
                )


def _keys_of(data: bytes) -> str:
    """Return the names of keys in a file, which a fault may tell; a secret that stands as one is not looked at."""
    try:
        return " ".join(_keys(tomllib.loads(data.decode())))
    except (ValueError, RecursionError):
        return ""


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


class _Receiver:
    """The receiver in Python that merchants copy, at a clock that stands still."""

    def __init__(self) -> None:
        path = ROOT / "docs/receiver/verify.py"
        spec = importlib.util.spec_from_file_location("receiver", path)
        assert spec is not None
        assert spec.loader is not None
        self._module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._module)
        vars(self._module)["time"] = SimpleNamespace(time=lambda: float(_NOW))

    def check(self, data: bytes) -> None:
        """Secrets, id, timestamp, signatures and body: what it takes, the library of the standard takes too."""
        texts = [each.decode("utf-8", "surrogateescape") for each in data.split(PART)[:4]]
        body = data.split(PART, 4)[4] if data.count(PART) >= 4 else b""
        secrets, name, timestamp, signatures = [*texts, "", "", "", ""][:4]
        try:
            is_genuine = self._module.verify(secrets.split(" "), name, timestamp, signatures, body)
        except ValueError:
            return
        if is_genuine:
            assert any(
                _takes(secret, name, timestamp, signatures, body) for secret in secrets.split(" ")
            )


def _takes(secret: str, name: str, timestamp: str, signatures: str, body: bytes) -> bool:
    """Whether the standard's library signs so; it reads text only, and of a list with blanks it reads nothing."""
    assert abs(int(timestamp) - _NOW) <= 300, "a stale delivery is taken"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return True
    moment = datetime.fromtimestamp(int(timestamp), UTC)
    return Webhook(secret).sign(name, moment, text) in signatures.split(" ")


def _deliveries() -> list[bytes]:
    found = []
    for body in (b'{"type":"order.paid","data":{}}', b"{}"):
        headers = signed_headers("evt_0193", body, [_KEY], _MICROS)
        texts = (headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        found.append(PART.join([_SECRET.encode(), *(text.encode() for text in texts), body]))
    return found


def _names(models: tuple[type[BaseModel], ...]) -> list[bytes]:
    return [f'"{name}":'.encode() for model in models for name in model.model_fields]


_AMOUNTS = [
    b"88.80\x1eCNY",
    b"600\x1eJPY",
    b"0.001\x1eKWD",
    b".5\x1eUSD",
    b"1000000000000000\x1eKRW",
    b"00000000000000000001\x1eCNY",
]
_BODIES = [
    b'{"channel":"alipay","product_id":"coins_500","receiver":"player-1","metadata":{"server":"s1"}}',
    b'{"channel":"a","product_id":"b","receiver":"c","quantity":2,"method":"app","return_url":"d"}',
    b'{"order_no":"0192f3a4b5c67d8e9f00112233445566"}',
    b'{"order_no":"0192f3a4b5c67d8e9f00112233445566","transaction_id":"2000000123456789"}',
    b'{"order_no":"0192f3a4b5c67d8e9f00112233445566","signed_transaction":"eyJh.eyJi.c2ln"}',
    b'{"order_no":"0192f3a4b5c67d8e9f00112233445566","purchase_token":"hgfpkdnclajk.AO-J1Oy"}',
]
_TOML = f"""\
environment = "sandbox"
public_url = "https://pay.example.com"
[delivery]
base_seconds = 5.0
[apps.default]
return_urls = ["https://game.example/"]
endpoints.main = {{ url = "https://game.example/hook", secret = ["file:key", "{_SECRET}"] }}
[channels.alipay]
app_id = "2021000000000000"
seller_id = "2088000000000000"
private_key = "{_SECRET}"
[channels.cn]
kind = "google"
late = "hold"
package_name = "com.example.game"
service_account = '{{"type": "service_account"}}'
account_secret = "{_SECRET}"
push_email = "a@b"
sweep_seconds = 3600
""".encode()
_PRODUCTS = b"""\
[default.coins_500]
title = "500 coins"
prices = { CNY = 600, JPY = 120 }
store.apple = "com.example.coins"
[default."castle"]
title = "A castle"
consumable = false
prices.USD = 1_000
"""
_ENVIRONMENT = f"""\
PAYPLAT_ENVIRONMENT=sandbox
PAYPLAT_PUBLIC_URL=https://pay.example.com
PAYPLAT_APPS={{"default": {{"endpoints": {{"main": {{"url": "https://a.example/", "secret": "{_SECRET}"}}}}}}}}
PAYPLAT_APPS__DEFAULT__RETURN_URLS=["https://a.example/"]
PAYPLAT_CHANNELS__ALIPAY__APP_ID=2021000000000000
PAYPLAT_CHANNELS__ALIPAY__SELLER_ID=2088000000000000
PAYPLAT_CHANNELS__ALIPAY__PRIVATE_KEY={_SECRET}
PAYPLAT_DELIVERY__BASE_SECONDS=5""".encode()
