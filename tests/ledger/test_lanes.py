"""Lanes go on whatever happens."""

import asyncio

from payplat.lanes import Lane
from payplat.leases import Queue
from payplat.models import SWEEPS


class OddQueue(Queue):
    """A queue whose database has an error that nobody foresaw, once."""

    claims = 0

    async def claim(self, *_args, **_options):
        """Fail the first time."""
        OddQueue.claims += 1
        if OddQueue.claims == 1:
            raise RuntimeError("nobody foresaw this")
        return []


async def test_an_odd_error_does_not_end_a_lane(database):
    """After an error of an unknown kind the lane looks again, instead of ending in silence."""
    queue = OddQueue(SWEEPS, due="next_at", waiting=SWEEPS.c.next_at > 0)
    lane = Lane(database, queue, None, lambda row: asyncio.sleep(0), poll=0.01)
    task = asyncio.create_task(lane.run())
    while OddQueue.claims < 3:
        await asyncio.sleep(0.01)
    lane.stop()
    await task
