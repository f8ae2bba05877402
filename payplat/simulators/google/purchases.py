"""One purchase token through its life: pending, purchased, acknowledged, consumed, refunded.

Source: developer.android.com, "One-time purchase lifecycle"; Android Publisher v3 reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from payplat.simulators.google.refusals import BillingRefusal, Refusal

PURCHASED, CANCELED, PENDING = 0, 1, 2
TEST, PROMO, REWARDED = 0, 1, 2
USER, DEVELOPER, GOOGLE = 0, 1, 2
OTHER, CHARGEBACK, UNACKNOWLEDGED = 0, 7, 8

_LONGEST_ID = 64
_GONE_AFTER = 60 * 86400.0
"""Seconds after its end at which a token is no longer valid; the true time is not published."""


@dataclass(frozen=True)
class Terms:
    """What the app and the buyer bring to a purchase.

    `purchase_type` None, TEST, PROMO or REWARDED; `test` is short for the first. `points_micros`
    is paid in Play Points. `buyer` is the Google account on the device; as a rule one per
    obfuscated account id.
    """

    obfuscated_account_id: str | None = None
    obfuscated_profile_id: str | None = None
    quantity: int = 1
    test: bool = False
    region: str = "US"
    purchase_type: int | None = None
    points_micros: int = 0
    buyer: str = ""

    def __post_init__(self) -> None:
        """What BillingFlowParams refuses to build."""
        ids = (self.obfuscated_account_id or "", self.obfuscated_profile_id or "")
        if any(len(each) > _LONGEST_ID for each in ids):
            raise BillingRefusal("DEVELOPER_ERROR", "an obfuscated id has at most 64 characters")
        if ids[1] and not ids[0]:
            raise BillingRefusal("DEVELOPER_ERROR", "a profile id needs an account id")
        if self.quantity < 1:
            raise BillingRefusal("DEVELOPER_ERROR", "quantity is at least 1")

    @property
    def kind(self) -> int | None:
        """`purchaseType`; None where real money is paid."""
        return TEST if self.test else self.purchase_type

    @property
    def owner(self) -> str:
        """Who owns what is bought."""
        return self.buyer or self.obfuscated_account_id or ""


@dataclass(frozen=True)
class Refund:
    """Units given back at a time (seconds since the epoch); `whole`: nothing is left after it.

    The list of voided purchases shows it from `recorded_at`, and only if it was revoked too.
    """

    at: float
    quantity: int
    revoke: bool
    source: int
    reason: int
    whole: bool
    recorded_at: float


@dataclass
class Purchase:
    """`micros` is the price of one unit. Without an order (promotion codes) `order_id` stays None."""

    package: str
    product_id: str
    title: str
    purchase_token: str
    terms: Terms
    micros: int
    currency: str
    created_at: float
    state: int = PENDING
    order_id: str | None = None
    paid_at: float | None = None
    ended_at: float | None = None
    acknowledged: bool = False
    consumed: bool = False
    developer_payload: str | None = None
    refunds: list[Refund] = field(default_factory=list)

    @property
    def refundable(self) -> int:
        """Units not yet given back."""
        return self.terms.quantity - sum(refund.quantity for refund in self.refunds)

    @property
    def paid_micros(self) -> int:
        """What was paid in money, for all units."""
        return self.micros * self.terms.quantity - self.terms.points_micros

    def blocks(self, product_id: str, owner: str) -> bool:
        """Whether it keeps its owner from buying the product again."""
        mine = (self.product_id, self.terms.owner) == (product_id, owner)
        return mine and self.state != CANCELED and not self.consumed

    def gone(self, now: float) -> bool:
        """Whether it ended so long ago that its token is forgotten."""
        return self.ended_at is not None and now > self.ended_at + _GONE_AFTER

    def pay(self, now: float, order_id: str) -> None:
        """The money has come."""
        if self.state != PENDING:
            raise Refusal("invalidPurchaseState")
        self.state, self.paid_at = PURCHASED, now
        self.order_id = None if self.terms.kind in (PROMO, REWARDED) else order_id

    def cancel(self, now: float) -> None:
        """The money never comes."""
        if self.state != PENDING:
            raise Refusal("invalidPurchaseState")
        self.state, self.ended_at = CANCELED, now

    def acknowledge(self, developer_payload: str | None = None) -> None:
        """Products.acknowledge; once more changes nothing."""
        self._must_be_owned()
        self.acknowledged = True
        self.developer_payload = developer_payload or self.developer_payload

    def consume(self) -> None:
        """Products.consume, which acknowledges too; the product can be bought again."""
        self._must_be_owned()
        self.acknowledged = self.consumed = True

    def refund(
        self,
        now: float,
        quantity: int | None,
        *,
        revoke: bool,
        source: int,
        reason: int,
        recorded_at: float,
    ) -> Refund:
        """Give back `quantity` units, None for all that are left; raises Refusal for more."""
        units = self.refundable if quantity is None else quantity
        if self.paid_at is None:
            raise Refusal("invalidPurchaseState")
        if not 0 < units <= self.refundable:
            raise Refusal("invalid", "There is nothing left to refund.")
        whole = units == self.refundable
        refund = Refund(now, units, revoke, source, reason, whole, recorded_at)
        self.refunds.append(refund)
        if whole and revoke:
            self.state, self.ended_at = CANCELED, now
        return refund

    def _must_be_owned(self) -> None:
        if self.state == PENDING:
            raise Refusal("invalidPurchaseState")
        if self.state == CANCELED or self.consumed:
            raise Refusal("productNotOwnedByUser")
