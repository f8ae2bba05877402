"""The configuration: defaults < TOML file < secret files < environment; every fault in one list, never a value in it.

A key's full name is its path, such as ``channels.alipay.private_key``. In the environment that is
``PAYPLAT_CHANNELS__ALIPAY__PRIVATE_KEY``; as a secret file it is a file of that dotted name in the folder that
``PAYPLAT_SECRETS`` (or systemd's ``CREDENTIALS_DIRECTORY``) names. A text value ``file:name`` stands for that file's
content, beside the TOML file.
"""

import base64
import binascii
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from payplat.errors import ConfigurationError
from payplat.purchase import LatePolicy
from payplat.retry import Backoff

PREFIX = "PAYPLAT_"
_POINTERS = {
    "CONFIG",
    "SECRETS",
}  # PAYPLAT_CONFIG and PAYPLAT_SECRETS say where to read; they are no keys
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$", max_length=200)]
# A prefix that ends inside the host would permit other hosts: game.example.evil.net, game.example@evil.net.
ReturnUrl = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+/[^\s?#]*$", max_length=200)]


class Section(BaseModel):
    """A table of the configuration: unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Yield the keys that production refuses, each with the reason."""
        return iter(())


class ServerSettings(Section):
    """Where ``payplat serve`` listens."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)


class DatabaseSettings(Section):
    """Where everything is kept: ``sqlite:///file``, ``mariadb://…`` or ``mysql://…``."""

    url: SecretStr = SecretStr("sqlite:///payplat.db")
    pool_size: int = Field(8, ge=1, le=100)

    @field_validator("url")
    @classmethod
    def _known_engine(cls, url: SecretStr) -> SecretStr:
        try:
            engine = make_url(url.get_secret_value()).get_backend_name()
        except (ArgumentError, ValueError):
            engine = ""
        if engine not in ("sqlite", "mariadb", "mysql"):
            raise ValueError("must be sqlite:///file, mariadb://… or mysql://…")
        return url


class AuthSettings(Section):
    """Who may call as a client."""

    mode: Literal["open"] = "open"

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse callers nobody knows."""
        if self.mode == "open":
            yield "mode", "clients that anybody can be are for the sandbox only"


class OrderSettings(Section):
    """How long an order can be paid."""

    lifetime_seconds: int = Field(1800, ge=60, le=14 * 86400)


class BackoffSettings(Section):
    """A schedule of exponential backoff."""

    base_seconds: float = Field(gt=0, le=3600)
    factor: float = Field(ge=1, le=10)
    cap_seconds: float = Field(gt=0, le=7 * 86400)
    jitter: float = Field(ge=0, le=1)

    def backoff(self, attempts: int = sys.maxsize) -> Backoff:
        """Return the schedule, without an end unless told."""
        shape = (self.base_seconds, self.factor, self.cap_seconds, self.jitter)
        return Backoff(*shape, attempts)


class DeliverySettings(BackoffSettings):
    """How events reach the merchant's endpoints; the defaults keep trying for about three days."""

    base_seconds: float = Field(5, gt=0, le=3600)
    factor: float = Field(3, ge=1, le=10)
    cap_seconds: float = Field(6 * 3600, gt=0, le=7 * 86400)
    jitter: float = Field(0.2, ge=0, le=1)
    attempts: int = Field(20, ge=1, le=1000)
    timeout_seconds: float = Field(15, gt=0, le=60)


class CheckSettings(BackoffSettings):
    """How often a pending order's provider is asked."""

    base_seconds: float = Field(15, gt=0, le=3600)
    factor: float = Field(2, ge=1, le=10)
    cap_seconds: float = Field(3600, gt=0, le=86400)
    jitter: float = Field(0.2, ge=0, le=1)


class EndpointSettings(Section):
    """A merchant's endpoint: deliveries are POSTed to ``url``, signed with ``secret`` (Standard Webhooks)."""

    url: Url
    secret: SecretStr

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse to send orders in the clear or to ourselves."""
        yield from unsafe_url("url", self.url)


class AppSettings(Section):
    """One app or game of the merchant."""

    endpoints: dict[Name, EndpointSettings] = Field(min_length=1)
    return_urls: list[ReturnUrl] = []

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse to send payers to where nobody protects them."""
        for url in self.return_urls:
            yield from unsafe_url("return_urls", url)


class ChannelSettings(Section):
    """What every channel has; a channel's own options are a subclass of this."""

    app: Name = "default"
    kind: Name | None = None
    late: LatePolicy = LatePolicy.DELIVER


class StoreSettings(ChannelSettings):
    """What every store has: an environment of its own in which nobody pays, for review and tests."""

    sandbox: Literal["refuse", "testers"] = "refuse"
    testers: list[Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]] = Field(default=[])

    @model_validator(mode="after")
    def _names_testers(self) -> Self:
        if bool(self.testers) != (self.sandbox == "testers"):
            raise ValueError("sandbox = testers and a list of testers belong together")
        return self


class Settings(Section):
    """The whole configuration of one installation."""

    environment: Literal["production", "sandbox"] = "production"
    public_url: Url
    catalogue: str = "products.toml"
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    auth: AuthSettings = AuthSettings()
    orders: OrderSettings = OrderSettings()
    delivery: DeliverySettings = DeliverySettings()
    checks: CheckSettings = CheckSettings()
    apps: dict[Name, AppSettings] = Field(min_length=1)
    channels: dict[Name, ChannelSettings] = Field(min_length=1)
    folder: Path = Field(default=Path(), exclude=True)

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse notifications in the clear or to ourselves."""
        yield from unsafe_url("public_url", self.public_url)


def unsafe_url(name: str, url: str) -> Iterator[tuple[str, str]]:
    """Yield the key when its URL is no https URL, or names this machine."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        yield name, "no URL"
        return
    if parts.scheme != "https":
        yield name, "only https"
    elif _is_ours(host):
        yield name, "names this machine or a private network"


