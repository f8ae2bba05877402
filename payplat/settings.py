"""The tables of the configuration: every key with its type, its bounds and its default."""

import sys
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    field_validator,
    model_validator,
)
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from payplat.addresses import is_private, is_public
from payplat.purchase import RECEIVER, LatePolicy
from payplat.retry import Backoff

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$", max_length=200)]
EventType = Annotated[str, Field(pattern=r"^order\.[a-z_]{1,58}$")]
# A prefix that ends inside the host would permit other hosts: game.example.evil.net, game.example@evil.net.
ReturnUrl = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+/[^\s?#]*$", max_length=200)]


def _listed(value: object) -> object:
    """One text is a list of one; a union with lists would tell faults by names that nobody knows."""
    return value if isinstance(value, list) else [value]


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
    trusted_proxies: list[IPvAnyNetwork] = []
    idle_seconds: float = Field(75, gt=0, le=3600)
    body_seconds: float = Field(10, gt=0, le=600)


class MetricsSettings(Section):
    """Where each process serves ``/metrics``, not at all without a port; forked ones on the ports that follow it."""

    host: str = "127.0.0.1"
    # Room for 64 processes.
    port: int | None = Field(None, ge=1, le=65535 - 63)

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse to show the business to everybody."""
        if is_public_address(self.host):
            yield "host", "a public address: metrics are for operators only"
        elif is_every_address(self.host):
            yield "host", "every address of this machine, public ones too: name one of them"


class ConsoleSettings(Section):
    """From which networks operators may open ``/console``; from nowhere unless they are named."""

    networks: list[IPvAnyNetwork] = []


class TraceSettings(Section):
    """Where traces go: a collector that takes OTLP over HTTP; none are made without one."""

    collector: Url | None = None


class LimitSettings(Section):
    """How often callers may come; each process counts for itself."""

    per_client_per_minute: int = Field(6000, ge=1, le=1_000_000)
    per_app_per_minute: int = Field(60_000, ge=1, le=10_000_000)
    forgeries_per_minute: int = Field(60, ge=1, le=1_000_000)


class OutboundSettings(Section):
    """Which networks deliveries and calls to providers may reach besides public addresses."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse to call this machine: only networks of the operator's own can be opened."""
        if not all(map(is_private, self.networks)):
            yield "networks", "only private networks (RFC 1918, RFC 4193) can be opened"


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

    mode: Annotated[
        list[Literal["open", "jwt", "api_key"]], BeforeValidator(_listed), Field(min_length=1)
    ] = ["open"]

    @field_validator("mode")
    @classmethod
    def _open_alone(cls, mode: list[str]) -> list[str]:
        if "open" in mode and len(mode) > 1:
            raise ValueError("open lets everybody in: it stands alone")
        return mode

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse callers nobody knows."""
        if "open" in self.mode:
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
    """A merchant's endpoint: deliveries are POSTed to ``url``, signed with ``secret`` (Standard Webhooks).

    While a secret changes there are two, and both sign. ``types`` are those of the events it learns of, all unless given.
    """

    url: Url
    secret: Annotated[list[SecretStr], BeforeValidator(_listed), Field(min_length=1, max_length=3)]
    types: Annotated[list[EventType], Field(min_length=1)] | None = None

    @property
    def secrets(self) -> list[str]:
        """The secrets in plain text."""
        return [secret.get_secret_value() for secret in self.secret]

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse to send orders in the clear or to ourselves."""
        yield from unsafe_url("url", self.url)


class LoginSettings(Section):
    """The app's own login: tokens (JWT) of ``issuer`` for ``audience``, whose ``sub`` is the receiver who calls.

    They are signed with one of: ``secret`` (HS256), ``public_key`` (RS256 or ES256), a key of ``jwks_url``.
    """

    issuer: Annotated[str, Field(min_length=1, max_length=200)]
    audience: Annotated[str, Field(min_length=1, max_length=200)]
    secret: SecretStr | None = None
    public_key: str | None = None
    jwks_url: Url | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(way is not None for way in (self.secret, self.public_key, self.jwks_url)) != 1:
            raise ValueError("give one of secret, public_key, jwks_url")
        return self

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse keys that anybody on the way could change."""
        if self.jwks_url is not None:
            yield from unsafe_url("jwks_url", self.jwks_url)


class AppSettings(Section):
    """One app or game of the merchant."""

    login: LoginSettings | None = None
    endpoints: dict[Name, EndpointSettings] = Field(min_length=1)
    return_urls: list[ReturnUrl] = []

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse to send payers to where nobody protects them."""
        for url in self.return_urls:
            yield from unsafe_url("return_urls", url)


class ChannelSettings(Section):
    """What every channel has; a channel's own options are a subclass of this.

    ``gives_back`` says whether the company gives money back when we ask.
    """

    gives_back: ClassVar[bool] = True
    app: Name = "default"
    kind: Name | None = None
    late: LatePolicy = LatePolicy.DELIVER

    @field_validator("late")
    @classmethod
    def _can_be_done(cls, late: LatePolicy) -> LatePolicy:
        if late is LatePolicy.REFUND and not cls.gives_back:
            raise ValueError(
                "only the company itself gives this money back: choose deliver or hold"
            )
        return late


class StoreSettings(ChannelSettings):
    """What every store has: an environment of its own in which nobody pays, for review and tests."""

    sandbox: Literal["refuse", "testers"] = "refuse"
    testers: list[Annotated[str, Field(pattern=RECEIVER)]] = Field(default=[])

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
    metrics: MetricsSettings = MetricsSettings()
    traces: TraceSettings = TraceSettings()
    console: ConsoleSettings = ConsoleSettings()
    limits: LimitSettings = LimitSettings()
    outbound: OutboundSettings = OutboundSettings()
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


def is_public_address(host: str) -> bool:
    """Tell whether ``host`` is an address, no name, that everybody can reach."""
    try:
        return is_public(ip_address(host))
    except ValueError:
        return False


def is_every_address(host: str) -> bool:
    """Tell whether who listens on ``host`` does so on all addresses of the machine."""
    if host in ("", "0"):
        return True
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_ours(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    if host.isdecimal() or host.startswith("0x"):
        return True  # a number is an address that resolvers read in ways of their own
    try:
        return not is_public(ip_address(host))
    except ValueError:
        return False
