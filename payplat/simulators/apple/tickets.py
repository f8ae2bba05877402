"""Tokens for the next page, which only this simulator can read."""

from __future__ import annotations

from payplat.simulators.apple import jws
from payplat.simulators.apple.refusals import Refusal


def ticket(purpose: str, place: int) -> str:
    """A token for what follows `place`; `purpose` is what it is good for."""
    return jws.encode(f"{purpose}:{place}".encode())


def read_ticket(purpose: str, text: str, wrong: int) -> int:
    """The place; refuses a token of another purpose, or none, with the error `wrong`."""
    try:
        told, _, place = jws.decode(text).decode().rpartition(":")
        if told == purpose:
            return int(place)
    except ValueError:
        pass
    raise Refusal(wrong)
