"""``payplat doctor``: looks at an installation and says what is well and what is not, a line each."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from payplat import schema, seam
from payplat.addresses import is_permitted
from payplat.app import endpoints_of
from payplat.catalogue import read_catalogue
from payplat.channel_health import Level, about_credentials
from payplat.database import Database, database_of
from payplat.endpoints import Status, states
from payplat.errors import ConfigurationError, PayplatError
from payplat.explanation import Language
from payplat.models import ORDERS
from payplat.outbound import resolve
from payplat.registry import Doors, open_channels
from payplat.settings import Settings

# What each session must have, by the names of MariaDB and MySQL.
_WANTED = {
    "isolation": ("'tx_isolation', 'transaction_isolation'", "READ-COMMITTED"),
    "sql_mode": ("'sql_mode'", "STRICT_ALL_TABLES"),
    "time zone": ("'time_zone'", "+00:00"),
    "durability": ("'innodb_flush_log_at_trx_commit'", "1"),
}


_STANDS = {Status.PAUSED: "paused", Status.UNKNOWN: "not configured"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; of what is ``ok``, a warning names what will not stay so."""

    what: str
    ok: bool
    says: str
    is_warning: bool = False


async def examine(settings: Settings, doors: Doors) -> AsyncIterator[Finding]:
    """Yield a finding for everything that can be looked at; a fault hides only what depends on it."""
    yield Finding("configuration", ok=True, says=f"complete, environment is {settings.environment}")
    yield await _look("catalogue", lambda: _catalogue(settings))
    yield await _look("addresses", lambda: _addresses(settings))
    if _needs_proxies(settings):
        says = "server.trusted_proxies is empty: all callers behind the proxy count as one"
        yield Finding("proxies", ok=True, says=says, is_warning=True)
    database = database_of(settings)
    try:
        async for finding in _examine_database(database, settings):
            yield finding
    finally:
        await database.close()
    async for finding in _examine_channels(settings, doors):
        yield finding


async def _examine_database(database: Database, settings: Settings) -> AsyncIterator[Finding]:
    reached = await _look("database", lambda: _reach(database))
    yield reached
    if not reached.ok:
        return
    migrations = await _look("migrations", lambda: _migrations(database))
    yield migrations
    if migrations.ok:
        yield await _look("endpoints", lambda: _endpoints(database, settings))
        yield await _look("orders", lambda: _orders(database, settings))
    if database.is_sqlite:
        yield await _look("clock", _nothing_to_compare)
        return
    for what, (names, wanted) in _WANTED.items():
        yield await _look(what, partial(_variable, database, names, wanted))
    yield await _look("collation", lambda: _collation(database))
    yield await _look("clock", lambda: _database_clock(database))


async def _examine_channels(settings: Settings, doors: Doors) -> AsyncIterator[Finding]:
    try:
        channels = open_channels(settings, doors)
    except ConfigurationError as error:
        for fault in error.faults:
            yield Finding("keys", ok=False, says=fault)
        return
    yield Finding("keys", ok=True, says=f"readable for {', '.join(channels)}")
    for name, channel in channels.items():
        for reason in about_credentials(channel.provider.credentials):
            is_warning = reason.level is Level.WARNING
            says = reason.told(Language.EN)
            yield Finding(f"certificates of {name}", is_warning, says, is_warning)
        yield await _look(f"channel {name}", channel.provider.probe)
        await channel.provider.aclose()


