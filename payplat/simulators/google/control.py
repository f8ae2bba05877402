"""The device and the control API: whatever a test in the same process can do, from outside, in JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from payplat.simulators.google import attacks
from payplat.simulators.google.apps import Product
from payplat.simulators.google.courier import Attempt
from payplat.simulators.google.doors import Door
from payplat.simulators.google.platform import Received
from payplat.simulators.google.play import Play
from payplat.simulators.google.purchases import PENDING, Purchase
from payplat.simulators.google.refusals import BillingRefusal, Refusal

Reply = dict[str, Any]
Act = Callable[[Play, Reply], Awaitable[Reply]]


class JsonDoor(Door):
    """Only JSON, so that no web page of another origin can send it."""

    platform: Play

    async def act(self, act: Act) -> None:
        """Carry out a wish, and tell what came of it or why not."""
        kind = self.request.headers.get("Content-Type", "").split(";")[0].strip()
        if kind != "application/json":
            self.reply(415, {"error": "Content-Type: application/json"})
        else:
            self.reply(*await self._answer(act))

    async def _answer(self, act: Act) -> tuple[int, Reply]:
        try:
            wishes = dict(json.loads(self.request.body or b"{}"))
            return 200, await act(self.platform, wishes)
        except BillingRefusal as refusal:
            return 409, refusal.answer()
        except Refusal as refusal:
            return 409, {"error": refusal.reason}
        except (TypeError, ValueError, KeyError) as mistake:
            return 400, {"error": f"{type(mistake).__name__}: {mistake}"}


class Device(JsonDoor):
    """`POST /device/buy`: what Play Billing gives the app after `launchBillingFlow`."""

    async def post(self) -> None:
        """Buy, as the sheet does; the notification travels on its own."""
        await self.act(_device_buy)


class Control(JsonDoor):
    """`GET /_sim/<list>` and `POST /_sim/<act>`."""

    async def get(self, name: str) -> None:
        """Tell what has happened."""
        if name in _LISTS:
            self.reply(200, _LISTS[name](self.platform))
        else:
            self.reply(404, {"error": f"lists: {', '.join(_LISTS)}"})

    async def post(self, name: str) -> None:
        """Carry out a wish."""
        if name in _ACTS:
            await self.act(_ACTS[name])
        else:
            self.reply(404, {"error": f"acts: {', '.join(_ACTS)}"})


def show_purchase(purchase: Purchase) -> Reply:
    """Amounts in micros, times in seconds since the epoch."""
    shown = asdict(purchase)
    return {**shown, "refundable": purchase.refundable, "paid_micros": purchase.paid_micros}


def show_attempt(attempt: Attempt) -> Reply:
    """One delivery of a notification, as JSON can hold it."""
    return {
        "event": attempt.event,
        "message_id": attempt.message_id,
        "number": attempt.number,
        "at": attempt.at,
        "url": attempt.url,
        "headers": dict(attempt.push.headers),
        "notification": attempt.notification,
        "status": attempt.status,
        "error": attempt.error,
        "accepted": attempt.accepted,
    }


def show_received(received: Received) -> Reply:
    """One request, as JSON can hold it."""
    return {**asdict(received), "body": received.body.decode("utf-8", "replace")}


async def _device_buy(play: Play, wishes: Reply) -> Reply:
    purchase, _ = play.start_purchase(**wishes)
    return {
        "purchase_token": purchase.purchase_token,
        "order_id": purchase.order_id,
        "product_id": purchase.product_id,
        "purchase_state": "PENDING" if purchase.state == PENDING else "PURCHASED",
    }


async def _apps(play: Play, wishes: Reply) -> Reply:
    products = {name: Product(**given) for name, given in wishes.pop("products").items()}
    play.add_app(**wishes, products=products)
    return {"subscription": play.apps[wishes["package"]].subscription}


async def _service_accounts(play: Play, wishes: Reply) -> Reply:
    return play.service_account(**wishes)


async def _buy(play: Play, wishes: Reply) -> Reply:
    return show_purchase(await play.buy(**wishes))


async def _complete_pending(play: Play, wishes: Reply) -> Reply:
    return show_purchase(await play.complete_pending(**wishes))


async def _cancel_pending(play: Play, wishes: Reply) -> Reply:
    return show_purchase(await play.cancel_pending(**wishes))


async def _refund(play: Play, wishes: Reply) -> Reply:
    return asdict(await play.refund(**wishes))


async def _void(play: Play, wishes: Reply) -> Reply:
    return asdict(await play.void(**wishes))


async def _review(play: Play, wishes: Reply) -> Reply:
    return {"pending_refund_token": await play.review(**wishes)}


async def _test_notification(play: Play, wishes: Reply) -> Reply:
    await play.send_test_notification(**wishes)
    return {}


async def _raw_notification(play: Play, wishes: Reply) -> Reply:
    """`body_base64`, and `headers`."""
    body = base64.b64decode(wishes["body_base64"])
    attempt = await play.notify_raw(body, **wishes.get("headers", {}))
    return show_attempt(attempt)


async def _attack(play: Play, wishes: Reply) -> Reply:
    return show_attempt(await play.attack(**wishes))


async def _id_token(play: Play, wishes: Reply) -> Reply:
    return {"id_token": play.id_token(**wishes)}


async def _rotate_keys(play: Play, wishes: Reply) -> Reply:
    play.identity.rotate(**wishes)
    return play.identity.jwks()


async def _answer_fault(play: Play, wishes: Reply) -> Reply:
    play.faults.answer(wishes.pop("kind"), **wishes)
    return {}


async def _notification_fault(play: Play, wishes: Reply) -> Reply:
    play.faults.notification(**wishes)
    return {}


async def _clear_faults(play: Play, wishes: Reply) -> Reply:
    play.faults.clear()
    return wishes


async def _flush(play: Play, wishes: Reply) -> Reply:
    await play.flush()
    return wishes


async def _advance(play: Play, wishes: Reply) -> Reply:
    await play.advance(float(wishes["seconds"]))
    return {"now": play.clock.now()}


async def _knobs(play: Play, wishes: Reply) -> Reply:
    play.knobs.turn(**wishes)
    return asdict(play.knobs)


_ACTS: dict[str, Act] = {
    "apps": _apps,
    "service_accounts": _service_accounts,
    "buy": _buy,
    "complete_pending": _complete_pending,
    "cancel_pending": _cancel_pending,
    "refund": _refund,
    "void": _void,
    "review": _review,
    "test_notification": _test_notification,
    "raw_notification": _raw_notification,
    "attack": _attack,
    "id_token": _id_token,
    "rotate_keys": _rotate_keys,
    "answer_fault": _answer_fault,
    "notification_fault": _notification_fault,
    "clear_faults": _clear_faults,
    "flush": _flush,
    "advance": _advance,
    "knobs": _knobs,
}

_LISTS: dict[str, Callable[[Play], Reply]] = {
    "purchases": lambda play: {
        "purchases": [show_purchase(each) for each in play.books.purchases.values()]
    },
    "notifications": lambda play: {
        "notifications": [show_attempt(each) for each in play.herald.courier.attempts]
    },
    "received": lambda play: {"received": [show_received(each) for each in play.received]},
    "reviews": lambda play: {"reviews": play.reviews},
    "attacks": lambda _play: {"attacks": list(attacks.NAMES)},
    "knobs": lambda play: asdict(play.knobs),
}
