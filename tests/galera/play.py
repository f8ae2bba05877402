"""The play: purchases flow, the writer dies and comes back, the cluster loses its majority and is healed."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from tests.galera.buyers import Buyers
from tests.galera.judges import Judges
from tests.galera.nodes import Node, cluster
from tests.galera.patience import Failed, until
from tests.galera.scene import Scene, set_scene

Say = Callable[[str], None]


async def play(folder: Path, seconds: float, say: Say) -> Judges:
    """Play everything in ``folder``, with ``seconds`` of peace in all, and return the judges; raises Failed."""
    say("three MariaDB nodes start and become a cluster …")
    async with cluster(folder) as nodes:
        say("… and payplat on it: migrations, two web processes, two workers …")
        async with set_scene(folder, nodes) as scene:
            buyers = Buyers(scene.game, scene.alipay, scene.merchant)
            acts = Acts(scene, buyers, say)
            async with buyers.coming():
                await acts.peace(seconds / 3)
                await acts.kill_the_writer()
                await acts.peace(seconds / 3)
                await acts.kill_the_majority()
                await acts.peace(seconds / 3)
            return await Judges.called(scene, buyers, await acts.end())


class Acts:
    """They are played on ``scene`` while ``buyers`` come."""

    def __init__(self, scene: Scene, buyers: Buyers, say: Say) -> None:
        self._scene, self._buyers, self._say = scene, buyers, say

    async def peace(self, seconds: float) -> None:
        """Let purchases flow undisturbed."""
        await self._flows("purchases go through", time.time())
        await asyncio.sleep(seconds)

    async def kill_the_writer(self) -> None:
        """Kill the node that is written to, and start it again."""
        writer = self._scene.nodes[0]
        since = time.time()
        await writer.kill()
        self._say(f"kill -9 of {writer.name}, which is written to")
        await self._flows("another node is written to: purchases go through again", since)
        await self._bring_back([writer])

    async def kill_the_majority(self) -> None:
        """Kill two nodes, look at what payplat says meanwhile, make the third the cluster, start the two again."""
        *lost, last = self._scene.nodes
        await asyncio.gather(*(node.kill() for node in lost))
        self._say(f"kill -9 of {lost[0].name} and {lost[1].name}: {last.name} is alone")
        await until("the last node answers 1047", last.is_without_majority)
        await until("both web processes are not ready", self._is_unready)
        since = time.time()
        await until("a callback hears 503", lambda: self._was_refused(since))
        self._say(f"{last.name} answers 1047, /readyz 503, and callbacks hear 503")
        since = time.time()
        await last.ask("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")
        await self._flows(f"{last.name} is declared the cluster: purchases go through again", since)
        await self._bring_back(lost)

    async def end(self) -> list[int]:
        """Let everything be delivered, stop payplat and return the exit codes; what is missing the judges will find."""
        await self._scene.alipay.flush()
        try:
            took = await until("everything is delivered", self._is_delivered)
            self._say(f"the last is delivered {took:.1f} s after the last was bought")
        except Failed as failure:
            self._say(str(failure))
        return await self._scene.stop()

    async def _flows(self, what: str, since: float) -> None:
        await self._buyers.served(since)
        self._say(f"{what} after {time.time() - since:.1f} s")

    async def _bring_back(self, nodes: list[Node]) -> None:
        for node in nodes:
            began = time.time()
            await node.start()
            self._say(f"{node.name} is started again, and synced after {time.time() - began:.1f} s")

    async def _is_unready(self) -> bool:
        return not any(await self._scene.ready())

    def _was_refused(self, since: float) -> bool:
        told = self._scene.alipay.notifications
        return any(each.at >= since and each.status == 503 for each in told)

    async def _is_delivered(self) -> bool:
        if self._buyers.began.keys() - self._scene.merchant.fulfilled.keys():
            return False
        waiting = "SELECT count(*) FROM payplat.deliveries WHERE status != 'delivered'"
        return await self._scene.nodes[0].ask(waiting) == [(0,)]
