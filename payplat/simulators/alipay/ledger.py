"""Alipay's own books: every order offered, every trade, and what became of it."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable

from payplat.simulators.alipay import wire
from payplat.simulators.alipay.knobs import Knobs
from payplat.simulators.alipay.refusals import Refusal
from payplat.simulators.alipay.requests import Call
from payplat.simulators.alipay.trades import WAIT_BUYER_PAY, Buyer, Code, Order, Trade
from payplat.simulators.clock import Agenda

Expired = Callable[[Trade], object]


class Ledger:
    """`on_expired` hears of each trade that was not paid in time."""

    def __init__(self, agenda: Agenda, knobs: Knobs, on_expired: Expired) -> None:
        self.trades: dict[tuple[str, str], Trade] = {}
        self.codes: dict[str, Code] = {}
        self._by_number: dict[str, Trade] = {}
        self._offers: dict[tuple[str, str], Code] = {}
        self._agenda = agenda
        self._knobs = knobs
        self._on_expired = on_expired
        self._numbers = itertools.count(1)

    def now(self) -> float:
        """The time on the simulator's clock."""
        return self._agenda.clock.now()

    def enter(self, order: Order, buyer: Buyer) -> Trade:
        """A buyer takes up an order.

        The same order again attaches to its trade ("alipay.trade.page.pay"); other data under
        the same number is refused.
        """
        known = self.look(order.seller_id, order.out_trade_no)
        if known:
            self._check_same(known.order, order)
            known.check_payable()
            return known
        order.check_time(self.now())
        return self._create(order, buyer)

    def offer(self, call: Call) -> Code:
        """A QR code for an order; no trade comes of it before somebody scans it."""
        order = Order.of(call)
        known = self.look(order.seller_id, order.out_trade_no)
        if known:
            self._check_same(known.order, order)
            known.check_payable()
        order.check_time(self.now())
        return self._code_again(order) or self._new_code(call)

    def scanned(self, code: str) -> Order:
        """The order behind a QR code; a dead or invented code is refused."""
        offered = self.codes.get(code)
        if offered is None or offered.dies_at <= self.now():
            raise Refusal("ACQ.TRADE_NOT_EXIST", "二维码已失效")
        return offered.order

    def look(self, seller_id: str, out_trade_no: str) -> Trade | None:
        """The trade as it is now: one whose time has run out is closed by being looked at."""
        trade = self.trades.get((seller_id, out_trade_no))
        if trade:
            self._expire_if_due(trade)
        return trade

    def find(self, seller_id: str, out_trade_no: str, trade_no: str = "") -> Trade:
        """By either number; trade_no wins when both are given."""
        trade = self.look(seller_id, out_trade_no)
        if trade_no:
            trade = self.by_trade_no(trade_no)
        if trade is None or trade.order.seller_id != seller_id:
            raise Refusal("ACQ.TRADE_NOT_EXIST")
        return trade

    def by_trade_no(self, trade_no: str) -> Trade | None:
        """The trade of that number; refuses one that does not exist."""
        trade = self._by_number.get(trade_no)
        return self.look(*trade.order.key) if trade else None

    def _check_same(self, known: Order, order: Order) -> None:
        if known.fingerprint != order.fingerprint or known.app_id != order.app_id:
            raise Refusal("ACQ.CONTEXT_INCONSISTENT")

    def _create(self, order: Order, buyer: Buyer) -> Trade:
        now = self.now()
        trade = Trade(self._number(now), order, now, order.expires_at(now), buyer)
        self.trades[order.key] = self._by_number[trade.trade_no] = trade

        async def expire() -> None:
            self._expire_if_due(trade)

        self._agenda.at(trade.expires_at, expire)
        return trade

    def _number(self, now: float) -> str:
        """28 digits that begin with the day in Beijing."""
        return f"{wire.beijing(now)[:10].replace('-', '')}22001{next(self._numbers):015d}"

    def _code_again(self, order: Order) -> Code | None:
        code = self._offers.get(order.key)
        if code is None:
            return None
        self._check_same(code.order, order)
        if not self._knobs.repeat_code:
            raise Refusal("ACQ.APPLY_PC_MERCHANT_CODE_ERROR")
        return code if code.dies_at > self.now() else None

    def _new_code(self, call: Call) -> Code:
        code = Code.of(call, "bax" + secrets.token_hex(12), self.now())
        self.codes[code.code] = self._offers[code.order.key] = code
        return code

    def _expire_if_due(self, trade: Trade) -> None:
        if trade.status == WAIT_BUYER_PAY and trade.expires_at <= self.now():
            trade.close(self.now())
            self._on_expired(trade)
