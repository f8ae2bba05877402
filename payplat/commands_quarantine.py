"""What operators ask and decide by command: search, the quarantine, and proposals about held money.

Whoever types is ``cli:`` and the name of the machine's user: a name that one could choose would be no second person. So
what an operator proposed in the console is approved here, and the other way round; or by two users of the machine.
"""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from payplat import app, seam
from payplat.database import Database
from payplat.orders import Orders
from payplat.proposals import Decision, Deed, Proposals
from payplat.quarantine import Kind, Page, Quarantine
from payplat.registry import Doors, open_channels
from payplat.search import Found, Hit, Search, accounts_of
from payplat.settings import Settings
from payplat.terminal import (
    AsJson,
    ConfigFile,
    configured,
    operator,
    out,
    print_json,
    print_rows,
    run,
    with_database,
)

quarantine_cli = typer.Typer(
    name="quarantine", help="What a person must look at.", no_args_is_help=True
)
proposals_cli = typer.Typer(
    name="proposals",
    help="Held money: one proposes what becomes of it, another decides.",
    no_args_is_help=True,
)
Reason = Annotated[str, typer.Option(help="Why; kept for ever.")]
ProposalId = Annotated[int, typer.Argument(help="The id of one of them.")]


def enrol(cli: typer.Typer) -> None:
    """Add these commands to the command line."""
    cli.command()(search)
    cli.add_typer(quarantine_cli)
    cli.add_typer(proposals_cli)


def search(
    id_: Annotated[str, typer.Argument(metavar="ID", help="An id of any kind, or a receiver.")],
    config: ConfigFile = None,
    before: Annotated[str | None, typer.Option(help="A receiver's orders before that one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find what an id belongs to: an order's, transaction's, receipt's, refund's, event's, delivery's or evidence's."""
    settings, doors = configured(config)
    found: Found = run(_find(settings, doors, id_, before))
    if as_json:
        print_json({"hits": [_hit(hit) for hit in found.hits], "next": found.next})
        return
    names = ("kind", "matched", "says", "order_no")
    print_rows(found.hits, names, as_json=False)
    if found.next:
        out.print(f"more: --before {found.next}", highlight=False, soft_wrap=True)


@quarantine_cli.command("list")
def quarantine_list(
    config: ConfigFile = None,
    kind: Annotated[Kind | None, typer.Option(help="Only these.")] = None,
    after: Annotated[str | None, typer.Option(help="The page after that one's `next`.")] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Not the newest.")] = False,
    as_json: AsJson = False,
) -> None:
    """List evidence that was put aside, and orders whose late money is held."""
    settings, _ = configured(config)

    async def body(database: Database) -> Page:
        return await Quarantine(database).page(kind, after, newest_first=not oldest_first)

    page: Page = run(with_database(settings, body))
    if as_json:
        items = [{**asdict(item), "at": seam.rfc3339(item.at)} for item in page.items]
        print_json({"items": items, "next": page.next})
        return
    print_rows(page.items, ("evidence_id", "kind", "reason", "order_no", "amount"), as_json=False)
    if page.next:
        out.print(f"more: --after {page.next}", highlight=False, soft_wrap=True)


@quarantine_cli.command("resolve")
def quarantine_resolve(
    evidence: Annotated[int, typer.Argument(help="The id of one of them.")],
    reason: Reason,
    config: ConfigFile = None,
) -> None:
    """Say that nothing is left to do about evidence that was put aside."""
    settings, _ = configured(config)
    run(with_database(settings, lambda d: Quarantine(d).resolve(evidence, operator(), reason)))
    out.print(f"evidence {evidence} is resolved")


@proposals_cli.command("list")
def proposals_list(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the open proposals, the newest first."""
    settings, _ = configured(config)
    rows = run(with_database(settings, lambda d: _proposals(d, settings).list_open()))
    names = ("id", "act", "order_no", "status", "proposed_by", "reason")
    print_rows(rows, names, as_json=as_json)


@proposals_cli.command("propose")
def proposals_propose(
    order_no: Annotated[str, typer.Argument(help="The order's number.")],
    act: Annotated[Deed, typer.Argument(help="What shall become of it.")],
    reason: Reason,
    config: ConfigFile = None,
) -> None:
    """Propose what becomes of a held order; another person decides."""
    settings, _ = configured(config)

    async def body(database: Database) -> int:
        return await _proposals(database, settings).propose(order_no, act, reason, operator())

    out.print(f"proposal {run(with_database(settings, body))} is open")


@proposals_cli.command("approve")
def proposals_approve(proposal: ProposalId, config: ConfigFile = None) -> None:
    """Do what another person has proposed."""
    _decide(config, proposal, Decision.APPROVED)


@proposals_cli.command("reject")
def proposals_reject(proposal: ProposalId, config: ConfigFile = None) -> None:
    """Refuse what another person has proposed."""
    _decide(config, proposal, Decision.REJECTED)


@proposals_cli.command("withdraw")
def proposals_withdraw(proposal: ProposalId, config: ConfigFile = None) -> None:
    """Take back what you have proposed."""
    settings, _ = configured(config)
    run(with_database(settings, lambda d: _proposals(d, settings).withdraw(proposal, operator())))
    out.print(f"proposal {proposal} is withdrawn")


def _decide(config: Any, proposal: int, decision: Decision) -> None:
    settings, _ = configured(config)

    async def body(database: Database) -> None:
        await _proposals(database, settings).decide(proposal, decision, operator())

    run(with_database(settings, body))
    out.print(f"proposal {proposal} is {decision}")


def _proposals(database: Database, settings: Settings) -> Proposals:
    return Proposals(database, Orders(database, app.terms_of(settings)))


async def _find(settings: Settings, doors: Doors, text: str, before: str | None) -> Found:
    providers = [each.provider for each in open_channels(settings, doors).values()]
    try:
        accounts = accounts_of(providers)
        found: Found = await with_database(
            settings, lambda d: Search(d, accounts).find(text, before)
        )
        return found
    finally:
        for provider in providers:
            await provider.aclose()


def _hit(hit: Hit) -> dict[str, Any]:
    order = hit.order
    told = {"status": order.status, "receiver": order.receiver} if order else {}
    named = {"kind": hit.kind, "matched": hit.matched, "says": hit.says}
    return {**named, "at": seam.rfc3339(hit.at), "order_no": hit.order_no, **told}
