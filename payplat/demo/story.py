"""What a story is: it shows that one thing which can go wrong does no harm.

A story acts as the people of a purchase do, over HTTP and by what the simulators let one turn. Its docstring is the
sentence that is printed, in English and in Chinese. A story that does not come true raises Broken.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from payplat.demo.scene import Scene

Play = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Story:
    """Something to be shown; ``alone`` when others would be disturbed by it."""

    play: Play
    alone: bool = False

    def sentence(self, language: str) -> str:
        """Return what the story shows, in ``en`` or ``zh``."""
        paragraphs = (inspect.getdoc(self.play) or self.play.__name__).split("\n\n")
        return paragraphs[-1 if language == "zh" else 0]


def into(stories: list[Story], *, alone: bool = False) -> Callable[[Play], Play]:
    """Return a decorator that adds a story to ``stories``."""

    def add(play: Play) -> Play:
        stories.append(Story(play, alone))
        return play

    return add
