"""The control API, `/_sim/…` in JSON: whatever a test in the same process can do, from outside."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from payplat.simulators.alipay import wire
from payplat.simulators.alipay.courier import Attempt
from payplat.simulators.alipay.doors import Door
from payplat.simulators.alipay.entrance import enter
from payplat.simulators.alipay.platform import Platform
from payplat.simulators.alipay.refusals import Refusal
from payplat.simulators.alipay.trades import Trade

Reply = dict[str, Any]
Act = Callable[[Platform, Reply], Awaitable[Reply]]


class Control(Door):
    """`GET /_sim/<list>` and `POST /_sim/<act>`; only JSON, so that no web page can send it."""

    async def get(self, name: str) -> None:
        """Tell what has happened."""
        if name not in _LISTS:
            self._reply(404, {"error": f"lists: {', '.join(_LISTS)}"})
            return
        self._reply(200, _LISTS[name](self.platform))

    async def post(self, name: str) -> None:
        """Carry out a wish."""
        kind = self.request.headers.get("Content-Type", "").split(";")[0].strip()
        if name not in _ACTS:
            self._reply(404, {"error": f"acts: {', '.join(_ACTS)}"})
        elif kind != "application/json":
            self._reply(415, {"error": "Content-Type: application/json"})
        else:
            self._reply(*await self._act(_ACTS[name]))

    async def _act(self, act: Act) -> tuple[int, Reply]:
        try:
            wishes = json.loads(self.request.body or b"{}")
            return 200, await act(self.platform, dict(wishes))
        except Refusal as refusal:
            return 409, refusal.answer()
        except (TypeError, ValueError, KeyError) as mistake:
            return 400, {"error": f"{type(mistake).__name__}: {mistake}"}

    def _reply(self, status: int, reply: Reply) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(reply, ensure_ascii=False))


def show_trade(trade: Trade) -> Reply:
    """Amounts in fen, times in seconds since the epoch."""
    return {
        "trade_no": trade.trade_no,
        "out_trade_no": trade.out_trade_no,
        "app_id": trade.order.app_id,
        "seller_id": trade.order.seller_id,
        "method": trade.order.method,
        "subject": trade.order.subject,
        "status": trade.status,
        "total_fen": trade.total_fen,
        "refunded_fen": trade.refunded_fen,
        "created_at": trade.created_at,
        "expires_at": trade.expires_at,
        "paid_at": trade.paid_at,
        "closed_at": trade.closed_at,
        "refunds": [asdict(refund) for refund in trade.refunds.values()],
    }


def show_attempt(attempt: Attempt) -> Reply:
    """One delivery of a notification, as JSON can hold it."""
    return {
        "notify_id": attempt.notify_id,
        "out_trade_no": attempt.out_trade_no,
        "event": attempt.event,
        "number": attempt.number,
        "at": attempt.at,
        "url": attempt.url,
        "parameters": attempt.parameters,
        "status": attempt.status,
        "answer": attempt.answer.decode("utf-8", "replace"),
        "error": attempt.error,
        "accepted": attempt.accepted,
    }


async def _apps(platform: Platform, wishes: Reply) -> Reply:
    platform.add_app(wishes["app_id"], wishes["seller_id"], wishes["public_key_pem"])
    return {"public_key_pem": platform.public_key_pem}


async def _certified_apps(platform: Platform, wishes: Reply) -> Reply:
    names = ("app_id", "seller_id", "public_key_pem")
    return asdict(platform.add_certified_app(*(wishes[name] for name in names)))


async def _answer_fault(platform: Platform, wishes: Reply) -> Reply:
    platform.faults.answer(wishes.pop("kind"), **wishes)
    return {}


async def _notification_fault(platform: Platform, wishes: Reply) -> Reply:
    platform.faults.notification(**wishes)
    return {}


async def _clear_faults(platform: Platform, wishes: Reply) -> Reply:
    platform.faults.clear()
    return wishes


async def _enter(platform: Platform, wishes: Reply) -> Reply:
    return show_trade(enter(platform, wishes["order"]))


async def _scan(platform: Platform, wishes: Reply) -> Reply:
    return show_trade(platform.scan(wishes["qr_code"]))


async def _pay(platform: Platform, wishes: Reply) -> Reply:
    return show_trade(await platform.pay(**wishes))


async def _refund(platform: Platform, wishes: Reply) -> Reply:
    """`amount` in yuan, or `fen`."""
    if "amount" in wishes:
        wishes["fen"] = wire.fen(wishes.pop("amount"))
    return asdict(await platform.refund(**wishes))


async def _complete_refund(platform: Platform, wishes: Reply) -> Reply:
    return asdict(await platform.complete_refund(**wishes))


async def _finish(platform: Platform, wishes: Reply) -> Reply:
    return show_trade(await platform.finish(**wishes))


async def _expire(platform: Platform, wishes: Reply) -> Reply:
    return show_trade(await platform.expire(**wishes))


async def _flush(platform: Platform, wishes: Reply) -> Reply:
    await platform.herald.courier.flush()
    return wishes


async def _advance(platform: Platform, wishes: Reply) -> Reply:
    await platform.agenda.advance(float(wishes["seconds"]))
    return {"now": wire.beijing(platform.clock.now())}


async def _knobs(platform: Platform, wishes: Reply) -> Reply:
    platform.knobs.turn(**wishes)
    return asdict(platform.knobs)


_ACTS: dict[str, Act] = {
    "apps": _apps,
    "certified_apps": _certified_apps,
    "answer_fault": _answer_fault,
    "notification_fault": _notification_fault,
    "clear_faults": _clear_faults,
    "enter": _enter,
    "scan": _scan,
    "pay": _pay,
    "refund": _refund,
    "complete_refund": _complete_refund,
    "finish": _finish,
    "expire": _expire,
    "close": _expire,
    "flush": _flush,
    "advance": _advance,
    "knobs": _knobs,
}

_LISTS: dict[str, Callable[[Platform], Reply]] = {
    "trades": lambda platform: {
        "trades": [show_trade(trade) for trade in platform.ledger.trades.values()]
    },
    "notifications": lambda platform: {
        "notifications": [show_attempt(each) for each in platform.herald.courier.attempts]
    },
    "received": lambda platform: {"received": [asdict(each) for each in platform.received]},
    "knobs": lambda platform: asdict(platform.knobs),
    "key": lambda platform: {"public_key_pem": platform.public_key_pem},
}
