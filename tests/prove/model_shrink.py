"""Shorter and simpler steps that fail in the same way: what is left is what it takes."""

import traceback
from collections.abc import Callable, Iterator
from dataclasses import fields, replace

from tests.prove.model_words import Answer, Step, Told

# How a failure is told from another one: its type, what is wrong, and where in the platform it was raised, if there.
Failure = tuple[str, ...]
Try = Callable[[list[Step]], Failure | None]


def name(error: Exception) -> Failure:
    """Return how this failure is told from others."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame.name for frame in frames if "/payplat/" in frame.filename]
    kind = getattr(error, "kind", "")
    return type(error).__name__, kind, *inside[-1:]


def shrink(steps: list[Step], attempt: Try, failure: Failure) -> list[Step]:
    """Return fewer and simpler steps for which ``attempt`` still returns ``failure``."""
    size = len(steps) // 2
    while size:
        for start in range(len(steps) - size, -size, -size):
            fewer = steps[: max(start, 0)] + steps[start + size :]
            if attempt(fewer) == failure:
                steps = fewer
        size //= 2
    for place in range(len(steps)):
        steps = _with_simpler(place, steps, attempt, failure)
    return steps


def _with_simpler(place: int, steps: list[Step], attempt: Try, failure: Failure) -> list[Step]:
    """Return the steps with the one at ``place`` as simple as it can be."""
    for simpler in _simpler(steps[place]):
        plainer = [*steps[:place], simpler, *steps[place + 1 :]]
        if attempt(plainer) == failure:
            return _with_simpler(place, plainer, attempt, failure)
    return steps


def _simpler(step: Step) -> Iterator[Step]:
    if step.fault is not None:
        yield replace(step, fault=None)
    for part in ("told", "answers"):
        for said in _less(step.given.get(part, []), least=2 if step.action == "race" else 0):
            yield replace(step, given={**step.given, part: said})


def _less(said: list[Answer], least: int) -> Iterator[list[Answer]]:
    for place, each in enumerate(said):
        if len(said) > least:
            yield said[:place] + said[place + 1 :]
        for plainer in _plainer(each):
            yield [*said[:place], plainer, *said[place + 1 :]]


def _plainer(each: Answer) -> Iterator[Told]:
    """Yield the same with one part as usual; whom and what it is about stays."""
    if isinstance(each, Told):
        for part in fields(Told):
            if part.name not in ("order", "kind") and getattr(each, part.name) != part.default:
                yield replace(each, **{part.name: part.default})
