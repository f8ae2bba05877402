"""HAProxy: one address for the cluster, where one node at a time writes, and one for the service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.galera.nodes import PATH, Node
from tests.galera.patience import until

ACCOUNT = "haproxy"
_CONFIGURATION = """\
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h

listen door
  bind 127.0.0.1:{port}
"""


@asynccontextmanager
async def haproxy(folder: Path, name: str, port: int, lines: Sequence[str]) -> AsyncIterator[None]:
    """Run HAProxy on ``port``, with these ``lines`` in its section, until the block ends."""
    configuration = folder / f"{name}.cfg"
    written = _CONFIGURATION.format(port=port) + "".join(f"  {line}\n" for line in lines)
    configuration.write_text(written)
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "haproxy", "-db", "-f", configuration, env={"PATH": PATH}, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        await until(f"HAProxy listens for the {name}", lambda: _listens(port))
        yield
    finally:
        process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


def one_writer(nodes: Sequence[Node]) -> list[str]:
    """Return the lines for one active node, and the others as its backups in this order.

    A session never outlives its node's turn, so that no two nodes are written to at once.
    """
    first, *others = nodes
    return [
        f"option mysql-check user {ACCOUNT}",
        "default-server check inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions",
        f"server {first.name} 127.0.0.1:{first.port} on-marked-up shutdown-backup-sessions",
        *(f"server {node.name} 127.0.0.1:{node.port} backup" for node in others),
    ]


def in_turn(addresses: Sequence[str]) -> list[str]:
    """Return the lines for servers that are asked in turn."""
    servers = [f"server s{number} {address}" for number, address in enumerate(addresses)]
    return ["balance roundrobin", *servers]
