"""What happened, step by step, as one hash; and as lines where somebody wants to read them."""

import hashlib
from collections.abc import Callable


class Trace:
    """Two runs with one hash were the same run. With ``keeps`` the lines are kept too."""

    def __init__(self, clock: Callable[[], float], *, keeps: bool = False) -> None:
        self._clock, self._hash = clock, hashlib.sha256()
        self._keeps = keeps
        self.lines: list[str] = []

    def note(self, *words: str | bytes) -> None:
        """Add a line."""
        line = f"{self._clock():.6f} " + " ".join(
            word if isinstance(word, str) else repr(word) for word in words
        )
        self._hash.update(line.encode())
        if self._keeps:
            self.lines.append(line)

    @property
    def digest(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest()