def _is_ours(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    if host.isdecimal() or host.startswith("0x"):
        return True  # a number is an address that resolvers read in ways of their own
    try:
        return not ip_address(host).is_global
    except ValueError:
        return False


def read_settings(
    path: Path | None, environ: Mapping[str, str], kinds: Mapping[str, type[ChannelSettings]]
) -> Settings:
    """Read and check the configuration; ``kinds`` holds the options of each kind of channel that is installed.

    Raises ConfigurationError with every fault found, each with the full name of its key.
    """
    faults: list[str] = []
    raw = _merged(path, environ, faults)
    if "channels" in raw:
        raw["channels"] = _channels(raw["channels"], kinds, faults)
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(faults + _told(error)) from None
    faults += _contradictions(settings)
    if faults:
        raise ConfigurationError(faults)
    return settings.model_copy(update={"folder": path.parent if path else Path()})


def walk(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Section]]:
    """Yield every table of a configuration with its full name, itself first."""
    if isinstance(section, Section):
        yield prefix, section
    for name in type(section).model_fields:
        value = getattr(section, name)
        tables = value.items() if isinstance(value, dict) else [("", value)]
        for key, table in tables:
            if isinstance(table, BaseModel):
                yield from walk(table, ".".join(filter(None, (prefix, name, key))))


def _channels(
    tables: Any, kinds: Mapping[str, type[ChannelSettings]], faults: list[str]
) -> dict[str, ChannelSettings]:
    """Return each channel's table as its kind's own settings; faults are added with the key's full name."""
    channels: dict[str, ChannelSettings] = {}
    for name, table in tables.items() if isinstance(tables, dict) else ():
        channels[name] = ChannelSettings()
        kind = str(table.get("kind", name)) if isinstance(table, dict) else name
        if kind not in kinds:
            faults.append(f"channels.{name}.kind: no such kind of channel is installed")
            continue
        try:
            channels[name] = kinds[kind].model_validate(table)
        except ValidationError as error:
            faults += _told(error, "channels", name)
    return channels


def _merged(path: Path | None, environ: Mapping[str, str], faults: list[str]) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    folder = path.parent if path else Path()
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            faults.append(f"{path}: {error}")
    secrets = environ.get(f"{PREFIX}SECRETS") or environ.get("CREDENTIALS_DIRECTORY")
    if secrets:
        _put_secrets(raw, Path(secrets), faults)
    for name, value in sorted(environ.items()):
        key = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and key not in _POINTERS:
            _put(raw, key.lower().split("__"), _typed(value), faults)
    resolved = _resolve(raw, folder, "", faults)
    return resolved if isinstance(resolved, dict) else {}


def _put_secrets(raw: dict[str, Any], folder: Path, faults: list[str]) -> None:
    try:
        for file in sorted(folder.iterdir()):
            if file.is_file() and "." in file.name and not file.name.startswith("."):
                _put(raw, file.name.split("."), file.read_text("utf-8").strip(), faults)
    except (OSError, ValueError):
        faults.append(f"{PREFIX}SECRETS: its files cannot be read")


def _put(raw: dict[str, Any], keys: list[str], value: Any, faults: list[str]) -> None:
    table = raw
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            faults.append(f"{'.'.join(keys)}: {key} is no table")
            return
    table[keys[-1]] = value


def _typed(value: str) -> Any:
    """Read lists and tables in the environment as JSON; everything else stays text."""
    if value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _resolve(value: Any, folder: Path, name: str, faults: list[str]) -> Any:
    """Replace each ``file:name`` by that file's content."""
    if isinstance(value, dict):
        return {k: _resolve(v, folder, f"{name}.{k}".strip("."), faults) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(v, folder, name, faults) for v in value]
    if isinstance(value, str) and value.startswith("file:"):
        try:
            return (folder / value.removeprefix("file:")).read_text("utf-8").strip()
        except (OSError, ValueError):
            faults.append(f"{name}: its file cannot be read")
    return value


def _told(error: ValidationError, *prefix: str) -> list[str]:
    words = {"Field required": "missing", "Extra inputs are not permitted": "unknown key"}
    return [
        f"{'.'.join(map(str, (*prefix, *e['loc'])))}: {words.get(e['msg'], e['msg'])}"
        for e in error.errors(include_input=False)
    ]


def _contradictions(settings: Settings) -> Iterator[str]:
    for name, channel in settings.channels.items():
        if channel.app not in settings.apps:
            yield f"channels.{name}.app: there is no [apps.{channel.app}]"
    for app, table in settings.apps.items():
        for name, endpoint in table.endpoints.items():
            yield from _weak_secret(f"apps.{app}.endpoints.{name}.secret", endpoint.secret)
    if settings.environment == "production":
        for prefix, section in walk(settings):
            for key, reason in section.unsafe():
                full = ".".join(filter(None, (prefix, key)))
                yield f"{full}: {reason} (environment is production)"


def _weak_secret(name: str, secret: SecretStr) -> Iterator[str]:
    text = secret.get_secret_value()
    try:
        raw = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.startswith("whsec_") or not 24 <= len(raw) <= 64:
        yield f"{name}: must be whsec_ and the Base64 of 24 to 64 random bytes"
