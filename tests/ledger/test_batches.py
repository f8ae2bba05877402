"""A group commits what its items would one by one, whatever statement of it fails, and nobody is told what is not so."""

import asyncio
import itertools
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from payplat import seam
from payplat.errors import DatabaseUnavailable, PayplatError
from payplat.group_commit import GroupCommit
from tests.ledger.build import TERMS, draft, forget, in_world, ledger_on, paid
from tests.ledger.faults import FAULTS, TRANSIENT, Faults, failing
from tests.ledger.invariants import breaches
from tests.ledger.test_sequences import steps, strays, two_ledgers

ENGINES = pytest.mark.parametrize("engine", ["sqlite", "mariadb"])
# What the database numbers by itself.
NUMBERED = {"id"}


class StillWorld(seam.World):
    """A world in which no time passes, so that a second run writes the same times, and nobody waits."""

    def __init__(self):
        self._now = super().now()

    def now(self):
        """The moment at which it began."""
        return self._now

    async def sleep(self, seconds):
        """Let others go first."""
        await asyncio.sleep(0)


# --- What comes ---


@dataclass(frozen=True)
class Sequence:
    """What comes to a ledger that holds the orders ``before``: ``items`` for its door of that name."""

    door: str
    before: list
    items: list

    async def begin(self, ledger):
        """Let the ledger hold nothing else."""
        await ledger.database.transaction(forget)
        await asyncio.gather(*map(ledger.orders.open, self.before))


requests = st.tuples(
    st.sampled_from([None, None, "k1", "k1", "k2"]), st.sampled_from(["{}", "{}", '{"a":1}'])
)
openings = st.builds(
    lambda told: Sequence("open", [], [draft(key=key, body=body) for key, body in told]),
    st.lists(requests, min_size=2, max_size=6),
)


def settling(channels, told):
    """Return the sequence of verdicts that these steps tell of three orders in these channels."""
    drafts = [draft(channel) for channel in channels]
    orders = [each.order for each in drafts]
    return Sequence("settle", drafts[:2], [step.verdict(orders) for step in told])


third = st.builds(lambda step: replace(step, order=2, lender=2), steps)
# Of the three orders the last one was never opened.
verdicts = st.builds(
    settling,
    st.lists(st.sampled_from(sorted(TERMS)), min_size=3, max_size=3),
    st.lists(steps | steps | strays | third, min_size=2, max_size=6),
)


# --- What comes of it ---


@dataclass
class Run:
    """What came of a sequence: each item's answer, and the numbers of the items in the order of their effects."""

    answers: list
    effects: list = field(default_factory=list)
    failed: list = field(default_factory=list)


def in_groups(ledger, door, size, calls, faults):
    """Return a door of another process on the ledger's database, whose groups of at most ``size`` are noted in ``calls``.

    A call is the group, the number of its first statement and how many commits there were before it.
    """
    orders = ledger_on(ledger.database).orders
    commit = getattr(orders, f"_{door}_batch")

    async def noted(group):
        calls.append((group, len(faults.passed), faults.commits))
        return await commit(group)

    setattr(orders, f"_{door}", GroupCommit(noted, limit=size))
    return getattr(orders, door)


async def run(ledger, sequence, size, faults):
    """Let all items come at once, for groups of up to ``size``; return the run and the first group that was struck."""
    calls = []
    come = in_groups(ledger, sequence.door, size, calls, faults)
    with failing(ledger.database, faults):
        answers = await asyncio.gather(*map(come, sequence.items), return_exceptions=True)
    found, ends = Run(answers), [before for _, _, before in calls[1:]] + [faults.commits]
    number = {id(item): n for n, item in enumerate(sequence.items)}
    for (group, _, before), after in zip(calls, ends, strict=True):
        found.effects += [number[id(item)] for item in group] * (after - before)
    found.failed = [n for n, answer in enumerate(answers) if is_failure(answer)]
    groups = [group for group, first, _ in calls if first <= min(faults.struck, default=-1)]
    return found, [number[id(item)] for item in groups[-1]] if groups else []


def is_failure(answer):
    """Whether somebody was told that it did not work; a refusal of the ledger's own is an answer."""
    own = isinstance(answer, PayplatError) and not isinstance(answer, DatabaseUnavailable)
    return isinstance(answer, BaseException) and not own


def told(answer):
    """Return an answer as it can be compared: who is refused with the same error is told the same."""
    return type(answer) if isinstance(answer, BaseException) else answer


class Alone:
    """The yardstick: a ledger that takes a sequence's items one by one, without faults."""

    def __init__(self, ledger, sequence):
        self._ledger, self._sequence, self._known = ledger, sequence, {}

    async def __call__(self, effects):
        """Return the answers and the rows after these items, by number, in this order."""
        key = tuple(effects)
        if key not in self._known:
            self._known[key] = await self._settle(key)
        return self._known[key]

    async def _settle(self, effects):
        await self._sequence.begin(self._ledger)
        come, answers = getattr(self._ledger.orders, self._sequence.door), {}
        for number in effects:
            (answer,) = await asyncio.gather(
                come(self._sequence.items[number]), return_exceptions=True
            )
            assert not is_failure(answer)
            answers[number] = told(answer)
        return answers, await rows(self._ledger)


