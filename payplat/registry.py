"""The registry: which kinds of channel are installed, and which the configuration opens."""

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from payplat.errors import ConfigurationError
from payplat.handlers.factory import Channel
from payplat.handlers.pay import AbstractPay
from payplat.provider import Account
from payplat.settings import Settings

GROUP = "payplat.channels"
Doors = Mapping[str, type[AbstractPay]]


def installed_doors() -> dict[str, type[AbstractPay]]:
    """Load every kind of channel that an installed package offers by entry point.

    Raises ConfigurationError naming both packages when two offer the same name.
    """
    offers: dict[str, EntryPoint] = {}
    for offer in entry_points(group=GROUP):
        other = offers.setdefault(offer.name, offer)
        if other.value != offer.value:
            both = f"{_package(other)} and {_package(offer)}"
            raise ConfigurationError([f"channels of kind {offer.name} are offered by {both}"])
    return {name: offer.load() for name, offer in offers.items()}


def open_channels(settings: Settings, doors: Doors) -> dict[str, Channel]:
    """Make every configured channel; raises ConfigurationError with all that does not fit."""
    channels: dict[str, Channel] = {}
    faults: list[str] = []
    for name, table in settings.channels.items():
        door = doors[table.kind or name]
        notify_url = f"{settings.public_url.rstrip('/')}/v1/callback/{name}"
        account = Account(name, settings.environment, notify_url, settings.outbound.networks)
        try:
            channels[name] = Channel(name, door, door.make_provider(table, account), table)
        except ValueError as error:
            faults.append(f"channels.{name}: {error}")
    faults += _twins(channels.values())
    if faults:
        raise ConfigurationError(faults)
    return channels


def _twins(channels: Iterable[Channel]) -> Iterator[str]:
    """Tell of two channels with one account: what the company says of it could be meant for either."""
    seen: dict[tuple[str, str], str] = {}
    for channel in channels:
        account = (channel.provider.kind, channel.provider.account)
        other = seen.setdefault(account, channel.name)
        if other != channel.name:
            yield f"channels.{channel.name}: the same account as channels.{other}"


def _package(offer: EntryPoint) -> str:
    return offer.dist.name if offer.dist else offer.value
