"""The listener for ``GET /metrics``: each process has one of its own, apart from the public port.

Forked processes listen on ports next to each other. So each keeps its registry in memory, a scrape names the process that
is slow or stuck, and nothing is left behind in files when one is killed; Prometheus sums over them.
"""

import asyncio
from collections.abc import Iterable
from socket import socket

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from payplat import metrics, seam
from payplat.app import Platform, endpoints_of
from payplat.backlog import Backlog
from payplat.errors import ConfigurationError
from payplat.handlers.base import NotFoundHandler
from payplat.handlers.metrics import MetricsHandler
from payplat.handlers.present import PresentRouter
from payplat.settings import MetricsSettings

# Seconds between two looks at how late the event loop is.
_PERIOD = 0.5


class Exposition:
    """Serves the metrics of this process on ``sockets``, with the backlog that the shown platform sees."""

    def __init__(self, platform: Platform, sockets: Iterable[socket]) -> None:
        self._present = PresentRouter(_application(platform))
        self._server = HTTPServer(self._present)
        self._server.add_sockets(sockets)
        self._watch = asyncio.create_task(_watch_the_loop())

    def show(self, platform: Platform) -> None:
        """Tell of this platform from now on."""
        self._present.router = _application(platform)

    async def close(self) -> None:
        """Listen no more."""
        self._watch.cancel()
        self._server.stop()
        await self._server.close_all_connections()


def sockets_for(settings: MetricsSettings, index: int) -> list[socket]:
    """Return the sockets of the process with that ``index``, none where no port is set; raises ConfigurationError."""
    if settings.port is None:
        return []
    port = settings.port + index
    try:
        return bind_sockets(port, settings.host)
    except OSError as error:
        raise ConfigurationError([f"metrics.port: {port}: {error.strerror}"]) from None


def _application(platform: Platform) -> Application:
    _show_credentials(platform)
    metrics.CONNECTIONS_MOST.set(platform.settings.database.pool_size)
    backlog = Backlog(platform.database, endpoints_of(platform.settings), platform.channels)
    return Application(
        [(r"/metrics/?", MetricsHandler, {"backlog": backlog})],
        default_handler_class=NotFoundHandler,
        running=set(),
        draining=platform.draining,
    )


def _show_credentials(platform: Platform) -> None:
    metrics.CREDENTIAL_EXPIRES.clear()
    for channel, provider in platform.providers.items():
        for credential in provider.credentials:
            expires = metrics.CREDENTIAL_EXPIRES.labels(channel, credential.name)
            expires.set(credential.not_after / seam.SECOND)


async def _watch_the_loop() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _PERIOD
        await asyncio.sleep(_PERIOD)
        metrics.LOOP_LAG_SECONDS.observe(loop.time() - due)
