"""Simulated time."""

import asyncio

from payplat.simulators.clock import Agenda, Clock


async def test_advancing_runs_each_job_at_its_own_time():
    """A job sees the clock at its own due time, also when one advance passes several."""
    clock = Clock(lambda: 1000.0)
    agenda, seen = Agenda(clock), []

    async def note():
        seen.append(clock.now())

    for due in (1030, 1010, 1020, 1200):
        agenda.at(due, note)
    await agenda.advance(100)
    assert seen == [1010, 1020, 1030]
    assert clock.now() == 1100


async def test_a_job_may_add_another_on_the_way():
    """What falls due while the clock is being advanced happens in the same advance."""
    clock = Clock(lambda: 0.0)
    agenda, seen = Agenda(clock), []

    async def first():
        agenda.at(clock.now() + 5, second)

    async def second():
        seen.append(clock.now())

    agenda.at(10, first)
    await agenda.advance(20)
    assert seen == [15]


async def test_the_agenda_follows_a_foreign_clock_that_jumps():
    """A clock injected by a test may jump without telling the agenda."""
    now = [0.0]
    agenda, done = Agenda(Clock(lambda: now[0])), asyncio.Event()

    async def finish():
        done.set()

    agenda.at(3600, finish)
    agenda.start()
    await asyncio.sleep(0.03)
    assert not done.is_set()
    now[0] = 3600.0
    await asyncio.wait_for(done.wait(), 1)
    await agenda.stop()


async def test_the_agenda_runs_on_the_real_clock():
    """Without any injection, seconds are seconds."""
    clock = Clock()
    agenda, done = Agenda(clock), asyncio.Event()

    async def finish():
        done.set()

    agenda.start()
    agenda.at(clock.now() + 0.03, finish)
    assert not done.is_set()
    await asyncio.wait_for(done.wait(), 1)
    await agenda.stop()


async def test_stopping_cancels_what_is_under_way():
    """A stopped agenda leaves no task behind."""
    agenda, started = Agenda(Clock(lambda: 0.0)), asyncio.Event()

    async def linger():
        started.set()
        await asyncio.sleep(60)

    agenda.start()
    agenda.at(0, linger)
    await started.wait()
    await agenda.stop()
    await agenda.idle()
