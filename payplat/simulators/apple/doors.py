"""What all HTTP handlers of the simulator share: the store behind them, and answers in JSON."""

from __future__ import annotations

import json
from typing import Any

from tornado.web import RequestHandler

from payplat.simulators.apple.store import Store


class Door(RequestHandler):
    """`store` is all a handler needs."""

    store: Store

    def initialize(self, store: Store) -> None:
        """Receive the store."""
        self.store = store

    def check_xsrf_cookie(self) -> None:
        """There are no cookies here."""

    def set_default_headers(self) -> None:
        """Say that a simulator answers."""
        self.set_header("Server", "AppleSimulator")

    def reply(self, status: int, body: Any) -> None:
        """Answer in JSON; Apple's client wants the type without a charset."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(body).encode())
