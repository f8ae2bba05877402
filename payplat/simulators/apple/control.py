"""The control API, `/_sim/…` in JSON: whatever a test in the same process can do, from outside."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from payplat.simulators.apple.books import Purchase
from payplat.simulators.apple.doors import Door
from payplat.simulators.apple.notices import Attempt
from payplat.simulators.apple.platform import Received
from payplat.simulators.apple.simulation import Simulation

Reply = dict[str, Any]
Act = Callable[[Simulation, Reply], Awaitable[Reply]]


class Control(Door):
    """`GET /_sim/<list>` and `POST /_sim/<act>`; only JSON, so that no web page can send it."""

    store: Simulation

    async def get(self, name: str) -> None:
        """Tell what has happened."""
        if name in _LISTS:
            self.reply(200, _LISTS[name](self.store))
        else:
            self.reply(404, {"error": f"lists: {', '.join(_LISTS)}"})

    async def post(self, name: str) -> None:
        """Carry out a wish; its names are the arguments of the simulator's own method."""
        kind = self.request.headers.get("Content-Type", "").split(";")[0].strip()
        if name not in _ACTS:
            self.reply(404, {"error": f"acts: {', '.join(_ACTS)}"})
        elif kind != "application/json":
            self.reply(415, {"error": "Content-Type: application/json"})
        else:
            self.reply(*await self._act(_ACTS[name]))

    async def _act(self, act: Act) -> tuple[int, Reply]:
        try:
            wishes = json.loads(self.request.body or b"{}")
            return 200, await act(self.store, dict(wishes))
        except (TypeError, ValueError, KeyError) as mistake:
            return 400, {"error": f"{type(mistake).__name__}: {mistake}"}


def show_purchase(purchase: Purchase) -> Reply:
    """A purchase as it stands, and its transaction freshly signed."""
    return {
        "transaction_id": purchase.transaction_id,
        "original_transaction_id": purchase.original_transaction_id,
        "customer": purchase.customer,
        "fields": purchase.fields,
        "finished": purchase.finished,
        "consumption": purchase.consumption,
        "signed_transaction": purchase.jws,
    }


def show_attempt(attempt: Attempt) -> Reply:
    """One delivery of a notification, as JSON can hold it."""
    return {**asdict(attempt), "body": attempt.body.decode()}


def show_received(received: Received) -> Reply:
    """One request to the API, as JSON can hold it."""
    return {**asdict(received), "body": received.body.decode("utf-8", "replace")}


async def _apps(store: Simulation, wishes: Reply) -> Reply:
    """`prices`: milliunits and currency in a list, by product."""
    prices = {name: (int(tag[0]), str(tag[1])) for name, tag in wishes.pop("prices", {}).items()}
    store.add_app(wishes.pop("bundle_id"), **wishes, prices=prices)
    return {"root_pem": store.root_pem}


def _on_purchase(name: str) -> Act:
    async def act(store: Simulation, wishes: Reply) -> Reply:
        return show_purchase(await getattr(store, name)(**wishes))

    return act


async def _test(store: Simulation, wishes: Reply) -> Reply:
    return {"testNotificationToken": await store.send_test(**wishes)}


async def _notify(store: Simulation, wishes: Reply) -> Reply:
    await store.notify(wishes.pop("notification_type"), **wishes)
    return {}


async def _attack(store: Simulation, wishes: Reply) -> Reply:
    """`name` is one of the attacks."""
    return {"signed_transaction": store.attacks[wishes["name"]](wishes["transaction_id"])}


async def _next_answers(store: Simulation, wishes: Reply) -> Reply:
    """`kinds` is a list."""
    store.next_answers(*wishes.pop("kinds"), **wishes)
    return {}


async def _next_notifications(store: Simulation, wishes: Reply) -> Reply:
    store.next_notifications(**wishes)
    return {}


async def _clear_faults(store: Simulation, wishes: Reply) -> Reply:
    store.faults.clear()
    return wishes


async def _rotate_leaf(store: Simulation, wishes: Reply) -> Reply:
    store.authority.rotate_leaf()
    return wishes


async def _revoke_leaf(store: Simulation, wishes: Reply) -> Reply:
    store.authority.revoke_leaf()
    return wishes


async def _flush(store: Simulation, wishes: Reply) -> Reply:
    await store.flush()
    return wishes


async def _advance(store: Simulation, wishes: Reply) -> Reply:
    await store.advance(float(wishes["seconds"]))
    return {"now": store.milliseconds}


async def _knobs(store: Simulation, wishes: Reply) -> Reply:
    store.knobs.turn(**wishes)
    return asdict(store.knobs)


_ACTS: dict[str, Act] = {
    "apps": _apps,
    "buy": _on_purchase("buy"),
    "restore": _on_purchase("restore"),
    "refund": _on_purchase("refund"),
    "reverse": _on_purchase("reverse_refund"),
    "decline": _on_purchase("decline_refund"),
    "consumption": _on_purchase("request_consumption"),
    "revoke": _on_purchase("revoke"),
    "test": _test,
    "notify": _notify,
    "attack": _attack,
    "next_answers": _next_answers,
    "next_notifications": _next_notifications,
    "clear_faults": _clear_faults,
    "rotate_leaf": _rotate_leaf,
    "revoke_leaf": _revoke_leaf,
    "flush": _flush,
    "advance": _advance,
    "knobs": _knobs,
}

_LISTS: dict[str, Callable[[Simulation], Reply]] = {
    "purchases": lambda store: {
        "purchases": [show_purchase(each) for each in store.books.purchases.values()]
    },
    "notifications": lambda store: {
        "notifications": [show_attempt(each) for each in store.notifications]
    },
    "received": lambda store: {"received": [show_received(each) for each in store.received]},
    "attacks": lambda store: {"attacks": list(store.attacks)},
    "knobs": lambda store: asdict(store.knobs),
    "root": lambda store: {"root_pem": store.root_pem},
}
