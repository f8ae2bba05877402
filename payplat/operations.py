"""What operators do by hand: deliveries and duties again, endpoints paused and resumed, keys, test events."""

from typing import Annotated

import typer
from rich.progress import Progress
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import api_keys, app, duties, endpoints, seam
from payplat.attempts import Attempt
from payplat.audit import Act, record
from payplat.clients import Scope
from payplat.database import Database
from payplat.deliveries import Ended, resend, resend_all
from payplat.delivery_list import Filter, list_deliveries
from payplat.outbound import Counterpart
from payplat.seam import rfc3339
from payplat.settings import Settings
from payplat.terminal import (
    AsJson,
    ConfigFile,
    configured,
    fail,
    operator,
    out,
    print_rows,
    put_on_record,
    run,
    time_option,
    with_database,
)
from payplat.trigger import made_up_order, read_order
from payplat.trigger import trigger as send_test_event

deliveries_cli = typer.Typer(
    name="deliveries", help="Events on their way to merchants.", no_args_is_help=True
)
duties_cli = typer.Typer(name="duties", help="What is owed to providers.", no_args_is_help=True)
endpoints_cli = typer.Typer(name="endpoints", help="Where merchants learn.", no_args_is_help=True)
keys_cli = typer.Typer(name="keys", help="API keys of the apps' backends.", no_args_is_help=True)
DutyId = Annotated[int, typer.Argument(help="The duty's id.")]
KeyId = Annotated[str, typer.Argument(help="The key's id: what stands between its underscores.")]
EndpointName = Annotated[str, typer.Argument(help="Which one: app/name.")]


