"""The composition root: settings → database → providers → routes → jobs."""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import structlog
from tornado.httpserver import HTTPServer
from tornado.routing import AnyMatches, Router, Rule, RuleRouter
from tornado.web import Application, RequestHandler

from payplat.api_keys import ApiKeys
from payplat.catalogue import Catalogue, read_catalogue
from payplat.channel_health import Health
from payplat.clients import Clients, clients_of
from payplat.console.desk import Desk
from payplat.console.routes import PAGES as CONSOLE_PAGES
from payplat.console.routes import routes as console_routes
from payplat.database import Database, database_of, ping
from payplat.deliveries import Relay
from payplat.duties import Duties
from payplat.endpoints import Endpoint
from payplat.errors import ConfigurationError, Draining
from payplat.events import Events
from payplat.explanation import Explanations
from payplat.handlers.base import NotFoundHandler
from payplat.handlers.create_order import CreateOrder
from payplat.handlers.events import EventsHandler
from payplat.handlers.factory import Channel, ChannelFactory
from payplat.handlers.health import HealthHandler, ReadyHandler
from payplat.handlers.orders import OrderHandler
from payplat.handlers.patience import Patience
from payplat.lanes import Lane, Worker
from payplat.limits import Limit
from payplat.openapi.reference import routes as reference_routes
from payplat.operators import Operators
from payplat.orders import Orders
from payplat.provider import Provider
from payplat.reconcile import MissedNotices, Reconciler
from payplat.registry import Doors, open_channels
from payplat.rows import Terms
from payplat.schema import newest_version, require_newest, version
from payplat.search import accounts_of
from payplat.settings import ServerSettings, Settings
from payplat.statistics import Statistics
from payplat.sweeps import Sweep, Sweeps, UntoldOrders
from payplat.timeline import Timeline

log = structlog.get_logger("payplat")
MAX_HEADER = 16 * 1024
# Of operators, from one address.
SIGN_INS_PER_MINUTE = 20


@dataclass(frozen=True)
class Platform:
    """Everything one process has opened."""

    settings: Settings
    catalogue: Catalogue
    database: Database
    channels: Mapping[str, Channel]
    orders: Orders
    reconciler: Reconciler
    clients: Clients
    prompt_lanes: list[Lane]
    running: set[RequestHandler] = field(default_factory=set)
    draining: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def providers(self) -> dict[str, Provider]:
        """The providers of the open channels, by channel."""
        return {name: channel.provider for name, channel in self.channels.items()}

    def wake(self) -> None:
        """Let deliveries and duties go out now, where this process works on them."""
        _wake(self.prompt_lanes)


@asynccontextmanager
async def open_platform(settings: Settings, doors: Doors) -> AsyncIterator[Platform]:
    """Open database, catalogue and channels, and close them in the end; raises ConfigurationError."""
    catalogue = read_catalogue(settings.folder / settings.catalogue)
    channels = open_channels(settings, doors)
    terms = terms_of(settings)
    database = database_of(settings)
    clients = clients_of(settings, ApiKeys(database))
    endpoints = endpoints_of(settings)
    delivery = settings.delivery
    backoff = delivery.backoff(delivery.attempts)
    opened = settings.outbound.networks
    relay = Relay(database, endpoints, backoff, delivery.timeout_seconds, opened)
    orders = Orders(database, terms)
    providers = {name: channel.provider for name, channel in channels.items()}
    prompt: list[Lane] = []
    wake = partial(_wake, prompt)
    reconciler = Reconciler(database, orders, providers, settings.checks.backoff(), wake)
    try:
        await require_newest(database)
        orders.signs.start()
        prompt += [*relay.lanes(), *Duties(database, orders, providers).lanes()]
        yield Platform(settings, catalogue, database, channels, orders, reconciler, clients, prompt)
    finally:
        await reconciler.drain()
        await orders.drain()
        relay.close()
        clients.close()
        for channel in channels.values():
            await channel.provider.aclose()
        await database.close()


