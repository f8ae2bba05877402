"""``payplat channels``: how well each configured channel is."""

import typer
from rich.table import Table
from rich.text import Text

from payplat import seam
from payplat.channel_health import ChannelHealth, Health, Level, as_answer
from payplat.database import Database
from payplat.explanation import Language
from payplat.registry import Doors, open_channels
from payplat.settings import Settings
from payplat.signs import Seen, Sign
from payplat.terminal import (
    AsJson,
    ConfigFile,
    configured,
    out,
    print_json,
    run,
    with_database,
)

channels_cli = typer.Typer(name="channels", help="How well channels are.", no_args_is_help=True)
_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.TROUBLE: "red"}
_COLUMNS = ("channel", "verdict", "last notice", "last answer", "forged", "failed", "duties", "why")


# Without a second command Typer would take the group for one.
@channels_cli.callback()
def _channels() -> None:
    """How well channels are."""


@channels_cli.command("list")
def channels_list(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the channels: signs of life, open work, what expires. Exit 1 when one is in trouble.

    Whether a provider is being left alone (its circuit is open) only the serving processes know: see their metrics.
    """
    settings, doors = configured(config)
    found: list[ChannelHealth] = run(with_database(settings, lambda d: _look(d, settings, doors)))
    if as_json:
        print_json([as_answer(health) for health in found])
    else:
        table = Table(*_COLUMNS)
        for health in found:
            table.add_row(*_row(health))
        out.print(table)
    raise typer.Exit(1 if any(health.verdict is Level.TROUBLE for health in found) else 0)


async def _look(database: Database, settings: Settings, doors: Doors) -> list[ChannelHealth]:
    channels = open_channels(settings, doors)
    try:
        providers = {name: channel.provider for name, channel in channels.items()}
        return await Health(database, providers).look()
    finally:
        for channel in channels.values():
            await channel.provider.aclose()


def _row(health: ChannelHealth) -> list[Text]:
    failures = sum(health.seen(s).count for s in (Sign.QUERY_FAILED, Sign.MISCONFIGURED))
    why = " ".join(reason.told(Language.EN) for reason in health.reasons)
    cells = [
        health.channel,
        health.verdict.value,
        _when(health.seen(Sign.CALLBACK)),
        _when(health.seen(Sign.VERIFIED)),
        str(health.seen(Sign.FORGED).count),
        str(failures),
        f"{health.work.duties_waiting} due, {health.work.duties_exhausted} given up",
        why,
    ]
    texts = [Text(cell) for cell in cells]
    texts[1].stylize(_STYLES[health.verdict])
    return texts


def _when(seen: Seen) -> str:
    return seam.rfc3339(seen.last_at) if seen.count else "never"
