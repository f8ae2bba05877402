"""Real kills: two web processes, two workers and MariaDB under load; each cycle one of them is killed with kill -9.

Payplat's processes die at a named point or at any moment, MariaDB in every tenth cycle; who died is started again. The
judge looks after each cycle, and in the end when all is quiet. The seed draws who is killed where, not what the machine
makes of it: a failure is told with the orders' timelines.
"""

import argparse
import asyncio
import logging
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.crashing import known_points
from tests.galera.patience import Failed, until
from tests.prove.kill_buyers import Buyers
from tests.prove.kill_judge import Judge
from tests.prove.kill_scene import Process, Scene, set_scene

# Points that are passed all the time, on their way to something.
_WAYS = [f"before_{what} {end}_commit" for what in ("settle", "open", "record", "claim", "postpone")
         for end in ("before", "after")]  # fmt: skip
_AT_RANDOM, _MARIADB = "at random", "MariaDB"
# MariaDB's turn comes in the third cycle, the thirteenth …
_EVERY, _TURN = 10, 3
# Seconds for which a point may not be reached; within which a kill at random comes.
_LONGEST_WAIT, _MOMENT = 6, 1.5
_MOST_TOLD = 5


def main(arguments: list[str]) -> int:
    """Run the command line; return 0 when nothing was found, 1 when something was, 3 without a MariaDB to kill."""
    parser = argparse.ArgumentParser(prog="prove kill", description=__doc__)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    # Requests and connections that a kill cuts off are no news.
    for name in ("tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    folder = Path(tempfile.mkdtemp(prefix="payplat-kill-"))
    status = 1
    try:
        status = asyncio.run(_play(folder, given.cycles, given.seed))
    except (Failed, KeyboardInterrupt) as failure:
        _say(str(failure) or "stopped before the end")
    if status == 1:
        _say(f"FAILED with seed {given.seed}; data and logs lie in {folder}")
    else:
        shutil.rmtree(folder)
    return status


async def _play(folder: Path, cycles: int, seed: int) -> int:
    async with set_scene(folder) as scene:
        if scene is None:
            _say("this machine has no MariaDB that may be killed: install mariadb-server-core")
            return 3
        buyers = Buyers(scene, seed)
        judge = Judge(scene, buyers)
        killer = Killer(scene, judge, seed)
        async with buyers.coming():
            for number in range(1, cycles + 1):
                await killer.cycle(number)
                if judge.found:
                    break
        await _end(scene, judge)
        await _tell(killer, judge)
        return 1 if judge.found else 0


async def _end(scene: Scene, judge: Judge) -> None:
    """Let everything become quiet, stop payplat, and judge."""
    await scene.companies.alipay.flush()
    try:
        await until("all is quiet", judge.is_quiet, 120)
    except Failed as failure:
        _say(str(failure))  # the judge will find what is missing
    judge.buyers.listen()
    codes = await asyncio.gather(*(each.end(signal.SIGTERM) for each in scene.processes))
    for process, code in zip(scene.processes, codes, strict=True):
        if code:
            judge.find("unexplained", "", f"{process.name} ended with {code}")
    await judge.close()


class Killer:
    """Kills one of them after the other; ``kills`` and ``acknowledged`` count by point."""

    def __init__(self, scene: Scene, judge: Judge, seed: int) -> None:
        self._scene, self._judge = scene, judge
        self._chance = random.Random(f"{seed}/kill")
        self._deck: list[str] = []
        self.kills, self.acknowledged = Counter[str](), Counter[str]()

    async def cycle(self, number: int) -> None:
        """Kill one, start it again, judge and tell."""
        began, before = time.monotonic(), len(self._judge.buyers.heard)
        self._upset_the_merchant()
        point, who = await self._kill(number)
        await self._judge.look()
        heard = len(self._judge.buyers.heard)
        self.kills[point] += 1
        self.acknowledged[point] += heard - before
        took = time.monotonic() - began
        orders = f"orders {len(self._judge.buyers.opened)} acknowledged {heard}"
        _say(f"{number:4} {who:11} {point:30} {took:5.1f} s  {orders}  {self._judge.verdict}")

    def _upset_the_merchant(self) -> None:
        kind = self._chance.choice(("slow", "500", "reset", "slow"))
        self._scene.merchant.next(kind, seconds=self._chance.uniform(0.5, 2.5))

    async def _kill(self, number: int) -> tuple[str, str]:
        if number % _EVERY == _TURN:
            await asyncio.sleep(self._chance.uniform(0, _MOMENT))
            self._scene.database.kill()
            await self._scene.database.start()
            self._look_for_deaths()
            return _MARIADB, _MARIADB
        point = self._draw()
        mark = self._scene.folder / f"mark-{number}"
        if point == _AT_RANDOM or not await self._ends_at(point, mark):
            point = _AT_RANDOM
            await self._kill_at_random()
        (victim,) = self._dead()
        await victim.start()
        return point, victim.name.partition("-")[0]

    def _draw(self) -> str:
        """Return the next point: each comes once, in any order, before one comes again."""
        if not self._deck:
            points = [*known_points(), *_WAYS]
            self._deck = sorted(points) + [_AT_RANDOM] * (len(points) // 4)
            self._chance.shuffle(self._deck)
        return self._deck.pop()

    async def _ends_at(self, way: str, mark: Path) -> bool:
        """Let whoever comes first to the end of ``way`` die there; return whether somebody did."""
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        self._scene.order(way, mark)
        if way in ("before_sweep", "after_sweep"):
            await self._scene.database.ask("UPDATE payplat.sweeps SET next_at = 0")
        with suppress(Failed):
            await until("a death", lambda: bool(self._scene.dead()), _LONGEST_WAIT)
        if _forbid(mark):
            self._deck.insert(0, way)  # its time may come
            return False
        await until("the death is known", lambda: bool(self._scene.dead()))
        return True

    async def _kill_at_random(self) -> None:
        await asyncio.sleep(self._chance.uniform(0, _MOMENT))
        await self._chance.choice(self._scene.processes).end(signal.SIGKILL)

    def _dead(self) -> list[Process]:
        dead = self._scene.dead()
        for process in dead:
            if process.code != -signal.SIGKILL:
                raise Failed(f"{process.name} ended with {process.code}")
        return dead

    def _look_for_deaths(self) -> None:
        if dead := self._scene.dead():
            raise Failed(f"{dead[0].name} did not live on without MariaDB")


def _forbid(mark: Path) -> bool:
    """Take the right to kill back; return whether nobody had used it."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


async def _tell(killer: Killer, judge: Judge) -> None:
    _say(f"{'killed at':32} {'kills':>6} {'acknowledged':>13}")
    for point, kills in sorted(killer.kills.items()):
        _say(f"{point:32} {kills:6} {killer.acknowledged[point]:13}")
    named = len({name for point in killer.kills for name in point.split()} & known_points())
    _say(f"{named} named points; {judge.buyers.refusals} requests were asked again")
    for found in list(judge.found.values())[:_MOST_TOLD]:
        _say(f"{found.kind}: {found.order_no} {found.says}")
        for line in await judge.timeline(found.order_no):
            _say(f"    {line}")
    _say(judge.verdict)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
