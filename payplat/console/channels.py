"""The page of the channels: how well each is, and why."""

from payplat.console.base import Page
from payplat.explanation import Language
from payplat.signs import Sign


class Channels(Page):
    """``/console/channels``."""

    async def get(self) -> None:
        """Show every channel of the configuration."""
        self.render(
            "channels.html",
            channels=await self.desk.health.look(),
            language=Language(self.t.language),
            signs=list(Sign),
        )
