"""Google's words read as verdicts: purchases, orders, voided purchases, and where the sweep of these stands."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payplat.channels.google import reading
from payplat.channels.google.voids import Reading
from payplat.purchase import Evidence, Owed, Source, State, Verdict

EVIDENCE = Evidence(Source.CALLBACK, b"pushed")
TOKEN = "hgfpkdnclajkhgmbchmabcde.AO-J1OyQ7mTsnqPq"
ORDER_NO = "0192f3a4b5c67d8e9f00112233445566"
OFFER = {
    "purchaseOptionId": "buy",
    "quantity": 5,
    "refundableQuantity": 5,
    "consumptionState": "CONSUMPTION_STATE_YET_TO_BE_CONSUMED",
}
PURCHASE: dict[str, Any] = {
    "kind": "androidpublisher#productPurchaseV2",
    "productLineItem": [{"productId": "coins_500", "productOfferDetails": OFFER}],
    "purchaseStateContext": {"purchaseState": "PURCHASED"},
    "orderId": "GPA.3312-4581-9035-12345",
    "obfuscatedExternalAccountId": "a" * 64,
    "obfuscatedExternalProfileId": ORDER_NO,
    "regionCode": "CN",
    "purchaseCompletionTime": "2026-11-22T10:00:00.123456Z",
    "acknowledgementState": "ACKNOWLEDGEMENT_STATE_PENDING",
}


def read(state: str = "PURCHASED", offer: dict[str, Any] | None = None, **changes: Any) -> Verdict:
    """What is read of a purchase of five times 500 coins with changes; ... leaves a member out."""
    line = {"productId": "coins_500", "productOfferDetails": present({**OFFER, **(offer or {})})}
    named = {"productLineItem": [line], "purchaseStateContext": {"purchaseState": state}}
    purchase = present({**PURCHASE, **named, **changes})
    return reading.read_purchase(purchase, TOKEN, "com.example.game", EVIDENCE, "query:productsv2")


def present(members: dict[str, Any]) -> dict[str, Any]:
    """Without those that are left out."""
    return {name: value for name, value in members.items() if value is not ...}


def test_a_purchase_is_read_whole() -> None:
    """Every fact that the ledger compares or records comes from Google's answer, and the price is not among them."""
    assert read() == Verdict(
        state=State.PAID,
        kind="google",
        environment="production",
        account="com.example.game",
        order_no=ORDER_NO,
        evidence=EVIDENCE,
        verifier="query:productsv2",
        transaction_id=TOKEN,
        product="coins_500",
        quantity=5,
        payer="a" * 64,
        paid_at=1_795_341_600_123_456,
        receipt="GPA.3312-4581-9035-12345",
        note="order GPA.3312-4581-9035-12345, region CN",
    )


@pytest.mark.parametrize("context", [{"fopType": "TEST"}, {}, {"fopType": "NEW"}])
def test_a_test_purchase_is_known_by_the_members_presence(context) -> None:
    """Whatever the context says, a purchase that has one was made by a licence tester."""
    assert read(testPurchaseContext=context).environment == "sandbox"
    assert read().environment == "production"


@pytest.mark.parametrize(
    ("state", "changes", "expected"),
    [
        ("PURCHASED", {}, State.PAID),
        ("PENDING", {"purchaseCompletionTime": ...}, State.PENDING),
        ("CANCELLED", {"purchaseCompletionTime": ...}, State.CLOSED),
        ("CANCELLED", {}, State.REFUNDED),
    ],
)
def test_each_state_means_one_thing(state, changes, expected) -> None:
    """A purchase cancelled before its completion was never paid; one cancelled afterwards went back."""
    verdict = read(state, **changes)
    assert (verdict.state, verdict.objection) == (expected, "")


@pytest.mark.parametrize("state", ["CANCELED", "PURCHASE_STATE_UNSPECIFIED", "purchased", "", None])
def test_a_state_that_nobody_knows_says_nothing(state) -> None:
    """It is neither paid nor failed, and fits no order."""
    verdict = read(state)
    assert (verdict.state, verdict.objection, verdict.states_payment) == (
        State.UNKNOWN, "form", False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "items",
    [
        ...,
        None,
        [],
        "coins_500",
        [{"productId": "coins_500"}, {"productId": "coins_500"}],
        ["coins_500"],
        [{"productOfferDetails": OFFER}],
        [{"productId": "", "productOfferDetails": OFFER}],
        [{"productId": "coins_500", "productOfferDetails": {"quantity": "5"}}],
        [{"productId": "coins_500", "productOfferDetails": {"quantity": True}}],
    ],
)
def test_only_one_line_can_pay(items) -> None:
    """Bundles, and lines that do not say what was bought and how many, fit no order."""
    verdict = read(productLineItem=items)
    assert (verdict.state, verdict.objection, verdict.product) == (State.UNKNOWN, "form", None)


