"""What every command needs: its common options, a start and an end, and how it tells rows and faults."""

import asyncio
import json
import os
import pwd
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from payplat import audit, schema
from payplat.configuration import read_settings
from payplat.database import Database, database_of
from payplat.errors import ConfigurationError, DatabaseUnavailable, PayplatError
from payplat.registry import Doors, installed_doors
from payplat.settings import Settings

out = Console()

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="PAYPLAT_CONFIG", help="The configuration file."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _moment(text: str) -> int:
    """Read RFC 3339 with its zone, seconds may be missing; return microseconds since 1970."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise typer.BadParameter("it needs its zone, such as 2026-11-22T10:00Z")
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def time_option(help_: str) -> Any:
    """Return an option that takes a time."""
    return typer.Option(parser=_moment, metavar="TIME", help=help_)


async def with_database(settings: Settings, body: Any) -> Any:
    """Return what ``body(database)`` returns; raises ConfigurationError when the schema is not the newest."""
    database = database_of(settings)
    try:
        await schema.require_newest(database)
        return await body(database)
    finally:
        await database.close()


def operator() -> str:
    """Return who types this, as timelines and the record of acts name him."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have no name
        name = str(os.getuid())
    return f"cli:{name[:40]}"


async def put_on_record(database: Database, act: str, subject: str, **detail: Any) -> None:
    """Write down what the operator has just done to what."""
    done = audit.Act(operator(), act, subject, detail)
    await database.transaction(lambda c: audit.record(c, done))


def read_configuration(config: Path | None) -> tuple[Settings, Doors]:
    """Read the configuration; raises ConfigurationError."""
    doors = installed_doors()
    kinds = {kind: door.settings_type for kind, door in doors.items()}
    return read_settings(config, os.environ, kinds), doors


def configured(config: Path | None) -> tuple[Settings, Doors]:
    """Read the configuration, or tell every fault and exit."""
    try:
        return read_configuration(config)
    except ConfigurationError as error:
        fail("the configuration has faults:\n  " + "\n  ".join(error.faults), 3)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what the coroutine returns; an error of ours is told in a line and ends the command."""
    try:
        return asyncio.run(coroutine)
    except ConfigurationError as error:
        fail("\n".join(error.faults), 3)
    except DatabaseUnavailable as error:
        fail(f"database.url: {error}", 1)
    except PayplatError as error:
        fail(str(error), 1)


def fail(message: str, code: int) -> NoReturn:
    """Tell what is wrong and end the command with that exit code."""
    Console(stderr=True).print(message, style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(code)


def print_rows(rows: Sequence[Any], names: tuple[str, ...], *, as_json: bool) -> None:
    """Print these columns of rows as a table, or as JSON."""
    if as_json:
        print_json([{name: getattr(row, name) for name in names} for row in rows])
        return
    table = Table(*names)
    for row in rows:
        table.add_row(*(str(getattr(row, name)) for name in names))
    out.print(table)


def print_json(value: Any) -> None:
    """Print JSON for a program."""
    print(json.dumps(value, ensure_ascii=False, indent=2))  # noqa: T201 - what a program reads is not wrapped
