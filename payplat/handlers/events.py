"""``GET /v1/events``: all events page by page, for a merchant who missed deliveries or checks the books."""

from collections.abc import Collection
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from payplat.clients import Scope
from payplat.errors import InvalidRequest
from payplat.events import Events
from payplat.handlers.base import ClientHandler
from payplat.handlers.described import CLIENTS, Answer, Content, Operation, problems
from payplat.handlers.orders import OrderNo, Time


class EventsRequest(BaseModel):
    """Which events: those of ``app`` after the event of that id, of one ``type``; empty texts mean any."""

    model_config = ConfigDict(extra="forbid")

    app: Annotated[str, Field(description="Whose events.")] = "default"
    after: Annotated[
        str,
        Field(
            pattern=r"^(evt_[0-9a-f]{32})?$",
            description="Only those after this event: `next` of the page before.",
        ),
    ] = ""
    type: Annotated[
        str, Field(pattern=r"^[a-z_.]{0,64}$", description="Only those of this type.")
    ] = ""
    limit: Annotated[int, Field(ge=1, le=100, description="How many at most.")] = 20


EventId = Annotated[str, Field(pattern="^evt_[0-9a-f]{32}$")]


class Event(TypedDict):
    """An event: what an endpoint learns of an order. ``data`` is the order, and what only this type tells."""

    id: Annotated[EventId, Field(description="The same over all deliveries and pages.")]
    order_no: OrderNo
    type: Annotated[str, Field(description="Such as `order.paid`.", examples=["order.paid"])]
    timestamp: Time
    data: dict[str, Any]


class EventsPage(TypedDict):
    """Some events, oldest first."""

    events: list[Event]
    next: Annotated[
        EventId | None,
        Field(description="Send it as `after` next time; null on an empty page: keep yours."),
    ]
    has_more: bool


class EventsHandler(ClientHandler):
    """The events of one app."""

    description: ClassVar[Operation] = Operation(
        name="list_events",
        title="Read an app's events",
        says="All events of an app in one stable order, page by page, none skipped: for who missed deliveries.",
        scope=Scope.EVENTS,
        query=EventsRequest,
        answers={200: Answer("A page of events.", Content(EventsPage)), **problems(*CLIENTS)},
    )

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
