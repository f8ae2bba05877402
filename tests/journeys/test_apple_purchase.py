"""Purchases through the App Store from order to goods, the short way and the long ones."""

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import text

from payplat import seam
from payplat.demo.stage import BUNDLE_ID
from payplat.purchase import LatePolicy
from payplat.reconcile import MissedNotices
from payplat.rows import Terms
from tests.doors.apple import SKU, SOON, Player, asked, notice

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def player(client) -> Player:
    """A player."""
    return Player(client)


@pytest.fixture
def works(request) -> bool:
    """Only where a test moves the jobs itself does the service run none."""
    return "pages" not in request.node.name


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """Checks that come soon, and a sweep that comes often where a test is about that."""
    often = {"PAYPLAT_CHANNELS__APPLE__SWEEP_SECONDS": "0.2"}
    return SOON | (often if "sweep" in request.node.name else {})


class LaterWorld(seam.World):
    """A world whose clock is ahead."""

    def now(self) -> int:
        """The real time and 1000 seconds more."""
        return super().now() + 1000 * seam.SECOND


async def test_a_purchase_from_order_to_goods(player):
    """By notification alone, by the game's receipt alone, or by both: one signed delivery each, told once."""
    merchant = player.client.stage.merchant
    noticed, _ = await player.bought(notify=True)
    shown, receipt = await player.bought()
    both, purchase = await player.bought(notify=True)
    await asyncio.gather(player.submits(shown, receipt.jws), player.submits(both, purchase.jws))
    for order_no in (noticed, shown, both):
        await player.client.until(lambda n=order_no: merchant.fulfilled[n])
        assert await player.status(order_no) == "paid"
    assert [merchant.fulfilled[n] for n in (noticed, shown, both)] == [1, 1, 1]
    assert len(merchant.events) == await player.client.count("payments") == 3
    assert all(received.valid for received in merchant.received)


async def test_receipts_that_waited_are_settled_when_apple_is_back(player):
    """What was answered 202 is asked about until Apple tells: paid, refunded, or not fit for its order."""
    orders = {}
    for kind in ("paid", "refunded", "unfit"):
        order_no, purchase = await player.bought(**({"quantity": 2} if kind == "unfit" else {}))
        player.apple.next_answers("401", "401", path=purchase.transaction_id)
        assert (await player.submits(order_no, purchase.jws)).status == 202
        if kind == "refunded":
            await player.apple.refund(purchase.transaction_id, notify=False)
        orders[kind] = order_no
    await player.client.until(lambda: none_waits(player))
    assert [await player.status(orders[kind]) for kind in orders] == ["paid", "refunded", "pending"]
    assert await player.told(orders["unfit"]) == ["opened", "evidence_waiting", "quarantined"]
    merchant = player.client.stage.merchant
    await player.client.until(lambda: merchant.fulfilled[orders["paid"]])
    assert await player.client.count("events", "type='order.paid'") == 1
    assert await player.client.count("orders", "waits=0") == 3
    timeline = (await player.client.order(orders["paid"]))["timeline"]
    assert ("paid", "verify") in [(line["what"], line["actor"]) for line in timeline]


async def hurry(player: Player, what: str) -> None:
    """Let a job be due now."""
    database = player.client.stage.platform.database
    await database.transaction(lambda c: c.execute(text(what)))


async def none_waits(player: Player) -> bool:
    """Whether every receipt has been asked about, which is due at once."""
    await hurry(player, "UPDATE orders SET next_check_at = 1 WHERE waits = 1 AND next_check_at > 0")
    waiting = await player.client.count("evidence", "state='waiting'")
    return not waiting and not await player.client.count("orders", "waits=1")


async def test_a_claimed_purchase_is_bound_at_apple(player):
    """The duty tells Apple whose order it is; Apple's next notifications name it, and a refund finds it."""
    purchase = await player.apple.buy(BUNDLE_ID, SKU)
    order_no = (await player.opens())["order_no"]
    assert (await player.submits(order_no, purchase.jws)).json["status"] == "paid"
    await player.client.until(lambda: player.client.count("duties", "status='done'"))
    assert asked(player.apple, "appAccountToken") == 1
    assert purchase.fields["appAccountToken"] == str(UUID(order_no))
    await player.apple.refund(purchase.transaction_id)
    assert await player.status(order_no) == "refunded"
    await player.client.until(lambda: len(player.client.stage.merchant.events) == 2)


