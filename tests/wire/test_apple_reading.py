"""Apple's words read as verdicts: transactions, prices, every notification type, and where the history stands."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payplat.channels.apple import reading
from payplat.channels.apple.history import Window
from payplat.channels.apple.server_api import NotificationPage
from payplat.purchase import Evidence, Source, State, Verdict
from payplat.seam import SECOND
from payplat.simulators.apple.notices import TYPES
from tests.wire.apple_pki import TRANSACTION

EVIDENCE = Evidence(Source.CALLBACK, b"signed")
REVOKED = {"revocationDate": 1_790_000_500_000, "revocationReason": 0}
SIGNED_AT = 1_790_000_600_000
UUID = "002e14d5-51f5-4503-b5a8-c3a1af68eb20"


def transaction(**changes: Any) -> dict[str, Any]:
    """A purchase of 500 coins with changes; ... leaves a member out."""
    members = {**TRANSACTION, **changes}
    return {name: value for name, value in members.items() if value is not ...}


def read(**changes: Any) -> Verdict:
    """What is read of it."""
    return reading.read_transaction(transaction(**changes), EVIDENCE, "x5c:1")


def notified(kind: str, *, asks_merchant: bool = True, **changes: Any) -> Verdict:
    """What is read of a notification about it."""
    purchase = transaction(**changes)
    head = {"notificationType": kind, "notificationUUID": UUID, "signedDate": SIGNED_AT}
    notification = {**head, "data": {"consumptionRequestReason": "OTHER"}}
    verdict = reading.read_transaction(purchase, EVIDENCE, "x5c:1")
    return reading.read_notification_of(notification, verdict, asks_merchant=asks_merchant)


def test_a_purchase_is_read_whole() -> None:
    """Every fact that the ledger compares or records comes from the signed members."""
    assert read() == Verdict(
        state=State.PAID,
        kind="apple",
        environment="sandbox",
        account="com.example.game",
        order_no="7e3fb20b4cdb47cc936d99d65f608138",
        evidence=EVIDENCE,
        verifier="x5c:1",
        transaction_id="2000000123456789",
        amount=499,
        currency="USD",
        product="coins_500",
        quantity=1,
        consumable=True,
        payer="704289572311059999",
        paid_at=1_790_000_000_000_000,
    )


@pytest.mark.parametrize(
    ("price", "currency", "expected"),
    [
        (1990, "USD", 199),
        (300_000, "JPY", 300),
        (3_300_000, "KRW", 3300),
        (1990, "KWD", 1990),
        (10, "USD", 1),
        (999_999_999_999_990, "USD", 99_999_999_999_999),
    ],
)
def test_prices_become_minor_units(price, currency, expected) -> None:
    """Milliunits become minor units by the currency's own exponent, exactly."""
    assert reading.price_of({"price": price, "currency": currency}) == (expected, currency, "")


@pytest.mark.parametrize(
    ("price", "currency"),
    [(1995, "USD"), (300_500, "JPY"), (0, "USD"), (-1990, "USD"), (1990, "XTS"), (10**30, "USD")],
)
def test_a_price_that_is_not_exact_is_noted_and_left_out(price, currency) -> None:
    """Nothing is rounded: a remainder, an unknown currency or no positive amount leaves both unknown, and says so."""
    told = reading.price_of({"price": price, "currency": currency})
    assert told == (None, None, f"price {price} milliunits of {currency}")
    verdict = read(price=price, currency=currency)
    assert (verdict.state, verdict.amount, verdict.note) == (State.PAID, None, told[2])
    assert verdict.states_payment
    assert notified("ONE_TIME_CHARGE", price=price, currency=currency).note.endswith(told[2])


@pytest.mark.parametrize("price", [..., None, True, "1990", 19.9, [1990]])
def test_a_price_that_is_no_number_is_none(price) -> None:
    """Where Apple states no price the purchase is one all the same."""
    verdict = read(price=price)
    assert (verdict.state, verdict.amount, verdict.currency) == (State.PAID, None, None)
    assert read(currency=...).amount is None


