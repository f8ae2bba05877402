"""A trade and its refunds: the states Alipay documents, and nothing that could skip one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from payplat.simulators.alipay import fields
from payplat.simulators.alipay.refusals import Refusal
from payplat.simulators.alipay.requests import Call

WAIT_BUYER_PAY = "WAIT_BUYER_PAY"
TRADE_SUCCESS = "TRADE_SUCCESS"
TRADE_FINISHED = "TRADE_FINISHED"
TRADE_CLOSED = "TRADE_CLOSED"

_TWO_HOURS = 2 * 3600.0
_THREE_HOURS = 3 * 3600.0
_FIFTEEN_DAYS = 15 * 86400.0
# What may differ between two requests for one order: how it is shown and until when.
_INCIDENTAL = {
    "time_expire",
    "timeout_express",
    "qr_code_timeout_express",
    "qr_pay_mode",
    "qrcode_width",
    "integration_type",
    "quit_url",
    "business_params",
    "query_options",
}


@dataclass(frozen=True)
class Buyer:
    """Who pays: the old 2088 number, the newer open id, and the masked login name."""

    user_id: str = "2088902000000017"
    open_id: str = "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5"
    logon_id: str = "sim***@example.com"


@dataclass(frozen=True)
class Order:
    """What the merchant asked to be paid; becomes a trade when a buyer takes it up."""

    app_id: str
    seller_id: str
    method: str
    out_trade_no: str
    total_fen: int
    subject: str
    body: str
    passback_params: str
    notify_url: str
    return_url: str
    quit_url: str
    time_expire: str
    timeout_express: str
    fingerprint: str

    @classmethod
    def of(cls, call: Call) -> Order:
        """Read it from a request."""
        agreed = {name: call.biz[name] for name in call.biz.keys() - _INCIDENTAL}
        agreed["total_amount"] = total = fields.amount(call.biz, "total_amount")
        if call.text("seller_id") not in ("", call.app.seller_id):
            raise Refusal("ACQ.PARTNER_ERROR")
        return cls(
            app_id=call.app.app_id,
            seller_id=call.app.seller_id,
            method=call.method,
            out_trade_no=call.text("out_trade_no"),
            total_fen=total,
            subject=call.text("subject"),
            body=call.text("body"),
            passback_params=call.text("passback_params"),
            notify_url=call.parameters.get("notify_url", ""),
            return_url=call.parameters.get("return_url", ""),
            quit_url=call.text("quit_url"),
            time_expire=call.text("time_expire"),
            timeout_express=call.text("timeout_express"),
            fingerprint=json.dumps([call.method, agreed], sort_keys=True),
        )

    @property
    def key(self) -> tuple[str, str]:
        """An order number is the seller's own: unique per seller, not per application."""
        return self.seller_id, self.out_trade_no

    def expires_at(self, now: float) -> float:
        """End of the time to pay, for a trade created `now`; time_expire wins over the rest."""
        if self.time_expire:
            return fields.moment(self.time_expire)
        if self.timeout_express:
            return now + fields.lifetime(self.timeout_express, now)
        return now + (_THREE_HOURS if self.method == fields.PRECREATE else _FIFTEEN_DAYS)

    def check_time(self, now: float) -> None:
        """Refuse an expiry that cannot be read or has passed."""
        if self.expires_at(now) <= now:
            raise Refusal("ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR")


@dataclass
class Code:
    """A QR code from precreate: an order that waits to be scanned."""

    code: str
    order: Order
    dies_at: float

    @classmethod
    def of(cls, call: Call, code: str, now: float) -> Code:
        """Read it from a request."""
        express = call.text("qr_code_timeout_express")
        life = fields.lifetime(express, now) if express else _TWO_HOURS
        return cls(code, Order.of(call), now + min(life, _TWO_HOURS))


@dataclass
class Refund:
    """One refund of a trade; `done_at` is empty while it is accepted but not yet carried out."""

    out_request_no: str
    fen: int
    reason: str
    accepted_at: float
    done_at: float | None = None


