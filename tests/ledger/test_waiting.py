"""Evidence that waits: kept while its store cannot tell, asked about by the job until the store could, lost never."""

import asyncio
from dataclasses import replace

import pytest

from payplat import seam
from payplat.decisions import Result
from payplat.errors import (
    DatabaseUnavailable,
    NotAuthentic,
    Overloaded,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from payplat.provider import EXPIRY_MARGIN, Missed
from payplat.purchase import Source, State, Status
from payplat.reconcile import _PAGES, QUEUE, MissedNotices, first_check
from tests.ledger.build import Crash, claimed, closed, in_world, paid, refund, says
from tests.ledger.store import BACKOFF, CHANNEL, Store, check, receipt, reconciler
from tests.ledger.test_lost_commit import replies_lost

SECOND = seam.SECOND


@pytest.fixture
def store() -> Store:
    """A store that says what it is told."""
    return Store()


async def opened(ledger):
    """Open a store order as the door does: nothing is asked before its end."""
    order = await ledger.open(CHANNEL)
    first = first_check(Store(), BACKOFF, order.expires_at, order.created_at)
    await ledger.run(_orders().values(next_check_at=first))
    return order


def _orders():
    return QUEUE.table.update()


async def keep(ledger, order, text="receipt", in_seconds=2):
    """Keep a receipt that is to be asked about in so many seconds."""
    await ledger.orders.waiting.keep(order, receipt(text), seam.now() + in_seconds * SECOND)


async def row_of(ledger, order):
    """Return the order's row."""
    (row,) = await ledger.rows("orders", order)
    return row


async def kept(ledger, order):
    """Return the states of the order's evidence."""
    return [row["state"] for row in await ledger.rows("evidence", order)]


def end_of(order):
    """Return when nothing can be paid any more, by all clocks."""
    return order.expires_at + EXPIRY_MARGIN + SECOND


# --- Keeping ---


async def test_kept_evidence_waits(ledger):
    """The bytes are kept whole, the order will be asked about soon, and the story tells it."""
    order = await opened(ledger)
    due = seam.now() + 7
    await ledger.orders.waiting.keep(order, receipt(), due)
    assert await ledger.orders.waiting.of(order) == [receipt()]
    (row,) = await ledger.rows("evidence")
    assert (row["state"], row["source"], row["raw"]) == ("waiting", "verify", b"receipt")
    assert (await ledger.now(order)).waits is True
    assert (await row_of(ledger, order))["next_check_at"] == due
    assert [line["what"] for line in await ledger.rows("timeline")] == ["evidence_waiting"]


async def test_the_same_evidence_waits_once(ledger):
    """Submitting it again changes nothing, not even when it is asked about."""
    order = await opened(ledger)
    await keep(ledger, order)
    before = await ledger.snapshot()
    await keep(ledger, order, in_seconds=9)
    assert await ledger.snapshot() == before


async def test_a_lost_reply_keeps_once(ledger):
    """When only the reply to the commit is lost, the second try finds what the first one wrote."""
    order = await opened(ledger)
    with in_world(replies_lost()):
        await keep(ledger, order)
    assert await ledger.orders.waiting.of(order) == [receipt()]
    assert len(await ledger.rows("timeline")) == 1


async def test_too_much_does_not_wait(ledger):
    """An order's clients may leave eight receipts; the ninth is refused and nothing of it is kept."""
    order, other = await opened(ledger), await opened(ledger)
    for number in range(8):
        await keep(ledger, order, f"receipt {number}")
    before = await ledger.snapshot()
    with pytest.raises(Overloaded):
        await keep(ledger, order, "one too many")
    await keep(ledger, order, "receipt 3")
    assert await ledger.snapshot() == before
    await keep(ledger, other, "another order's")
    assert len(await ledger.orders.waiting.of(other)) == 1


async def test_the_bound_holds_between_processes(ledger, twin):
    """Of twenty receipts that two processes keep at the same moment eight wait."""
    order = await opened(ledger)
    race = [keep([ledger, twin][n % 2], order, f"receipt {n}") for n in range(20)]
    answers = await asyncio.gather(*race, return_exceptions=True)
    refused = [answer for answer in answers if answer is not None]
    assert {type(answer) for answer in refused} == {Overloaded}
    assert len(await ledger.orders.waiting.of(order)) == 8
    assert len(refused) == 12


async def test_keeping_is_all_or_nothing(ledger, crash_points):
    """Who dies before the commit has kept nothing, and the order's next check is as it was."""
    order = await opened(ledger)
    before = await ledger.snapshot()
    with crash_points.dying_at("before_commit"), pytest.raises(Crash):
        await keep(ledger, order)
    assert await ledger.snapshot() == before


async def test_evidence_of_no_use_may_become_useful(ledger, clock, store):
    """Bytes that a person was to look at wait again when the order's client submits them again."""
    order = await opened(ledger)
    await keep(ledger, order)
    clock.forward(3)
    store.answers[b"receipt"] = [ProviderRefused(), paid(order)]
    await check(ledger, store)
    assert await kept(ledger, order) == ["quarantined"]
    await keep(ledger, order)
    assert await ledger.orders.waiting.of(order) == [receipt()]
    clock.forward(3)
    await check(ledger, store)
    assert (await ledger.now(order)).status is Status.PAID
    assert await kept(ledger, order) == ["used"]


async def test_unclaimed_evidence_waits_for_its_claim(ledger):
    """A purchase that named no order waits for the order that its client names now."""
    order = await opened(ledger)
    await ledger.settle(paid(order, order_no=None, evidence=receipt()))
    await keep(ledger, order)
    assert await ledger.orders.waiting.of(order) == [receipt()]


@pytest.mark.parametrize("make", [paid, lambda o: paid(o, quantity=2)], ids=["used", "aside"])
async def test_another_orders_evidence_is_not_taken(ledger, clock, store, make):
    """What has paid another order, or was put aside with it, stays there; this one is asked about and goes on."""
    order, other = await opened(ledger), await opened(ledger)
    await ledger.settle(make(other))
    (before,) = await ledger.rows("evidence", other)
    await ledger.orders.waiting.keep(order, make(other).evidence, seam.now() + SECOND)
    assert await ledger.rows("evidence", other) == [before]
    clock.forward(2)
    await check(ledger, store)
    row = await row_of(ledger, order)
    assert (row["status"], row["waits"], row["next_check_at"]) == ("pending", 0, end_of(order))


# --- Asking ---


async def test_a_good_answer_settles(ledger, clock, store):
    """The purchase pays by the kept evidence with the store's answer, and nothing is left to ask."""
    order = await opened(ledger)
    await keep(ledger, order)
    store.answers[b"receipt"] = [claimed(order)]
    assert await check(ledger, store) == 0
    clock.forward(3)
    assert await check(ledger, store) == 1
    row = await row_of(ledger, order)
    assert (row["status"], row["waits"], row["next_check_at"]) == ("paid", 0, None)
    (evidence,) = await ledger.rows("evidence")
    assert (evidence["state"], evidence["answer"]) == ("used", b"the store's words")
    (payment,) = await ledger.rows("payments")
    assert payment["evidence_sha256"] == receipt().sha256
    clock.forward(9999)
    assert await check(ledger, store) == 0


@pytest.mark.parametrize(
    "answer",
    [State.PENDING, ProviderUnavailable(), ProviderMisconfigured()],
    ids=["pending", "unavailable", "misconfigured"],
)
async def test_no_answer_leaves_it_waiting(ledger, clock, store, answer):
    """What the store cannot tell yet is asked about again, later each time, until it can."""
    order = await opened(ledger)
    await keep(ledger, order)
    store.answers[b"receipt"] = [answer, answer, paid(order)]
    clock.forward(3)
    for wait in (30, 60):
        assert await check(ledger, store) == 1
        assert await kept(ledger, order) == ["waiting"]
        row = await row_of(ledger, order)
        assert (row["waits"], row["lease_token"]) == (1, None)
        assert abs(row["next_check_at"] - seam.now() - wait * SECOND) < 5 * SECOND
        clock.forward(wait + 1)
    await check(ledger, store)
    assert (await ledger.now(order)).status is Status.PAID


@pytest.mark.parametrize("answer", [NotAuthentic(), ProviderRefused()], ids=["forged", "refused"])
async def test_useless_evidence_is_put_aside(ledger, clock, store, answer):
    """What the store did not sign or does not know waits no longer, and the order goes on as if it never came."""
    order = await opened(ledger)
    await keep(ledger, order)
    store.answers[b"receipt"] = [answer]
    clock.forward(3)
    await check(ledger, store)
    (evidence,) = await ledger.rows("evidence")
    assert (evidence["state"], evidence["reason"]) == ("quarantined", "refused")
    row = await row_of(ledger, order)
    assert (row["status"], row["waits"]) == ("pending", 0)
    assert row["next_check_at"] == end_of(order)


async def test_a_purchase_that_does_not_fit_is_put_aside(ledger, clock, store):
    """A verdict that must not pay ends the waiting as well, with the reason that the ledger found."""
    order = await opened(ledger)
    await keep(ledger, order)
    store.answers[b"receipt"] = [paid(order, quantity=2)]
    clock.forward(3)
    await check(ledger, store)
    (evidence,) = await ledger.rows("evidence")
    assert (evidence["state"], evidence["reason"]) == ("quarantined", "quantity")
    assert (await row_of(ledger, order))["waits"] == 0


async def test_a_verdict_without_news_uses_it_up(ledger, clock, store):
    """When a notification was faster, the answer is a repetition, and nothing waits any more."""
    order = await opened(ledger)
    await keep(ledger, order)
    await ledger.settle(paid(order))
    store.answers[b"receipt"] = [paid(order)]
    clock.forward(3)
    await check(ledger, store)
    assert await kept(ledger, order) == ["used", "used"]
    assert (await row_of(ledger, order))["next_check_at"] is None


async def test_each_piece_is_asked_about_for_itself(ledger, clock, store):
    """One forged, one pending, one good: the good one pays, the pending one goes on waiting."""
    order = await opened(ledger)
    for text in ("forged", "slow", "good"):
        await keep(ledger, order, text)
    store.answers |= {b"forged": [NotAuthentic()], b"slow": [State.PENDING, State.CLOSED]}
    store.answers[b"good"] = [paid(order)]
    clock.forward(3)
    await check(ledger, store)
    assert store.asked == [b"forged", b"slow", b"good"]
    assert await kept(ledger, order) == ["quarantined", "waiting", "used"]
    row = await row_of(ledger, order)
    assert (row["status"], row["waits"]) == ("paid", 1)
    assert row["next_check_at"] is not None
    clock.forward(99)
    await check(ledger, store)
    row = await row_of(ledger, order)
    assert (row["status"], row["waits"], row["next_check_at"]) == ("paid", 0, None)
    assert await ledger.orders.waiting.of(order) == []


@pytest.mark.parametrize("make", [paid, closed, lambda o: refund(o, whole=True)])
async def test_a_settled_order_goes_on_waiting(ledger, make):
    """Whatever becomes of an order, its next check stands as long as evidence waits."""
    order = await opened(ledger)
    await keep(ledger, order)
    before = (await row_of(ledger, order))["next_check_at"]
    await ledger.settle(make(order), paid(order))
    row = await row_of(ledger, order)
    assert row["status"] != "pending"
    assert (row["waits"], row["next_check_at"]) == (1, before)


async def test_evidence_for_a_paid_order_is_asked_about(ledger, clock, store):
    """A second purchase submitted for a paid order is found to be excess, not forgotten."""
    order = await opened(ledger)
    await ledger.settle(paid(order, "T1"))
    await keep(ledger, order)
    store.answers[b"receipt"] = [claimed(order, "T2")]
    clock.forward(3)
    assert await check(ledger, store) == 1
    assert await kept(ledger, order) == ["used", "excess"]
    assert (await row_of(ledger, order))["next_check_at"] is None


async def test_what_waits_for_one_may_pay_another(ledger, clock, store):
    """Evidence that names another order pays that one, and its own order goes on."""
    order, other = await opened(ledger), await opened(ledger)
    await keep(ledger, order)
    store.answers[b"receipt"] = [paid(other)]
    clock.forward(3)
    await check(ledger, store)
    assert [(await ledger.now(o)).status for o in (order, other)] == [Status.PENDING, Status.PAID]
    row = await row_of(ledger, order)
    assert (row["waits"], row["next_check_at"]) == (0, end_of(order))


# --- While the job works ---


async def test_what_is_kept_meanwhile_is_not_lost(ledger, twin, clock, store):
    """A receipt that comes while the job asks about another one is asked about next."""
    order = await opened(ledger)
    await keep(ledger, order, "first")
    store.answers |= {b"first": [NotAuthentic()], b"second": [paid(order)]}
    store.meanwhile = lambda: keep(twin, order, "second")
    clock.forward(3)
    await check(ledger, store)
    assert [e.raw for e in await ledger.orders.waiting.of(order)] == [b"second"]
    row = await row_of(ledger, order)
    assert (row["waits"], row["checks"]) == (1, 0)
    clock.forward(3)
    assert await check(ledger, store) == 1
    assert (await ledger.now(order)).status is Status.PAID


async def test_what_is_kept_while_the_order_closes_is_not_lost(ledger, twin, clock, store):
    """So it is when the job was about to close the order for want of evidence."""
    order = await opened(ledger)
    clock.forward(9999)
    store.meanwhile = lambda: keep(twin, order)
    store.answers[b"receipt"] = [paid(order)]
    await check(ledger, store)
    assert (await ledger.now(order)).status is Status.CLOSED
    clock.forward(3)
    assert await check(ledger, store) == 1
    assert (await ledger.now(order)).status is Status.PAID
    assert (await row_of(ledger, order))["next_check_at"] is None


async def test_a_payment_meanwhile_clears_the_check(ledger, twin, clock, store):
    """When a notification pays while the job asks in vain, nothing stays scheduled once the evidence is answered."""
    order = await opened(ledger)
    await keep(ledger, order)
    store.answers[b"receipt"] = [ProviderRefused()]

    async def pay():
        await twin.settle(paid(order))

    store.meanwhile = pay
    clock.forward(3)
    await check(ledger, store)
    row = await row_of(ledger, order)
    assert (row["status"], row["waits"], row["next_check_at"]) == ("paid", 0, None)


async def test_a_job_that_died_is_followed_by_the_next(ledger, clock, store):
    """A job that settled and died before its last word leaves an order that the next one finishes."""
    order = await opened(ledger)
    await keep(ledger, order)
    clock.forward(3)
    (row,) = await QUEUE.claim(ledger.database, CHANNEL, limit=1, lease=90)
    await ledger.settle(paid(order, evidence=receipt()))
    assert row.lease_token
    assert await check(ledger, store) == 0
    clock.forward(91)
    assert await check(ledger, store) == 1
    row = await row_of(ledger, order)
    assert (row["waits"], row["next_check_at"], store.asked) == (0, None, [])


async def test_a_database_that_is_away_leaves_it_waiting(ledger, clock, store):
    """What cannot be stored is not taken for answered: the lease ends, and the evidence is asked about again."""
    order = await opened(ledger)
    await keep(ledger, order)
    clock.forward(3)
    (row,) = await QUEUE.claim(ledger.database, CHANNEL, limit=1, lease=90)
    store.answers[b"receipt"] = [DatabaseUnavailable(), paid(order)]
    with pytest.raises(DatabaseUnavailable):
        await reconciler(ledger, store).check(row)
    assert await kept(ledger, order) == ["waiting"]
    clock.forward(91)
    await check(ledger, store)
    assert (await ledger.now(order)).status is Status.PAID


async def test_a_settled_check_wakes_the_relay(ledger, clock, store):
    """What the job finds is told at once."""
    order, woken = await opened(ledger), []
    await keep(ledger, order)
    clock.forward(3)
    (row,) = await QUEUE.claim(ledger.database, CHANNEL, limit=1, lease=90)
    store.answers[b"receipt"] = [paid(order)]
    await reconciler(ledger, store, wake=lambda: woken.append(1)).check(row)
    assert woken == [1]


# --- Orders without evidence ---


async def test_a_store_is_first_asked_after_the_end(ledger):
    """Without evidence a store has nothing to say, so the first check is the one that closes."""
    order = await opened(ledger)
    assert (await row_of(ledger, order))["next_check_at"] == end_of(order)


async def test_who_knows_orders_is_asked_soon():
    """Where the company can be asked about our number, the schedule begins at once."""
    store = Store()
    store.__class__ = type("Knowing", (Store,), {"knows_orders": True})
    assert first_check(store, BACKOFF, 10_000 * SECOND, SECOND) == 16 * SECOND


async def test_an_order_without_evidence_is_closed(ledger, clock, store):
    """After its end it is closed, once, without a question about evidence that there is not."""
    order = await opened(ledger)
    clock.forward(1800)
    assert await check(ledger, store) == 0
    clock.forward(62)
    assert await check(ledger, store) == 1
    row = await row_of(ledger, order)
    assert (row["status"], row["next_check_at"], store.asked) == ("closed", None, [b""])
    assert await ledger.settle(paid(order)) == [Result.PAID]


async def test_an_early_look_is_no_close(ledger, clock, store):
    """A check before the end finds nothing, and the next one is at the end."""
    order = await opened(ledger)
    await ledger.run(_orders().values(next_check_at=seam.now()))
    clock.forward(1)
    assert await check(ledger, store) == 1
    row = await row_of(ledger, order)
    assert (row["status"], row["next_check_at"], row["checks"]) == ("pending", end_of(order), 1)


async def test_waiting_evidence_keeps_an_order_open(ledger, clock, store):
    """An order is not closed over a receipt that the store could not examine yet."""
    order = await opened(ledger)
    await keep(ledger, order)
    store.answers[b"receipt"] = [ProviderUnavailable(), NotAuthentic()]
    clock.forward(9999)
    await check(ledger, store)
    assert (await ledger.now(order)).status is Status.PENDING
    assert store.asked == [b"receipt"]
    clock.forward(31)
    await check(ledger, store)  # now it is of no use
    clock.forward(61)
    await check(ledger, store)
    assert (await ledger.now(order)).status is Status.CLOSED


# --- Notifications that never came ---


def pages(order, count):
    """Return pages of one payment and notices without news, each with the position of the next."""
    verdict = replace(says(order, State.UNKNOWN, source=Source.RECONCILE), note="old")
    found = {
        f"{n}" if n else "": Missed([verdict], f"{n + 1}", has_more=True) for n in range(count)
    }
    return found | {"1": Missed([verdict, paid(order)], "2", has_more=True)}


async def test_missed_notices_are_settled_page_by_page(ledger, store):
    """The sweep begins at its position, settles all pages and returns where the next run begins."""
    order, woken = await opened(ledger), []
    store.pages = pages(order, 3) | {"2": Missed((), "the end")}
    sweep = MissedNotices(ledger.orders, store, lambda: woken.append(1))
    assert await sweep.run("") == "the end"
    assert store.asked == [b"", b"1", b"2"]
    assert (await ledger.now(order)).status is Status.PAID
    assert len(woken) == 3


async def test_a_run_is_bounded(ledger, store):
    """One run reads a few pages; the next run goes on after them."""
    order = await opened(ledger)
    store.pages = pages(order, 20)
    sweep = MissedNotices(ledger.orders, store, lambda: None)
    position = await sweep.run("")
    assert (position, len(store.asked)) == (f"{_PAGES}", _PAGES)
    assert await sweep.run(position) == f"{2 * _PAGES}"


async def test_a_page_that_fails_is_asked_for_again(ledger, store):
    """When the company does not answer, the position stays; what was settled already is only repeated."""
    order = await opened(ledger)
    store.pages = pages(order, 2)  # page 2 is not there
    sweep = MissedNotices(ledger.orders, store, lambda: None)
    with pytest.raises(KeyError):
        await sweep.run("")
    before = await ledger.snapshot()
    store.pages["2"] = Missed((), "3")
    assert await sweep.run("") == "3"
    assert await ledger.snapshot() == before
