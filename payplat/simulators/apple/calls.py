"""A question to the API, judged to be its app's own, and how an endpoint reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from payplat.simulators.apple.apps import App
from payplat.simulators.apple.books import Purchase
from payplat.simulators.apple.refusals import Refusal
from payplat.simulators.apple.store import Store


@dataclass(frozen=True)
class Call:
    """`query` holds every value of each parameter, in order."""

    store: Store
    app: App
    environment: str
    query: dict[str, list[str]]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body, a JSON object; refuses any other."""
        try:
            body = json.loads(self.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Refusal(4000000)
        return body

    def one(self, name: str) -> str | None:
        """The last value of a parameter."""
        return self.query[name][-1] if name in self.query else None

    def purchase(self, number: str, missing: int = 4040010) -> Purchase:
        """The transaction of that number; `missing` is the error if this app has none here."""
        check_number(number)
        if self.store.books.is_download(number):
            raise Refusal(4000048)
        found = self.store.books.look(number, self.app.bundle_id, self.environment)
        if found is None:
            raise Refusal(missing)
        return found

    def owner(self, number: str) -> tuple[str, str, str]:
        """The customer of any transaction id, also that of a download."""
        check_number(number)
        owner = self.store.books.owner(number, self.app.bundle_id, self.environment)
        if owner is None:
            raise Refusal(4040010)
        return owner


@dataclass(frozen=True)
class Answer:
    """`body` None is an empty answer."""

    body: dict[str, Any] | None = None
    status: int = 200


def check_number(number: str) -> None:
    """Transaction ids are digits."""
    if not (number.isascii() and number.isdigit()):
        raise Refusal(4000006)
