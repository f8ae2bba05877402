"""The command line. Exit codes: 0 all is well, 1 found problems, 2 wrong usage, 3 the environment does not fit."""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from payplat import app, schema
from payplat.deliveries import list_deliveries, resend
from payplat.doctor import examine
from payplat.errors import ConfigurationError, PayplatError
from payplat.logs import configure_logging
from payplat.orders import Orders
from payplat.processes import Supervisor
from payplat.registry import Doors, installed_doors
from payplat.settings import Settings, read_settings

cli = typer.Typer(
    help="payplat: the payment platform that apps and games host themselves.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
deliveries_cli = typer.Typer(help="Events on their way to merchants.", no_args_is_help=True)
orders_cli = typer.Typer(help="Orders.", no_args_is_help=True)
cli.add_typer(deliveries_cli, name="deliveries")
cli.add_typer(orders_cli, name="orders")
out = Console()

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="PAYPLAT_CONFIG", help="The configuration file."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@cli.command()
def serve(
    config: ConfigFile = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="How many processes.")] = 1,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Run the jobs in here too.")
    ] = True,
) -> None:
    """Serve the API, and the jobs too unless told otherwise, until SIGTERM."""
    settings, doors = _configured(config)
    if processes > 1 and settings.database.url.get_secret_value().startswith("sqlite"):
        _fail("SQLite takes one serve process; use MariaDB for more", 2)
    configure_logging()

    def one() -> None:
        try:
            _run(app.serve(settings, doors, work=worker, shared_port=processes > 1))
        except typer.Exit as end:
            sys.exit(end.exit_code)

    if processes > 1:
        sys.exit(Supervisor(processes, one).run())
    one()


@cli.command()
def worker(config: ConfigFile = None) -> None:
    """Run the jobs alone: deliveries, duties, checks, sweeps, until SIGTERM."""
    settings, doors = _configured(config)
    configure_logging()
    _run(app.work(settings, doors))


@cli.command()
def migrate(config: ConfigFile = None) -> None:
    """Bring the database to the newest schema; safe to repeat."""
    settings, _ = _configured(config)

    async def body() -> None:
        database = app.database_of(settings)
        try:
            await schema.migrate(database)
        finally:
            await database.close()

    _run(body())
    out.print(f"the schema is at {schema.newest_version()}")


@cli.command()
def doctor(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Look at this installation: configuration, keys, database, clock, channels. Exit 0 when all is well."""
    settings, doors = _configured(config)
    findings = _run(_collect(settings, doors))
    if as_json:
        _print_json([{"what": f.what, "ok": f.ok, "says": f.says} for f in findings])
    else:
        for finding in findings:
            mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
            out.print(f"{mark} {finding.what}: {finding.says}", highlight=False, soft_wrap=True)
    raise typer.Exit(0 if all(f.ok for f in findings) else 1)


@cli.command()
def demo() -> None:
    """Play a purchase through every story, on simulators; on a terminal, leave a storefront open."""
    from payplat.demo.play import main as play  # simulators are no part of a service

    configure_logging("ERROR")
    raise typer.Exit(_run(play(stay=sys.stdin.isatty() and sys.stdout.isatty())))


@cli.command()
def version() -> None:
    """Print the version."""
    out.print(package_version("payplat"), highlight=False)


@deliveries_cli.command("list")
def deliveries_list(
    config: ConfigFile = None,
    status: Annotated[str | None, typer.Option(help="due, delivered or exhausted.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the newest deliveries."""
    settings, _ = _configured(config)
    rows = _run(_with_database(settings, lambda d: list_deliveries(d, status)))
    names = ("id", "status", "type", "order_no", "endpoint", "failures")
    if as_json:
        _print_json([{name: getattr(row, name) for name in names} for row in rows])
        return
    table = Table(*names)
    for row in rows:
        table.add_row(*(str(getattr(row, name)) for name in names))
    out.print(table)


@deliveries_cli.command("resend")
def deliveries_resend(delivery: int, config: ConfigFile = None) -> None:
    """Send a delivery again, with the same event id."""
    settings, _ = _configured(config)
    _run(_with_database(settings, lambda d: resend(d, delivery, "operator")))
    out.print(f"delivery {delivery} is due again")


@orders_cli.command("release")
def orders_release(order_no: str, config: ConfigFile = None) -> None:
    """Deliver an order that is held because it was paid too late."""
    settings, _ = _configured(config)

    async def body(database: Any) -> None:
        orders = Orders(database, app.terms_of(settings))
        await orders.release(order_no, "operator")

    _run(_with_database(settings, body))
    out.print(f"order {order_no} is paid and on its way")


def main() -> None:
    """Run the command line."""
    cli()


async def _collect(settings: Settings, doors: Doors) -> list[Any]:
    return [finding async for finding in examine(settings, doors)]


async def _with_database(settings: Settings, body: Any) -> Any:
    database = app.database_of(settings)
    try:
        await schema.require_newest(database)
        return await body(database)
    finally:
        await database.close()


def _configured(config: Path | None) -> tuple[Settings, Doors]:
    """Read the configuration, or tell every fault and exit."""
    try:
        doors = installed_doors()
        kinds = {kind: door.settings_type for kind, door in doors.items()}
        return read_settings(config, os.environ, kinds), doors
    except ConfigurationError as error:
        _fail("the configuration has faults:\n  " + "\n  ".join(error.faults), 3)


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return asyncio.run(coroutine)
    except ConfigurationError as error:
        _fail("\n".join(error.faults), 3)
    except PayplatError as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> NoReturn:
    Console(stderr=True).print(message, style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(code)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))  # noqa: T201 - what a program reads is not wrapped
