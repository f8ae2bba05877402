"""What is owed to Google: acknowledged in three days come what may, consumed when the goods have arrived."""

import asyncio
import json
import signal
from typing import Any

import pytest
from prometheus_client import REGISTRY

from payplat import seam
from payplat.duties import QUEUE, Duties
from tests.doors.google import SOON, Player, asked
from tests.journeys.test_processes import run
from tests.processes import payplat
from tests.stage import Client

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
HOUR = 3600
NO_WORKER = ("hours", "killed", "released", "given_back")


@pytest.fixture
def player(client) -> Player:
    """A player."""
    return Player(client)


@pytest.fixture
def works(request) -> bool:
    """Where a test moves the jobs itself, or has them in a process of their own, the service runs none."""
    return not any(name in request.node.name for name in NO_WORKER)


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """The policy for late money that a test is about; deliveries that come again soon."""
    late = {"released": "hold", "given_back": "refund"}
    policy = next((late[name] for name in late if name in request.node.name), "deliver")
    again = {"PAYPLAT_DELIVERY__BASE_SECONDS": "0.1", "PAYPLAT_DELIVERY__CAP_SECONDS": "0.2"}
    return {**SOON, **again, "PAYPLAT_CHANNELS__GOOGLE__LATE": policy}


class Ahead(seam.World):
    """A world whose clock is ahead."""

    def __init__(self, seconds: float = 0) -> None:
        self.ahead = int(seconds * seam.SECOND)

    def now(self) -> int:
        """The real time and some more."""
        return super().now() + self.ahead


async def perform_due(player: Player) -> int:
    """Do the duties that are due, once each; return how many were."""
    platform = player.client.stage.platform
    duties = Duties(platform.database, platform.orders, platform.providers)
    rows = await QUEUE.claim(platform.database, "google", limit=10, lease=60)
    for row in rows:
        await duties.perform(row)
    return len(rows)


async def done(player: Player, what: str) -> int:
    """How many duties of that name are done."""
    return await player.client.count("duties", f"what='{what}' AND status='done'")


async def test_acknowledged_at_once_consumed_with_the_goods(player):
    """While the merchant is down the purchase is acknowledged but not consumed; when he has the goods, it is."""
    await player.client.stage.merchant.go_down()
    order_no, purchase = await player.bought()
    assert (await player.submits(order_no, purchase)).json["status"] == "paid"
    await player.client.until(lambda: done(player, "acknowledge"))
    await player.client.until(lambda: player.client.count("deliveries", "failures > 1"))
    assert (purchase.acknowledged, purchase.consumed) == (True, False)
    ((waits,),) = await player.rows("SELECT due_at - created_at FROM duties WHERE what='consume'")
    assert waits == 48 * HOUR * seam.SECOND
    await player.client.stage.merchant.come_back()
    await player.client.until(lambda: done(player, "consume"))
    assert purchase.consumed
    assert [asked(player.google, f"products.{w}") for w in ("acknowledge", "consume")] == [1, 1]
    assert player.client.stage.merchant.fulfilled[order_no] == 1


@on_sqlite
async def test_what_is_bought_for_good_is_never_consumed(player):
    """A season pass is acknowledged and delivered, and that is all that is owed for it."""
    created = await player.opens(product_id="season_pass")
    purchase = await player.buys(created, notify=True)
    order_no = created["order_no"]
    await player.client.until(lambda: done(player, "acknowledge"))
    await player.client.until(lambda: player.client.stage.merchant.fulfilled[order_no])
    assert await player.duties(order_no) == {"acknowledge": "done"}
    assert (purchase.acknowledged, purchase.consumed) == (True, False)


@on_sqlite
async def test_forty_seven_hours_of_failures(player, monkeypatch):
    """Google takes no acknowledgement for 47 hours: it is told in the end, before it gives the money back.

    From the second day on somebody is told of every failure; what is to be consumed is so after 48 hours.
    """
    google, world = player.google, Ahead()
    google.knobs.turn(time_factor=1.0, tester_window=3.0 * 24 * HOUR, certs_max_age=3600)
    bought = {}
    for product_id in ("season_pass", "coins_500"):
        created = await player.opens(product_id=product_id)
        bought[created["order_no"]] = await player.buys(created)
    season_pass, coins = bought.values()
    for order_no, purchase in bought.items():
        assert (await player.submits(order_no, purchase)).json["status"] == "paid"
    monkeypatch.setattr(seam, "world", world)
    google.faults.answer("backendError", path=":acknowledge", times=None)
    overdue, done_at = _overdue(), {}
    for hour in range(72):
        if hour == 47:
            assert not season_pass.acknowledged
            google.faults.clear()
        await perform_due(player)
        for name, is_done in (("pass", season_pass.acknowledged), ("coins", coins.consumed)):
            if is_done:
                done_at.setdefault(name, hour)
        world.ahead += HOUR * seam.SECOND
        await google.advance(HOUR)
    assert 47 <= done_at["pass"] < 56
    assert 47 < done_at["coins"] < 50
    await google.advance(48 * HOUR)
    assert await player.client.count("duties", "status='done'") == 3
    assert [purchase.refundable for purchase in bought.values()] == [1, 1]
    alarms = [(await player.told(order_no)).count("duty_overdue") for order_no in bought]
    assert sum(alarms) == _overdue() - overdue
    assert min(alarms) > 1


def _overdue() -> float:
    labels = {"channel": "google", "what": "acknowledge"}
    return REGISTRY.get_sample_value("payplat_overdue_duties_total", labels) or 0.0