@pytest.mark.parametrize(
    ("token", "order_no"),
    [
        ("7E3FB20B-4CDB-47CC-936D-99D65F608138", "7e3fb20b4cdb47cc936d99d65f608138"),
        (..., None),
        ("", None),
        (None, None),
        ("player-7", None),
        ({}, None),
        (["7e3fb20b-4cdb-47cc-936d-99d65f608138"], None),
    ],
)
def test_the_token_is_the_order_number(token, order_no) -> None:
    """UUIDs are compared without regard to case or hyphens; what is no UUID names no order."""
    assert read(appAccountToken=token).order_no == order_no


def test_unknown_members_and_words_change_nothing() -> None:
    """Apple adds members and words several times a year."""
    more = {"advancedCommerceInfo": {"x": [1]}, "billingPlanType": "NEW", "offerType": 9, "x": None}
    assert read(**more) == read()
    assert read(transactionReason="NEW", storefront=7, offerDiscountType="NEW") == read()


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({"type": "Auto-Renewable Subscription"}, "type"),
        ({"type": "Non-Renewing Subscription"}, "type"),
        ({"type": "consumable"}, "type"),
        ({"inAppOwnershipType": "FAMILY_SHARED"}, "ownership"),
        ({"inAppOwnershipType": "purchased"}, "ownership"),
    ],
)
def test_what_may_pay_no_order_has_an_objection(changes, objection) -> None:
    """Subscriptions, family shares and words nobody knows are read, and marked."""
    assert read(**changes).objection == objection


def test_what_is_bought_once_is_named_by_its_first_transaction() -> None:
    """A restored non-consumable has the id of its first purchase, a consumable that of its own."""
    changes = {"transactionId": "2", "originalTransactionId": "1"}
    assert read(type="Non-Consumable", **changes).transaction_id == "1"
    assert read(**changes).transaction_id == "2"


NEEDED = (
    "transactionId originalTransactionId productId type inAppOwnershipType purchaseDate quantity"
).split()
JUNK: list[Any] = [..., None, "", True, 1.5, [], {}, "x" * 151, "金" * 51]


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("value", JUNK, ids=lambda value: repr(value)[:8])
def test_without_what_apple_always_sends_nothing_is_known(name, value) -> None:
    """A missing or misshaped member leaves a verdict that pays nothing and says that the form is wrong."""
    if name in ("purchaseDate", "quantity"):
        assert read(**{name: "1790000000000"}).objection == "form"
    verdict = read(**{name: value})
    assert (verdict.state, verdict.objection) == (State.UNKNOWN, "form")
    assert not verdict.states_payment
    for kind in TYPES:
        assert not notified(kind, **{name: value}).states_payment


@pytest.mark.parametrize("value", ["soon", True, 1.5, [], {}, -1, 10**30])
def test_a_revocation_that_cannot_be_read_pays_nothing(value) -> None:
    """A transaction that was revoked at no time that we understand is not paid, and not refunded either."""
    verdict = read(revocationDate=value)
    assert (verdict.state, verdict.objection, verdict.refund) == (State.UNKNOWN, "form", None)


@pytest.mark.parametrize(
    ("revocation", "state", "share"),
    [
        ({}, State.REFUNDED, None),
        (
            {"revocationType": "REFUND_FULL", "revocationPercentage": 100_000},
            State.REFUNDED,
            100_000,
        ),
        ({"revocationType": "REFUND_FULL", "revocationPercentage": 15}, State.REFUNDED, 15),
        ({"revocationType": "FAMILY_REVOKE"}, State.REFUNDED, None),
        ({"revocationType": "REFUND_PRORATED", "revocationPercentage": 67_932}, State.PAID, 67_932),
        ({"revocationType": "REFUND_PRORATED"}, State.REFUNDED, None),
        ({"revocationPercentage": 99_999}, State.PAID, 99_999),
        ({"revocationPercentage": 100_000}, State.REFUNDED, 100_000),
        ({"revocationType": "NEW", "revocationPercentage": 10}, State.REFUNDED, 10),
        ({"revocationType": "REFUND_PRORATED", "revocationPercentage": "10"}, State.REFUNDED, None),
        ({"revocationType": 7, "revocationPercentage": True}, State.REFUNDED, None),
    ],
)
def test_a_revoked_transaction_is_a_refund(revocation, state, share) -> None:
    """Its date names the refund; only a prorated one with its share leaves the rest of the purchase."""
    verdict = read(**REVOKED, **revocation)
    refund = verdict.refund
    assert refund is not None
    assert (verdict.state, refund.share, refund.amount) == (state, share, None)
    assert refund.key == "2000000123456789/1790000500000"
    assert (refund.at, refund.reversed) == (1_790_000_500_000_000, False)


