"""How often somebody may do something: a token bucket for each key, in the memory of this process."""

from collections import OrderedDict

from payplat import seam
from payplat.errors import TooManyRequests

MINUTE = 60 * seam.SECOND


class Limit:
    """Permits each key ``per_minute`` times a minute: a bucket of so many tokens, refilled steadily.

    A bucket is kept as the moment at which it will be full, in microseconds since 1970. Of more than ``most_keys`` the
    one that was used longest ago is forgotten, which makes it full: it is the nearest to that.
    """

    def __init__(self, name: str, per_minute: int, most_keys: int = 10_000) -> None:
        self.name, self.per_minute = name, per_minute
        self._most_keys, self._refill = most_keys, MINUTE // per_minute
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def spend(self, key: str) -> None:
        """Take a token from the key's bucket; raises TooManyRequests when it is empty."""
        lacking = self._lacking(key)
        if lacking > MINUTE:
            seconds = -(-(lacking - MINUTE) // seam.SECOND)
            raise TooManyRequests(self.name, self.per_minute, seconds)
        self._full_at[key] = seam.now() + lacking
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most_keys:
            self._full_at.popitem(last=False)

    def is_used_up(self, key: str) -> bool:
        """Tell whether the key's bucket is empty."""
        return self._lacking(key) > MINUTE

    def _lacking(self, key: str) -> int:
        """Return how long the key's bucket would fill, in microseconds, after one more token was taken."""
        now = seam.now()
        # Not over a minute, whatever the clock did: an empty bucket is full after a minute.
        return min(max(0, self._full_at.get(key, now) - now), MINUTE) + self._refill

    def __len__(self) -> int:
        """Return how many buckets there are."""
        return len(self._full_at)
