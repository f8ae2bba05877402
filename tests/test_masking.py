"""What others sent is shown readable and safe: nothing that identifies a person or authorises anything survives."""

import base64
import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payplat.masking import masked, shortened


def base64url(value: object) -> str:
    """A value as JSON in base64, without padding."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def jws(payload: object, **header: object) -> str:
    """A token around the payload, with a signature that is none."""
    return f"{base64url({'alg': 'ES256', **header})}.{base64url(payload)}.{'c2ln' * 20}"


def test_a_form_as_alipay_sends_it():
    """Amounts, numbers and states stay; who paid and the signature are shortened; JSON in a field is read."""
    fields = {
        "out_trade_no": "0" * 32,
        "trade_no": "2026112322001400000000000001",
        "total_amount": "6.00",
        "buyer_pay_amount": "6.00",
        "trade_status": "TRADE_SUCCESS",
        "sign_type": "RSA2",
        "buyer_logon_id": "someone@example.com",
        "buyer_id": "2088000000000001",
        "sign": "A" * 344,
        "fund_bill_list": '[{"amount":"6.00","fundChannel":"ALIPAYACCOUNT"}]',
    }
    seen = masked(urlencode(fields).encode())
    hidden = {"buyer_logon_id": "s…m", "buyer_id": "2…1", "sign": "AAAA…AAAA"}
    bills = [{"amount": "6.00", "fundChannel": "ALIPAYACCOUNT"}]
    assert seen == {**fields, **hidden, "fund_bill_list": bills}


def test_a_signed_payload_as_apple_sends_it():
    """Header and payload are decoded, tokens within tokens too; neither certificates nor signatures are shown."""
    bought = {
        "transactionId": "2000000000000001",
        "price": 6000,
        "signedDate": 1,
        "currency": "CNY",
    }
    notice = {"data": {"signedTransactionInfo": jws(bought, x5c=["M" * 900] * 3)}}
    body = json.dumps({"signedPayload": jws(notice, x5c=["M" * 900])}).encode()
    inner = {"header": {"alg": "ES256", "x5c": ["MMMM…MMMM"] * 3}, "payload": bought}
    outer = {"data": {"signedTransactionInfo": inner}}
    header = {"alg": "ES256", "x5c": ["MMMM…MMMM"]}
    assert masked(body) == {"signedPayload": {"header": header, "payload": outer}}


def test_a_push_as_google_sends_it():
    """The data in base64 is read and its token shortened; so is one that stands in plain words."""
    token = "abcdefgh.AO-J1O" + "x" * 120
    told = {"packageName": "com.example", "notification": {"purchaseToken": token, "sku": "coins"}}
    data = base64.b64encode(json.dumps(told).encode()).decode()
    seen = masked(json.dumps({"message": {"data": data, "messageId": "1"}}).encode())
    notification = {"purchaseToken": "abcd…xxxx", "sku": "coins"}
    shown = {"packageName": "com.example", "notification": notification}
    assert seen == {"message": {"data": shown, "messageId": "1"}}
    assert masked(f"{token} {'0' * 32}".encode()) == f"abcd…xxxx {'0' * 32}"


def test_addresses_and_words():
    """A URL loses user, fragment and secrets of its query; words lose what follows a name that hides it."""
    url = b"https://user:pass@example.com/a?order=1&token=0123456789abcdef#secret"
    assert masked(url) == "https://example.com/a?order=1&token=0…f"
    assert masked(b'{"token": "0123456789", broken') == '{"token": "0…9", broken'
    assert masked(b"code 40004, Authorization: Bearer 0123") == ("code 40004, Authorization: B…3")
    assert [shortened(text) for text in ("", "1234567", "12345678", "1" * 24)] == [
        "…", "…", "1…8", "1111…1111",
    ]  # fmt: skip


@given(
    st.one_of(
        st.binary(), st.text().map(str.encode), st.from_regex(r"[{\[\"e0-9=&%:.]*").map(str.encode)
    )
)
def test_whatever_the_bytes_are(raw):
    """Nothing is raised, and the answer is plain JSON in UTF-8."""
    json.dumps(masked(raw), allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 60_000,
        b'{"a":' * 30_000 + b"1" + b"}" * 30_000,
        json.dumps(["x" * 30] * 2000).encode(),
        json.dumps({str(n): {"b": "c" * 5000} for n in range(12)}).encode(),
        b"9" * 60_000,
        b"a" * 60_000 + b"=",
        b"1e999",
        b"[1e999, NaN, " + b"9" * 4000 + b"]",
        b'{"\\ud800": "\\ud800"}',
        b"https://[::1",
    ],
    ids=lambda raw: raw[:8].decode(),
)
def test_what_is_large_deep_or_odd(raw):
    """The answer stays small and can be sent."""
    seen = json.dumps(masked(raw), allow_nan=False, ensure_ascii=False).encode()
    assert len(seen) < 20_000


def test_only_so_many_levels_and_leaves_are_shown():
    """What lies deeper, and what comes after many others, is an ellipsis."""
    deep = masked(b"[" * 40 + b"]" * 40)
    levels = 0
    while isinstance(deep, list):
        deep, levels = deep[0], levels + 1
    assert (deep, levels < 20) == ("…", True)
    rows = masked(json.dumps([list(range(50))] * 50).encode())
    assert (rows[0][0], rows[-1]) == (0, "…")


WRAPPED = [
    lambda inner: {"plain": inner},
    lambda inner: [1, inner],
    lambda inner: {"text": json.dumps(inner)},
    lambda inner: {"data": base64url(inner)},
    lambda inner: {"signedPayload": jws(inner)},
]
HIDING = (
    "sign",
    "buyer_logon_id",
    "email",
    "Authorization",
    "purchaseToken",
    "key",
    "x5c",
    "user-name",
)


@given(
    st.text("abcdefghijkmnop0123456789", min_size=12, max_size=60),
    st.sampled_from(HIDING),
    st.lists(st.sampled_from(WRAPPED), max_size=8),
    st.booleans(),
)
def test_no_secret_survives(secret, name, wraps, in_list):
    """However deeply it is wrapped, a value under such a name is not shown."""
    message = {name: [secret] if in_list else secret}
    for wrap in wraps:
        message = wrap(message)
    seen = json.dumps(masked(json.dumps(message).encode()), ensure_ascii=False)
    assert secret not in seen
    assert base64url({name: secret}) not in seen
