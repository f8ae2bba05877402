"""The command line. Exit codes: 0 all is well, 1 found problems, 2 wrong usage, 3 the environment does not fit."""

import signal
import sys
from dataclasses import asdict
from importlib.metadata import version as package_version
from typing import Annotated, Any

import typer

from payplat import commands_quarantine, life, schema
from payplat.commands_channels import channels_cli
from payplat.commands_events import events_cli
from payplat.commands_operators import operators_cli
from payplat.commands_orders import orders_cli
from payplat.database import database_of
from payplat.doctor import examine
from payplat.errors import ConfigurationError
from payplat.logs import configure_logging
from payplat.openapi.document import CLIENT_MODES, document_of
from payplat.operations import (
    deliveries_cli,
    duties_cli,
    endpoints_cli,
    keys_cli,
    trigger,
)
from payplat.processes import Supervisor
from payplat.registry import Doors, installed_doors
from payplat.settings import Settings
from payplat.terminal import (
    AsJson,
    ConfigFile,
    configured,
    fail,
    out,
    print_json,
    read_configuration,
    run,
)

cli = typer.Typer(
    help="payplat: the payment platform that apps and games host themselves.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
for group in (
    channels_cli,
    deliveries_cli,
    duties_cli,
    endpoints_cli,
    events_cli,
    keys_cli,
    operators_cli,
    orders_cli,
):
    cli.add_typer(group)
cli.command()(trigger)
# How the doctor marks what it found, by whether it is well and whether that is a warning.
_MARKS = {(True, False): "[green]✓[/]", (True, True): "[yellow]![/]", (False, False): "[red]✗[/]"}
commands_quarantine.enrol(cli)


@cli.command()
def serve(
    config: ConfigFile = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="How many processes.")] = 1,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Run the jobs in here too.")
    ] = True,
) -> None:
    """Serve the API, and the jobs too unless told otherwise, until SIGTERM. SIGHUP reads the configuration again."""
    settings, doors = configured(config)
    if processes > 1 and settings.database.url.get_secret_value().startswith("sqlite"):
        fail("SQLite takes one serve process; use MariaDB for more", 2)
    configure_logging()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can be heard
    known = [settings]

    def reread() -> Settings:
        known[0] = read_configuration(config)[0]
        return known[0]

    def one(number: int) -> None:
        shared = processes > 1
        try:
            run(life.serve(known[0], doors, reread, work=worker, shared_port=shared, number=number))
        except typer.Exit as end:
            sys.exit(end.exit_code)

    if processes > 1:
        sys.exit(Supervisor(processes, one, reread).run())
    one(0)


@cli.command()
def worker(config: ConfigFile = None) -> None:
    """Run the jobs alone: deliveries, duties, checks, sweeps, until SIGTERM. SIGHUP reads the configuration again."""
    settings, doors = configured(config)
    configure_logging()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can be heard
    run(life.work(settings, doors, lambda: read_configuration(config)[0]))


@cli.command()
def migrate(config: ConfigFile = None) -> None:
    """Bring the database to the newest schema; safe to repeat."""
    settings, _ = configured(config)

    async def body() -> None:
        database = database_of(settings)
        try:
            await schema.migrate(database)
        finally:
            await database.close()

    run(body())
    out.print(f"the schema is at {schema.newest_version()}")


@cli.command()
def doctor(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Look at this installation: configuration, keys, database, clock, channels. Exit 0 when all is well."""
    settings, doors = configured(config)
    findings = run(_collect(settings, doors))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = _MARKS[finding.ok, finding.is_warning]
            out.print(f"{mark} {finding.what}: {finding.says}", highlight=False, soft_wrap=True)
    raise typer.Exit(0 if all(f.ok for f in findings) else 1)


@cli.command()
def demo() -> None:
    """Play a purchase through every story, on simulators; on a terminal, leave a storefront open."""
    from payplat.demo.play import main as play  # simulators are no part of a service

    configure_logging("ERROR")
    raise typer.Exit(run(play(stay=sys.stdin.isatty() and sys.stdout.isatty())))


@cli.command()
def openapi() -> None:
    """Print the API's OpenAPI document as JSON, with every installed channel under the name of its kind."""
    print_json(document_of(installed_doors(), CLIENT_MODES))


@cli.command()
def version() -> None:
    """Print the version."""
    out.print(package_version("payplat"), highlight=False)


def main() -> None:
    """Run the command line, with the commands that the installed channels bring along."""
    try:
        for kind, door in installed_doors().items():
            if (commands := door.commands()) is not None:
                cli.add_typer(commands, name=kind)
    except ConfigurationError as error:
        sys.exit(str(error))
    cli()


async def _collect(settings: Settings, doors: Doors) -> list[Any]:
    return [finding async for finding in examine(settings, doors)]
