"""``payplat apple …``: what an operator asks Apple, and tells Apple, by hand.

Sources: App Store Server API, "Request a Test Notification", "Get Transaction History", "Get Refund History", "Send
Consumption Information" with "ConsumptionRequest".
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from payplat.channels.apple.provider import AppleProvider
from payplat.channels.apple.server_api import TRANSACTION_ID, History, ServerApi
from payplat.errors import Conflict, ProviderRefused
from payplat.orders import Orders
from payplat.registry import open_channels
from payplat.seam import rfc3339
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

apple_cli = typer.Typer(help="What Apple is asked and told by hand.", no_args_is_help=True)

ChannelName = Annotated[str, typer.Option(help="The channel's name in the configuration.")]
TransactionId = Annotated[str, typer.Argument(help="Any transaction of the customer's.")]
Delivered = Literal[
    "DELIVERED",
    "UNDELIVERED_QUALITY_ISSUE",
    "UNDELIVERED_WRONG_ITEM",
    "UNDELIVERED_SERVER_OUTAGE",
    "UNDELIVERED_OTHER",
]
Preference = Literal["DECLINE", "GRANT_FULL", "GRANT_PRORATED"]
_SHOWN = ("transactionId", "productId", "quantity", "environment", "appAccountToken")
_NOT_YET = "4040008"
_PATIENCE = 30.0


@apple_cli.command("test")
def test_notification(config: ConfigFile = None, channel: ChannelName = "apple") -> None:
    """Have Apple send a test notification to the callback's address, and tell whether it arrived."""

    async def body(provider: AppleProvider) -> str:
        api = provider.api(provider.environment)
        token, until = await api.request_test_notification(), time.monotonic() + _PATIENCE
        while True:
            try:
                sent = await api.test_notification(token)
                return sent.attempts[-1].result if sent.attempts else "not sent"
            except ProviderRefused as error:
                if error.code != _NOT_YET or time.monotonic() > until:
                    raise
            await asyncio.sleep(1)

    result = _with_provider(config, channel, body)
    out.print(f"Apple says: {result}", highlight=False)
    raise typer.Exit(0 if result == "SUCCESS" else 1)


@apple_cli.command("history")
def history(
    transaction_id: TransactionId,
    config: ConfigFile = None,
    channel: ChannelName = "apple",
    as_json: AsJson = False,
) -> None:
    """List all purchases of a customer, as Apple knows them now."""
    _list(config, channel, transaction_id, ServerApi.transaction_history, as_json=as_json)


@apple_cli.command("refunds")
def refunds(
    transaction_id: TransactionId,
    config: ConfigFile = None,
    channel: ChannelName = "apple",
    as_json: AsJson = False,
) -> None:
    """List the purchases of a customer that Apple gave money back for."""
    _list(config, channel, transaction_id, ServerApi.refund_history, as_json=as_json)


@apple_cli.command("consumption")
def consumption(
    order_no: Annotated[str, typer.Argument(help="The order that Apple asks about.")],
    config: ConfigFile = None,
    consented: Annotated[
        bool, typer.Option("--customer-consented", help="The customer agreed that Apple is told.")
    ] = False,
    delivered: Annotated[Delivered, typer.Option(help="Whether the goods arrived.")] = "DELIVERED",
    sample: Annotated[bool, typer.Option(help="There was a free sample.")] = False,
    percentage: Annotated[
        int | None, typer.Option(min=0, max=100_000, help="Used up, in thousandths of a percent.")
    ] = None,
    prefer: Annotated[Preference | None, typer.Option(help="What you would prefer.")] = None,
) -> None:
    """Answer Apple's request for consumption information on an order; only with the customer's consent."""
    if not consented:
        fail("without --customer-consented nothing about a customer is sent to Apple", 2)
    told: dict[str, Any] = {"customerConsented": True, "sampleContentProvided": sample}
    told["deliveryStatus"] = delivered
    told |= {"consumptionPercentage": percentage} if percentage is not None else {}
    told |= {"refundPreference": prefer} if prefer else {}
    settings, _ = configured(config)

    async def find(database: Any) -> tuple[Any, str | None]:
        orders = Orders(database, {})
        return await orders.get(order_no), await orders.transaction_of(order_no)

    order, transaction_id = run(with_database(settings, find))

    async def body(provider: AppleProvider) -> None:
        if transaction_id is None:
            raise Conflict("The order is not paid.")
        await provider.send_consumption(order, transaction_id, told)

    _with_provider(config, order.channel, body)
    out.print("Apple has been told")


def _list(
    config: Path | None,
    channel: str,
    transaction_id: str,
    ask: Callable[..., Awaitable[History]],
    *,
    as_json: bool,
) -> None:
    if not TRANSACTION_ID.fullmatch(transaction_id):
        fail("a transaction id of Apple's is a number", 2)

    async def body(provider: AppleProvider) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        revision, more = None, True
        while more:
            api = provider.api(provider.environment)
            told = await ask(api, transaction_id, revision=revision)
            found += [provider.read(jws) for jws in told.signed_transactions]
            revision, more = told.revision, told.has_more
        return found

    rows = _with_provider(config, channel, body)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        revoked = row.get("revocationDate")
        ended = f"revoked {rfc3339(revoked * 1000)}" if revoked else "stands"
        out.print(*(row.get(name, "-") for name in _SHOWN), ended, highlight=False)


def _with_provider(
    config: Path | None, channel: str, body: Callable[[AppleProvider], Awaitable[Any]]
) -> Any:
    """Return what ``body`` returns for the provider of an Apple channel."""
    settings, doors = configured(config)

    async def opened() -> Any:
        # Clients belong to the loop that runs when they are made.
        channels = open_channels(settings, doors)
        provider = channels[channel].provider if channel in channels else None
        try:
            if not isinstance(provider, AppleProvider):
                fail(f"there is no Apple channel {channel}", 2)
            return await body(provider)
        finally:
            for each in channels.values():
                await each.provider.aclose()

    return run(opened())