def test_a_charge_is_the_purchase_itself() -> None:
    """ONE_TIME_CHARGE says no more and no less than its transaction."""
    verdict = notified("ONE_TIME_CHARGE")
    assert (verdict.states_payment, verdict.note, verdict.notice) == (True, "ONE_TIME_CHARGE", None)


def test_access_by_family_sharing_is_no_purchase() -> None:
    """ONE_TIME_CHARGE for a family member is put on record and pays nothing."""
    verdict = notified("ONE_TIME_CHARGE", inAppOwnershipType="FAMILY_SHARED")
    assert (verdict.state, verdict.objection) == (State.UNKNOWN, "")
    assert verdict.notice is not None
    assert (verdict.notice.what, verdict.notice.is_event) == ("family_shared", False)


@pytest.mark.parametrize("kind", ["REFUND", "REVOKE"])
def test_a_refund_needs_its_date(kind) -> None:
    """REFUND and REVOKE are what their transaction says; without a revocation they are contradictory."""
    assert notified(kind, **REVOKED).state is State.REFUNDED
    verdict = notified(kind)
    assert (verdict.state, verdict.objection) == (State.UNKNOWN, "refund")


def test_a_reversal_means_what_was_refunded_before_it() -> None:
    """REFUND_REVERSED pays again; of a transaction that is revoked now it speaks of earlier refunds only."""
    verdict = notified("REFUND_REVERSED")
    assert (verdict.state, verdict.states_payment) == (State.PAID, True)
    assert verdict.refund is not None
    assert (verdict.refund.key, verdict.refund.reversed) == ("", True)
    assert verdict.refund.at == SIGNED_AT * 1000
    since = notified("REFUND_REVERSED", **REVOKED)
    assert since.refund is not None
    assert since.refund.at is not None
    assert since.refund.at < REVOKED["revocationDate"] * 1000


def test_a_declined_refund_is_a_notice() -> None:
    """REFUND_DECLINED proves the purchase and tells the timeline."""
    verdict = notified("REFUND_DECLINED")
    assert verdict.states_payment
    assert verdict.notice is not None
    assert (verdict.notice.what, verdict.notice.key) == ("refund_declined", UUID)


@pytest.mark.parametrize("asks", [True, False])
def test_a_consumption_request_names_its_hour(asks) -> None:
    """CONSUMPTION_REQUEST is an event where the merchant is asked, with the reason and twelve hours' time."""
    told = notified("CONSUMPTION_REQUEST", asks_merchant=asks).notice
    assert told is not None
    assert (told.what, told.key, told.is_event) == ("consumption_requested", UUID, asks)
    assert told.detail == {"reason": "OTHER", "answer_until": "2026-09-22T02:23:20.000Z"}


@pytest.mark.parametrize(
    "kind",
    sorted(
        TYPES
        - {"ONE_TIME_CHARGE", "REFUND", "REVOKE", "REFUND_REVERSED", "REFUND_DECLINED"}
        - {"CONSUMPTION_REQUEST", "TEST"}
    ),
)
def test_what_is_about_subscriptions_is_put_on_record(kind) -> None:
    """It neither pays nor refunds, even with one of our products in it."""
    verdict = notified(kind, **REVOKED)
    assert (verdict.state, verdict.states_payment, verdict.refund) == (State.UNKNOWN, False, None)
    assert verdict.notice is not None
    assert (verdict.notice.what, verdict.notice.detail["type"]) == ("notified", kind)
    assert verdict.transaction_id == TRANSACTION["transactionId"]


