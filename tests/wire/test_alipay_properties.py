"""What holds for every text: forms, signatures and answers on the Alipay wire, by generated examples."""

import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from payplat.channels.alipay.wire import (
    _READ,
    Malformed,
    is_ambiguous,
    notification_text,
    parse_answer,
    parse_form,
    passback,
    query_string,
    read_passback,
    request_text,
)
from payplat.errors import NotAuthentic
from payplat.purchase import Inbound, State
from tests.wire.alipay import KEYS, PAYMENT, signature, signed_form

settings.register_profile(
    "wire",
    deadline=None,
    database=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
wire = settings(settings.get_profile("wire"))

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAME = TEXT.filter(bool)
FIELDS = st.dictionaries(NAME, TEXT, min_size=1, max_size=20)
METHOD = "alipay.trade.query"
NODE_NAME = "alipay_trade_query_response"


@wire
@given(FIELDS, st.sampled_from([quote, quote_plus]))
def test_a_form_is_read_as_it_was_written(fields, encode):
    """Whatever the texts, and whether blanks are %20 or a plus."""
    assert parse_form(urlencode(fields, quote_via=encode).encode()) == fields


@wire
@given(FIELDS)
def test_what_we_send_is_read_as_we_meant_it(fields):
    """Our own requests survive a strict reader."""
    assert parse_form(query_string(fields).encode()) == fields


@wire
@given(st.binary(max_size=300) | st.text("%&=+a1F", max_size=60).map(str.encode))
@example(b"%")
def test_bytes_are_a_form_or_malformed(provider, body):
    """No bytes end in another error, and none that Alipay did not sign are authentic."""
    try:
        fields = parse_form(body)
    except Malformed:
        fields = {}
    assert all(fields)
    with pytest.raises(NotAuthentic):
        provider.read_notification(Inbound({}, "", body))


@wire
@given(FIELDS)
def test_a_signed_text_is_believed_and_a_changed_one_is_not(fields):
    """Sign and verify are each other's inverse on every text, for one key and one text."""
    text = request_text(fields)
    sign = KEYS["key"].sign(text)
    assert sign == signature(text, "app")
    assert KEYS["key"].verifier(text, sign) is None
    assert KEYS["key"].verifier(text, signature(text))
    assert KEYS["key"].verifier(text + b"x", signature(text)) is None


@wire
@given(st.dictionaries(NAME.filter(lambda n: n not in PAYMENT), TEXT, max_size=8), TEXT)
def test_a_signed_notification_is_read_whatever_else_it_holds(provider, more, subject):
    """Unknown fields are welcome as long as the signed text can be cut in one way only."""
    assume(not set(more) & _READ)
    assume(
        not any(f"{name}=" in text for name in _READ for text in (*more, *more.values(), subject))
    )
    body = signed_form({**PAYMENT, "subject": subject, **more})
    verdict = provider.read_notification(Inbound({}, "", body))
    assert (verdict.state, verdict.amount) == (State.PAID, 8880)


@wire
@given(st.data())
def test_one_signature_never_tells_two_payments(data):
    """However a signed text is cut, a cut that we accept tells the same as the genuine one."""
    genuine = {k: v for k, v in PAYMENT.items() if k not in ("sign", "sign_type")}
    genuine["subject"] = data.draw(st.sampled_from(["x", "x&y", "x&a=1", "x&total_amount=648.00"]))
    text = notification_text(genuine).decode()
    pieces, fields = text.split("&"), {}
    while pieces:
        size = data.draw(st.sampled_from([1, 1, 1, 2, 3]))
        chunk, pieces = "&".join(pieces[:size]), pieces[size:]
        cuts = [at for at, sign in enumerate(chunk) if sign == "="]
        assume(cuts)
        at = data.draw(st.sampled_from(cuts))
        assume(chunk[:at] not in fields)
        fields[chunk[:at]] = chunk[at + 1 :]
    assume(notification_text(fields).decode() == text)
    if not is_ambiguous(fields):
        told = {k: v for k, v in fields.items() if k in _READ}
        assert told == {k: v for k, v in genuine.items() if k in _READ}


@wire
@given(NAME, st.integers(1, 10**6))
def test_product_and_quantity_come_back(sku, quantity):
    """As sent, for every product name."""
    assert read_passback(passback(sku, quantity)) == (sku, quantity)


# Answers with NUL are refused: no database keeps it.
STORABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUE = st.recursive(
    STORABLE
    | st.integers()
    | st.booleans()
    | st.none()
    | st.sampled_from(["}", '"}', "\\", '","sign":"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STORABLE, inner, max_size=3),
    max_leaves=8,
)
BLANKS = st.text(" \t\r\n", max_size=3)


@st.composite
def answers(draw):
    """A gateway answer in some spelling: its raw text, the exact text of its node, and its sign."""
    node = draw(st.dictionaries(STORABLE, VALUE, max_size=5))
    text = json.dumps(
        node,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 0, 2])),
        separators=draw(st.sampled_from([(",", ":"), (" , ", " : ")])),
    )
    if draw(st.booleans()):
        text = text.replace("/", "\\/")
    sign = draw(STORABLE.filter(bool))
    names = st.text("abc", min_size=1)
    others = draw(st.dictionaries(names, VALUE, max_size=2))
    members = [(NODE_NAME, text), ("sign", json.dumps(sign))]
    members += [(name, json.dumps(value)) for name, value in others.items()]
    members = draw(st.permutations(members))
    gap = draw(BLANKS)
    inner = f"{gap},{gap}".join(f'"{name}"{gap}:{gap}{value}' for name, value in members)
    return f"{gap}{{{gap}{inner}{gap}}}{gap}", text, sign


@wire
@given(answers())
def test_the_signed_text_is_found_to_the_character(answer):
    """Whatever the node holds, and whatever stands around it."""
    raw, text, sign = answer
    told = parse_answer(raw, METHOD)
    assert (told.text, told.node, told.sign) == (text, json.loads(text), sign)


@wire
@given(answers(), st.data())
def test_a_broken_answer_is_malformed_or_still_exact(answer, data):
    """A character lost or changed never ends in another error, nor in a text that is not in the answer."""
    raw, _, _ = answer
    at = data.draw(st.integers(0, len(raw) - 1))
    broken = (
        raw[:at] + data.draw(st.sampled_from(["", '"', "{", "}", "\\", ",", "0"])) + raw[at + 1 :]
    )
    try:
        told = parse_answer(broken, METHOD)
    except Malformed:
        return
    assert told.text in broken
    assert json.loads(told.text) == told.node


@wire
@given(answers(), VALUE)
def test_a_repeated_member_is_malformed(answer, value):
    """A parser that keeps one of the two would decide what is believed."""
    raw, text, _ = answer
    end = raw.rindex("}")
    for name in (NODE_NAME, "\\u0061" + NODE_NAME[1:], "sign"):
        with pytest.raises(Malformed):
            parse_answer(f'{raw[:end]},"{name}":{json.dumps(value)}{raw[end:]}', METHOD)
    with pytest.raises(Malformed):
        parse_answer(f'{{"{NODE_NAME}":{{"x":{{"a":1,"a":{text}}}}}}}', METHOD)