async def rows(ledger):
    """Return every row of every table, without what is drawn by chance."""
    books = await ledger.snapshot()
    assert breaches(books, TERMS) == []
    names = {e["event_id"]: (e["order_no"], e["type"], e["cause"]) for e in books["events"]}
    return {name: sorted((plain(row, names) for row in books[name]), key=repr) for name in books}


def plain(row, names):
    """Return a row without its number, its event by what the event is."""
    row = {name: value for name, value in row.items() if name not in NUMBERED}
    return {**row, "event_id": names[row["event_id"]]} if "event_id" in row else row


async def check(ledger, alone, sequence, size, faults):
    """Let a sequence come in groups; what is written and told must be what comes of those items one by one.

    Who was told that it did not work comes again. Returns who that was, and the group that was struck.
    """
    await sequence.begin(ledger)
    found, struck = await run(ledger, sequence, size, faults)
    answers, books = await alone(found.effects)
    assert await rows(ledger) == books
    for number, answer in enumerate(found.answers):
        assert number in found.failed or told(answer) == answers[number]
    if found.failed:
        come = getattr(ledger.orders, sequence.door)
        again = [await come_again(come, sequence.items[n]) for n in found.failed]
        answers, books = await alone(found.effects + found.failed)
        assert again == [answers[n] for n in found.failed]
        assert await rows(ledger) == books
    return found, struck


async def come_again(come, item):
    """Return what an item is told that comes again."""
    (answer,) = await asyncio.gather(come(item), return_exceptions=True)
    return told(answer)


# --- One fault, at each statement in turn ---


async def strike_each(ledger, single, sequence, size, first):
    """Let each statement fail once, before or after its effect; only the struck group may hear of it.

    Faults take turns, beginning with the one of the number ``first``; the statement of that number fails for good too.
    """
    engine = "sqlite" if ledger.database.is_sqlite else "mariadb"
    alone, counted = Alone(single, sequence), Faults()
    found, _ = await check(ledger, alone, sequence, size, counted)
    assert (found.effects, found.failed) == ([*range(len(sequence.items))], [])
    for number, (kind, late) in zip(
        range(len(counted.passed)), each_kind(engine, first), strict=False
    ):
        strikes = Faults(lambda n, _, k=number: n == k, FAULTS[engine][kind], late)
        found, struck = await check(ledger, alone, sequence, size, strikes)
        is_told = kind not in TRANSIENT and (kind != "defect" or len(struck) == 1)
        assert found.failed == (struck if is_told else [])
        if not (late and strikes.passed[number] == "COMMIT"):
            assert not set(found.failed) & set(found.effects)
        if number == first:
            await break_off(ledger, alone, sequence, size, number, FAULTS[engine][kind])


async def break_off(ledger, alone, sequence, size, first, error):
    """Let every statement fail from that one on: nothing is written any more, and everybody is told so."""
    faults = Faults(lambda n, _: n >= first, error)
    found, struck = await check(ledger, alone, sequence, size, faults)
    assert found.failed == [*range(struck[0], len(sequence.items))]
    assert not set(found.failed) & set(found.effects)


def each_kind(engine, first):
    """Return kinds of faults and whether they come late, in turn."""
    kinds = [*itertools.product(FAULTS[engine], [False, True])]
    return itertools.islice(itertools.cycle(kinds), first % len(kinds), None)


@ENGINES
@pytest.mark.parametrize(("sequences", "examples"), [(verdicts, 2), (openings, 2)])
def test_a_fault_at_any_statement(request, tmp_path, engine, sequences, examples):
    """Groups write and tell what single items do, whichever statement fails once, by whatever fault."""
    request.node.user_properties.append(("lane", engine))
    with two_ledgers([engine] * 2, request, tmp_path) as (runner, (ledger, single)):

        @settings(
            max_examples=examples,
            deadline=None,
            phases=[Phase.reuse, Phase.generate],  # to make a small example smaller takes minutes
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(sequences, st.sampled_from([1, 2, 3, 64]), st.integers(0, 7))
        def strike(sequence, size, first):
            runner.run(strike_each(ledger, single, sequence, size, first))

        with in_world(StillWorld()):
            strike()


@ENGINES
def test_a_fault_at_a_commit(request, tmp_path, engine):
    """The COMMIT of a group may fail by any fault, before or after it took effect."""
    request.node.user_properties.append(("lane", engine))
    pair = settling(["shop", "store", "shop"], [])
    orders = [each.order for each in pair.before]
    sequence = replace(pair, items=[paid(order) for order in orders])
    with two_ledgers([engine] * 2, request, tmp_path) as (runner, (ledger, single)):
        alone = Alone(single, sequence)
        with in_world(StillWorld()):
            for kind, late in itertools.product(FAULTS[engine], [False, True]):
                fault = at_first_commit(FAULTS[engine][kind], late)
                found, _ = runner.run(check(ledger, alone, sequence, 64, fault))
                hears_of_it = kind not in TRANSIENT | {"defect"}
                assert found.failed == ([0, 1] if hears_of_it else [])
                assert found.effects == ([0, 1] * (late + (not hears_of_it)))


def at_first_commit(error, late):
    """Let the first COMMIT fail."""
    faults = Faults(error=error, late=late)
    faults.strikes = lambda _number, text: text == "COMMIT" and not faults.struck
    return faults
