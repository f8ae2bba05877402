"""The wallet app: takes the orderString of app.pay as it is, and answers as the SDK does."""

from __future__ import annotations

from payplat.simulators.alipay import returning
from payplat.simulators.alipay.doors import Door
from payplat.simulators.alipay.entrance import enter
from payplat.simulators.alipay.platform import Platform
from payplat.simulators.alipay.refusals import Refusal
from payplat.simulators.alipay.returning import sdk_outcome, sdk_result

# What the buyer did, what the app hears, and whether the money has moved all the same.
_OTHER_ENDS = {
    "cancel": (returning.CANCELLED, False),
    "processing": (returning.PROCESSING, True),
    "unknown": (returning.UNKNOWN, True),
}


class Wallet(Door):
    """`POST /wallet`: `order_string`, and `action` pay, cancel, processing, unknown or network.

    `GET /wallet?order_string=…` opens the same order at the cashier for a person.
    """

    async def get(self) -> None:
        """Show the order to the person with the phone."""
        order_string = self.get_query_argument("order_string", "", strip=False)
        if not order_string:
            self.page("wallet.html")
            return
        try:
            trade = enter(self.platform, order_string)
        except Refusal as refusal:
            self.page("refused.html", refusal=refusal)
            return
        self.redirect(f"/cashier/{trade.trade_no}")

    async def post(self) -> None:
        """Answer as the app's SDK does."""
        order_string = self.get_body_argument("order_string", "", strip=False)
        action = self.get_body_argument("action", "pay")
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(open_order(self.platform, order_string, action))


def open_order(platform: Platform, order_string: str, action: str = "pay") -> dict[str, str]:
    """resultStatus, memo and result; the notification travels on its own."""
    if action == "network":
        return sdk_outcome(returning.NO_NETWORK)
    try:
        trade = enter(platform, order_string)
        status, moved = _OTHER_ENDS.get(action, (returning.PAID, True))
        if moved:
            platform.settle(trade)
    except Refusal as refusal:
        return sdk_outcome(returning.FAILED, refusal)
    return sdk_result(platform, trade) if status == returning.PAID else sdk_outcome(status)