def test_one_is_meant_where_no_quantity_stands() -> None:
    """Google leaves the members out where one was bought."""
    verdict = read(offer={"quantity": ..., "refundableQuantity": ...})
    assert (verdict.state, verdict.quantity, verdict.refund) == (State.PAID, 1, None)
    assert read(productLineItem=[{"productId": "coins_500"}]).quantity == 1


@pytest.mark.parametrize(("left", "returned"), [(4, 1), (3, 2), (1, 4)])
def test_a_part_that_went_back_leaves_the_rest_paid(left, returned) -> None:
    """How many went back in all names the refund, so that telling it again is the same one."""
    refund = read(offer={"refundableQuantity": left}).refund
    assert refund is not None
    assert (refund.returned, refund.type, refund.total) == (returned, "QUANTITY", None)
    assert refund.key.endswith(f"/{returned}")
    assert TOKEN not in refund.key
    assert len(refund.key) < 100


@pytest.mark.parametrize("state", ["PURCHASED", "CANCELLED"])
def test_whoever_tells_of_the_whole_refund_names_the_same_one(state) -> None:
    """The purchase with nothing left, the revoked purchase and the list of voided purchases agree."""
    verdict = read(state, offer={"refundableQuantity": 0})
    row = {"purchaseToken": TOKEN, "voidedSource": 1, "voidedReason": 7}
    listed = reading.voided(row, "com.example.game", "production", EVIDENCE)
    assert listed is not None
    assert verdict.refund is not None
    assert listed.refund is not None
    assert verdict.state is listed.state is State.REFUNDED
    assert (verdict.refund.key, verdict.transaction_key) == (
        listed.refund.key, listed.transaction_key,
    )  # fmt: skip
    assert "source 1, reason 7" in listed.note
    assert (listed.order_no, listed.states_payment) == (None, False)


@pytest.mark.parametrize(
    "row",
    [
        {"purchaseToken": TOKEN, "voidedQuantity": 2},
        {"orderId": "GPA.3312-4581-9035-12345"},
        {"purchaseToken": 7},
        {"purchaseToken": "a" * 2049},
    ],
)
def test_a_row_that_does_not_tell_the_whole_is_asked_about(row) -> None:
    """Of a part only the purchase says how much is left; a row without its token says nothing."""
    assert reading.voided(row, "com.example.game", "production", EVIDENCE) is None


def test_what_is_owed() -> None:
    """Both kinds are acknowledged at once; what can be bought again is consumed within two days."""
    assert reading.owed(False) == (Owed("acknowledge"),)
    assert reading.owed(True) == (Owed("acknowledge"), Owed("consume", 48 * 3600))


def test_duties_know_what_is_done() -> None:
    """Only Google's own words for it are taken for done."""
    done = {"acknowledgementState": "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"}
    assert reading.is_acknowledged(done)
    assert not reading.is_acknowledged(PURCHASE)
    consumed = {"consumptionState": "CONSUMPTION_STATE_CONSUMED"}
    items = [{"productId": "coins_500", "productOfferDetails": consumed}]
    assert reading.is_consumed({"productLineItem": items})
    for odd in (PURCHASE, {}, {"productLineItem": [{"productOfferDetails": "CONSUMED"}]}):
        assert not reading.is_consumed(odd)


@pytest.mark.parametrize(
    ("total", "amount", "currency"),
    [
        ({"currencyCode": "CNY", "units": "30"}, 3000, "CNY"),
        ({"currencyCode": "USD", "units": "4", "nanos": 990_000_000}, 499, "USD"),
        ({"currencyCode": "USD", "nanos": 10_000_000}, 1, "USD"),
        ({"currencyCode": "JPY", "units": "120"}, 120, "JPY"),
        ({"currencyCode": "KWD", "units": "1", "nanos": 5_000_000}, 1005, "KWD"),
        ({"currencyCode": "JPY", "units": "120", "nanos": 500_000_000}, None, None),
        ({"currencyCode": "USD", "nanos": 1}, None, None),
        ({"currencyCode": "USD"}, None, None),
        ({"currencyCode": "USD", "units": "-4"}, None, None),
        ({"currencyCode": "usd", "units": "4"}, None, None),
        ({"currencyCode": "USD", "units": "four"}, None, None),
        ({"currencyCode": "USD", "units": "9" * 30}, None, None),
        ({"units": "4"}, None, None),
        ("4.99 USD", None, None),
        (None, None, None),
    ],
)
def test_money_is_read_exactly_or_not_at_all(total, amount, currency) -> None:
    """Units and nanos become minor units of the currency; what would not be whole or positive is no amount."""
    verdict = reading.priced(read(), {"total": total})
    assert (verdict.amount, verdict.currency) == (amount, currency)