@dataclass
class Trade:
    """Times are seconds since the epoch (UTC), amounts fen."""

    trade_no: str
    order: Order
    created_at: float
    expires_at: float
    buyer: Buyer
    status: str = WAIT_BUYER_PAY
    paid_at: float | None = None
    closed_at: float | None = None
    finished_at: float | None = None
    refunds: dict[str, Refund] = field(default_factory=dict)

    @property
    def out_trade_no(self) -> str:
        """The merchant's number."""
        return self.order.out_trade_no

    @property
    def total_fen(self) -> int:
        """What is to be paid, in fen."""
        return self.order.total_fen

    @property
    def refunded_fen(self) -> int:
        """What has gone back to the buyer so far."""
        return sum(refund.fen for refund in self.refunds.values() if refund.done_at is not None)

    @property
    def refundable_fen(self) -> int:
        """What has not gone back yet, in fen."""
        return self.total_fen - sum(refund.fen for refund in self.refunds.values())

    def check_payable(self) -> None:
        """Refuse a payment that the state forbids."""
        if self.status == TRADE_CLOSED:
            raise Refusal("ACQ.TRADE_HAS_CLOSE")
        if self.status != WAIT_BUYER_PAY:
            raise Refusal("ACQ.TRADE_HAS_SUCCESS")

    def pay(self, now: float, *, final: bool = False) -> None:
        """`final` is the product without refunds: finished as soon as it is paid."""
        self.check_payable()
        self.status = TRADE_FINISHED if final else TRADE_SUCCESS
        self.paid_at = now
        self.finished_at = now if final else None

    def reopen(self) -> None:
        """For a payment that was in flight when the trade expired: as if it had not."""
        if self.status == TRADE_CLOSED and self.paid_at is None:
            self.status, self.closed_at = WAIT_BUYER_PAY, None

    def close(self, now: float) -> None:
        """Only unpaid trades close."""
        if self.status == TRADE_CLOSED:
            raise Refusal("ACQ.REASON_TRADE_STATUS_INVALID")
        if self.status != WAIT_BUYER_PAY:
            raise Refusal("ACQ.TRADE_STATUS_ERROR")
        self.status, self.closed_at = TRADE_CLOSED, now

    def finish(self, now: float) -> None:
        """The refund window is over."""
        if self.status != TRADE_SUCCESS:
            raise Refusal("ACQ.TRADE_STATUS_ERROR")
        self.status, self.finished_at = TRADE_FINISHED, now

    def accept_refund(
        self, fen: int, out_request_no: str, reason: str, now: float
    ) -> tuple[Refund, bool]:
        """The refund, and whether it is new; the same request again changes nothing."""
        known = self.refunds.get(out_request_no)
        if known and known.fen != fen:
            raise Refusal("ACQ.DISCORDANT_REPEAT_REQUEST")
        if known:
            return known, False
        self._check_refundable(fen)
        refund = Refund(out_request_no, fen, reason, now)
        self.refunds[out_request_no] = refund
        return refund, True

    def carry_out(self, refund: Refund, now: float) -> None:
        """Money goes back; a trade refunded whole is closed."""
        refund.done_at = now
        if self.refunded_fen == self.total_fen:
            self.status, self.closed_at = TRADE_CLOSED, now

    def _check_refundable(self, fen: int) -> None:
        refusals = {
            WAIT_BUYER_PAY: "ACQ.TRADE_STATUS_ERROR",
            TRADE_CLOSED: "ACQ.TRADE_HAS_CLOSE",
            TRADE_FINISHED: "ACQ.TRADE_HAS_FINISHED",
        }
        if self.status in refusals:
            raise Refusal(refusals[self.status])
        if not 0 < fen <= self.refundable_fen:
            raise Refusal("ACQ.REASON_TRADE_REFUND_FEE_ERR")
