"""``GET /v1/events``: all events page by page, for a merchant who missed deliveries or checks the books."""

from collections.abc import Collection
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from payplat.clients import Scope
from payplat.errors import InvalidRequest
from payplat.events import Events
from payplat.handlers.base import ClientHandler


class EventsRequest(BaseModel):
    """Which events: those of ``app`` after the event of that id, of one ``type``; empty texts mean any."""

    model_config = ConfigDict(extra="forbid")

    app: str = "default"
    after: Annotated[str, Field(pattern=r"^(evt_[0-9a-f]{32})?$")] = ""
    type: Annotated[str, Field(pattern=r"^[a-z_.]{0,64}$")] = ""
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class EventsHandler(ClientHandler):
    """The events of one app."""

    def initialize(self, events: Events, apps: Collection[str]) -> None:
        """Receive the events and the names of the apps that there are."""
        self.events, self.apps = events, apps

    async def get(self) -> None:
        """Answer a page, oldest first.

        ``next`` is what to send as ``after`` next time; null on an empty page: keep what you sent.
        """
        client = await self.admit(Scope.EVENTS)
        request = self.read_query(EventsRequest)
        if request.app not in self.apps or not client.acts_in(request.app):
            raise InvalidRequest("There is no such app.", field="app")
        page = await self.events.page(request.app, request.after, request.type, request.limit)
        last = page.events[-1]["id"] if page.events else None
        self.answer(200, {"events": page.events, "next": last, "has_more": page.has_more})
