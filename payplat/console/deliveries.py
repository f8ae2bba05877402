"""The page of events on their way: looked through, sent again, and their endpoints paused and resumed."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Row

from payplat import endpoints, seam
from payplat.audit import Act
from payplat.console.base import Page
from payplat.console.desk import is_number
from payplat.csv_export import to_csv
from payplat.deliveries import Ended, resend, resend_all
from payplat.delivery_list import Filter, list_deliveries
from payplat.errors import InvalidRequest

_PAGE, _MOST_IN_A_FILE = 50, 10_000
_NAMES = (
    "id",
    "status",
    "type",
    "order_no",
    "event_id",
    "endpoint",
    "failures",
    "created_at",
    "due_at",
    "delivered_at",
)
_STATUSES = ("due", "delivered", "exhausted")
_SPANS = {"hour": 3600, "day": 86400, "week": 7 * 86400}


class Deliveries(Page):
    """``/console/deliveries``."""

    async def get(self) -> None:
        """Show the newest that were asked for, or those before one of them, and how the endpoints stand."""
        rows = await self.chosen(_PAGE)
        asked = {name: self.page_argument(name) for name in ("status", "endpoint", "type")}
        self.render(
            "deliveries.html",
            rows=rows,
            asked=asked,
            query=urlencode({name: value for name, value in asked.items() if value}),
            more=rows[-1].id if len(rows) == _PAGE else None,
            statuses=_STATUSES,
            spans=_SPANS,
            states=await endpoints.states(self.desk.database, self.desk.endpoints),
        )

    async def chosen(self, limit: int) -> Sequence[Row[Any]]:
        """Return the deliveries that the address asks for."""
        status = self.page_argument("status") or None
        if status is not None and status not in _STATUSES:
            raise InvalidRequest("There is no such state.", field="status")
        wanted = Filter(
            status, self.page_argument("endpoint") or None, self.page_argument("type") or None
        )
        return await list_deliveries(
            self.desk.database, wanted, self.number_argument("before"), limit
        )


class DeliveriesFile(Deliveries):
    """``/console/deliveries.csv``."""

    async def get(self) -> None:
        """Answer the newest that were asked for as CSV."""
        rows = await self.chosen(_MOST_IN_A_FILE)
        self.send_file("deliveries.csv", to_csv(_NAMES, map(_cells, rows)))


class ResendMany(Deliveries):
    """``/console/deliveries/resend``: those that were ticked, or all that ended so in a time."""

    async def post(self) -> None:
        """Make them due."""
        form = self.read_act()
        if "status" in form:
            await self._resend_all(form)
        else:
            await self._resend_ticked(form.get("delivery", []))
        self.desk.wake()
        self.done("/deliveries", "done_resent")

    async def _resend_ticked(self, ticked: Sequence[str]) -> None:
        if not ticked or not all(map(is_number, ticked)):
            raise InvalidRequest(self.t("tick_some"), field="delivery")
        for number in ticked:
            await self.record(Act(self.signed_in.name, "resend", f"delivery {number}"))
            await resend(self.desk.database, int(number), self.signed_in.name)

    async def _resend_all(self, form: dict[str, list[str]]) -> None:
        try:
            status, seconds = Ended(form["status"][-1]), _SPANS[form["span"][-1]]
        except (KeyError, ValueError):
            raise InvalidRequest("There is no such state or time.", field="status") from None
        endpoint = form.get("endpoint", [""])[-1] or None
        until = seam.now()
        since = until - seconds * seam.SECOND
        told = {"status": status.value, "since": seam.rfc3339(since), "until": seam.rfc3339(until)}
        who = self.signed_in.name
        await self.record(Act(who, "resend_all", endpoint or "all endpoints", told))
        await resend_all(self.desk.database, status, since, until, endpoint, who)


class Valve(Page):
    """``/console/endpoints``: one is paused or resumed."""

    async def post(self) -> None:
        """Do it, then show the deliveries."""
        form = {name: values[-1] for name, values in self.read_act().items()}
        name, act, who = form.get("endpoint", ""), form.get("act", ""), self.signed_in.name
        database = self.desk.database
        if name not in self.desk.endpoints or act not in ("pause", "resume"):
            raise InvalidRequest("There is no such endpoint or act.", field="endpoint")
        await self.record(Act(who, act, name))
        if act == "pause":
            await database.transaction(lambda c: endpoints.pause(c, database, name, who))
        else:
            await endpoints.resume(database, name)
            self.desk.wake()
        self.done("/deliveries", f"done_{act}d")


def _cells(row: Row[Any]) -> list[Any]:
    values = [getattr(row, name) for name in _NAMES]
    return [*values[:-3], *(seam.rfc3339(at) if at else None for at in values[-3:])]
