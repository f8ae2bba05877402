"""What the tests of Apple's doors share: a game that buys by StoreKit, and what Apple would tell of it."""

import json
import uuid
from typing import Any

from sqlalchemy import text

from payplat import seam
from payplat.demo.stage import BUNDLE_ID
from payplat.purchase import Order, Status
from payplat.simulators.apple.books import NON_CONSUMABLE, Purchase
from payplat.simulators.apple.server import AppleSimulator
from tests.stage import Client, Reply

SKU = f"{BUNDLE_ID}.coins_500"
# The time of a lane's first look at an order, and no time at all after it.
SOON = {"PAYPLAT_CHECKS__BASE_SECONDS": "0.2", "PAYPLAT_CHECKS__CAP_SECONDS": "0.4"}
# Of a product that can be bought once.
SEASON_PASS: dict[str, Any] = {"product_id": "season_pass"}
ONCE: dict[str, Any] = {"type": NON_CONSUMABLE}


class Player:
    """A player with an iPhone, and the game on it."""

    def __init__(self, client: Client) -> None:
        self.client, self.apple = client, client.stage.apple

    async def opens(self, **fields: Any) -> dict[str, Any]:
        """Open an order; return the answer."""
        created = await self.client.create(channel="apple", **fields)
        assert created.status == 201, created.body
        return created.json

    async def buys(self, created: dict[str, Any], **options: Any) -> Purchase:
        """Buy what the order is for on the purchase sheet; the notification is held back unless told otherwise."""
        payment = created["payment"]
        wanted = {
            "product_id": payment["product_id"],
            "quantity": payment["quantity"],
            "app_account_token": payment["app_account_token"],
            "notify": False,
        }
        return await self.apple.buy(BUNDLE_ID, **{**wanted, **options})

    async def bought(self, **options: Any) -> tuple[str, Purchase]:
        """Open an order for 500 coins and buy them; return the order's number and the purchase."""
        created = await self.opens()
        return created["order_no"], await self.buys(created, **options)

    async def submits(self, order_no: str, jws: str) -> Reply:
        """Submit a signed transaction."""
        return await self.client.call(
            "POST", "/v1/verify/apple", {"order_no": order_no, "signed_transaction": jws}
        )

    async def submits_id(self, order_no: str, transaction_id: str) -> Reply:
        """Submit only the id of a transaction."""
        return await self.client.call(
            "POST", "/v1/verify/apple", {"order_no": order_no, "transaction_id": transaction_id}
        )

    async def notifies(self, jws: str) -> Reply:
        """Post a signed payload to where Apple posts."""
        return await self.client.call("POST", "/v1/callback/apple", {"signedPayload": jws})

    async def hears(self, kind: str, purchase: Purchase, **data: Any) -> Reply:
        """Have a notification posted that Apple has signed a moment ago."""
        return await self.notifies(notice(self.apple, kind, purchase.jws, **data))

    async def status(self, order_no: str) -> str:
        """Return where the order stands."""
        return (await self.client.order(order_no))["status"]

    async def told(self, order_no: str) -> list[str]:
        """Return what the timeline tells, in order, without the questions."""
        timeline = (await self.client.order(order_no))["timeline"]
        return [line["what"] for line in timeline if line["what"] != "queried"]

    async def events(self, order_no: str) -> list[dict[str, Any]]:
        """Return what the merchant learns of the order."""
        rows = await self._rows(f"SELECT body FROM events WHERE order_no='{order_no}'")
        return [json.loads(body) for (body,) in rows]

    async def evidence(self, where: str = "1=1") -> list[tuple[str, str]]:
        """Return state and reason of what is kept, oldest first."""
        rows = await self._rows(f"SELECT state, reason FROM evidence WHERE {where} ORDER BY id")
        return [(_plain(state), _plain(reason)) for state, reason in rows]

    async def _rows(self, statement: str) -> list[Any]:
        database = self.client.stage.platform.database
        return list(await database.read(lambda c: c.execute(text(statement))))


def notice(apple: AppleSimulator, kind: str, transaction: str | None, **changes: Any) -> str:
    """A notification around a signed transaction, signed by Apple now; None leaves a member of its ``data`` out."""
    named = {"bundleId": BUNDLE_ID, "bundleVersion": "1", "environment": "Sandbox"}
    members = {**named, "signedTransactionInfo": transaction, **changes}
    data = {name: value for name, value in members.items() if value is not None}
    head = {"notificationType": kind, "notificationUUID": str(uuid.uuid4()), "version": "2.0"}
    return apple.sign({**head, "data": data})


def asked(apple: AppleSimulator, what: str = "/transactions/") -> int:
    """How often Apple was asked."""
    return sum(what in received.path for received in apple.received)


def an_order(**changes: Any) -> Order:
    """An order for 500 coins, opened a minute ago and still open, as a provider sees it."""
    now = seam.now()
    order = {
        "order_no": seam.new_id(),
        "app": "default",
        "channel": "apple",
        "kind": "apple",
        "environment": "sandbox",
        "account": BUNDLE_ID,
        "method": "storekit",
        "product_id": "coins_500",
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
