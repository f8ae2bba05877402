"""``payplat events …``: what the merchants learn, and whether it has reached them."""

from typing import Annotated

import typer

from payplat.events import Events
from payplat.terminal import (
    AsJson,
    ConfigFile,
    configured,
    fail,
    out,
    print_json,
    run,
    with_database,
)

events_cli = typer.Typer(name="events", help="What merchants learn.", no_args_is_help=True)


@events_cli.command("list")
def events_list(
    config: ConfigFile = None,
    app_name: Annotated[str, typer.Option("--app", help="Whose events.")] = "default",
    after: Annotated[str, typer.Option(help="Only those after the event of that id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    kind: Annotated[str, typer.Option("--type", help="Only those of that type.")] = "",
    as_json: AsJson = False,
) -> None:
    """List an app's events, oldest first, as `GET /v1/events` hands them out: a moment after they were made."""
    settings, _ = configured(config)
    if app_name not in settings.apps:
        fail(f"there is no [apps.{app_name}]", 2)
    page = run(with_database(settings, lambda d: Events(d).page(app_name, after, kind, limit)))
    if as_json:
        print_json(page.events)
        return
    for event in page.events:
        line = f"{event['timestamp']} {event['id']} {event['type']} {event['order_no']}"
        out.print(line, highlight=False, soft_wrap=True, markup=False)
    if page.has_more:
        out.print(f"more with --after {page.events[-1]['id']}", highlight=False, soft_wrap=True)


@events_cli.command("show")
def events_show(
    event_id: Annotated[str, typer.Argument(help="The event's id.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show an event as its endpoints get it, and how its deliveries stand."""
    settings, _ = configured(config)
    event = run(with_database(settings, lambda d: Events(d).find(event_id)))
    if as_json:
        print_json(event)
        return
    deliveries = event.pop("deliveries")
    print_json(event)
    for delivery in deliveries:
        told = "delivery {id} to {endpoint}: {status}, {failures} failed attempts"
        out.print(told.format_map(delivery), highlight=False, soft_wrap=True, markup=False)
