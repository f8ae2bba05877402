"""What the tests of Google's doors share: a game that buys by Play Billing, and what Google would push of it."""

import json
import secrets
from typing import Any

from sqlalchemy import text

from payplat import seam
from payplat.demo.stage import PACKAGE
from payplat.purchase import Evidence, Order, Source, Status
from payplat.simulators.google import notices
from payplat.simulators.google.purchases import Purchase
from payplat.simulators.google.server import GoogleSimulator
from tests.stage import Client, Reply

SKU = "coins_500"
# The time of a lane's first look at an order, and no time at all after it.
SOON = {"PAYPLAT_CHECKS__BASE_SECONDS": "0.2", "PAYPLAT_CHECKS__CAP_SECONDS": "0.4"}
TABLES = ("payments", "events", "deliveries", "evidence", "timeline", "refunds", "duties")
PURCHASED, CANCELED = notices.ONE_TIME_PRODUCT_PURCHASED, notices.ONE_TIME_PRODUCT_CANCELED
_LONG = 1e9


class Player:
    """A player with an Android phone, and the game on it; Google takes its time with refunds of its own."""

    def __init__(self, client: Client) -> None:
        self.client, self.google = client, client.stage.google
        self.google.knobs.turn(tester_window=_LONG, acknowledge_window=_LONG)

    async def opens(self, **fields: Any) -> dict[str, Any]:
        """Open an order; return the answer."""
        created = await self.client.create(channel="google", **fields)
        assert created.status == 201, created.body
        return created.json

    async def buys(self, created: dict[str, Any], **terms: Any) -> Purchase:
        """Buy what the order is for, as a tester; the push is held back unless told otherwise."""
        wanted = {"quantity": created["quantity"], **terms}
        return await buy(self.google, created["payment"], **wanted)

    async def bought(self, **terms: Any) -> tuple[str, Purchase]:
        """Open an order for 500 coins and buy them; return the order's number and the purchase."""
        created = await self.opens()
        return created["order_no"], await self.buys(created, **terms)

    async def submits(self, order_no: str, purchase: Purchase) -> Reply:
        """Submit the token of a purchase."""
        return await self.submits_token(order_no, purchase.purchase_token)

    async def submits_token(self, order_no: str, token: Any) -> Reply:
        """Submit anything as a token."""
        wanted = {"order_no": order_no, "purchase_token": token}
        return await self.client.call("POST", "/v1/verify/google", wanted)

    async def pushes(self, purchase: Purchase, kind: int = PURCHASED) -> Reply:
        """Have a push come that says what has become of the purchase."""
        at = self.google.clock.now()
        return await self.posts(envelope(self.google, notices.one_time(purchase, kind, at)))

    async def posts(self, body: bytes, **headers: str) -> Reply:
        """Post anything as Pub/Sub does, rightly signed unless told otherwise."""
        signed = {"Authorization": f"Bearer {self.google.id_token()}", **headers}
        given = {name: value for name, value in signed.items() if value}
        return await self.client.call("POST", "/v1/callback/google", body, **given)

    async def status(self, order_no: str) -> str:
        """Return where the order stands."""
        return (await self.client.order(order_no))["status"]

    async def told(self, order_no: str) -> list[str]:
        """Return what the timeline tells, in order, without the attempts and the questions."""
        timeline = (await self.client.order(order_no))["timeline"]
        return [
            line["what"] for line in timeline if not line["what"].endswith(("_attempt", "queried"))
        ]

    async def events(self, order_no: str) -> list[dict[str, Any]]:
        """Return what the merchant learns of the order."""
        rows = await self.rows(f"SELECT body FROM events WHERE order_no='{order_no}' ORDER BY 1")
        return [json.loads(body) for (body,) in rows]

    async def kinds(self, order_no: str) -> list[str]:
        """Return the kinds of the order's events, sorted."""
        return sorted(event["type"] for event in await self.events(order_no))

    async def duties(self, order_no: str) -> dict[str, str]:
        """Return what is owed to Google for the order, and how that stands."""
        where = f"order_no='{order_no}'"
        rows = await self.rows(f"SELECT what, status FROM duties WHERE {where} ORDER BY what")
        return {_plain(what): _plain(status) for what, status in rows}

    async def evidence(self, where: str = "1=1") -> list[tuple[str, str]]:
        """Return state and reason of what is kept, oldest first."""
        rows = await self.rows(f"SELECT state, reason FROM evidence WHERE {where} ORDER BY id")
        return [(_plain(state), _plain(reason)) for state, reason in rows]

    async def counts(self) -> dict[str, int]:
        """How many rows there are."""
        return {table: await self.client.count(table) for table in TABLES}

    async def rows(self, statement: str) -> list[Any]:
        """Return what the database answers."""
        database = self.client.stage.platform.database
        return list(await database.read(lambda c: c.execute(text(statement))))

    async def does(self, statement: str) -> None:
        """Change the database by hand."""
        database = self.client.stage.platform.database
        await database.transaction(lambda c: c.execute(text(statement)))


async def buy(google: GoogleSimulator, payment: dict[str, Any], **terms: Any) -> Purchase:
    """Buy what was handed to Play Billing, as a tester who never owns it yet; without a push."""
    ids = ("obfuscated_account_id", "obfuscated_profile_id")
    wanted = {name: payment[name] for name in ids if name in payment}
    usual = {"test": True, "notify": False, "buyer": secrets.token_hex(8)}
    given = {**wanted, **usual, **terms}
    product_id = given.pop("product_id", payment.get("product_id", SKU))
    return await google.buy(PACKAGE, product_id, **given)


def envelope(google: GoogleSimulator, data: bytes, subscription: str = "") -> bytes:
    """A DeveloperNotification as Pub/Sub wraps it, under an id of its own."""
    number = str(10**15 + secrets.randbelow(10**15))
    where = subscription or google.app().subscription
    return notices.envelope(data, number, google.clock.now(), where)


def voided(google: GoogleSimulator, purchase: Purchase) -> bytes:
    """A push that tells of the purchase's last refund."""
    return envelope(google, notices.voided(purchase, purchase.refunds[-1]))


def asked(google: GoogleSimulator, call: str) -> int:
    """How often Google was asked, or told, by this call of its API."""
    return sum(received.call == call for received in google.received)


def submitted(token: str) -> Evidence:
    """What a client sends."""
    return Evidence(Source.VERIFY, token.encode())


def an_order(**changes: Any) -> Order:
    """An order for 500 coins, opened a minute ago and still open, as a provider sees it."""
    now = seam.now()
    order = {
        "order_no": seam.new_id(),
        "app": "default",
        "channel": "google",
        "kind": "google",
        "environment": "sandbox",
        "account": PACKAGE,
        "method": "play_billing",
        "product_id": SKU,
        "sku": SKU,
        "quantity": 1,
        "amount": None,
        "currency": None,
        "title": "500 coins",
        "receiver": "player-1",
        "metadata": {},
        "return_url": None,
        "status": Status.PENDING,
        "refunded": 0,
        "payment": None,
        "created_at": now - 60 * seam.SECOND,
        "expires_at": now + 900 * seam.SECOND,
        "settled_at": None,
    }
    return Order(**{**order, **changes})


def _plain(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
