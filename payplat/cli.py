"""The command line. Exit codes: 0 all is well, 1 found problems, 2 wrong usage, 3 the environment does not fit."""

import sys
from importlib.metadata import version as package_version
from typing import Annotated, Any

import typer

from payplat import app, duties, schema, seam
from payplat.attempts import Attempt
from payplat.database import database_of
from payplat.deliveries import Ended, list_deliveries, resend, resend_all
from payplat.doctor import examine
from payplat.errors import ConfigurationError
from payplat.logs import configure_logging
from payplat.orders import Orders
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
    print_rows,
    run,
    time_option,
    with_database,
)
from payplat.trigger import made_up_order, read_order
from payplat.trigger import trigger as send_test_event

cli = typer.Typer(
    help="payplat: the payment platform that apps and games host themselves.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
deliveries_cli = typer.Typer(help="Events on their way to merchants.", no_args_is_help=True)
duties_cli = typer.Typer(help="What is owed to providers.", no_args_is_help=True)
orders_cli = typer.Typer(help="Orders.", no_args_is_help=True)
cli.add_typer(deliveries_cli, name="deliveries")
cli.add_typer(duties_cli, name="duties")
cli.add_typer(orders_cli, name="orders")


@cli.command()
def serve(
    config: ConfigFile = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="How many processes.")] = 1,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Run the jobs in here too.")
    ] = True,
) -> None:
    """Serve the API, and the jobs too unless told otherwise, until SIGTERM."""
    settings, doors = configured(config)
    if processes > 1 and settings.database.url.get_secret_value().startswith("sqlite"):
        fail("SQLite takes one serve process; use MariaDB for more", 2)
    configure_logging()

    def one() -> None:
        try:
            run(app.serve(settings, doors, work=worker, shared_port=processes > 1))
        except typer.Exit as end:
            sys.exit(end.exit_code)

    if processes > 1:
        sys.exit(Supervisor(processes, one).run())
    one()


@cli.command()
def worker(config: ConfigFile = None) -> None:
    """Run the jobs alone: deliveries, duties, checks, sweeps, until SIGTERM."""
    settings, doors = configured(config)
    configure_logging()
    run(app.work(settings, doors))


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
        print_json([{"what": f.what, "ok": f.ok, "says": f.says} for f in findings])
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
    raise typer.Exit(run(play(stay=sys.stdin.isatty() and sys.stdout.isatty())))


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
    settings, _ = configured(config)
    rows = run(with_database(settings, lambda d: list_deliveries(d, status)))
    print_rows(rows, ("id", "status", "type", "order_no", "endpoint", "failures"), as_json=as_json)


@deliveries_cli.command("resend")
def deliveries_resend(
    delivery: Annotated[int | None, typer.Argument(help="The id of one of them.")] = None,
    config: ConfigFile = None,
    status: Annotated[Ended | None, typer.Option(help="Of many: how they ended.")] = None,
    since: Annotated[int | None, time_option("Of many: their events' time, from here on.")] = None,
    until: Annotated[int | None, time_option("… until before here, otherwise now.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Of many: only to app/name.")] = None,
) -> None:
    """Send one delivery again, or all that ended so in a time, with the same event ids."""
    settings, _ = configured(config)
    if delivery is not None:
        if status or since or until or endpoint:
            fail("name one delivery, or a status and a time, not both", 2)
        run(with_database(settings, lambda d: resend(d, delivery, "operator")))
        out.print(f"delivery {delivery} is due again")
        return
    if status is None or since is None:
        fail("name one delivery, or a --status and --since when", 2)
    if endpoint is not None:
        _endpoint(settings, endpoint)
    span = (since, until or seam.now())
    count = run(
        with_database(settings, lambda d: resend_all(d, status, *span, endpoint, "operator"))
    )
    out.print(f"{count} deliveries are due again")


@duties_cli.command("list")
def duties_list(
    config: ConfigFile = None,
    status: Annotated[str | None, typer.Option(help="due, held, done or exhausted.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the newest duties."""
    settings, _ = configured(config)
    rows = run(with_database(settings, lambda d: duties.list_duties(d, status)))
    print_rows(rows, ("id", "status", "what", "order_no", "channel", "failures"), as_json=as_json)


@duties_cli.command("resend")
def duties_resend(duty: int, config: ConfigFile = None) -> None:
    """Try an exhausted duty again."""
    settings, _ = configured(config)
    run(with_database(settings, lambda d: duties.resend(d, duty, "operator")))
    out.print(f"duty {duty} is due again")


@cli.command()
def trigger(
    endpoint: Annotated[str, typer.Argument(help="Where to: app/name.")],
    config: ConfigFile = None,
    kind: Annotated[str, typer.Option("--type", help="The event's type.")] = "order.paid",
    order: Annotated[
        str | None, typer.Option(help="The order it tells of; otherwise one that never was.")
    ] = None,
) -> None:
    """Send an endpoint one signed test event now; nothing is stored. Exit 0 when it answers 2xx."""
    settings, _ = configured(config)
    _endpoint(settings, endpoint)
    attempt = run(_send_test_event(settings, endpoint, kind, order))
    told = attempt.error or f"answered {attempt.status}"
    out.print(f"{endpoint}: {told} in {attempt.milliseconds} ms", highlight=False, soft_wrap=True)
    raise typer.Exit(0 if attempt.ok else 1)


@orders_cli.command("release")
def orders_release(order_no: str, config: ConfigFile = None) -> None:
    """Deliver an order that is held because it was paid too late."""
    settings, _ = configured(config)

    async def body(database: Any) -> None:
        orders = Orders(database, app.terms_of(settings))
        await orders.release(order_no, "operator")

    run(with_database(settings, body))
    out.print(f"order {order_no} is paid and on its way")


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


async def _send_test_event(
    settings: Settings, endpoint: str, kind: str, order_no: str | None
) -> Attempt:
    name, _, _ = endpoint.partition("/")
    told = made_up_order(name, settings.environment)
    if order_no is not None:
        told = await with_database(settings, lambda d: read_order(d, order_no, name))
    target, timeout = app.endpoints_of(settings)[endpoint], settings.delivery.timeout_seconds
    return await send_test_event(target, kind, *told, timeout)


def _endpoint(settings: Settings, name: str) -> None:
    known = app.endpoints_of(settings)
    if name not in known:
        fail(f"there is no endpoint {name}, only {', '.join(known)}", 2)
