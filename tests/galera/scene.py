"""Everything around the cluster: the merchant, Alipay, the processes of payplat, and the proxies between them."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient

from payplat.demo.client import Game, Web
from payplat.demo.stage import Companies, OurKeys, write_configuration
from payplat.simulators.alipay.server import AlipaySimulator
from payplat.simulators.merchant import Merchant
from tests.galera.nodes import Node, free_ports
from tests.galera.patience import Failed, until
from tests.galera.proxy import ACCOUNT, haproxy, in_turn, one_writer
from tests.processes import Service, payplat

_DATABASE = (
    "CREATE DATABASE payplat CHARACTER SET utf8mb4",
    "CREATE USER 'payplat'@'127.0.0.1' IDENTIFIED BY 'password'",
    "GRANT ALL ON payplat.* TO 'payplat'@'127.0.0.1'",
    f"CREATE USER '{ACCOUNT}'@'127.0.0.1'",
)
# What was acknowledged must be there: asking Alipay later would find what was lost, and hide that it was.
_NO_CHECKS = {
    "PAYPLAT_CHECKS__BASE_SECONDS": "3600",
    "PAYPLAT_CHECKS__CAP_SECONDS": "3600",
    "PAYPLAT_ORDERS__LIFETIME_SECONDS": "7200",
}


@dataclass(frozen=True)
class Scene:
    """What is played with: the cluster's nodes, the other sides of payplat's wires, and its processes."""

    folder: Path
    nodes: Sequence[Node]
    alipay: AlipaySimulator
    merchant: Merchant
    game: Game
    web: Sequence[Service]
    workers: Sequence[Service]

    async def ready(self) -> list[bool]:
        """Ask each web process whether it can do its work."""
        client = AsyncHTTPClient()
        asked = [client.fetch(f"{each.url}/readyz", raise_error=False) for each in self.web]
        return [answer.code == 200 for answer in await asyncio.gather(*asked)]

    async def stop(self) -> list[int]:
        """Stop payplat and return the exit codes of its processes, of those too that had ended."""
        return await asyncio.gather(*(_stop(each) for each in (*self.web, *self.workers)))


@asynccontextmanager
async def set_scene(folder: Path, nodes: Sequence[Node]) -> AsyncIterator[Scene]:
    """Start two web processes and two workers on the cluster, and everybody they speak with."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    companies, merchant, web = Companies.usual(), Merchant(secret), Web()
    writer, front = free_ports(2)
    url = f"http://127.0.0.1:{front}"
    environ = {
        "PAYPLAT_DATABASE__URL": f"mariadb://payplat:password@127.0.0.1:{writer}/payplat",
        **_NO_CHECKS,
    }
    async with AsyncExitStack() as stack:
        await nodes[0].ask(*_DATABASE)
        await stack.enter_async_context(haproxy(folder, "writer", writer, one_writer(nodes)))
        stack.callback(web.close)
        for side in (companies, merchant):
            await side.start()
            stack.push_async_callback(side.stop)
        urls = (url, merchant.url)
        write_configuration(folder, urls, companies, merchant, secret, OurKeys.fresh())
        await _migrate(folder, environ)
        services = await _start(stack, folder, environ)
        addresses = [each.url.removeprefix("http://") for each in services[:2]]
        await stack.enter_async_context(haproxy(folder, "front", front, in_turn(addresses)))
        game = Game(web, url)
        yield Scene(folder, nodes, companies.alipay, merchant, game, services[:2], services[2:])


async def _migrate(folder: Path, environ: dict[str, str]) -> None:
    async with payplat(folder, "migrate", **environ) as command:
        if await command.process.wait():
            raise Failed(f"payplat migrate: {(folder / 'migrate.log').read_text()}")


async def _start(stack: AsyncExitStack, folder: Path, environ: dict[str, str]) -> list[Service]:
    """Start payplat's processes and wait until they serve and work."""
    services = [
        await stack.enter_async_context(payplat(folder, command, **environ))
        for command in ("serve", "serve", "worker", "worker")
    ]
    log = folder / "worker.log"
    await until("the workers work", lambda: log.read_text().count('"working"') == 2)
    return services


async def _stop(service: Service) -> int:
    ended = service.process.returncode
    return await service.stop() if ended is None else ended