@pytest.mark.parametrize("kind", ["RENEWAL_OF_2027", "", "TEST"])
def test_types_that_nobody_knows_say_nothing(kind) -> None:
    """Neither paid nor failed; about a subscription it is a notice, about a purchase a person looks at it."""
    verdict = notified(kind)
    assert (verdict.state, verdict.notice, verdict.amount) == (State.UNKNOWN, None, None)
    assert notified(kind, type="Auto-Renewable Subscription").notice is not None


def test_a_notification_without_a_transaction_names_its_kind() -> None:
    """A test is recorded with its type, cut to what is kept."""
    facts = reading.read_other({"notificationType": "T" * 100}, "sandbox", "com.example.game")
    assert (facts["note"], facts["order_no"], facts["state"]) == ("T" * 64, None, State.UNKNOWN)


examples = settings(deadline=None, database=None, max_examples=80, derandomize=True)
MEMBERS = [*TRANSACTION, *REVOKED, "revocationType", "revocationPercentage"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@examples
@given(
    st.dictionaries(st.sampled_from(MEMBERS), ANYTHING, max_size=4), st.sampled_from(sorted(TYPES))
)
def test_whatever_apple_signs_can_be_read(members, kind) -> None:
    """Whatever stands in a member, reading gives a verdict; what it states of money is whole and positive."""
    for verdict in (read(**members), notified(kind, **members)):
        assert verdict.state in State
        if verdict.states_payment:
            assert type(verdict.quantity) is int
            assert verdict.amount is None or (type(verdict.amount) is int and verdict.amount > 0)


@examples
@given(ANYTHING, ANYTHING, ANYTHING)
def test_whatever_stands_around_a_transaction_can_be_read(data, uuid, subtype) -> None:
    """The envelope's members may be anything too."""
    around = {"data": data, "notificationUUID": uuid, "subtype": subtype, "signedDate": SIGNED_AT}
    for kind in sorted(TYPES):
        verdict = reading.read_notification_of(
            {"notificationType": kind, **around}, read(), asks_merchant=True
        )
        assert verdict.evidence is EVIDENCE


HOUR, DAY = 3600 * 1000, 24 * 3600 * 1000
NOW = 1_790_000_000_000
REACH = 30 * DAY


def page(token: str | None) -> NotificationPage:
    """A page, with another after it or not."""
    return NotificationPage([], token is not None, token)


def test_the_first_window_is_the_last_day() -> None:
    """Without a position the sweep begins a day ago."""
    assert Window.at("", NOW, REACH) == Window(NOW - DAY, NOW)


def test_pages_keep_their_window() -> None:
    """Apple's tokens hold for one and the same question, whatever the time is by then."""
    position = Window(NOW - DAY, NOW).after(page("next"))
    assert Window.at(position, NOW + HOUR, REACH) == Window(NOW - DAY, NOW, "next")


def test_the_next_window_overlaps() -> None:
    """What was under way at a window's end is in the next one, which ends now."""
    position = Window(NOW - DAY, NOW).after(page(None))
    window = Window.at(position, NOW + 20 * HOUR, REACH)
    assert (window.end, window.token) == (NOW + 20 * HOUR, None)
    assert NOW - DAY < window.start < NOW
    assert isinstance(json.loads(position), dict)


def test_a_window_reaches_no_further_back_than_apple_remembers() -> None:
    """After a month's rest the sweep begins where Apple's memory begins, instead of being refused for ever."""
    position = Window(NOW - DAY, NOW).after(page(None))
    window = Window.at(position, NOW + 90 * DAY, REACH)
    assert NOW + 90 * DAY - REACH <= window.start <= NOW + 90 * DAY - REACH + HOUR


def test_a_clock_that_was_set_back_leaves_a_window() -> None:
    """The end of a window comes after its beginning."""
    position = Window(NOW - DAY, NOW).after(page(None))
    window = Window.at(position, NOW - 2 * DAY, REACH)
    assert window.start < window.end


def test_times_are_milliseconds() -> None:
    """What is read of Apple's milliseconds is our microseconds."""
    assert read().paid_at == TRANSACTION["purchaseDate"] * (SECOND // 1000)
