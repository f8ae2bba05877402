"""Alipay without its doors: applications, keys, books and notifications, on one simulated clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from payplat.simulators.alipay import misfortunes, notices
from payplat.simulators.alipay.certificates import Authority, Credentials
from payplat.simulators.alipay.courier import Notice
from payplat.simulators.alipay.faults import Faults, NoticeFault
from payplat.simulators.alipay.fields import METHODS
from payplat.simulators.alipay.herald import Herald
from payplat.simulators.alipay.keys import Keys, new_key, read_public_key
from payplat.simulators.alipay.knobs import Knobs
from payplat.simulators.alipay.ledger import Ledger
from payplat.simulators.alipay.refusals import Refusal
from payplat.simulators.alipay.requests import App
from payplat.simulators.alipay.trades import Buyer, Order, Refund, Trade
from payplat.simulators.clock import Agenda, Clock


@dataclass(frozen=True)
class Received:
    """A request that reached the gateway: when, what was asked, and the code of the answer."""

    at: float
    method: str
    biz: Mapping[str, Any]
    code: str
    sub_code: str


class Platform:
    """The judge of truth: what the books here say has happened, has happened."""

    def __init__(self, clock: Clock, knobs: Knobs, platform_key: rsa.RSAPrivateKey | None) -> None:
        self.clock = clock
        self.knobs = knobs
        self.agenda = Agenda(clock)
        self.keys = Keys(platform_key)
        self.apps: dict[str, App] = {}
        self.faults = Faults()
        self.herald = Herald(self.agenda, self.keys, self.faults, knobs)
        self.ledger = Ledger(self.agenda, knobs, self._expired)
        self.received: list[Received] = []
        self.buyer = Buyer()
        self.url = ""
        self.closing = asyncio.Event()

    # Applications.

    def add_app(
        self,
        app_id: str,
        seller_id: str,
        public_key_pem: str,
        methods: frozenset[str] = frozenset(METHODS),
    ) -> None:
        """Register an application in key mode; `methods` is what its contract permits."""
        key = read_public_key(public_key_pem)
        self.apps[app_id] = App(app_id, seller_id, key, methods=methods)

    def add_certified_app(
        self, app_id: str, seller_id: str, app_public_key_pem: str
    ) -> Credentials:
        """Register an application in certificate mode: what its owner downloads."""
        key = read_public_key(app_public_key_pem)
        papers = self.authority.certify(app_id, key)
        self.apps[app_id] = App(app_id, seller_id, key, papers.app_cert_sn, papers.root_cert_sn)
        return papers

    @cached_property
    def authority(self) -> Authority:
        """Who issues certificates here."""
        return Authority(self.keys.platform.public_key())

    @property
    def public_key_pem(self) -> str:
        """The platform's public key, with which a merchant in key mode verifies."""
        return self.keys.public_pem

    def cert_sn(self, app_id: str) -> str:
        """What answers to this application name as the platform's certificate, if any."""
        app = self.apps.get(app_id)
        return self.authority.alipay_sn if app and app.cert_sn else ""

    def rotate_platform_key(self) -> None:
        """From now on the platform signs with another key, and its certificate says so."""
        self.keys.platform = new_key()
        self.renew_certificate()

    def renew_certificate(self) -> None:
        """The Alipay certificate is issued again: the platform's key, a new serial number."""
        self.authority.renew(self.keys.platform.public_key())

    # Trades.

    def trade(self, out_trade_no: str, seller_id: str = "") -> Trade | None:
        """The trade of this order, None as long as no buyer has taken it up."""
        sellers = {seller_id} if seller_id else {app.seller_id for app in self.apps.values()}
        found = (self.ledger.look(seller, out_trade_no) for seller in sorted(sellers))
        return next((trade for trade in found if trade), None)

    def need(self, out_trade_no: str, seller_id: str = "") -> Trade:
        """The trade of this order; refuses one that does not exist."""
        trade = self.trade(out_trade_no, seller_id)
        if trade is None:
            raise Refusal("ACQ.TRADE_NOT_EXIST")
        return trade

    def take_up(self, order: Order) -> Trade:
        """A buyer opens the cashier."""
        known = self.ledger.look(*order.key)
        trade = self.ledger.enter(order, self.buyer)
        misfortune = misfortunes.magic(trade.total_fen)
        if known is None and misfortune:
            self.arm(misfortune, trade)
        return trade

    def scan(self, code: str) -> Trade:
        """A buyer scans a QR code (the code itself, or the address it stands for)."""
        return self.take_up(self.ledger.scanned(code.rpartition("/")[2]))

    def arm(self, misfortune: misfortunes.Misfortune, trade: Trade) -> None:
        """Prepare what a magic amount asks for."""
        if misfortune.answer:
            self.faults.answer(**misfortune.answer, out_trade_no=trade.out_trade_no)

    def settle(
        self, trade: Trade, *, final: bool = False, fault: NoticeFault | None = None
    ) -> list[Notice]:
        """The buyer pays; the notifications are on their way, nobody waits for them."""
        trade.pay(self.clock.now(), final=final)
        return self.herald.paid(trade, fault)

    async def pay(
        self, out_trade_no: str, *, final: bool = False, late: bool = False, seller_id: str = ""
    ) -> Trade:
        """As a buyer at the cashier; returns when the first delivery has been answered.

        `final`: a product without refunds, TRADE_FINISHED at once. `late`: a payment that was in
        flight when the trade expired or was closed, and wins.
        """
        trade = self.need(out_trade_no, seller_id)
        if late:
            trade.reopen()
        await _tried(self.settle(trade, final=final))
        return trade

    def close(self, trade: Trade) -> list[Notice]:
        """By the merchant or for lack of time; only while it is unpaid."""
        trade.close(self.clock.now())
        return self.herald.ended(trade, notices.CLOSED)

    async def expire(self, out_trade_no: str) -> Trade:
        """The time to pay runs out now."""
        trade = self.need(out_trade_no)
        await _tried(self.close(trade))
        return trade

    async def finish(self, out_trade_no: str) -> Trade:
        """The refund window ends now."""
        trade = self.need(out_trade_no)
        trade.finish(self.clock.now())
        await _tried(self.herald.ended(trade, notices.FINISHED))
        return trade

    def _expired(self, trade: Trade) -> None:
        self.herald.ended(trade, notices.CLOSED)

    # Refunds.

    def start_refund(
        self, trade: Trade, fen: int, out_request_no: str, reason: str = ""
    ) -> tuple[Refund, list[Notice]]:
        """Accept a refund and carry it out when the knob `refund_delay` says so."""
        refund, new = trade.accept_refund(fen, out_request_no, reason, self.clock.now())
        delay = self.knobs.refund_delay
        if new and delay == 0:
            return refund, self._carry_out(trade, refund)
        if new and delay is not None:
            self._carry_out_later(trade, refund, delay)
        return refund, []

    async def refund(
        self, out_trade_no: str, fen: int, out_request_no: str, reason: str = ""
    ) -> Refund:
        """As the merchant's staff in Alipay's own console; `fen` is the amount of this refund."""
        refund, sent = self.start_refund(self.need(out_trade_no), fen, out_request_no, reason)
        await _tried(sent)
        return refund

    async def complete_refund(self, out_trade_no: str, out_request_no: str) -> Refund:
        """Carry out a refund that was only accepted."""
        trade = self.need(out_trade_no)
        refund = trade.refunds[out_request_no]
        await _tried(self._carry_out(trade, refund))
        return refund

    def _carry_out(self, trade: Trade, refund: Refund) -> list[Notice]:
        if refund.done_at is not None:
            return []
        trade.carry_out(refund, self.clock.now())
        return self.herald.refunded(trade, refund)

    def _carry_out_later(self, trade: Trade, refund: Refund, delay: float) -> None:
        async def later() -> None:
            self._carry_out(trade, refund)

        self.agenda.at(self.clock.now() + delay, later)

    # Notifications.

    def notification_body(
        self, out_trade_no: str, *, out_request_no: str = "", **changes: Any
    ) -> bytes:
        """A freshly signed notification of the trade as it stands; of a refund if one is named.

        `changes` are fields of `Spoil` (sign_with="wrong", digest="sha1", signature="none" …);
        any other name overrides a parameter before signing (None leaves it out).
        """
        trade = self.need(out_trade_no)
        refund = trade.refunds[out_request_no] if out_request_no else None
        return self.herald.body(trade, refund, changes)

    async def nap(self, seconds: float) -> None:
        """Real seconds, cut short when the simulator stops."""
        if not seconds:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closing.wait()


async def _tried(sent: list[Notice]) -> None:
    for notice in sent:
        await notice.tried.wait()