@on_sqlite
async def test_a_refund_that_overtook_the_claim_is_found_by_the_duty(player):
    """A purchase refunded between Apple's answer and our commit is taken back when the duty looks again."""
    purchase = await player.apple.buy(BUNDLE_ID, SKU, notify=False)
    receipt, order_no = purchase.jws, (await player.opens())["order_no"]
    player.apple.next_answers("500", "500", path="appAccountToken")
    assert (await player.submits(order_no, receipt)).json["status"] == "paid"
    await player.apple.refund(purchase.transaction_id, notify=False)

    async def refunded() -> bool:
        await hurry(player, "UPDATE duties SET due_at = 1 WHERE status = 'due'")
        return await player.status(order_no) == "refunded"

    await player.client.until(refunded)
    assert await player.client.count("refunds") == 1


async def test_money_for_a_closed_order_is_late(player, monkeypatch):
    """Ask to Buy may take a day: the order is closed by our clock, and delivered or held by policy when Apple tells."""
    delivered, held = await player.opens(), await player.opens(receiver="player-2")
    bought = [await player.buys(each) for each in (delivered, held)]
    told = [notice(player.apple, "ONE_TIME_CHARGE", purchase.jws) for purchase in bought]
    monkeypatch.setattr(seam, "world", LaterWorld())
    monkeypatch.setattr(player.client.stage.merchant, "_clock", lambda: seam.now() / seam.SECOND)
    await hurry(player, "UPDATE orders SET next_check_at = 1")

    async def closed() -> bool:
        return await player.client.count("orders", "status='closed' AND next_check_at IS NULL") == 2

    await player.client.until(closed)
    assert not asked(player.apple)
    assert (await player.notifies(told[0])).status == 200
    assert (await player.told(delivered["order_no"]))[:3] == ["opened", "closed", "paid_late"]
    terms = player.client.stage.platform.orders._records._terms
    monkeypatch.setitem(terms, "apple", replace(terms["apple"], late=LatePolicy.HOLD))
    assert isinstance(terms["apple"], Terms)
    assert (await player.submits(held["order_no"], bought[1].jws)).json["status"] == "held"
    merchant = player.client.stage.merchant
    await player.client.until(lambda: merchant.fulfilled[delivered["order_no"]])
    assert merchant.fulfilled[held["order_no"]] == 0


async def lose(player: Player, count: int) -> list[str]:
    """Orders that were paid and whose notifications never came."""
    for _ in range(count):
        player.apple.next_notifications(drop=True)
    bought = await asyncio.gather(*(player.bought(notify=True) for _ in range(count)))
    await asyncio.sleep(0.01)  # a window's last millisecond belongs to the next one
    return [order_no for order_no, _ in bought]


async def test_lost_notifications_are_found_over_several_pages(player):
    """Apple's history is read page by page, each settled once; what is read again changes nothing."""
    orders = await lose(player, 41)
    platform = player.client.stage.platform
    sweep = MissedNotices(platform.orders, platform.providers["apple"], platform.wake)
    position = await sweep.run("")
    assert asked(player.apple, "/notifications/history") == 3
    assert await player.client.count("orders", "status='paid'") == len(orders)
    tables = ("payments", "events", "deliveries", "evidence", "timeline")
    before = [await player.client.count(table) for table in tables]
    assert before[:3] == [41, 41, 41]
    for again in ("", position):
        await sweep.run(again)
        assert [await player.client.count(table) for table in tables] == before
    late = await lose(player, 1)
    await sweep.run(position)
    assert await player.status(late[0]) == "paid"


@on_sqlite
async def test_a_sweep_finds_what_was_lost(player):
    """The worker asks for what Apple could not deliver, remembers where it stands, and goes on after a failure."""
    player.apple.next_answers("500", "500", "500", path="/notifications/history")
    (order_no,) = await lose(player, 1)
    merchant = player.client.stage.merchant

    async def given() -> int:
        await hurry(player, "UPDATE sweeps SET next_at = 1 WHERE name = 'missed/apple'")
        return merchant.fulfilled[order_no]

    await player.client.until(given)
    paid = (await player.client.order(order_no))["timeline"][1]
    assert (paid["what"], paid["actor"]) == ("paid", "reconcile")
    stands = "name = 'missed/apple' AND position LIKE '%start%'"
    await player.client.until(lambda: player.client.count("sweeps", stands))