async def _look(what: str, look: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(what, ok=True, says=await look())
    except ConfigurationError as error:
        return Finding(what, ok=False, says="; ".join(error.faults))
    except (PayplatError, SQLAlchemyError) as error:
        return Finding(what, ok=False, says=str(error).splitlines()[0])


async def _catalogue(settings: Settings) -> str:
    products = read_catalogue(settings.folder / settings.catalogue).products
    for app in settings.apps:
        if app not in products:
            raise ConfigurationError([f"{settings.catalogue}: the app {app} sells nothing"])
    return f"{sum(len(sold) for sold in products.values())} products"


async def _addresses(settings: Settings) -> str:
    """Ask where the endpoints' names lead from here: deliveries go only where they are permitted."""
    faults: list[str] = []
    for name, endpoint in endpoints_of(settings).items():
        try:
            resolved = await resolve(endpoint.url)
        except OSError:
            faults.append(f"{name}: its host cannot be resolved")
            continue
        opened = settings.outbound.networks
        faults += [
            f"{name}: its host leads to {address}, which is not permitted (outbound.networks)"
            for address in resolved
            if not is_permitted(address, opened)
        ]
    if faults:
        raise ConfigurationError(faults)
    return "every endpoint is at a permitted address"


def _needs_proxies(settings: Settings) -> bool:
    """Tell whether a proxy on this machine must stand in front: outside is https, we listen on loopback."""
    server = settings.server
    return (
        settings.public_url.startswith("https:")
        and server.host in ("localhost", "127.0.0.1", "::1")
        and not server.trusted_proxies
    )


async def _reach(database: Database) -> str:
    name = "sqlite_version()" if database.is_sqlite else "version()"
    started = time.monotonic()
    version = await _scalar(database, f"SELECT {name}")
    return (
        f"{database.url.get_backend_name()} {version}, {(time.monotonic() - started) * 1000:.0f} ms"
    )


async def _migrations(database: Database) -> str:
    if database.is_sqlite:
        await schema.migrate(database)
    found, newest = await schema.version(database), schema.newest_version()
    if found != newest:
        raise ConfigurationError(
            [f"at {found or 'nothing'}, not at {newest}: run `payplat migrate`"]
        )
    if await schema.differences(database):
        raise ConfigurationError(["the tables differ from what this version expects"])
    return f"at {found}, the newest"


async def _endpoints(database: Database, settings: Settings) -> str:
    known = endpoints_of(settings)
    found = await states(database, known)
    faults = [
        f"{state.endpoint} is {_STANDS[state.status]}, {state.due} deliveries wait for it"
        for state in found
        if state.status is Status.PAUSED or (state.status is Status.UNKNOWN and state.due)
    ]
    faults += [
        f"{state.endpoint}: {state.exhausted} deliveries gave up"
        for state in found
        if state.exhausted
    ]
    if faults:
        raise ConfigurationError(faults)
    return f"{', '.join(known)} open"


async def _orders(database: Database, settings: Settings) -> str:
    """Ask for orders that are due for a check that nobody makes: their channel was taken from the configuration."""
    forgotten = select(ORDERS.c.channel).where(
        ORDERS.c.channel.not_in(list(settings.channels)), ORDERS.c.next_check_at.is_not(None)
    )
    found = (await database.read(lambda c: c.execute(forgotten.distinct()))).scalars().all()
    if found:
        raise ConfigurationError(
            [f"orders of {name} wait, no such channel is open" for name in found]
        )
    return "every channel that orders wait for is open"


async def _variable(database: Database, names: str, wanted: str) -> str:
    shown = text(f"SHOW VARIABLES WHERE variable_name IN ({names})")
    # Newer servers have the old and the new name of one variable.
    for name, found in (await database.read(lambda c: c.execute(shown))).all():
        if wanted not in found:
            raise ConfigurationError([f"{name} is {found}, must be {wanted}"])
    return f"{names.strip(chr(39))} is {wanted}"


async def _collation(database: Database) -> str:
    await schema.require_exact(database)
    return "texts are compared byte by byte"


async def _database_clock(database: Database) -> str:
    theirs = float(await _scalar(database, "SELECT unix_timestamp(now(6))"))
    skew = abs(theirs - seam.now() / seam.SECOND)
    if skew > seam.MOST_SKEW:
        raise ConfigurationError([f"differs from the database's by {skew:.0f} s"])
    return f"within {seam.MOST_SKEW:.0f} s of the database's"


async def _nothing_to_compare() -> str:
    return "an embedded database has no clock of its own to compare with"


async def _scalar(database: Database, statement: str) -> str:
    return str((await database.read(lambda c: c.execute(text(statement)))).scalar_one())
