"""Money in text: exact in both directions, or refused."""

import contextlib
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payplat.errors import InvalidRequest
from payplat.money import MAX_AMOUNT, exponent, from_text, to_text

CURRENCIES = {"JPY": 0, "KRW": 0, "CNY": 2, "USD": 2, "EUR": 2, "KWD": 3, "BHD": 3}
amounts = st.integers(0, MAX_AMOUNT)
currencies = st.sampled_from(sorted(CURRENCIES))


@given(amounts, currencies)
def test_what_is_written_is_read(amount, currency):
    """Every amount comes back from its text, to the unit."""
    assert from_text(to_text(amount, currency), currency) == amount


@given(amounts, currencies)
def test_text_is_plain_and_exact(amount, currency):
    """The text has all places of its currency and no sign, exponent or separator, and means the same number."""
    text, places = to_text(amount, currency), CURRENCIES[currency]
    assert re.fullmatch(rf"\d+\.\d{{{places}}}" if places else r"\d+", text)
    assert Decimal(text) * 10**places == amount


@given(st.text(st.sampled_from("0123456789.-+eE_, ٣８٫NaInf\n"), max_size=12), currencies)
def test_any_text_is_exact_or_refused(text, currency):
    """Whatever comes is either a plain number without a remainder, or refused."""
    with contextlib.suppress(InvalidRequest):
        amount = from_text(text, currency)
        assert re.fullmatch(r"[0-9]*\.?[0-9]*", text)
        assert Decimal(text) * 10 ** CURRENCIES[currency] == amount


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader(text):
    """No text whatever raises anything but the refusal."""
    with contextlib.suppress(InvalidRequest):
        assert type(from_text(text, "CNY")) is int


@pytest.mark.parametrize(("currency", "places"), CURRENCIES.items())
def test_currencies_have_their_places(currency, places):
    """The yen has no minor unit, the dinar three places."""
    assert exponent(currency) == places


@pytest.mark.parametrize("currency", ["", "cny", "CNY ", "RMB", "XTS", "ＣＮＹ"])
def test_unknown_currencies_are_refused(currency):
    """What is no ISO 4217 code of money is refused, not given two places."""
    with pytest.raises(InvalidRequest) as caught:
        exponent(currency)
    assert caught.value.field == "currency"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (600, "CNY", "6.00"),
        (1, "CNY", "0.01"),
        (0, "CNY", "0.00"),
        (600, "JPY", "600"),
        (600, "KWD", "0.600"),
        (5, "KWD", "0.005"),
        (MAX_AMOUNT, "CNY", "10000000000000.00"),
        (-600, "CNY", "-6.00"),
        (-5, "CNY", "-0.05"),
    ],
)
def test_written_amounts(amount, currency, text):
    """Amounts are written with all their places."""
    assert to_text(amount, currency) == text


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("88.88", "CNY", 8888),
        ("88.8", "CNY", 8880),
        ("88", "CNY", 8800),
        ("0.10", "CNY", 10),
        ("1.100", "CNY", 110),
        ("0088.00", "CNY", 8800),
        ("500", "JPY", 500),
        ("500.0", "JPY", 500),
        ("1.005", "KWD", 1005),
    ],
)
def test_read_amounts(text, currency, amount):
    """Fewer places and leading or trailing noughts change nothing."""
    assert from_text(text, currency) == amount


HOSTILE = """1e3 1E3 ８ ٣ ² -1 -0 +1 +1.00 1.005 0.001 1,000 1,00 1_000 1.0.0 . .. NaN nan Infinity -inf sNaN 0x10 1/2
1.00CNY ¥1 $1 1- --1 1. .1.""".replace("1. ", "").split()


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE,
        "",
        " ",
        " 1",
        "1 ",
        "1\n",
        "\t1",
        "1 000",
        "1\x00",
        "9" * 21,
        "9" * 10**5,
        f"{10**14}",
    ],
)
def test_hostile_amounts_are_refused(text):
    """Exponents, signs, blanks, separators, other scripts' digits, too many places, too much: all refused."""
    with pytest.raises(InvalidRequest) as caught:
        from_text(text, "CNY")
    assert caught.value.field == "amount"
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(("text", "currency"), [("0.5", "JPY"), ("1.01", "KRW"), ("1.0005", "KWD")])
def test_a_currency_s_places_are_the_limit(text, currency):
    """What would have to be rounded in its currency is refused."""
    with pytest.raises(InvalidRequest):
        from_text(text, currency)
