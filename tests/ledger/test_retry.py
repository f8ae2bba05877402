"""Backoff: one schedule, slept by callers and stored by jobs; and trying again only what may be tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payplat import seam
from payplat.errors import ProviderRefused, ProviderUnavailable
from payplat.retry import Backoff, retrying
from tests.ledger.build import in_world

backoffs = st.builds(
    Backoff,
    base=st.floats(0.001, 3600),
    factor=st.floats(1, 10),
    cap=st.floats(0.001, 7 * 86400),
    jitter=st.floats(0, 1),
    attempts=st.integers(1, 1000),
)
chances = st.floats(0, 1, exclude_max=True)


class Dreamer(seam.World):
    """A world that remembers how long it was asked to sleep, and does not; its chance is fixed."""

    def __init__(self, chance=0.5):
        self.slept, self._chance = [], chance

    def uniform(self):
        return self._chance

    async def sleep(self, seconds):
        self.slept.append(seconds)


@pytest.fixture
def dreamer():
    """A world in which sleeping takes no time."""
    dreamer = Dreamer()
    with in_world(dreamer):
        yield dreamer


def test_the_schedule():
    """Each wait is the one before times the factor, up to the cap."""
    backoff = Backoff(base=5, factor=3, cap=100, jitter=0)
    assert [backoff.delay(failures) for failures in range(1, 7)] == [5, 15, 45, 100, 100, 100]


@given(backoffs, st.integers(1, 10**7), chances)
def test_a_wait_stays_within_its_bounds(backoff, failures, chance):
    """No wait is above the cap, and chance takes away no more than its share."""
    full = backoff.delay(failures, 0)
    assert 0 < full <= backoff.cap
    assert full * (1 - backoff.jitter) <= backoff.delay(failures, chance) <= full


@given(backoffs, st.integers(1, 200))
def test_waits_never_shrink(backoff, failures):
    """Apart from chance, each wait is at least the one before."""
    assert backoff.delay(failures, 0) <= backoff.delay(failures + 1, 0)


@given(backoffs, st.integers(1, 10**7), chances)
def test_the_schedule_is_pure(backoff, failures, chance):
    """The same question has the same answer."""
    assert backoff.delay(failures, chance) == backoff.delay(failures, chance)


def test_a_million_failures_do_not_overflow():
    """A row that failed a million times still has a next time."""
    backoff = Backoff(base=3600, factor=10, cap=86400, jitter=0, attempts=10**7)
    assert backoff.delay(10**6) == 86400
    assert backoff.due_after(10**6, 0) == 86400 * seam.SECOND


def test_chance_spreads_the_waits():
    """Without a given chance the world's is drawn, so that many who failed together do not come back together."""
    backoff = Backoff(base=100, jitter=0.2)
    assert len({backoff.delay(1) for _ in range(20)}) > 1
    with in_world(Dreamer(chance=0.5)):
        assert backoff.delay(1) == 90


def test_attempts_are_used_up():
    """All tries count, the first one included; after the last there is no next time."""
    backoff = Backoff(base=10, jitter=0, attempts=3)
    due = [backoff.due_after(failures, 1000) for failures in (1, 2, 3, 4)]
    assert due == [1000 + 10 * seam.SECOND, 1000 + 20 * seam.SECOND, None, None]
    assert Backoff(base=10, attempts=1).due_after(1, 0) is None


class Flaky:
    """Fails with each of its errors in turn, then answers."""

    def __init__(self, *errors):
        self.errors, self.calls = list(errors), 0

    async def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


async def test_it_answers_in_the_end(dreamer):
    """What fails twice and then answers has answered, after two waits of the schedule."""
    flaky = Flaky(ProviderUnavailable(), ProviderUnavailable())
    backoff = Backoff(base=1, factor=2, jitter=0.5)
    assert await retrying(flaky, backoff, ProviderUnavailable) == "answer"
    assert flaky.calls == 3
    assert dreamer.slept == [0.75, 1.5]


async def test_the_last_error_is_raised(dreamer):
    """When the tries are used up, the last error says why; nobody sleeps after it."""
    flaky = Flaky(*(ProviderUnavailable(f"{number}") for number in range(5)))
    with pytest.raises(ProviderUnavailable, match="2"):
        await retrying(flaky, Backoff(base=1, attempts=3), ProviderUnavailable)
    assert flaky.calls == 3
    assert len(dreamer.slept) == 2


@pytest.mark.parametrize("error", [ProviderRefused(), ValueError()])
async def test_other_errors_are_not_tried_again(dreamer, error):
    """A permanent no is believed at once."""
    flaky = Flaky(error)
    with pytest.raises(type(error)):
        await retrying(flaky, Backoff(base=1), ProviderUnavailable)
    assert (flaky.calls, dreamer.slept) == (1, [])


async def test_another_error_after_a_first_one(dreamer):
    """Nor is a permanent no tried again when it comes later."""
    flaky = Flaky(ProviderUnavailable(), ProviderRefused())
    with pytest.raises(ProviderRefused):
        await retrying(flaky, Backoff(base=1), ProviderUnavailable)
    assert flaky.calls == 2


async def test_success_does_not_sleep(dreamer):
    """What answers at once is called once."""
    assert await retrying(Flaky(), Backoff(base=1), ProviderUnavailable) == "answer"
    assert dreamer.slept == []
