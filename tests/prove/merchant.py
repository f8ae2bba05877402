"""A merchant who trusts nobody: checks signatures itself, gives goods once per event, and counts."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.prove.faults import Faults
from tests.prove.wire import Call, Reply, Reset

# What an endpoint does instead of answering 200 at once, and whether it gives the goods nevertheless.
_BEHAVIOURS = {
    "merchant gone (410)": False,
    "merchant answers 500": False,
    "merchant asks for patience": False,
    "merchant never answers": False,
    "merchant never answers, but acts": True,
    "merchant breaks off": False,
    "merchant breaks off, but acts": True,
    "merchant slow": True,
    "merchant redirects": False,
    "merchant answers too much, and acts": True,
}
TOLERANCE = 300.0


@dataclass(frozen=True)
class Sent:
    """One attempt as it arrived: who sent it when, and whether the answer was 2xx."""

    process: str
    at: float
    ok: bool


class Merchant:
    """One endpoint. ``received`` hears of each event the first time; ``complain`` of what is wrong with a request."""

    def __init__(
        self,
        name: str,
        secret: bytes,
        faults: Faults,
        seed: str,
        clock: Callable[[], float],
        received: Callable[[str, dict[str, Any]], None],
        complain: Callable[[str, str, str], None],
    ) -> None:
        self.name = name
        self.effects: dict[str, dict[str, Any]] = {}
        self.attempts: dict[str, list[Sent]] = {}
        self.goods: Counter[str] = Counter()
        self.down_until = 0.0
        self._bodies: dict[str, bytes] = {}
        self._secret, self._faults, self._clock = secret, faults, clock
        self._received, self._complain = received, complain
        self._chance = random.Random(f"{seed}/merchant/{name}")

    async def answer(self, call: Call) -> Reply:
        """Take a delivery."""
        event_id = call.headers.get("webhook-id", "")
        event = self._checked(event_id, call)
        fault = self._faults.one_of(tuple(_BEHAVIOURS))
        if self._clock() < self.down_until:
            fault = "merchant answers 500"
        acts = _BEHAVIOURS.get(fault, True)
        if acts and event is not None:
            self._act(event_id, event)
        ok = fault in ("", "merchant slow")
        self.attempts.setdefault(event_id, []).append(
            Sent(call.headers["x-process"], self._clock(), ok)
        )
        return await self._behave(fault)

    async def _behave(self, fault: str) -> Reply:
        if fault == "merchant slow":
            await asyncio.sleep(self._chance.uniform(0.5, 12))
        if fault.startswith("merchant never answers"):
            await asyncio.sleep(120)
        if fault.startswith("merchant breaks off"):
            raise Reset("the merchant broke off")
        if fault == "merchant asks for patience":
            return Reply(503, headers={"Retry-After": str(self._chance.randint(1, 120))})
        if fault.startswith("merchant answers too much"):
            return Reply(200, b"x" * 70_000)
        status = {
            "merchant gone (410)": 410,
            "merchant answers 500": 500,
            "merchant redirects": 302,
        }
        return Reply(status.get(fault, 200))

    def _checked(self, event_id: str, call: Call) -> dict[str, Any] | None:
        """Return the event if its signature is right; a wrong one is complained about."""
        told = call.headers.get("webhook-timestamp", "")
        text = f"{event_id}.{told}.".encode() + call.body
        right = base64.b64encode(hmac.new(self._secret, text, hashlib.sha256).digest()).decode()
        if f"v1,{right}" not in call.headers.get("webhook-signature", "").split():
            self._complain("unexplained", event_id, "its signature is wrong")
            return None
        clocks_are_near = not self._faults.rates["clock put wrong by hours"]
        if clocks_are_near and abs(int(told) - self._clock()) > TOLERANCE:
            self._complain("unexplained", event_id, "its timestamp is stale")
        if self._bodies.setdefault(event_id, call.body) != call.body:
            self._complain("unexplained", event_id, "its body changed between attempts")
        event: dict[str, Any] = json.loads(call.body)
        return event

    def _act(self, event_id: str, event: dict[str, Any]) -> None:
        if event_id in self.effects:
            return
        self.effects[event_id] = event
        order_no = event["data"]["order_no"]
        if event["type"] == "order.paid":
            self.goods[order_no] += 1
            if self.goods[order_no] > 1:
                self._complain("double", order_no, f"{self.name} gave the goods twice")
        self._received(event_id, event)
