"""The settings of the simulator that may be turned while it runs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

CURRENT = "current"
LEGACY = "legacy"


@dataclass
class Knobs:
    """`profile`: current sends payments (and refunds) only, legacy also CLOSED and FINISHED.

    `time_factor` divides the intervals of the retry schedule, `immediate_resends` come before it.
    `answer_timeout`: real seconds for the answer to a notification. `refund_delay`: seconds on the
    clock from accepting a refund to carrying it out; None: only by complete_refund().
    `renew_notify_time`: notify_time is that of the delivery, not of the event. `open_id`:
    buyers go by buyer_open_id. `repeat_code`: the same precreate again gives the same QR code.
    `return_sign_type`: sign_type is part of the signed text of return_url.
    """

    time_factor: float = 1.0
    profile: str = CURRENT
    immediate_resends: int = 0
    answer_timeout: float = 10.0
    refund_notices: bool = True
    refund_delay: float | None = 0.0
    renew_notify_time: bool = True
    open_id: bool = False
    repeat_code: bool = True
    return_sign_type: bool = False

    def __post_init__(self) -> None:
        if self.profile not in (CURRENT, LEGACY):
            raise ValueError(f"{self.profile!r} is neither {CURRENT} nor {LEGACY}")
        if self.time_factor <= 0:
            raise ValueError("time_factor is a positive number")

    def turn(self, **changes: object) -> None:
        """Change several at once; an unknown name or an impossible value changes nothing."""
        turned = replace(self, **changes)  # type: ignore[arg-type]
        for each in fields(turned):
            setattr(self, each.name, getattr(turned, each.name))
