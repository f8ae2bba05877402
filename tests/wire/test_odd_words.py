"""JSON that is signed or answered, with half characters in it that nothing can write again: refused at every door."""

import base64
import json

import pytest

from payplat import seam, strict_json
from payplat.channels.alipay.wire import Malformed, parse_answer
from payplat.channels.apple.jws import SignedData
from payplat.channels.google.answers import read_json
from payplat.channels.google.push import Undecodable, read_push
from payplat.errors import NotAuthentic
from tests.wire.apple_claims import CHAIN, NOW, raw
from tests.wire.apple_pki import TRANSACTION


class StoppedWorld(seam.World):
    """It is always a minute after the claims were signed."""

    def now(self) -> int:
        return NOW * 1000


HALF = "\\ud800"


@pytest.mark.parametrize(
    "text", [f'"{HALF}"', f'{{"{HALF}":1}}', f'[["{HALF}"]]', '"\\udc00\\ud800"', '"\\uDFFF"']
)
def test_half_a_character_is_no_text(text) -> None:
    """It can be written as JSON, and then neither stored, hashed, nor sent."""
    with pytest.raises(ValueError, match="half a surrogate pair"):
        strict_json.read(text)


@pytest.mark.parametrize("text", ['"\\ud83d\\ude00"', '"\\\\ud800"', '"\\u91d1"'])
def test_whole_characters_may_be_escaped(text) -> None:
    """Two halves of one character, or a backslash before letters, are text like any other."""
    assert strict_json.read(text) == json.loads(text)


def test_apple_signs_no_half_character(monkeypatch) -> None:
    """What Apple signed is refused when it could not be recorded."""
    monkeypatch.setattr(seam, "world", StoppedWorld())
    payload = json.dumps({**TRANSACTION, "bundleId": "\ud800"}).encode()
    with pytest.raises(NotAuthentic, match="JSON"):
        SignedData([CHAIN[2]]).verify(raw(payload).jws)


def test_google_tells_no_half_character() -> None:
    """Neither in a push nor in an answer."""
    told = {"packageName": "\ud800", "eventTimeMillis": "1", "testNotification": {}}
    data = base64.b64encode(json.dumps(told).encode()).decode()
    message = {"data": data, "messageId": "1"}
    with pytest.raises(Undecodable):
        read_push(json.dumps({"message": message, "subscription": "s"}).encode())
    with pytest.raises(ValueError, match="half a surrogate pair"):
        read_json(json.dumps({"orderId": "\ud800"}).encode())


@pytest.mark.parametrize(
    "node", [{"trade_no": "\ud800"}, {"\ud800": "1"}, {"a": [{"b": "\udc00"}]}]
)
def test_alipay_answers_no_half_character(node) -> None:
    """Wherever in the answer it stands."""
    body = json.dumps({"alipay_trade_query_response": node, "sign": "x"})
    with pytest.raises(Malformed):
        parse_answer(body, "alipay.trade.query")
