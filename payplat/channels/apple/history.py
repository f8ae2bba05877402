"""Where the sweep of Apple's notification history stands: a window of time and the page within it.

Source: App Store Server API, "Get Notification History". Times are milliseconds since 1970.
"""

import json
from dataclasses import asdict, dataclass, replace

from payplat.channels.apple.server_api import NotificationPage

_HOUR = 3600 * 1000
# How far back Apple remembers, less an hour for clocks that differ.
REACH = {"production": 180 * 24 * _HOUR - _HOUR, "sandbox": 30 * 24 * _HOUR - _HOUR}
# The first sweep looks so far back; each later one begins before the last one's end, for what was under way then.
_FIRST, _OVERLAP = 24 * _HOUR, 6 * _HOUR


@dataclass(frozen=True, slots=True)
class Window:
    """What to ask for next; all pages of a window must be asked for with the same times."""

    start: int
    end: int
    token: str | None = None

    @classmethod
    def at(cls, position: str, now: int, reach: int) -> "Window":
        """Return where ``position`` left off, an empty one at the beginning.

        A new window ends ``now`` and begins no earlier than ``reach`` before: Apple refuses what it has forgotten.
        """
        if not position:
            return cls(now - _FIRST, now)
        window = cls(**json.loads(position))
        # A clock may have been set back.
        start = max(min(window.start, now - _OVERLAP), now - reach)
        return window if window.token else cls(start, now)

    def after(self, page: NotificationPage) -> str:
        """Return the position after ``page``."""
        if page.has_more:
            return _position(replace(self, token=page.pagination_token))
        return _position(Window(self.end - _OVERLAP, self.end))

    def again(self) -> str:
        """Return the position at this window's first page."""
        return _position(replace(self, token=None))


def _position(window: Window) -> str:
    return json.dumps(asdict(window))
