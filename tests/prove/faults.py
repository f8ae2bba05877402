"""What can go wrong, and how often: each seed draws its own subset and its own rates."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
# How often each fault strikes where it can, before a seed draws its own share of it.
RATES = {
    # processes: per second of virtual time
    "killed at an await": 0.1,
    "killed at a crash point": 0.0005,  # per crash point
    "paused beyond its lease": 0.03,
    "stopped and started again": 0.03,
    "clock put wrong by seconds": 0.1,
    "clock put wrong by hours": 0.03,
    # the database: per transaction
    "COMMIT refused": 0.01,
    "COMMIT done, its reply lost": 0.01,
    "database slow": 0.003,
    # requests to us
    "request lost": 0.03,
    "reply lost": 0.03,
    "network slow": 0.03,
    # the provider's notices
    "notice lost": 0.3,
    "notice sent twice at once": 0.2,
    "notice late": 0.15,
    "no notice ever": 0.08,
    "notice forged": 0.1,
    # the provider's answers
    "gateway answers 5xx": 0.1,
    "gateway never answers": 0.05,
    "gateway breaks off": 0.05,
    "gateway talks nonsense": 0.05,
    "gateway answers unsigned": 0.05,
    "gateway is busy": 0.1,
    "gateway answers too much": 0.03,
    "gateway knows nothing of a payment": 0.15,
    "gateway still sees no payment": 0.2,
    # money
    "paid twice": 0.03,
    "paid at the last moment": 0.1,
    "paid after the close": 0.04,
    "refunded in part": 0.08,
    "refunded in whole": 0.08,
    "refunded before the notice": 0.04,
    # the merchant
    "merchant answers 500": 0.1,
    "merchant asks for patience": 0.05,
    "merchant never answers": 0.04,
    "merchant never answers, but acts": 0.05,
    "merchant breaks off": 0.05,
    "merchant breaks off, but acts": 0.06,
    "merchant slow": 0.1,
    "merchant redirects": 0.04,
    "merchant answers too much, and acts": 0.03,
    "merchant down for a while": 0.02,
    "merchant gone (410)": 0.003,
    # clients
    "create repeated": 0.15,
    "create repeated at once": 0.08,
    "key used for another order": 0.05,
    "order verified": 0.4,
    "order abandoned": 0.08,
}
PER_SECOND = (
    "killed at an await",
    "paused beyond its lease",
    "stopped and started again",
    "clock put wrong by seconds",
    "clock put wrong by hours",
    "merchant down for a while",
)


class Faults:
    """The faults of one seed; ``struck`` counts them. They end with ``end``; until then everything may fail."""

    def __init__(self, seed: str) -> None:
        chance = random.Random(f"{seed}/swarm")
        severity = chance.choice((0.0, 0.2, 0.4, 0.6, 0.6, 0.8, 0.8, 1.0))
        self.rates = {
            name: rate * chance.uniform(0.3, 2.0) * (chance.random() < severity)
            for name, rate in RATES.items()
        }
        self.struck: Counter[str] = Counter()
        self.chance = random.Random(f"{seed}/faults")
        self.is_over = False

    def strikes(self, name: str, share: float = 1.0) -> bool:
        """Tell whether it happens now; ``share`` scales its rate."""
        rate = self.rates[name] * share
        if self.is_over or not rate or self.chance.random() >= rate:
            return False
        self.struck[name] += 1
        return True

    def one_of(self, names: Sequence[str]) -> str:
        """Return the first that strikes, or nothing."""
        return next((name for name in names if self.strikes(name)), "")

    def end(self) -> None:
        """From now on nothing fails."""
        self.is_over = True
