"""Group commit: who arrives together is stored together, and nobody pays for a neighbour's fault."""

import asyncio
import time

import pytest
from sqlalchemy.exc import StatementError

from payplat import seam
from payplat.database import Database
from payplat.decisions import Result
from payplat.errors import DatabaseUnavailable, Draining, Overloaded
from payplat.group_commit import GroupCommit
from payplat.purchase import Status
from tests.ledger.build import draft, in_world, ledger_on, paid, refund


class Store:
    """Where groups are committed: remembers them, waits while ``gate`` is shut, fails on what is in ``bad``."""

    def __init__(self):
        self.groups = []
        self.bad = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def commit(self, items):
        """Store a group whole or not at all; return each item's double."""
        self.groups.append(items)
        await self.gate.wait()
        for item in items:
            if item in self.bad:
                raise self.bad[item]
        return [2 * item for item in items]


@pytest.fixture
async def store():
    """A store whose gate is open."""
    return Store()


async def arrive(commits, items):
    """Let items arrive, as tasks of their own."""
    tasks = [asyncio.create_task(commits(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


# --- The mechanism alone ---


async def test_an_idle_item_goes_at_once_and_alone(store):
    """No timer holds the first item back."""
    assert await GroupCommit(store.commit)(1) == 2
    assert store.groups == [[1]]


async def test_who_waits_shares_the_next_commit(store):
    """What arrives during a commit goes together with the next one, and each gets its own result."""
    commits = GroupCommit(store.commit)
    store.gate.clear()
    first = await arrive(commits, [1])
    await asyncio.sleep(0)
    rest = await arrive(commits, [2, 3, 4])
    store.gate.set()
    assert await asyncio.gather(*first, *rest) == [2, 4, 6, 8]
    assert store.groups == [[1], [2, 3, 4]]


async def test_a_group_has_a_limit(store):
    """More than the limit go in several groups, in the order of their coming."""
    commits = GroupCommit(store.commit, limit=2)
    assert await asyncio.gather(*map(commits, range(5))) == [0, 2, 4, 6, 8]
    assert store.groups == [[0, 1], [2, 3], [4]]


async def test_a_bad_item_fails_alone(store):
    """When a group fails each of its items goes again alone: one is refused, its neighbours are stored."""
    store.bad = {2: ValueError("two")}
    answers = await asyncio.gather(
        *map(GroupCommit(store.commit), [1, 2, 3]), return_exceptions=True
    )
    assert (answers[0], str(answers[1]), answers[2]) == (2, "two", 6)
    assert store.groups == [[1, 2, 3], [1], [2], [3]]


async def test_an_unavailable_database_fails_all_at_once(store):
    """When nothing can be stored, a group fails by one try and not by one for each item."""
    store.bad = {1: DatabaseUnavailable()}
    answers = await asyncio.gather(
        *map(GroupCommit(store.commit), [1, 2, 3]), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {DatabaseUnavailable}
    assert store.groups == [[1, 2, 3]]


async def test_a_failure_does_not_stop_the_next(store):
    """After a failed commit the next item is stored."""
    commits, store.bad = GroupCommit(store.commit), {1: DatabaseUnavailable()}
    with pytest.raises(DatabaseUnavailable):
        await commits(1)
    assert await commits(2) == 4


async def test_cancelling_a_caller_does_not_cancel_the_commit(store):
    """A caller that goes away while its item is in flight or waits leaves the commit alone, and its neighbours."""
    commits = GroupCommit(store.commit)
    store.gate.clear()
    in_flight = await arrive(commits, [1])
    await asyncio.sleep(0)
    waiting = await arrive(commits, [2, 3])
    in_flight[0].cancel()
    waiting[0].cancel()
    await asyncio.sleep(0)
    store.gate.set()
    assert await waiting[1] == 6
    assert in_flight[0].cancelled()
    assert waiting[0].cancelled()
    assert store.groups == [[1], [2, 3]]


async def test_the_error_of_a_caller_that_left_disturbs_nobody(store):
    """An error whose caller is gone is dropped without a warning."""
    commits, store.bad = GroupCommit(store.commit), {1: ValueError("one")}
    store.gate.clear()
    (task,) = await arrive(commits, [1])
    await asyncio.sleep(0)
    task.cancel()
    store.gate.set()
    assert await commits(2) == 4


async def test_the_queue_is_bounded(store):
    """One more than the queue holds is refused at once, and there is room again after the next commit."""
    commits = GroupCommit(store.commit, capacity=2)
    store.gate.clear()
    first = await arrive(commits, [1])
    await asyncio.sleep(0)
    rest = await arrive(commits, [2, 3])
    with pytest.raises(Overloaded):
        await commits(4)
    store.gate.set()
    assert await asyncio.gather(*first, *rest) == [2, 4, 6]
    assert await commits(5) == 10


async def test_draining_finishes_what_came(store):
    """While draining nothing more is taken, and everything that was taken is stored."""
    commits = GroupCommit(store.commit, limit=1)
    store.gate.clear()
    tasks = await arrive(commits, [1, 2, 3])
    drained = asyncio.create_task(commits.drain())
    await asyncio.sleep(0)
    with pytest.raises(Draining):
        await commits(4)
    assert not drained.done()
    store.gate.set()
    await drained
    assert [task.result() for task in tasks] == [2, 4, 6]


async def test_draining_nothing_ends_at_once(store):
    """Who never stored anything need not wait."""
    commits = GroupCommit(store.commit)
    await commits.drain()
    with pytest.raises(Draining):
        await commits(1)


async def test_giving_up_draining_cancels_no_commit(store):
    """Who waits for the draining no longer is told so, and the commit goes on to its end."""
    commits = GroupCommit(store.commit)
    store.gate.clear()
    (task,) = await arrive(commits, [1])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(commits.drain(), 0.01)
    store.gate.set()
    assert await task == 2


# --- Patience ---


@pytest.fixture
async def stuck(store):
    """A queue of little patience and room for two, behind the commit of item 1, which does not end."""
    commits = GroupCommit(store.commit, capacity=2, patience=0.4)
    store.gate.clear()
    begun = await arrive(commits, [1])
    await asyncio.sleep(0)
    return commits, begun


async def test_who_waits_behind_a_stuck_commit_is_told_so(store, stuck):
    """Begun or waiting, everybody hears in time that the database is behind; what had not begun is never committed."""
    commits, begun = stuck
    waiting = await arrive(commits, [2, 3])
    async with asyncio.timeout(4):
        answers = await asyncio.gather(*begun, *waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 3
    store.gate.set()
    assert await commits(4) == 8
    await commits.drain()
    assert store.groups == [[1], [4]]


async def test_who_gave_up_leaves_room_for_others(store, stuck):
    """The places of those who gave up are free again while the commit is still stuck."""
    commits, _ = stuck
    await asyncio.gather(*await arrive(commits, [2, 3]), return_exceptions=True)
    fresh = await arrive(commits, [4, 5])
    with pytest.raises(Overloaded):
        await commits(6)
    store.gate.set()
    assert await asyncio.gather(*fresh) == [8, 10]
    assert store.groups == [[1], [4, 5]]


# --- In the ledger ---


async def test_a_bad_verdict_among_good_ones(ledger):
    """A verdict that the database refuses fails alone; those that came with it are settled."""
    orders = [await ledger.open() for _ in range(10)]
    verdicts = [paid(order) for order in orders]
    verdicts[3] = paid(orders[3], payer="x" * 192)
    verdicts[7] = refund(orders[7], "x" * 192, part=100)
    answers = await asyncio.gather(*map(ledger.orders.settle, verdicts), return_exceptions=True)
    bad = {number for number, one in enumerate(answers) if isinstance(one, StatementError)}
    assert bad == {3, 7}
    assert all(one.result is Result.PAID for n, one in enumerate(answers) if n not in bad)
    assert len(await ledger.rows("payments")) == 8
    assert (await ledger.now(orders[3])).status is Status.PENDING


async def test_a_bad_draft_among_good_ones(ledger):
    """Nor does an order that cannot be stored keep others from being opened."""
    drafts = [draft(), draft(receiver="x" * 129), draft()]
    answers = await asyncio.gather(*map(ledger.orders.open, drafts), return_exceptions=True)
    assert isinstance(answers[1], StatementError)
    assert [row["order_no"] for row in await ledger.rows("orders")] == sorted(
        (drafts[0].order.order_no, drafts[2].order.order_no)
    )


async def test_many_verdicts_share_few_commits(ledger, crash_points):
    """A hundred verdicts at once need two commits, not a hundred."""
    orders = await asyncio.gather(*(ledger.open() for _ in range(100)))
    crash_points.passed.clear()
    await asyncio.gather(*(ledger.orders.settle(paid(order)) for order in orders))
    assert crash_points.passed.count("after_commit") == 2
    assert {row["status"] for row in await ledger.rows("orders")} == {"paid"}


async def test_a_caller_that_leaves_is_settled_all_the_same(ledger):
    """A provider that hangs up before our answer has paid nevertheless."""
    order = await ledger.open()
    task = asyncio.create_task(ledger.orders.settle(paid(order)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ledger.orders.drain()
    assert (await ledger.now(order)).status is Status.PAID


async def test_draining_the_ledger(ledger):
    """After the drain nothing is taken, neither an order nor a verdict; what came before is stored."""
    order = await ledger.open()
    task = asyncio.create_task(ledger.orders.settle(paid(order)))
    await asyncio.sleep(0)
    await ledger.orders.drain()
    assert (await task).result is Result.PAID
    for late in (ledger.orders.open(draft()), ledger.orders.settle(paid(order))):
        with pytest.raises(Draining):
            await late


class Stuck(seam.World):
    """A world in which no transaction gets beyond its COMMIT until ``gate`` is open."""

    def __init__(self):
        self.gate = asyncio.Event()

    async def reach(self, point):
        """Wait before a COMMIT."""
        if point == "before_commit":
            await self.gate.wait()


async def test_what_a_caller_gave_up_is_settled_once(ledger):
    """Of two payments behind a stuck database the begun one is settled after all, the other not; repeated, both are."""
    begun, waiting = [await ledger.open() for _ in range(2)]
    impatient = GroupCommit(ledger.orders._settle_batch, patience=0.2)
    with in_world(Stuck()):
        first = await arrive(impatient, [paid(begun)])
        await asyncio.sleep(0)
        calls = [*first, *await arrive(impatient, [paid(waiting)])]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        seam.world.gate.set()
        await impatient.drain()
    assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 2
    assert (await ledger.now(begun)).status is Status.PAID
    assert (await ledger.now(waiting)).status is Status.PENDING
    assert await ledger.settle(paid(begun), paid(waiting)) == [Result.REPEATED, Result.PAID]
    assert len(await ledger.rows("payments")) == len(await ledger.rows("events")) == 2


@pytest.mark.parametrize(
    "url", ["mariadb://nobody@127.0.0.1:1/none", "sqlite:////nonexistent/folder/payplat.db"]
)
async def test_a_database_that_is_away(url):
    """Everybody is told at once, not one after the other, when the database cannot be reached."""
    away, began = ledger_on(Database(url)), time.monotonic()
    calls = [away.orders.settle(paid(draft().order)) for _ in range(30)]
    calls += [away.orders.open(draft()) for _ in range(30)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {DatabaseUnavailable}
    assert time.monotonic() - began < 5
    await away.database.close()
