"""``/metrics`` for Prometheus, on a listener of its own: the public routes do not have it."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from payplat.backlog import Backlog
from payplat.handlers.base import BaseHandler


class MetricsHandler(BaseHandler):
    """Every metric of this process."""

    def initialize(self, backlog: Backlog) -> None:
        """Receive what is read when it is asked for."""
        self.backlog = backlog

    async def get(self) -> None:
        """Answer in Prometheus's text format."""
        await self.backlog.refresh()
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest())
