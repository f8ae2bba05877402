"""The reply to a COMMIT that never came: nobody knows whether it took effect, and it must take effect once."""

import asyncio
import time
from collections.abc import Callable

import pymysql
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from payplat import seam
from payplat.database import Database
from payplat.decisions import Result
from payplat.errors import DatabaseUnavailable, StillRunning
from payplat.purchase import Status
from tests.ledger.build import closed, draft, in_world, ledger_on, on_mariadb, paid, refund
from tests.proxy import CommitFault, Proxy


class Spoiler(seam.World):
    """A world in which ``times`` passes of a crash point are spoilt, after ``skip`` that are not."""

    def __init__(self, point: str, spoil: Callable[[], None], times: int, skip: int = 0) -> None:
        self._point, self._spoil = point, spoil
        self._spoilt = range(skip, skip + times)
        self._passed = 0

    async def reach(self, point: str) -> None:
        """Pass a crash point, or have it spoilt."""
        if point == self._point:
            self._passed += 1
            if self._passed - 1 in self._spoilt:
                self._spoil()


def lose_the_reply() -> None:
    """Fail as a driver does whose connection broke while it waited for the reply to COMMIT."""
    lost = pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")
    raise OperationalError("COMMIT", {}, lost)


def replies_lost(times: int = 1, skip: int = 0) -> Spoiler:
    """A world in which the replies to that many COMMITs are lost."""
    return Spoiler("after_commit", lose_the_reply, times, skip)


async def assert_settled_once(ledger, order):
    """The order was paid, and everything about it was written once."""
    assert (await ledger.now(order)).status is Status.PAID
    for name, count in {"payments": 1, "events": 1, "deliveries": 2, "timeline": 1}.items():
        assert len(await ledger.rows(name, order)) == count


@pytest.mark.parametrize("times", [1, 3])
async def test_a_payment_is_settled_once(ledger, times):
    """The verdict is settled exactly once when the reply to its commit is lost, however often."""
    order = await ledger.open()
    with in_world(replies_lost(times)):
        settled = await ledger.orders.settle(paid(order))
    assert settled.result in (Result.PAID, Result.REPEATED)
    assert settled.order.status is Status.PAID
    await assert_settled_once(ledger, order)


async def test_a_refund_is_settled_once(ledger):
    """So is a refund: nothing goes back twice."""
    order = await ledger.open()
    await ledger.settle(paid(order))
    with in_world(replies_lost()):
        await ledger.settle(refund(order, total=250))
    assert (await ledger.now(order)).refunded == 250
    assert len(await ledger.rows("refunds")) == 1


async def test_a_group_is_settled_once(ledger):
    """So is each verdict of a group whose common reply was lost."""
    orders = [await ledger.open() for _ in range(10)]
    with in_world(replies_lost()):
        answers = await asyncio.gather(*(ledger.orders.settle(paid(order)) for order in orders))
    assert {answer.order.status for answer in answers} == {Status.PAID}
    for order in orders:
        await assert_settled_once(ledger, order)


async def test_an_order_is_opened_once(ledger):
    """The client whose order was stored without a reply gets this order, as a new one."""
    for wanted in (draft(key="k1"), draft()):
        with in_world(replies_lost()):
            order, is_new = await ledger.orders.open(wanted)
        assert (order, is_new) == (wanted.order, True)
    assert len(await ledger.rows("orders")) == 2


async def test_a_release_is_done_once(ledger):
    """The operator whose release took effect without a reply is not told that it was refused."""
    order = await ledger.open("shop_hold")
    await ledger.settle(closed(order), paid(order))
    with in_world(replies_lost()):
        released = await ledger.orders.release(order.order_no, "operator:ann")
    assert released.status is Status.PAID
    assert len(await ledger.rows("events")) == 1


async def test_a_preparation_is_begun_once(ledger, twin):
    """Who became the one to ask without a reply is the one, and another one waits."""
    order = await ledger.open()
    with in_world(replies_lost()):
        await ledger.orders.begin_preparation(order.order_no, 20)
    with pytest.raises(StillRunning):
        await twin.orders.begin_preparation(order.order_no, 30)


async def test_a_reply_lost_for_good_is_no_success(ledger):
    """While no reply comes at all the caller must not answer success; the provider's repetition finds it settled."""
    order = await ledger.open()
    with in_world(replies_lost(100)), pytest.raises(DatabaseUnavailable):
        await ledger.settle(paid(order))
    assert await ledger.settle(paid(order)) == [Result.REPEATED]
    await assert_settled_once(ledger, order)


# --- With a real MariaDB behind a door that breaks ---


@pytest.fixture
async def proxy(ledger_url):
    """A door to MariaDB."""
    url = make_url(ledger_url)
    proxy = Proxy(f"{url.host}:{url.port}")
    async with proxy.running():
        yield proxy


@pytest.fixture
async def behind(proxy, ledger_url):
    """A ledger behind the door, with little patience."""
    url = make_url(ledger_url).set(port=proxy.port).render_as_string(hide_password=False)
    behind = ledger_on(Database(url, deadline=1.0))
    yield behind
    await behind.database.close()


@on_mariadb
@pytest.mark.parametrize("fault", [CommitFault.CUT_BEFORE, CommitFault.CUT_AFTER])
async def test_a_broken_connection_at_commit(ledger, behind, proxy, fault):
    """Whether the connection breaks before or after a COMMIT took effect, the verdict is settled once."""
    order = await behind.open()
    proxy.commit_faults[b""] = fault
    settled = await behind.orders.settle(paid(order))
    was_lost = fault is CommitFault.CUT_BEFORE
    assert settled.result is (Result.PAID if was_lost else Result.REPEATED)
    assert not proxy.commit_faults
    await assert_settled_once(ledger, order)


@on_mariadb
async def test_a_commit_without_a_reply(ledger, behind, proxy):
    """Who waits for a reply in vain is told so at the deadline, and the next one finds the verdict settled."""
    order = await behind.open()
    proxy.commit_faults[b""] = CommitFault.NO_REPLY
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        await behind.settle(paid(order))
    assert 0.9 < time.monotonic() - began < 3
    assert await behind.settle(paid(order)) == [Result.REPEATED]
    await assert_settled_once(ledger, order)


@on_mariadb
async def test_a_connection_killed_before_its_commit(ledger, ledger_url, mariadb):
    """A transaction whose connection the server kills is done again on another one, once."""
    order = await ledger.open()

    def kill():
        own = "SELECT id FROM information_schema.processlist WHERE db = %s"
        for (number,) in mariadb.execute(own, make_url(ledger_url).database):
            mariadb.execute(f"KILL {number}")

    with in_world(Spoiler("before_commit", kill, times=1)):
        assert await ledger.settle(paid(order)) == [Result.PAID]
    await assert_settled_once(ledger, order)
