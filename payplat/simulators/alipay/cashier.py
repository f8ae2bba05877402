"""The cashier a person clicks: pay, cancel, or choose a misfortune."""

from __future__ import annotations

import json

import segno

from payplat.simulators.alipay import misfortunes, wire
from payplat.simulators.alipay.doors import Door
from payplat.simulators.alipay.faults import NoticeFault
from payplat.simulators.alipay.fields import APP_PAY, PAGE_PAY
from payplat.simulators.alipay.refusals import Refusal
from payplat.simulators.alipay.returning import return_address, sdk_result
from payplat.simulators.alipay.trades import TRADE_CLOSED, WAIT_BUYER_PAY, Trade


class Cashier(Door):
    """`/cashier/<trade_no>`."""

    async def get(self, trade_no: str) -> None:
        """Show the cashier."""
        trade = self._trade(trade_no)
        if trade:
            self._show(trade)

    async def post(self, trade_no: str) -> None:
        """Do what the buyer clicked."""
        trade = self._trade(trade_no)
        if trade is None:
            return
        try:
            self._act(trade, self.get_body_argument("action", ""))
        except Refusal as refusal:
            self.page("refused.html", refusal=refusal)

    def _trade(self, trade_no: str) -> Trade | None:
        trade = self.platform.ledger.by_trade_no(trade_no)
        if trade is None:
            self.set_status(404)
            self.page("refused.html", refusal=Refusal("ACQ.TRADE_NOT_EXIST"))
        return trade

    def _act(self, trade: Trade, action: str) -> None:
        if action == "cancel":
            self.page("cancelled.html", trade=trade, back=trade.order.quit_url)
        elif action == "expire":
            self.platform.close(trade)
            self._reload(trade)
        elif action == "pay" or action in misfortunes.BY_NAME:
            self._pay(trade, misfortunes.BY_NAME.get(action))
        else:
            self.send_error(400)

    def _pay(self, trade: Trade, misfortune: misfortunes.Misfortune | None) -> None:
        """The buyer goes back at once; the notification travels on its own."""
        fault = NoticeFault(**misfortune.notice) if misfortune and misfortune.notice else None
        self.platform.settle(trade, fault=fault)
        if misfortune:
            self.platform.arm(misfortune, trade)
        if trade.order.return_url:
            self.redirect(return_address(self.platform, trade))
        else:
            self._reload(trade)

    def _reload(self, trade: Trade) -> None:
        self.redirect(f"/cashier/{trade.trade_no}?lang={self.language()}", status=303)

    def _show(self, trade: Trade) -> None:
        if trade.status == WAIT_BUYER_PAY:
            self._show_open(trade)
        elif trade.status == TRADE_CLOSED:
            self.page("closed.html", trade=trade, amount=wire.yuan(trade.total_fen))
        else:
            self._show_paid(trade)

    def _show_open(self, trade: Trade) -> None:
        qr = ""
        if trade.order.method == PAGE_PAY:
            address = f"{self.platform.url}/cashier/{trade.trade_no}"
            qr = segno.make(address, micro=False).svg_inline(scale=4, border=2)
        self.page(
            "cashier.html",
            trade=trade,
            amount=wire.yuan(trade.total_fen),
            until=wire.beijing(trade.expires_at),
            menu=misfortunes.MENU,
            magic=misfortunes.magic(trade.total_fen),
            qr=qr,
        )

    def _show_paid(self, trade: Trade) -> None:
        order, result = trade.order, ""
        if order.method == APP_PAY:
            result = json.dumps(sdk_result(self.platform, trade), ensure_ascii=False, indent=2)
        back = return_address(self.platform, trade) if order.return_url else ""
        amount = wire.yuan(trade.total_fen)
        self.page("paid.html", trade=trade, amount=amount, back=back, result=result)


class Scan(Door):
    """`/qr/<code>`: opening the address is scanning the code."""

    async def get(self, code: str) -> None:
        """Take up the order behind the code and show its cashier."""
        try:
            trade = self.platform.scan(code)
        except Refusal as refusal:
            self.page("refused.html", refusal=refusal)
            return
        self.redirect(f"/cashier/{trade.trade_no}")


class Index(Door):
    """`/`: the books, for people."""

    async def get(self) -> None:
        """Show the books."""
        trades = list(reversed(self.platform.ledger.trades.values()))[:200]
        attempts = list(reversed(self.platform.herald.courier.attempts))[:200]
        self.page("index.html", trades=trades, attempts=attempts, wire=wire, menu=misfortunes.MENU)