def test_a_part_is_priced_where_it_comes_out_even() -> None:
    """Two of five for 30.00 are 12.00; a third of 10.00 is nothing that one could pay, so only the units are told."""
    part = read(offer={"refundableQuantity": 3})
    refund = reading.priced(part, {"total": {"currencyCode": "CNY", "units": "30"}}).refund
    assert refund is not None
    assert (refund.total, refund.returned) == (1200, 2)
    uneven = read(offer={"quantity": 3, "refundableQuantity": 2})
    refund = reading.priced(uneven, {"total": {"currencyCode": "CNY", "units": "10"}}).refund
    assert refund is not None
    assert (refund.total, refund.returned) == (None, 1)


examples = settings(deadline=None, database=None, max_examples=80, derandomize=True)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
STATES = st.sampled_from(["PURCHASED", "CANCELLED", "PENDING"]) | ANYTHING
OFFERS = st.dictionaries(st.sampled_from(sorted(OFFER)), ANYTHING, max_size=3) | ANYTHING
MONEY = st.dictionaries(st.sampled_from(["currencyCode", "units", "nanos"]), ANYTHING) | ANYTHING


@examples
@given(
    st.dictionaries(st.sampled_from(sorted(PURCHASE)), ANYTHING, max_size=4), STATES, OFFERS, MONEY
)
def test_whatever_google_answers_can_be_read(members, state, offer, total) -> None:
    """Whatever stands in a member, reading gives a verdict; what it states of money and goods is whole."""
    items = [{"productId": "coins_500", "productOfferDetails": offer}]
    inner = {"productLineItem": items, "purchaseStateContext": {"purchaseState": state}}
    for purchase in ({**PURCHASE, **members}, {**PURCHASE, **inner}):
        verdict = reading.read_purchase(purchase, TOKEN, "p", EVIDENCE, "query:productsv2")
        verdict = reading.priced(verdict, {"total": total})
        assert verdict.state in State
        assert reading.is_acknowledged(purchase) in (True, False)
        assert reading.is_consumed(purchase) in (True, False)
        if verdict.states_payment:
            assert type(verdict.quantity) is int
            assert verdict.amount is None or (type(verdict.amount) is int and verdict.amount > 0)


@examples
@given(st.dictionaries(st.sampled_from(["purchaseToken", "voidedQuantity", "orderId"]), ANYTHING))
def test_whatever_the_list_holds_can_be_read(row) -> None:
    """A row of voided purchases is a whole refund or nothing."""
    verdict = reading.voided(row, "p", "production", EVIDENCE)
    assert verdict is None or verdict.state is State.REFUNDED


HOUR, DAY = 3600 * 1000, 24 * 3600 * 1000
NOW = 1_790_000_000_000


def test_the_first_reading_reaches_back_a_month() -> None:
    """Without a position the sweep begins as far back as Google's list reaches, and not further."""
    assert 28 * DAY < NOW - Reading.at("", NOW).start < 30 * DAY


def test_pages_keep_their_reading() -> None:
    """A page's token belongs to one question, whatever the time is by then."""
    first = Reading.at("", NOW)
    assert Reading.at(first.after("next"), NOW + HOUR) == Reading(first.start, first.end, "next")


def test_the_next_reading_overlaps_by_a_day() -> None:
    """Google records a void later than it happened: the next reading begins a day before the last one's end."""
    position = Reading.at("", NOW).after(None)
    assert Reading.at(position, NOW + HOUR) == Reading(NOW - DAY, NOW + HOUR)
    paged = Reading.at(Reading.at("", NOW).after("next"), NOW + HOUR)
    assert Reading.at(paged.after(None), NOW + HOUR) == Reading(NOW - DAY, NOW + HOUR)


def test_a_reading_reaches_no_further_back_than_google_remembers() -> None:
    """After a long rest the sweep begins where Google's list begins, instead of being refused for ever."""
    position = Reading.at("", NOW).after(None)
    start = Reading.at(position, NOW + 90 * DAY).start
    assert 28 * DAY < NOW + 90 * DAY - start < 30 * DAY


def test_a_reading_can_begin_again() -> None:
    """Without its page it asks for the same time."""
    again = Reading(NOW - DAY, NOW, "stale").again()
    assert Reading.at(again, NOW + HOUR) == Reading(NOW - DAY, NOW + HOUR)
