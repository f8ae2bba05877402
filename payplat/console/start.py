"""The start page: what waits for somebody, and the last hour in charts with their tables."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from payplat.console.base import Page
from payplat.seam import SECOND, rfc3339
from payplat.statistics import Minute, Present


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over the minutes of an hour. ``name`` is the key of its title, ``unit`` of what its numbers are.

    Each of ``lines`` is a name and a value a minute, None where there is nothing to say.
    """

    name: str
    unit: str
    minutes: Sequence[int]
    lines: Sequence[tuple[str, Sequence[float | None]]]


class Start(Page):
    """``/console``."""

    async def get(self) -> None:
        """Show the charts and what waits now."""
        minutes, present = await self.desk.statistics.minutes(), await self.desk.statistics.now()
        self.render(
            self.template,
            present=present,
            figures=list(_figures(present)),
            charts=list(charts_of(minutes)),
            series=self._series,
            clock=[rfc3339(minute.at)[11:16] for minute in minutes],
            attention=await self._attention(),
        )

    template = "start.html"

    def _series(self, chart: Chart) -> str:
        """Return a chart for the script that draws it, as JSON that stands in a page."""
        lines = [(self.t.name(name), values) for name, values in chart.lines]
        told = json.dumps({"minutes": chart.minutes, "lines": lines})
        return told.replace("<", "\\u003c")

    async def _attention(self) -> list[str]:
        """Return the names of the channels that are not well."""
        return [each.channel for each in await self.desk.health.look() if each.reasons]


class StartPart(Start):
    """``/console/live``: the part of the page that changes."""

    template = "start_live.html"


def _figures(present: Present) -> Iterator[tuple[str, int, str]]:
    """Yield what waits for somebody: its key in the words, how many, and the page that shows them."""
    yield "figure_aside", sum(present.put_aside.values()), "/console/quarantine"
    yield "figure_held", present.held, "/console/quarantine?kind=held"
    yield "figure_exhausted", present.exhausted, "/console/deliveries?status=exhausted"
    yield "figure_paused", present.paused, "/console/deliveries"
    yield "figure_duties", present.exhausted_duties, "/console/channels"
    yield "figure_due", present.due, "/console/deliveries?status=due"
    yield "figure_pending", present.pending, "/console/search"


def charts_of(minutes: Sequence[Minute]) -> Iterator[Chart]:
    """Yield the charts of the page."""
    at = [minute.at // SECOND for minute in minutes]
    channels = sorted({channel for minute in minutes for channel in minute.sales})

    def lines(value: str) -> list[tuple[str, list[float | None]]]:
        return [
            (c, [getattr(m.sales[c], value) if c in m.sales else None for m in minutes])
            for c in channels
        ]

    paid = [(name, [value or 0 for value in values]) for name, values in lines("paid")]
    yield Chart("chart_paid", "unit_orders", at, paid)
    yield Chart("chart_latency", "unit_seconds", at, lines("p95"))
    waiting: list[float | None] = [minute.waiting for minute in minutes]
    yield Chart("chart_waiting", "unit_deliveries", at, [("waiting", waiting)])
    yield Chart("chart_success", "unit_percent", at, list(_success(minutes, channels)))


def _success(
    minutes: Sequence[Minute], channels: Sequence[str]
) -> Iterator[tuple[str, list[float | None]]]:
    """Yield by channel how many of a hundred orders opened in a minute are paid by now."""
    for channel in channels:
        sales = [minute.sales.get(channel) for minute in minutes]
        yield (
            channel,
            [round(100 * s.opened_paid / s.opened, 1) if s and s.opened else None for s in sales],
        )