def make_router(platform: Platform) -> RuleRouter:
    """Return the routes: the factory first, then the doors that serve all channels."""
    shared = {"orders": platform.orders, "wake": platform.wake}
    catalogue = {"catalogue": platform.catalogue, "settings": platform.settings}
    application = Application(
        [
            (
                r"/v1/create_order/?",
                CreateOrder,
                {**shared, **catalogue, "channels": platform.channels},
            ),
            (
                r"/v1/orders/([^/]+)/?",
                OrderHandler,
                {
                    "orders": platform.orders,
                    "reconciler": platform.reconciler,
                    "timeline": Timeline(platform.database),
                    "explanations": Explanations(platform.database),
                },
            ),
            (
                r"/v1/events/?",
                EventsHandler,
                {"events": Events(platform.database), "apps": platform.settings.apps},
            ),
            (r"/healthz/?", HealthHandler),
            (r"/readyz/?", ReadyHandler, {"checks": _readiness(platform)}),
            *reference_routes(_doors(platform), platform.settings.auth.mode),
            *console_routes(_desk(platform)),
        ],
        template_path=CONSOLE_PAGES,
        default_handler_class=NotFoundHandler,
        clients=platform.clients,
        running=platform.running,
        draining=platform.draining,
        limits=limits_of(platform.settings),
        suspects=asyncio.Lock(),
        trusted_proxies=platform.settings.server.trusted_proxies,
    )
    factory = ChannelFactory(application, platform.channels, shared)
    return RuleRouter([Rule(AnyMatches(), factory), Rule(AnyMatches(), application)])


def _doors(platform: Platform) -> Doors:
    return {name: channel.door for name, channel in platform.channels.items()}


def _desk(platform: Platform) -> Desk:
    database = platform.database
    return Desk(
        platform.settings,
        database,
        platform.orders,
        platform.reconciler,
        Operators(database),
        Explanations(database),
        Timeline(database),
        Statistics(database),
        Health(database, platform.providers),
        platform.wake,
        endpoints_of(platform.settings).keys(),
        accounts_of(platform.providers.values()),
    )


def make_worker(platform: Platform) -> Worker:
    """Return the jobs of this process: deliveries, duties, checks, sweeps."""
    checks = platform.reconciler.lanes()
    return Worker([*platform.prompt_lanes, *checks, *_sweeps(platform).lanes()])


def make_server(router: Router, settings: ServerSettings) -> HTTPServer:
    """Return the HTTP server with limits for slow and large senders."""
    server = HTTPServer(
        Patience(router, settings.idle_seconds, settings.body_seconds),
        max_header_size=MAX_HEADER,
        # Our doors count a body as it comes; Tornado would refuse it first, and tell nobody why.
        max_body_size=sys.maxsize,
    )
    server.conn_params.header_timeout = None
    return server


async def start_worker(platform: Platform, worker: Worker) -> None:
    """Enrol the sweeps and start every lane."""
    await _sweeps(platform).enrol()
    worker.start()


def _wake(lanes: Iterable[Lane]) -> None:
    for lane in lanes:
        lane.wake()


def _sweeps(platform: Platform) -> Sweeps:
    untold = UntoldOrders(platform.database, terms_of(platform.settings))
    sweeps = {"untold_orders": Sweep(60.0, untold.run)}
    for name, provider in platform.providers.items():
        if provider.sweep_seconds is not None:
            missed = MissedNotices(platform.orders, provider, platform.wake)
            sweeps[f"missed/{name}"] = Sweep(provider.sweep_seconds, missed.run)
    return Sweeps(platform.database, sweeps)


def _readiness(platform: Platform) -> dict[str, Callable[[], Awaitable[None]]]:
    async def not_draining() -> None:
        if platform.draining.is_set():
            raise Draining

    async def schema() -> None:
        if await version(platform.database) != newest:
            raise ConfigurationError(["database.url: run `payplat migrate` first"])

    newest = newest_version()

    return {"database": lambda: ping(platform.database), "schema": schema, "serving": not_draining}


def terms_of(settings: Settings) -> dict[str, Terms]:
    """Return what the configuration demands of the ledger, by channel."""
    return {
        name: Terms(
            channel.late,
            {
                f"{channel.app}/{end}": table.types
                for end, table in settings.apps[channel.app].endpoints.items()
            },
            channel.gives_back,
        )
        for name, channel in settings.channels.items()
    }


def limits_of(settings: Settings) -> dict[str, Limit]:
    """Return how often callers may come, by the limit's name."""
    given = settings.limits
    return {
        "client": Limit("client", given.per_client_per_minute),
        "app": Limit("app", given.per_app_per_minute),
        "forgeries": Limit("forgeries", given.forgeries_per_minute),
        "sign_in": Limit("sign_in", SIGN_INS_PER_MINUTE),
    }


def endpoints_of(settings: Settings) -> dict[str, Endpoint]:
    """Return where the merchants' endpoints are, by ``app/name``."""
    return {
        f"{app}/{name}": Endpoint(end.url, tuple(map(_secret, end.secrets)))
        for app, table in settings.apps.items()
        for name, end in table.endpoints.items()
    }


def _secret(text: str) -> bytes:
    return base64.b64decode(text.removeprefix("whsec_"))
