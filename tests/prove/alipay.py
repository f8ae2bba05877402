"""A small Alipay: a ledger of who really paid, a gateway, and a courier of notices. The judge believes this one.

Written from the same documents as payplat's channel and sharing nothing with it; the texts under the signatures come
from the simulators, which share nothing with payplat either.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from payplat.simulators.alipay.wire import beijing, canonical, compact, fen, from_beijing, yuan
from tests.prove.faults import Faults
from tests.prove.keys import StandIn, key
from tests.prove.wire import Call, NoReply, Reply, Reset

APP_ID, SELLER_ID = "2021000000000001", "2088000000000001"
_CREATING = {"alipay.trade.app.pay", "alipay.trade.page.pay", "alipay.trade.wap.pay"}
_FAILURES = (
    "gateway answers 5xx",
    "gateway never answers",
    "gateway breaks off",
    "gateway talks nonsense",
    "gateway answers unsigned",
    "gateway is busy",
    "gateway answers too much",
)
# Seconds between the attempts at a notice; the last one counts on until somebody says success.
_SCHEDULE = (0, 5, 15, 40, 60, 120)
Node = dict[str, Any]


@dataclass
class Trade:
    """What one buyer owes or paid for one of our orders. ``paid`` lists (trade number, fen, when)."""

    order_no: str
    number: str
    total: int
    passback: str
    expires: float
    notify: str
    status: str = "WAIT_BUYER_PAY"
    paid: list[tuple[str, int, float]] = field(default_factory=list)
    refunds: dict[str, int] = field(default_factory=dict)
    is_silent: bool = False  # no notice of its payment ever comes
    is_honest: bool = False  # the gateway never lies about it
    is_late: bool = False  # paid after its end

    @property
    def refunded(self) -> int:
        """Return how much went back."""
        return sum(self.refunds.values())


class Refused(Exception):
    """The gateway's no: a sub code."""


