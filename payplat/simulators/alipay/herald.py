"""Decides which events of a trade are told to the merchant, and in which words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from payplat.simulators.alipay import misfortunes, notices, wire
from payplat.simulators.alipay.courier import Courier, Notice
from payplat.simulators.alipay.faults import Faults, NoticeFault, Spoil
from payplat.simulators.alipay.keys import Keys
from payplat.simulators.alipay.knobs import LEGACY, Knobs
from payplat.simulators.alipay.trades import Refund, Trade
from payplat.simulators.clock import Agenda


class Herald:
    """Each method returns the notices it handed to the courier."""

    def __init__(self, agenda: Agenda, keys: Keys, faults: Faults, knobs: Knobs) -> None:
        self.courier = Courier(agenda, self._body, knobs)
        self._clock = agenda.clock
        self._keys = keys
        self._faults = faults
        self._knobs = knobs

    def paid(self, trade: Trade, fault: NoticeFault | None = None) -> list[Notice]:
        """A fault asked for comes first, then an armed one, then that of the magic amount."""
        fault = fault or self._faults.take_notice(notices.PAID, trade.out_trade_no)
        misfortune = misfortunes.magic(trade.total_fen)
        if fault is None and misfortune:
            fault = NoticeFault(**misfortune.notice)
        return self._tell(trade, notices.PAID, fault or NoticeFault())

    def refunded(self, trade: Trade, refund: Refund) -> list[Notice]:
        """Send the notice of a refund, where the profile has such notices."""
        if not self._knobs.refund_notices:
            return []
        return self._tell(trade, notices.REFUNDED, self._armed(notices.REFUNDED, trade), refund)

    def ended(self, trade: Trade, event: str) -> list[Notice]:
        """Closed or finished: only older contracts hear of it."""
        if self._knobs.profile != LEGACY:
            return []
        return self._tell(trade, event, self._armed(event, trade))

    def body(self, trade: Trade, refund: Refund | None, changes: dict[str, Any]) -> bytes:
        """A signed notification of the trade as it stands, that nobody sends."""
        genuine = notices.parameters(trade, refund)
        addressed = self._addressed(genuine, f"{trade.trade_no}{len(trade.refunds)}")
        return self._signed(trade, addressed, Spoil.of(changes))

    def _armed(self, event: str, trade: Trade) -> NoticeFault:
        return self._faults.take_notice(event, trade.out_trade_no) or NoticeFault()

    def _tell(
        self, trade: Trade, event: str, fault: NoticeFault, refund: Refund | None = None
    ) -> list[Notice]:
        """Without notify_url in the order's request there is no notification, ever."""
        if not trade.order.notify_url:
            return []
        genuine = notices.parameters(trade, refund)
        sent = [self.courier.send(trade, event, genuine, fault)]
        if fault.then_genuine:
            sent.append(self.courier.send(trade, event, genuine, NoticeFault()))
        return sent

    def _body(self, notice: Notice) -> bytes:
        addressed = self._addressed(notice.parameters, notice.notify_id)
        if not self._knobs.renew_notify_time:
            notice.parameters.setdefault("notify_time", addressed["notify_time"])
        return self._signed(notice.trade, addressed, notice.fault)

    def _addressed(self, parameters: dict[str, str], notify_id: str) -> dict[str, str]:
        now = wire.beijing(self._clock.now())
        return {"notify_time": now, "notify_id": notify_id, **parameters}

    def _signed(self, trade: Trade, addressed: dict[str, str], spoil: Spoil) -> bytes:
        spoil = replace(spoil, open_id=spoil.open_id or self._knobs.open_id)
        return notices.write(addressed, spoil, self._keys, open_id=trade.buyer.open_id)
