"""The settings of the simulator that may be turned while it runs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass
class Knobs:
    """`time_factor` divides the intervals between the attempts of a notification.

    `resign`: whether an attempt after the first is signed anew (None: at random, Apple does not
    say). `answer_timeout`: real seconds for the answer to a notification (Apple's is unknown).
    `slow_answer`: real seconds that a slow answer takes. `retry_after`: seconds until the moment
    that a 429 names.
    """

    time_factor: float = 1.0
    resign: bool | None = None
    answer_timeout: float = 10.0
    slow_answer: float = 3.0
    retry_after: float = 60.0

    def __post_init__(self) -> None:
        if self.time_factor <= 0:
            raise ValueError("time_factor is a positive number")

    def turn(self, **changes: object) -> None:
        """Change several at once; an unknown name or an impossible value changes nothing."""
        turned = replace(self, **changes)  # type: ignore[arg-type]
        for each in fields(turned):
            setattr(self, each.name, getattr(turned, each.name))
