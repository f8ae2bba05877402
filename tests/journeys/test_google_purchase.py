"""Purchases through Google Play from order to goods, the short way and the long ones."""

import asyncio
import json

import pytest
from pydantic import SecretStr

from payplat import seam
from payplat.doctor import examine
from payplat.lanes import Worker
from payplat.reconcile import MissedNotices, Reconciler
from payplat.registry import installed_doors
from payplat.simulators.google import voids
from tests.doors.google import SOON, Player, asked, buy
from tests.journeys.test_processes import run

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def player(client) -> Player:
    """A player."""
    return Player(client)


@pytest.fixture
def works(request) -> bool:
    """Only where a test moves the jobs itself does the service run none."""
    return not any(name in request.node.name for name in ("pages", "doctor", "hundred"))


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """Checks that come soon, and a sweep that comes often where a test is about that."""
    often = {"PAYPLAT_CHANNELS__GOOGLE__SWEEP_SECONDS": "0.2"}
    return SOON | (often if "sweep" in request.node.name else {})


class LaterWorld(seam.World):
    """A world whose clock is ahead."""

    def __init__(self, seconds: int) -> None:
        self._ahead = seconds * seam.SECOND

    def now(self) -> int:
        """The real time and some more."""
        return super().now() + self._ahead


def move_clock(player: Player, monkeypatch, seconds: int) -> None:
    """Let so much time have passed, for us and for the merchant."""
    monkeypatch.setattr(seam, "world", LaterWorld(seconds))
    merchant = player.client.stage.merchant
    monkeypatch.setattr(merchant, "_clock", lambda: seam.now() / seam.SECOND)


async def check_all(player: Player) -> None:
    """Make every order due for its scheduled check."""
    await player.does("UPDATE orders SET next_check_at = 1 WHERE next_check_at IS NOT NULL")


async def test_a_purchase_from_order_to_goods(player):
    """By push alone, by the game's token alone, or by both: one signed delivery each, told once."""
    merchant = player.client.stage.merchant
    pushed, _ = await player.bought(notify=True)
    shown, coins = await player.bought()
    both, purchase = await player.bought(notify=True)
    await asyncio.gather(player.submits(shown, coins), player.submits(both, purchase))
    for order_no in (pushed, shown, both):
        await player.client.until(lambda n=order_no: merchant.fulfilled[n])
        assert await player.status(order_no) == "paid"
    assert [merchant.fulfilled[n] for n in (pushed, shown, both)] == [1, 1, 1]
    assert len(merchant.events) == await player.client.count("payments") == 3
    assert all(received.valid for received in merchant.received)


async def test_cash_that_comes_is_told_by_push(player):
    """What waited as pending is paid by the push about its completion, and delivered once."""
    order_no, purchase = await player.bought(pending=True)
    assert (await player.submits(order_no, purchase)).status == 202
    await player.google.complete_pending(purchase.purchase_token)
    await player.client.until(lambda: player.client.stage.merchant.fulfilled[order_no])
    await player.client.until(lambda: _none_waits(player))
    assert await player.client.count("payments") == await player.client.count("events") == 1


@pytest.mark.parametrize("known_by", ["token", "push"])
async def test_cash_that_comes_is_found_by_the_check(player, known_by):
    """When the push about it is lost, the scheduled check of what waits finds the completion, or the cancellation."""
    bought = [await player.bought(pending=True) for _ in range(2)]
    for order_no, purchase in bought:
        told = (
            player.submits(order_no, purchase) if known_by == "token" else player.pushes(purchase)
        )
        assert (await told).status == {"token": 202, "push": 204}[known_by]
    player.google.faults.notification(drop=True, times=2)
    (paid, coming), (cancelled, never) = bought
    await player.google.complete_pending(coming.purchase_token)
    await player.google.cancel_pending(never.purchase_token)
    await player.client.until(lambda: _none_waits(player))
    assert (await player.status(paid), await player.status(cancelled)) == ("paid", "closed")
    await player.client.until(lambda: player.client.stage.merchant.fulfilled[paid])
    assert await player.client.count("events") == 1
    assert await player.duties(cancelled) == {}


async def _none_waits(player: Player) -> bool:
    await player.does("UPDATE orders SET next_check_at = 1 WHERE waits = 1 AND lease_token IS NULL")
    waiting = await player.client.count("evidence", "state='waiting'")
    return not waiting and not await player.client.count("orders", "waits=1")


