"""The settings of the simulator that may be turned while it runs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

DAY = 86400.0


@dataclass
class Knobs:
    """Seconds, except where it says otherwise; `time_factor` divides Google's own waiting times.

    Divided: `min_backoff` and `max_backoff` (a subscription's retry policy, doubling from one to
    the other), `retention` (how long a message is kept), `acknowledge_window` and
    `tester_window` (until an unacknowledged purchase is refunded). As they are:
    `answer_timeout` (the ack deadline, real seconds), `pending_seconds` (how slow a slow payer
    is), `token_lifetime`, `certs_max_age`. `dead_letter`: deliveries after which a message is
    set aside, None for never; with it, pushes are numbered.
    """

    time_factor: float = 1.0
    min_backoff: float = 10.0
    max_backoff: float = 600.0
    retention: float = 7 * DAY
    dead_letter: int | None = None
    answer_timeout: float = 10.0
    acknowledge_window: float = 3 * DAY
    tester_window: float = 180.0
    pending_seconds: float = 20.0
    token_lifetime: int = 3599
    certs_max_age: int = 21600

    def __post_init__(self) -> None:
        if self.time_factor <= 0:
            raise ValueError("time_factor is a positive number")

    def turn(self, **changes: object) -> None:
        """Change several at once; an unknown name or an impossible value changes nothing."""
        turned = replace(self, **changes)  # type: ignore[arg-type]
        for each in fields(turned):
            setattr(self, each.name, getattr(turned, each.name))

    def backoff(self, tries: int) -> float:
        """Seconds to wait after so many deliveries without an acknowledgement."""
        # Bounded before it is a power: a message may be tried thousands of times.
        doubled = self.min_backoff * 2.0 ** min(tries - 1, 32)
        return min(doubled, self.max_backoff) / self.time_factor

    def keeps(self) -> float:
        """Seconds for which an unacknowledged message is kept."""
        return self.retention / self.time_factor

    def grace(self, *, tester: bool) -> float:
        """Seconds within which a purchase must be acknowledged."""
        return (self.tester_window if tester else self.acknowledge_window) / self.time_factor
