"""Where the sweep of Google's voided purchases stands: a start time and the page from there.

Source: Google Play Developer API, "purchases.voidedpurchases.list". Times are milliseconds since 1970.
"""

import json
from dataclasses import asdict, dataclass

# Google lists what it recorded in the last thirty days; each sweep begins a day before the last one's end.
_REACH, _OVERLAP = 29 * 24 * 3600 * 1000, 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Reading:
    """What to ask for next."""

    start: int
    end: int
    page: str | None = None

    @classmethod
    def at(cls, position: str, now: int) -> "Reading":
        """Return where ``position`` left off, an empty one at the beginning; a new reading ends ``now``."""
        if not position:
            return cls(now - _REACH, now)
        reading = cls(**json.loads(position))
        return reading if reading.page else cls(max(reading.start, now - _REACH), now)

    def after(self, next_page: str | None) -> str:
        """Return the position after a page."""
        if next_page is not None:
            return json.dumps(asdict(Reading(self.start, self.end, next_page)))
        return json.dumps(asdict(Reading(self.end - _OVERLAP, self.end)))

    def again(self) -> str:
        """Return the position at the beginning of the same reading."""
        return json.dumps(asdict(Reading(self.start, self.end)))