async def test_an_order_stays_open_while_cash_is_on_its_way(player, monkeypatch):
    """At its end an order without a token closes; one whose purchase is pending at Google stays open, and is paid."""
    order_no, purchase = await player.bought(pending=True)
    assert (await player.submits(order_no, purchase)).status == 202
    without = (await player.opens())["order_no"]
    move_clock(player, monkeypatch, 1000)
    await check_all(player)
    before = asked(player.google, "productsv2.get")
    await player.client.until(lambda: asked(player.google, "productsv2.get") > before + 1)
    await player.client.until(lambda: player.client.count("orders", "status='closed'"))
    assert (await player.status(order_no), await player.status(without)) == ("pending", "closed")
    player.google.faults.notification(drop=True)
    await player.google.complete_pending(purchase.purchase_token)
    await player.client.until(lambda: player.client.stage.merchant.fulfilled[order_no])
    assert "paid_late" not in await player.told(order_no)


@on_sqlite
async def test_tokens_that_waited_are_settled_when_google_is_back(player):
    """What was answered 202 is asked about until Google tells: paid, refunded, or not fit for its order."""
    orders = {}
    for kind in ("paid", "refunded", "unfit"):
        order_no, purchase = await player.bought(quantity=2 if kind == "unfit" else 1)
        player.google.next_answers(*["internalError"] * 3, path=purchase.purchase_token)
        assert (await player.submits(order_no, purchase)).status == 202
        if kind == "refunded":
            player.google.faults.notification(drop=True, times=2)
            await player.google.refund(purchase.purchase_token)
        orders[kind] = order_no
    await player.client.until(lambda: _none_waits(player))
    assert [await player.status(orders[kind]) for kind in orders] == ["paid", "refunded", "pending"]
    assert await player.told(orders["unfit"]) == ["opened", "evidence_waiting", "quarantined"]
    merchant = player.client.stage.merchant
    await player.client.until(lambda: merchant.fulfilled[orders["paid"]])
    assert await player.client.count("events", "type='order.paid'") == 1
    timeline = (await player.client.order(orders["paid"]))["timeline"]
    assert ("paid", "verify") in [(line["what"], line["actor"]) for line in timeline]


@on_sqlite
async def test_a_hundred_tokens_while_google_grants_no_access(player, monkeypatch):
    """A hundred games at once while the token endpoint is down: it is asked twice at most; the job pays all."""
    opened = await asyncio.gather(*(player.opens(receiver=f"player-{i}") for i in range(100)))
    bought = [(created["order_no"], await player.buys(created)) for created in opened]
    tokens = player.client.stage.platform.providers["google"]._tokens
    await tokens.token()
    tokens.forget(tokens._token)
    google, before = player.google, asked(player.google, "oauth.token")
    google.faults.answer("backendError", path="/token", times=None)
    replies = await asyncio.gather(*(player.submits(*each) for each in bought))
    assert {reply.status for reply in replies} == {202}
    assert asked(google, "oauth.token") - before <= 2
    google.faults.clear()
    move_clock(player, monkeypatch, 10)
    await check_all(player)
    worker = Worker(checks(player).lanes())
    worker.start()
    await player.client.until(lambda: _paid(player, len(bought)))
    await worker.stop()
    assert await player.client.count("payments") == await player.client.count("events") == 100


def checks(player: Player) -> Reconciler:
    """The job that asks again."""
    platform = player.client.stage.platform
    backoff = platform.settings.checks.backoff()
    return Reconciler(
        platform.database, platform.orders, platform.providers, backoff, platform.wake
    )


async def _paid(player: Player, count: int) -> bool:
    return await player.client.count("orders", "status='paid'") == count


async def lose_refunds(player: Player, count: int) -> None:
    """Paid orders whose money went back, and whose pushes about it never came."""
    bought = await asyncio.gather(*(player.bought() for _ in range(count)))
    await asyncio.gather(*(player.submits(*each) for each in bought))
    player.google.faults.notification(drop=True, times=2 * count)
    for _, purchase in bought:
        await player.google.void(purchase.purchase_token, source=0, reason=1)
    player.google.faults.clear()