@deliveries_cli.command("list")
def deliveries_list(
    config: ConfigFile = None,
    status: Annotated[str | None, typer.Option(help="due, delivered or exhausted.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="To app/name.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="The event's type.")] = None,
    order: Annotated[str | None, typer.Option(help="Of that order.")] = None,
    before: Annotated[int | None, typer.Option(help="Older than that delivery.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the newest deliveries."""
    settings, _ = configured(config)
    wanted = Filter(status, endpoint, kind, order)
    rows = run(with_database(settings, lambda d: list_deliveries(d, wanted, before, limit)))
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
        run(with_database(settings, lambda d: _resend(d, delivery)))
        out.print(f"delivery {delivery} is due again")
        return
    if status is None or since is None:
        fail("name one delivery, or a --status and --since when", 2)
    if endpoint is not None:
        _require_endpoint(settings, endpoint)
    span = (since, until or seam.now())
    count = run(with_database(settings, lambda d: _resend_all(d, status, span, endpoint)))
    out.print(f"{count} deliveries are due again")


@duties_cli.command("list")
def duties_list(
    config: ConfigFile = None,
    status: Annotated[str | None, typer.Option(help="due, held, void, done or exhausted.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the newest duties."""
    settings, _ = configured(config)
    rows = run(with_database(settings, lambda d: duties.list_duties(d, status)))
    print_rows(rows, ("id", "status", "what", "order_no", "channel", "failures"), as_json=as_json)


@duties_cli.command("resend")
def duties_resend(duty: DutyId, config: ConfigFile = None) -> None:
    """Try an exhausted duty again."""
    settings, _ = configured(config)

    async def body(database: Database) -> None:
        await duties.resend(database, duty, operator())
        await put_on_record(database, "resend", f"duty {duty}")

    run(with_database(settings, body))
    out.print(f"duty {duty} is due again")


@keys_cli.command("create")
def keys_create(
    app_name: Annotated[str, typer.Option("--app", help="Whose key.")] = "default",
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; everything unless given.")
    ] = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    config: ConfigFile = None,
) -> None:
    """Make a key for an app's backend and print it: it is shown once."""
    settings, _ = configured(config)
    if app_name not in settings.apps:
        fail(f"there is no [apps.{app_name}]", 2)
    scopes = scope or list(Scope)

    async def body(database: Database) -> str:
        key = await api_keys.create(database, app_name, scopes, note[:191])
        await put_on_record(database, "create_key", api_keys.id_of(key), app=app_name, note=note)
        return key

    _show(run(with_database(settings, body)))


@keys_cli.command("list")
def keys_list(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List all keys, without what could be used."""
    settings, _ = configured(config)
    rows = run(with_database(settings, api_keys.list_keys))
    print_rows(rows, ("key_id", "app", "scopes", "note", "created_at", "ends_at"), as_json=as_json)


@keys_cli.command("rotate")
def keys_rotate(
    key_id: KeyId,
    config: ConfigFile = None,
    overlap: Annotated[float, typer.Option(min=0, help="Hours for which both are good.")] = 24,
) -> None:
    """Print a new key like this one, which ends after the overlap."""
    settings, _ = configured(config)

    async def body(database: Database) -> str:
        key = await api_keys.rotate(database, key_id, overlap * 3600)
        await put_on_record(database, "rotate_key", key_id, successor=api_keys.id_of(key))
        return key

    _show(run(with_database(settings, body)))


@keys_cli.command("revoke")
def keys_revoke(key_id: KeyId, config: ConfigFile = None) -> None:
    """End a key now."""
    settings, _ = configured(config)

    async def body(database: Database) -> None:
        await api_keys.end(database, key_id, seam.now())
        await put_on_record(database, "revoke_key", key_id)

    run(with_database(settings, body))
    out.print(f"key {key_id} has ended; processes forget it within {api_keys.FRESH} seconds")


def trigger(
    endpoint: EndpointName,
    config: ConfigFile = None,
    kind: Annotated[str, typer.Option("--type", help="The event's type.")] = "order.paid",
    order: Annotated[
        str | None, typer.Option(help="The order it tells of; otherwise one that never was.")
    ] = None,
) -> None:
    """Send an endpoint one signed test event now; nothing is stored. Exit 0 when it answers 2xx."""
    settings, _ = configured(config)
    _require_endpoint(settings, endpoint)
    attempt = run(_send_test_event(settings, endpoint, kind, order))
    told = attempt.error or f"answered {attempt.status}"
    out.print(f"{endpoint}: {told} in {attempt.milliseconds} ms", highlight=False, soft_wrap=True)
    raise typer.Exit(0 if attempt.ok else 1)


@endpoints_cli.command("list")
def endpoints_list(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show how each endpoint stands, what waits for it, and what gave up."""
    settings, _ = configured(config)
    known = app.endpoints_of(settings)
    found = run(with_database(settings, lambda d: endpoints.states(d, known)))
    names = ("endpoint", "status", "reason", "due", "due_since", "exhausted")
    print_rows(found, names, as_json=as_json)


@endpoints_cli.command("pause")
def endpoints_pause(endpoint: EndpointName, config: ConfigFile = None) -> None:
    """Let deliveries to an endpoint wait until it is resumed."""
    settings, _ = configured(config)
    _require_endpoint(settings, endpoint)

    async def both(connection: AsyncConnection, database: Database) -> None:
        await endpoints.pause(connection, database, endpoint, operator())
        await record(connection, Act(operator(), "pause", endpoint))

    run(with_database(settings, lambda d: d.transaction(lambda c: both(c, d))))
    out.print(f"{endpoint} is paused")


@endpoints_cli.command("resume")
def endpoints_resume(endpoint: EndpointName, config: ConfigFile = None) -> None:
    """Send what waits for a paused endpoint, the longest due first."""
    settings, _ = configured(config)

    async def body(database: Database) -> None:
        await endpoints.resume(database, endpoint)
        await put_on_record(database, "resume", endpoint)

    run(with_database(settings, body))
    out.print(f"{endpoint} is open")


async def _resend(database: Database, delivery: int) -> None:
    await resend(database, delivery, operator())
    await put_on_record(database, "resend", f"delivery {delivery}")


async def _resend_all(
    database: Database, status: Ended, span: tuple[int, int], endpoint: str | None
) -> int:
    """Send them again, with a bar on a terminal that shows how much of the time was looked through."""
    since, until = span
    with Progress(console=out, transient=True, disable=not out.is_interactive) as progress:
        bar = progress.add_task("0 deliveries", total=until - since)

        def advance(count: int, at: int) -> None:
            progress.update(bar, completed=at - since, description=f"{count} deliveries")

        count = await resend_all(database, status, since, until, endpoint, operator(), advance)
    detail = {"status": status, "since": rfc3339(since), "until": rfc3339(until), "count": count}
    await put_on_record(database, "resend_all", endpoint or "deliveries", **detail)
    return count


def _show(key: str) -> None:
    out.print(key, highlight=False, soft_wrap=True)


async def _send_test_event(
    settings: Settings, endpoint: str, kind: str, order_no: str | None
) -> Attempt:
    name, _, _ = endpoint.partition("/")
    told = made_up_order(name, settings.environment)
    if order_no is not None:
        told = await with_database(settings, lambda d: read_order(d, order_no, name))
    opened, timeout = settings.outbound.networks, settings.delivery.timeout_seconds
    client = Counterpart("endpoint", timeout=timeout, opened=opened)
    try:
        return await send_test_event(app.endpoints_of(settings)[endpoint], kind, *told, client)
    finally:
        client.close()


def _require_endpoint(settings: Settings, name: str) -> None:
    known = app.endpoints_of(settings)
    if name not in known:
        fail(f"there is no endpoint {name}, only {', '.join(known)}", 2)
