"""Two people for held money: one proposes, another decides, and what is approved happens exactly once."""

import asyncio
import json

import pytest

from payplat.errors import Conflict, InvalidRequest, NotFound, NotPermitted, OrderNotFound
from payplat.explanation import Explanations
from payplat.proposals import Decision, Deed, Proposals
from payplat.purchase import Status
from tests.ledger.build import Crash, in_world, refund
from tests.ledger.test_late import late, owed, types
from tests.ledger.test_lost_commit import Spoiler, lose_the_reply

APPROVED, REJECTED = Decision.APPROVED, Decision.REJECTED


@pytest.fixture
def proposals(ledger) -> Proposals:
    """The ledger's proposals."""
    return Proposals(ledger.database, ledger.orders)


async def proposed(ledger, act=Deed.RELEASE, by="ann"):
    """A held order with a proposal; return both."""
    order = await late(ledger, "shop_hold")
    made = await Proposals(ledger.database, ledger.orders).propose(order.order_no, act, "why", by)
    return order, made


async def done(ledger, order) -> tuple[int, int]:
    """How often the order was released and its refund ordered."""
    told = [row["what"] for row in await ledger.rows("timeline", order)]
    return told.count("released"), told.count("refund_ordered")


async def acts(ledger) -> list[tuple[str, str]]:
    """Who did what, by the audit."""
    return [(row["operator"], row["act"]) for row in await ledger.rows("audit")]


@pytest.mark.parametrize("act", list(Deed))
async def test_another_person_approves(ledger, proposals, act):
    """What is approved is done at once: delivered, or owed back; the audit names both, and nothing is left open."""
    order, made = await proposed(ledger, act)
    (listed,) = await proposals.list_open()
    assert (listed.id, listed.order_no, listed.act, listed.reason) == (
        made,
        order.order_no,
        act,
        "why",
    )
    assert (listed.proposed_by, listed.status) == ("ann", Status.HELD)
    await proposals.decide(made, APPROVED, "ben")
    is_release = act is Deed.RELEASE
    assert await done(ledger, order) == (is_release, not is_release)
    assert await types(ledger, order) == (["order.paid"] if is_release else [])
    assert await owed(ledger, order) == ({} if is_release else {("refund", "operator"): "due"})
    assert await acts(ledger) == [("ann", "propose"), ("ben", "approved")]
    assert await proposals.list_open() == []
    actors = {row["what"]: row["actor"] for row in await ledger.rows("timeline", order)}
    assert actors["proposed"] == "ann"
    assert actors["released" if is_release else "refund_ordered"] == "ben"


@pytest.mark.parametrize("decision", list(Decision))
async def test_nobody_decides_alone(ledger, proposals, decision):
    """Who proposed it may not decide; a name that differs in one byte is another person's."""
    order, made = await proposed(ledger, by="ann")
    before = await ledger.snapshot()
    with pytest.raises(NotPermitted):
        await proposals.decide(made, decision, "ann")
    with pytest.raises(NotPermitted):
        await proposals.withdraw(made, "Ann")
    assert await ledger.snapshot() == before
    await proposals.decide(made, decision, "Ann")
    assert await done(ledger, order) == (decision is APPROVED, 0)


async def test_what_was_rejected_or_withdrawn_is_proposed_anew(ledger, proposals):
    """A proposal that ended moves no money, its story says by whom, and the next one is as good."""
    order, made = await proposed(ledger)
    with pytest.raises(Conflict):
        await proposals.propose(order.order_no, Deed.REFUND, "why", "ben")
    await proposals.decide(made, REJECTED, "ben")
    again = await proposals.propose(order.order_no, Deed.REFUND, "why", "ben")
    await proposals.withdraw(again, "ben")
    assert (await ledger.now(order)).status is Status.HELD
    assert await owed(ledger, order) == {}
    last = await proposals.propose(order.order_no, Deed.REFUND, "why", "ben")
    await proposals.decide(last, APPROVED, "ann")
    assert await done(ledger, order) == (0, 1)
    told = [row["what"] for row in await ledger.rows("timeline", order)][2:]
    assert told == [
        "proposed",
        "proposal_rejected",
        "proposed",
        "proposal_withdrawn",
        "proposed",
        "refund_ordered",
    ]
    for ended in (made, again, last):
        with pytest.raises(Conflict):
            await proposals.decide(ended, APPROVED, "eve")


async def test_only_held_money_is_proposed_about(ledger, proposals):
    """A pending order, an unknown one, no reason and an unknown proposal are refused, and nothing is written."""
    pending = await ledger.open("shop_hold")
    held = await late(ledger, "shop_hold")
    before = await ledger.snapshot()
    for number, reason, error in (
        (pending.order_no, "why", Conflict),
        ("0" * 32, "why", OrderNotFound),
        (held.order_no, " ", InvalidRequest),
    ):
        with pytest.raises(error):
            await proposals.propose(number, Deed.RELEASE, reason, "ann")
    for act in (proposals.withdraw(7, "ann"), proposals.decide(7, APPROVED, "ann")):
        with pytest.raises(NotFound):
            await act
    assert await ledger.snapshot() == before