async def test_lost_refunds_are_found_over_several_pages(player, monkeypatch):
    """The list of voided purchases is read page by page, six at a time, each settled once; repeated it is no news."""
    monkeypatch.setattr(voids, "_MOST", 5)
    await lose_refunds(player, 33)
    elsewhere = await buy(player.google, {})
    await player.google.refund(elsewhere.purchase_token)
    platform = player.client.stage.platform
    sweep = MissedNotices(platform.orders, platform.providers["google"], platform.wake)
    position = await sweep.run("")
    assert asked(player.google, "voidedpurchases.list") == 6
    assert json.loads(position)["page"]
    assert await player.client.count("orders", "status='refunded'") == 30
    position = await sweep.run(position)
    assert json.loads(position)["page"] is None
    assert await player.client.count("orders", "status='refunded'") == 33
    before = await player.counts()
    assert (before["refunds"], before["events"], before["payments"]) == (33, 66, 33)
    player.google.quota._asked.clear()
    for again in ("", position):
        await sweep.run(again)
        assert await player.counts() == before
    await lose_refunds(player, 1)
    await sweep.run(await sweep.run(position))
    assert await player.client.count("orders", "status='refunded'") == 34


@on_sqlite
async def test_a_lost_part_is_found_over_the_pages(player):
    """The list tells of a part without saying of how much; Google is asked, and the merchant learns it once."""
    created = await player.opens(quantity=5)
    purchase, order_no = await player.buys(created), created["order_no"]
    await player.submits(order_no, purchase)
    player.google.faults.notification(drop=True, times=9)
    await player.google.refund(purchase.purchase_token, quantity=2)
    platform = player.client.stage.platform
    sweep = MissedNotices(platform.orders, platform.providers["google"], platform.wake)
    for _ in range(2):
        await sweep.run("")
        assert await player.kinds(order_no) == ["order.paid", "order.refunded"]
    assert (await player.client.order(order_no))["refunded"] == 1200
    await player.google.refund(purchase.purchase_token)
    for _ in range(2):
        await sweep.run("")
        assert await player.client.count("refunds") == 2
    assert await player.status(order_no) == "refunded"


async def test_a_sweep_finds_what_was_lost(player):
    """The worker asks for the refunds of which no push came, remembers where it stands, and goes on after a failure."""
    player.google.next_answers(*["internalError"] * 3, path="/voidedpurchases")
    await lose_refunds(player, 1)

    async def refunded() -> int:
        await player.does("UPDATE sweeps SET next_at = 1 WHERE name = 'missed/google'")
        return await player.client.count("orders", "status='refunded'")

    await player.client.until(refunded)
    told = await player.rows("SELECT actor FROM timeline WHERE what='refunded'")
    assert [str(actor, "ascii") if isinstance(actor, bytes) else actor for (actor,) in told] == [
        "reconcile"
    ]
    stands = "name = 'missed/google' AND position LIKE '%start%'"
    await player.client.until(lambda: player.client.count("sweeps", stands))


@on_sqlite
async def test_a_token_shown_for_the_wrong_order_still_pays_its_own(player):
    """While Google is away a game shows its token for two orders: when Google is back, the right one is paid."""
    mine, purchase = await player.bought()
    wrong = (await player.opens())["order_no"]
    player.google.next_answers(*["internalError"] * 6, path=purchase.purchase_token)
    for order_no in (wrong, mine):
        assert (await player.submits(order_no, purchase)).status == 202
    await player.client.until(lambda: _none_waits(player))
    assert (await player.status(mine), await player.status(wrong)) == ("paid", "pending")


@on_sqlite
async def test_doctor_tells_a_good_channel_from_a_bad_one(player, database_url, monkeypatch):
    """`payplat doctor` asks Google with our account: all is well, or one line says what is not."""
    stage = player.client.stage
    environ = {"PAYPLAT_DATABASE__URL": database_url}
    ended = await asyncio.to_thread(run, stage, "doctor", **environ)
    assert (
        "✓ channel google: Google accepts the service account for com.example.game" in ended.stdout
    )
    player.google.service_account()

    async def findings() -> dict[str, str]:
        found = [f async for f in examine(stage.settings, installed_doors())]
        return {f.what: f.says for f in found if not f.ok and f.what != "durability"}

    assert list(told := await findings()) == ["channel google"]
    assert "does not accept the service account" in told["channel google"]
    player.google.apps.clear()
    assert "channel google" in await findings()
    other = {"service_account": SecretStr('{"type": "authorized_user"}')}
    channels = stage.settings.channels
    monkeypatch.setitem(channels, "google", channels["google"].model_copy(update=other))
    assert "not the file of a service account" in (await findings())["keys"]