class Alipay:
    """The company. ``post`` brings a notice to us and returns what we answered; ``clock`` is the true time."""

    def __init__(
        self,
        faults: Faults,
        seed: str,
        clock: Callable[[], float],
        post: Callable[[Call], Awaitable[Reply]],
    ) -> None:
        self.trades: dict[str, Trade] = {}
        self.acknowledged: list[Trade] = []
        self.unsent = 0
        self.spawn: Callable[[Any], object] = lambda _: None
        self._faults, self._clock, self._post = faults, clock, post
        self._chance = random.Random(f"{seed}/alipay")
        self._ours, self._theirs = StandIn(), key("alipay")
        self._answers: dict[str, Callable[[Mapping[str, str]], Node]] = {
            "alipay.trade.query": self._query,
            "alipay.trade.close": self._close,
            "alipay.trade.precreate": self._precreate,
            "alipay.trade.refund": self._refund,
            "alipay.trade.fastpay.refund.query": self._refund_query,
        }

    # --- The buyer's side ---

    def enter(self, payment: Mapping[str, str]) -> Trade:
        """Open what a client was handed: an order string, an address or a QR code."""
        told = next(iter(payment.values()))
        if told.startswith("https://qr."):
            return self.trades[told.rsplit("/", 1)[1]]
        fields = dict(parse_qsl(urlsplit(told).query or told, strict_parsing=True))
        assert self._is_signed(fields), "not signed by the app"
        assert fields["method"] in _CREATING
        return self._open(json.loads(fields["biz_content"]), fields["notify_url"])

    def left(self, trade: Trade) -> float:
        """Return how many seconds there are left to pay."""
        return trade.expires - self._clock()

    def pay(self, trade: Trade) -> bool:
        """Take the buyer's money; a trade that is closed or over takes none."""
        faults, now = self._faults, self._clock()
        over = now > trade.expires
        if trade.status != "WAIT_BUYER_PAY" or (
            over and not faults.strikes("paid after the close")
        ):
            return False
        trade.status, trade.is_late = "TRADE_SUCCESS", over
        trade.paid.append((trade.number, trade.total, now))
        trade.is_silent = not (over or trade.is_honest) and self._may_stay_silent()
        if not trade.is_silent:
            self._announce(trade, self._notice(trade))
        return True

    def pay_again(self, trade: Trade) -> None:
        """Take money for a trade that is paid already, as another transaction."""
        number = self._number()
        trade.paid.append((number, trade.total, self._clock()))
        self._announce(trade, self._notice(trade, trade_no=number, trade_status="TRADE_SUCCESS"))

    def give_back(self, trade: Trade, amount: int, request_no: str) -> None:
        """Refund, as from the merchant's console."""
        if trade.status != "TRADE_SUCCESS" or request_no in trade.refunds:
            return
        assert 0 < amount <= trade.total - trade.refunded
        trade.refunds[request_no] = amount
        if trade.refunded == trade.total:
            trade.status = "TRADE_CLOSED"
        told = {
            "refund_fee": yuan(trade.refunded),
            "gmt_refund": beijing(self._clock()),
            "out_biz_no": request_no,
        }
        self._announce(trade, self._notice(trade, **told))

    # --- Notices ---

    def _may_stay_silent(self) -> bool:
        # With clocks that are hours wrong an order may be closed unasked: then only a notice can tell of the money.
        is_sane = not self._faults.rates["clock put wrong by hours"]
        return is_sane and self._faults.strikes("no notice ever")

    def _notice(self, trade: Trade, **more: str) -> dict[str, str]:
        paid_at = trade.paid[0][2]
        return {
            "app_id": APP_ID,
            "seller_id": SELLER_ID,
            "notify_type": "trade_status_sync",
            "notify_id": f"{self._chance.getrandbits(128):032x}",
            "notify_time": beijing(self._clock()),
            "charset": "utf-8",
            "version": "1.0",
            "sign_type": "RSA2",
            "out_trade_no": trade.order_no,
            "trade_no": trade.number,
            "trade_status": trade.status,
            "total_amount": yuan(trade.total),
            "buyer_id": "2088101106499364",
            "gmt_create": beijing(paid_at - 1),
            "gmt_payment": beijing(paid_at),
            "passback_params": trade.passback,
            **more,
        }

    def signed(self, fields: Mapping[str, str], name: str = "alipay") -> bytes:
        """Return a notice's body, signed by the key of that name."""
        sign = key(name).sign(canonical(fields, ("sign", "sign_type")).encode())
        return urlencode({**fields, "sign": sign}).encode()

    def sample(self, trade: Trade, **more: str) -> dict[str, str]:
        """Return what a notice of this trade's payment would say, for forgers."""
        paid = trade.paid or [(trade.number, trade.total, self._clock())]
        return self._notice(replace(trade, paid=paid, status="TRADE_SUCCESS"), **more)

    def _announce(self, trade: Trade, fields: Mapping[str, str]) -> None:
        self.unsent += 1
        self.spawn(self._carry(trade, self.signed(fields)))

    async def _carry(self, trade: Trade, body: bytes) -> None:
        """Bring a notice again and again until the answer is ``success``, and nothing else is."""
        faults, attempt = self._faults, 0
        if faults.strikes("notice late"):
            await asyncio.sleep(self._chance.uniform(30, 900))
        while True:
            await asyncio.sleep(_SCHEDULE[min(attempt, len(_SCHEDULE) - 1)] + self._chance.random())
            attempt += 1
            if faults.strikes("notice lost"):
                continue
            times = self._chance.randint(2, 4) if faults.strikes("notice sent twice at once") else 1
            answers = await asyncio.gather(*(self._send(trade, body) for _ in range(times)))
            if any(answers):
                self.unsent -= 1
                return

    async def _send(self, trade: Trade, body: bytes) -> bool:
        form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        try:
            reply = await self._post(Call("POST", trade.notify, body, form))
        except NoReply:
            return False
        return reply.status == 200 and reply.body == b"success"

    # --- The gateway ---

    async def answer(self, call: Call) -> Reply:
        """Answer a call of the gateway, or fail in one of its ways, before or after doing what was asked."""
        fields = dict(parse_qsl(urlsplit(call.target).query) + parse_qsl(call.body.decode()))
        method, fault = fields["method"], self._faults.one_of(_FAILURES)
        if fault == "gateway never answers" and self._chance.random() < 0.5:
            await asyncio.sleep(60)
        if fault == "gateway is busy":
            node: Node = {"code": "20000", "sub_code": "aop.ACQ.SYSTEM_ERROR"}
        elif not self._is_signed(fields):
            node = {"code": "40002", "sub_code": "isv.invalid-signature"}
        else:
            node = self._told(method, json.loads(fields["biz_content"]))
        if fault == "gateway never answers":
            await asyncio.sleep(60)
        if fault == "gateway breaks off":
            raise Reset("the gateway broke off")
        return self._written(method, compact(node), fault)

    def _told(self, method: str, content: Mapping[str, str]) -> Node:
        try:
            return {"code": "10000", "msg": "Success", **self._answers[method](content)}
        except Refused as no:
            return {"code": "40004", "msg": "Business Failed", "sub_code": str(no)}

    def _written(self, method: str, text: str, fault: str) -> Reply:
        if fault == "gateway answers 5xx":
            return Reply(502, b"<html>Bad Gateway</html>")
        if fault == "gateway talks nonsense":
            return Reply(
                200, self._chance.choice((b"", b"{", b"<html>", b'{"sign":1}', b"\xff\xfe"))
            )
        sign = self._theirs.sign(text.encode())
        if fault == "gateway answers unsigned":
            sign = self._chance.choice(("", "AAAA", key("stranger").sign(text.encode())))
        name = method.replace(".", "_") + "_response"
        padding = " " * 70_000 if fault == "gateway answers too much" else ""
        return Reply(200, f'{{"{name}":{text},"sign":"{sign}"}}{padding}'.encode())

    def _is_signed(self, fields: Mapping[str, str]) -> bool:
        text = canonical(fields, ("sign",), blanks=False).encode()
        return fields["app_id"] == APP_ID and self._ours.has_signed(text, fields["sign"])

    def _open(self, content: Mapping[str, str], notify_url: str) -> Trade:
        order_no = content["out_trade_no"]
        if order_no not in self.trades:
            self.trades[order_no] = Trade(
                order_no,
                self._number(),
                fen(content["total_amount"]),
                content["passback_params"],
                from_beijing(content["time_expire"]),
                urlsplit(notify_url).path,
            )
        return self.trades[order_no]

    def _precreate(self, content: Mapping[str, str]) -> Node:
        self._open(content, "https://pay.test/v1/callback/alipay")
        code = f"https://qr.alipay.test/{content['out_trade_no']}"
        return {"out_trade_no": content["out_trade_no"], "qr_code": code}

    def _query(self, content: Mapping[str, str]) -> Node:
        trade = self._find(content)
        told = {
            "out_trade_no": trade.order_no,
            "trade_no": trade.number,
            "total_amount": yuan(trade.total),
            "passback_params": trade.passback,
        }
        if not trade.paid:
            if self._clock() > trade.expires:
                trade.status = "TRADE_CLOSED"
            return {**told, "trade_status": trade.status}
        may_deny = not (trade.is_silent or trade.is_honest)
        if may_deny and self._faults.strikes("gateway knows nothing of a payment"):
            raise Refused("ACQ.TRADE_NOT_EXIST")
        if not trade.is_honest and self._faults.strikes("gateway still sees no payment"):
            return {**told, "trade_status": "WAIT_BUYER_PAY"}
        return {**told, "trade_status": trade.status, "send_pay_date": beijing(trade.paid[0][2])}

    def _close(self, content: Mapping[str, str]) -> Node:
        trade = self._find(content)
        if trade.status != "WAIT_BUYER_PAY":
            raise Refused("ACQ.TRADE_STATUS_ERROR")
        trade.status = "TRADE_CLOSED"
        return {"out_trade_no": trade.order_no, "trade_no": trade.number}

    def _refund(self, content: Mapping[str, str]) -> Node:
        trade, amount = self._find(content), fen(content["refund_amount"])
        request_no, change = content["out_request_no"], "N"
        if request_no not in trade.refunds:
            if trade.status != "TRADE_SUCCESS" or amount > trade.total - trade.refunded:
                raise Refused("ACQ.TRADE_STATUS_ERROR")
            self.give_back(trade, amount, request_no)
            change = "Y"
        return {
            "out_trade_no": trade.order_no,
            "trade_no": trade.number,
            "fund_change": change,
            "refund_fee": yuan(trade.refunded),
        }

    def _refund_query(self, content: Mapping[str, str]) -> Node:
        trade = self._find(content)
        told: Node = {"out_trade_no": trade.order_no, "trade_no": trade.number}
        if content["out_request_no"] in trade.refunds:
            told["refund_status"] = "REFUND_SUCCESS"
        return told

    def _find(self, content: Mapping[str, str]) -> Trade:
        trade = self.trades.get(content["out_trade_no"])
        if trade is None:
            raise Refused("ACQ.TRADE_NOT_EXIST")
        return trade

    def _number(self) -> str:
        return f"20270115{self._chance.randrange(10**20):020d}"