async def test_money_that_went_elsewhere_meanwhile(ledger, proposals):
    """When the order is held no more, the approval is refused, and the proposal can be rejected."""
    order, made = await proposed(ledger)
    await ledger.settle(refund(order, whole=True))
    before = await ledger.snapshot()
    with pytest.raises(Conflict, match="refunded, not held"):
        await proposals.decide(made, APPROVED, "ben")
    assert await ledger.snapshot() == before
    assert [each.status for each in await proposals.list_open()] == [Status.REFUNDED]
    await proposals.decide(made, REJECTED, "ben")
    assert await proposals.list_open() == []


@pytest.mark.parametrize("act", list(Deed))
@pytest.mark.parametrize("other", [APPROVED, REJECTED])
async def test_two_decide_at_once(ledger, twin, proposals, act, other):
    """Of two who decide at the same moment, in two processes, one is refused, and the deed is done once or not at all."""
    order, made = await proposed(ledger, act)
    theirs = Proposals(twin.database, twin.orders)
    both = [proposals.decide(made, APPROVED, "ben"), theirs.decide(made, other, "eve")]
    answers = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "NoneType"]
    (row,) = await ledger.rows("proposals")
    assert sum(await done(ledger, order)) == (row["decision"] == "approved")
    assert len(await acts(ledger)) == 2


async def test_two_propose_at_once(ledger, twin, proposals):
    """Of two who propose for one order at the same moment, one is refused."""
    order = await late(ledger, "shop_hold")
    theirs = Proposals(twin.database, twin.orders)
    both = [
        proposals.propose(order.order_no, Deed.RELEASE, "why", "ann"),
        theirs.propose(order.order_no, Deed.REFUND, "why", "ben"),
    ]
    answers = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "int"]
    assert len(await ledger.rows("proposals")) == 1


@pytest.mark.parametrize("act", list(Deed))
async def test_a_process_that_dies_leaves_all_or_nothing(
    ledger, twin, proposals, crash_points, act
):
    """Died before the commit, the proposal is open and another process completes it; died after, it is done, once."""
    order, made = await proposed(ledger, act)
    before = await ledger.snapshot()
    with crash_points.dying_at("before_commit"), pytest.raises(Crash):
        await proposals.decide(made, APPROVED, "ben")
    assert await ledger.snapshot() == before
    theirs = Proposals(twin.database, twin.orders)
    with crash_points.dying_at("after_commit"), pytest.raises(Crash):
        await theirs.decide(made, APPROVED, "ben")  # dies at its first look, which decides nothing
    assert await done(ledger, order) == (0, 0)
    await theirs.decide(made, APPROVED, "ben")
    with pytest.raises(Conflict):
        await proposals.decide(made, APPROVED, "ben")
    assert sum(await done(ledger, order)) == 1


@pytest.mark.parametrize("act", list(Deed))
@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
async def test_a_lost_commit_is_settled_by_its_repeat(ledger, proposals, act, point):
    """Whether the commit or only its reply was lost: proposed, approved, rejected and withdrawn once, without refusal."""
    order = await late(ledger, "shop_hold")

    async def spoilt(work):
        # The first pass is the look at what is proposed.
        skip = 0 if work.__name__ == "propose" else 1
        with in_world(Spoiler(point, lose_the_reply, 1, skip)):
            return await work

    propose = proposals.propose
    for end in (proposals.decide, proposals.withdraw):
        made = await spoilt(propose(order.order_no, act, "why", "ann"))
        ending = (made, REJECTED, "ben") if end == proposals.decide else (made, "ann")
        await spoilt(end(*ending))
    made = await spoilt(propose(order.order_no, act, "why", "ann"))
    await spoilt(proposals.decide(made, APPROVED, "ben"))
    assert sum(await done(ledger, order)) == 1
    assert len(await ledger.rows("proposals")) == 3
    assert len(await acts(ledger)) == 6


@pytest.mark.parametrize(
    ("act", "told"), [("release", "to release it"), ("refund", "to give the money back")]
)
async def test_an_open_proposal_is_explained(ledger, proposals, act, told):
    """The explanation of a held order says who wants what and that another decides, until somebody has."""
    order, made = await proposed(ledger, Deed(act))
    explained = await Explanations(ledger.database).explain(order)
    assert f"{told} (why): another operator decides." in explained["en"]
    assert "待另一位运营人员决定" in explained["zh"]
    await proposals.decide(made, REJECTED, "ben")
    assert "ann" not in (await Explanations(ledger.database).explain(order))["en"]


async def test_the_record_tells_what_was_decided(ledger, proposals):
    """The audit's line of an approval names the proposal, the act, and who proposed it."""
    _, made = await proposed(ledger)
    await proposals.decide(made, APPROVED, "ben")
    (row,) = [row for row in await ledger.rows("audit") if row["operator"] == "ben"]
    told = {"proposal": made, "act": "release", "proposed_by": "ann"}
    assert json.loads(row["detail"]) == told