@on_sqlite
async def test_a_killed_process_owes_what_it_owed(player, database_url):
    """Killed between the commit and the acknowledgement, the service acknowledges after its next start, once."""
    environ = {"PAYPLAT_DATABASE__URL": database_url}
    folder, google = player.client.stage.folder, player.google
    google.next_answers("slow", path=":acknowledge", processed=False, seconds=30)
    created = await player.opens(product_id="season_pass")
    purchase, order_no = await player.buys(created), created["order_no"]
    async with payplat(folder, "serve", **environ) as service:
        away = Player(player.client)
        away.client = Client(service)
        assert (await away.submits(order_no, purchase)).json["status"] == "paid"
        await player.client.until(lambda: asked(google, "products.acknowledge"))
        await service.stop(signal.SIGKILL)
    assert not purchase.acknowledged
    assert await player.duties(order_no) == {"acknowledge": "due"}
    # The leases of the one who died have ended: it may have held the delivery too.
    await player.does("UPDATE duties SET due_at = 1 WHERE what = 'acknowledge'")
    await player.does("UPDATE deliveries SET due_at = 1 WHERE status = 'due'")
    async with payplat(folder, "serve", **environ):
        await player.client.until(lambda: done(player, "acknowledge"))
        merchant = player.client.stage.merchant
        await player.client.until(lambda: merchant.fulfilled[order_no])
    assert [r.call for r in google.received if r.status == 204] == ["products.acknowledge"]
    assert await player.client.count("events") == merchant.fulfilled[order_no] == 1


async def late(player: Player) -> tuple[str, Any]:
    """An order that was closed when its purchase came."""
    created = await player.opens()
    order_no = created["order_no"]
    await player.does("UPDATE orders SET status = 'closed', next_check_at = NULL")
    purchase = await player.buys(created, notify=True)
    return order_no, purchase


@on_sqlite
async def test_a_held_purchase_is_not_acknowledged_until_released(
    player, monkeypatch, database_url
):
    """With late = hold nothing is confirmed to Google; `payplat orders release` delivers it, and it is acknowledged."""
    order_no, purchase = await late(player)
    assert await player.status(order_no) == "held"
    assert await player.duties(order_no) == {"acknowledge": "held", "consume": "held"}
    monkeypatch.setattr(seam, "world", Ahead(49 * HOUR))
    assert await perform_due(player) == 0
    monkeypatch.undo()
    stage = player.client.stage
    environ = {"PAYPLAT_DATABASE__URL": database_url}
    ended = await asyncio.to_thread(run, stage, "orders", "release", order_no, **environ)
    assert (ended.returncode, await player.status(order_no)) == (0, "paid")
    assert await perform_due(player) == 1
    assert (purchase.acknowledged, purchase.consumed) == (True, False)
    assert await player.duties(order_no) == {"acknowledge": "done", "consume": "due"}
    assert await player.kinds(order_no) == ["order.paid"]


async def test_late_money_is_given_back_once(player):
    """With late = refund the duty has Google give it back: once, though answers are lost; nobody hears of a payment."""
    order_no, purchase = await late(player)
    assert await player.status(order_no) == "held"
    player.google.faults.notification(drop=True, times=2)
    player.google.next_answers("cut", "cut", path=":refund")
    for _ in range(3):
        await perform_due(player)
        await player.does("UPDATE duties SET due_at = 1 WHERE status = 'due'")
    assert await player.duties(order_no) == {
        "acknowledge": "void", "consume": "void", "refund": "done",
    }  # fmt: skip
    assert (await player.status(order_no), len(purchase.refunds)) == ("refunded", 1)
    assert "order.paid" not in await player.kinds(order_no)
    assert asked(player.google, "products.acknowledge") == 0
    assert (await player.submits(order_no, purchase)).json["status"] == "refunded"
    assert await player.client.count("refunds") == 1


@on_sqlite
async def test_a_refund_of_googles_own_is_found_by_the_duty(player):
    """A purchase taken back between Google's answer and our commit: the duty finds it, though no push tells of it."""
    google = player.google
    order_no, purchase = await player.bought()
    google.next_answers("internalError", path=":acknowledge")
    await player.client.stage.merchant.go_down()
    google.faults.notification(drop=True, times=2)
    assert (await player.submits(order_no, purchase)).json["status"] == "paid"
    await google.void(purchase.purchase_token)

    async def refunded() -> bool:
        await player.does("UPDATE duties SET due_at = 1 WHERE status = 'due'")
        return await player.status(order_no) == "refunded"

    await player.client.until(refunded)
    assert await player.kinds(order_no) == ["order.paid", "order.refunded"]
    assert await player.client.count("refunds") == 1


@on_sqlite
async def test_a_failed_duty_is_in_the_timeline(player):
    """Every try can be read at the order: what failed, why, and that it was done."""
    player.google.next_answers("projectNotLinked", path=":acknowledge")
    await player.client.stage.merchant.go_down()
    order_no, purchase = await player.bought()
    await player.submits(order_no, purchase)

    async def tries() -> list[dict[str, Any]]:
        await player.does("UPDATE duties SET due_at = 1 WHERE status = 'due' AND failures = 1")
        timeline = (await player.client.order(order_no))["timeline"]
        told = [x["detail"] for x in timeline if x["what"] == "duty_attempt"]
        return [x for x in told if x["duty"] == "acknowledge"]

    async def twice() -> bool:
        return len(await tries()) == 2

    await player.client.until(twice)
    failed, succeeded = await tries()
    assert (failed["ok"], succeeded["ok"]) == (False, True)
    assert "projectNotLinked" in json.dumps(failed)
