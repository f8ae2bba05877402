"""A service account and its access tokens, over real sockets: what is sent, how often, and what a failure means."""

import asyncio
import datetime as dt
import json
import traceback
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import google.auth.jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.oauth2 import service_account

from payplat import seam
from payplat.channels.google.access import (
    GOOGLE_TOKEN_URI,
    SCOPE,
    AccessTokens,
    ServiceAccount,
)
from payplat.errors import ProviderError, ProviderMisconfigured, ProviderUnavailable
from payplat.simulators.google.server import GoogleSimulator
from tests.simulators.google_stage import EMAIL, open_inbox, open_play
from tests.wire.google import (
    KEY_ID,
    NOW,
    SetWorld,
    access_tokens,
    account_file,
    account_key,
    pem,
    private_pem,
    public_pem,
    set_world,
)
from tests.wire.scripted import LOOPBACK, Reply, Scripted, as_json, scripted

GRANTED = {"access_token": "ya29.one", "expires_in": 3599, "token_type": "Bearer"}
DENIED = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}


@pytest.fixture
def world(monkeypatch) -> SetWorld:
    """The world with a clock to set."""
    return set_world(monkeypatch)


@pytest.fixture
async def endpoint() -> AsyncIterator[Scripted]:
    """A server in the place of Google's token endpoint."""
    async with scripted() as server:
        server.replies = [as_json(GRANTED)]
        yield server


@pytest.fixture
async def tokens(endpoint, world) -> AsyncIterator[AccessTokens]:
    """The account's tokens, asked for there."""
    tokens = access_tokens(f"{endpoint.url}/token")
    yield tokens
    tokens.close()


@pytest.fixture
async def play(world) -> AsyncIterator[GoogleSimulator]:
    """Google's simulator, its clock and ours at the same moment."""
    async with open_inbox() as inbox, open_play(inbox) as play:
        yield play


def granted(*names: str, **changes: Any) -> list[Reply]:
    """Grants of these tokens, in turn."""
    return [as_json({**GRANTED, "access_token": name, **changes}) for name in names]


# The account.


def test_a_service_account_is_read_from_its_file():
    """As Google Cloud hands it out; what is not needed is not missed."""
    account = ServiceAccount.read(account_file(client_id=None, auth_uri=None, new={"x": 1}))
    assert (account.client_email, account.private_key_id) == (EMAIL, KEY_ID)
    assert account.token_uri == GOOGLE_TOKEN_URI
    assert account.private_key.private_numbers() == account_key().private_numbers()


def test_an_account_does_not_show_its_key():
    """Its repr says who it is, and no part of the key."""
    shown = repr(ServiceAccount.read(account_file()))
    assert EMAIL in shown
    assert "private_key=" not in shown
    assert str(account_key().private_numbers().d) not in shown


SMALL = rsa.generate_private_key(65537, 1024)
CURVE = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object"),
        ("service-account.json", "no JSON object"),
        ("[]", "no JSON object"),
        (account_file()[:-1], "no JSON object"),
        (account_file().replace('"type"', '"type": "x", "type"'), "no JSON object"),
        ("[" * 50_000, "no JSON object"),
        ("\udc80", "no JSON object"),
        (" " * 70_000 + account_file(), "too large"),
        (account_file(type="authorized_user"), "type"),
        (account_file(type=None), "type"),
        (account_file(client_email=None), "client_email"),
        (account_file(client_email=""), "client_email"),
        (account_file(client_email=1), "client_email"),
        (account_file(private_key_id=None), "private_key_id"),
        (account_file(token_uri=None), "token_uri"),
        (account_file(token_uri="oauth2.googleapis.com/token"), "token_uri"),
        (account_file(token_uri="file:///etc/passwd"), "token_uri"),
        (account_file(token_uri="https://"), "token_uri"),
        (account_file(token_uri="https://[::1"), "token_uri"),
        (account_file(token_uri="https://a@oauth2.googleapis.com"), "token_uri"),
        (account_file(private_key=None), "private_key"),
        (account_file(private_key="x"), "PKCS#8"),
        (account_file(private_key=public_pem()), "PKCS#8"),
        (account_file(private_key=pem(account_key(), "TraditionalOpenSSL")), "PKCS#8"),
        (account_file(private_key=pem(account_key(), secret=b"password")), "PKCS#8"),
        (account_file(private_key=private_pem()[:500]), "damaged"),
        (account_file(private_key=private_pem().replace("MII", "MIJ")), "damaged"),
        (account_file(private_key=pem(CURVE)), "RSA"),
        (account_file(private_key=pem(SMALL)), "2048"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_another_file_is_refused_by_name(text, reason):
    """What is wrong is said, and not one line of the key."""
    with pytest.raises(ValueError, match=reason) as refused:
        ServiceAccount.read(text)
    shown = "".join(traceback.format_exception(refused.value))
    assert refused.value.__cause__ is None
    assert all(line not in shown for line in private_pem().split("\n") if len(line) > 30)


# The grant.


async def test_a_token_is_asked_for_by_the_bearer_grant(tokens, endpoint):
    """As a form with the grant's type and the assertion, and nothing else."""
    assert await tokens.token() == "ya29.one"
    (request,) = endpoint.requests
    assert endpoint.asked == ["POST /token"]
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    form = parse_qs(request.body.decode(), strict_parsing=True)
    assert set(form) == {"grant_type", "assertion"}
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


async def test_the_assertion_is_the_one_of_googles_library(tokens, endpoint, monkeypatch):
    """The same header and claims, to the second, and a signature that the library accepts."""
    moment = dt.datetime.fromtimestamp(NOW, dt.UTC).replace(tzinfo=None)
    monkeypatch.setattr(google.auth._helpers, "utcnow", lambda: moment)
    told = json.loads(account_file(token_uri=f"{endpoint.url}/token"))
    theirs = service_account.Credentials.from_service_account_info(told, scopes=[SCOPE])
    assertion = theirs._make_authorization_grant_assertion()
    await tokens.token()
    (ours,) = parse_qs(endpoint.requests[0].body.decode())["assertion"]
    assert google.auth.jwt.decode_header(ours) == google.auth.jwt.decode_header(assertion)
    assert google.auth.jwt.decode(ours, verify=False) == google.auth.jwt.decode(
        assertion, verify=False
    )
    claims = google.auth.jwt.decode(ours, certs={KEY_ID: public_pem()}, audience=GOOGLE_TOKEN_URI)
    assert claims["exp"] - claims["iat"] == 3600


async def test_google_grants_a_token_that_its_api_takes(play):
    """The simulator judges the assertion, and knows the token afterwards."""
    account = ServiceAccount.read(json.dumps(play.service_account(EMAIL, key=account_key())))
    tokens = AccessTokens(account, timeout=5, opened=LOOPBACK)
    token = await tokens.token()
    assert play.accounts.bearer(f"Bearer {token}").email == EMAIL
    tokens.close()


async def test_google_refuses_a_stranger_and_a_wrong_clock(play, world):
    """Both are for the operator to mend, who is told Google's time too."""
    told = play.service_account(EMAIL, key=account_key())
    stranger = AccessTokens(
        ServiceAccount.read(json.dumps({**told, "client_email": "x@y.z"})),
        timeout=5,
        opened=LOOPBACK,
    )
    with pytest.raises(ProviderMisconfigured, match="account not found"):
        await stranger.token()
    late = AccessTokens(ServiceAccount.read(json.dumps(told)), timeout=5, opened=LOOPBACK)
    world.at(4000)
    with pytest.raises(ProviderMisconfigured, match=r"reasonable timeframe.*its time is '.* GMT'"):
        await late.token()
    stranger.close()
    late.close()


# How often.


async def test_a_stampede_is_one_question(tokens, endpoint):
    """A hundred calls that need a token at once share one answer."""
    endpoint.replies = granted("first", "second")
    found = await asyncio.gather(*(tokens.token() for _ in range(100)))
    assert found == ["first"] * 100
    assert len(endpoint.requests) == 1


async def test_who_gives_up_waiting_takes_nothing_from_the_others(tokens, endpoint):
    """Not even the one who asked first."""
    endpoint.replies = [Reply(200, as_json(GRANTED).body, as_json(GRANTED).headers, silent=True)]
    first, second = (asyncio.create_task(tokens.token()) for _ in range(2))
    while not endpoint.requests:
        await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0)
    assert first.cancelled() or first.cancelling()
    endpoint.ended.set()
    assert await second == "ya29.one"
    assert len(endpoint.requests) == 1


async def test_a_failure_that_nobody_waited_for_is_not_lost(tokens, endpoint, caplog):
    """It stands for the next caller, and no complaint about it is logged."""
    endpoint.replies = [
        Reply(400, as_json(DENIED).body, as_json(DENIED).headers, silent=True),
        as_json(GRANTED),
    ]
    waiter = asyncio.create_task(tokens.token())
    while not endpoint.requests:
        await asyncio.sleep(0.01)
    waiter.cancel()
    endpoint.ended.set()
    while tokens._renewal and not tokens._renewal.done():
        await asyncio.sleep(0.01)
    with pytest.raises(ProviderMisconfigured):
        await tokens.token()
    assert len(endpoint.requests) == 1
    assert caplog.records == []


async def test_a_token_is_renewed_before_its_end(tokens, endpoint, world):
    """225 seconds before it, or when the clock was set back behind its making."""
    endpoint.replies = granted("one", "two", "three", "four")
    found = []
    for second in (0, 1, 3373, 3374, 6747, 6748, 6747):
        world.at(second)
        found.append(await tokens.token())
    assert found == ["one", "one", "one", "two", "two", "three", "four"]


async def test_a_short_life_is_believed(tokens, endpoint, world):
    """A token that never lives long enough is asked for again each time, and used all the same."""
    endpoint.replies = granted("one", "two", expires_in=225)
    assert [await tokens.token(), await tokens.token()] == ["one", "two"]


async def test_the_old_token_serves_while_no_new_one_is_granted(tokens, endpoint, world):
    """To the end of its life and no longer; whatever the trouble is."""
    endpoint.replies = [*granted("old"), as_json(DENIED, 400)]
    for second in (0, 3380, 3390, 3598):
        world.at(second)
        assert await tokens.token() == "old"
    world.at(3599)
    with pytest.raises(ProviderMisconfigured):
        await tokens.token()


@pytest.mark.parametrize("reply", [Reply(503), as_json(DENIED, 400), Reply(promised=9)])
async def test_a_failure_stands_for_a_while(tokens, endpoint, world, reply):
    """A hundred calls, at once and one after the other, ask at most twice; five seconds later it is asked again."""
    endpoint.replies = [reply]
    at_once = await asyncio.gather(*(tokens.token() for _ in range(50)), return_exceptions=True)
    for _ in range(50):
        with pytest.raises(ProviderError):
            await tokens.token()
    assert {type(error) for error in at_once} <= {ProviderMisconfigured, ProviderUnavailable}
    assert 1 <= len(endpoint.requests) <= 2
    assert len({id(error) for error in at_once}) == 50
    asked = len(endpoint.requests)
    endpoint.replies = [as_json(GRANTED)]
    world.at(4.9)
    with pytest.raises(ProviderError):
        await tokens.token()
    assert len(endpoint.requests) == asked
    world.at(5)
    assert await tokens.token() == "ya29.one"


async def test_one_stumble_is_not_seen(tokens, endpoint, world):
    """A question without an answer is asked once again."""
    endpoint.replies = [Reply(502), as_json(GRANTED)]
    assert await tokens.token() == "ya29.one"
    assert (len(endpoint.requests), len(world.slept)) == (2, 1)


async def test_a_token_is_forgotten_by_its_name(tokens, endpoint):
    """So that a late complaint about an old one does not cost us the new one."""
    endpoint.replies = granted("one", "two", "three")
    assert await tokens.token() == "one"
    tokens.forget("one")
    assert await tokens.token() == "two"
    for complaint in ("one", "", "never"):
        tokens.forget(complaint)
    assert await tokens.token() == "two"
    assert len(endpoint.requests) == 2


# What goes wrong.


@pytest.mark.parametrize(
    ("status", "error"), [(400, "invalid_grant"), (401, "invalid_client"), (401, "invalid_grant")]
)
async def test_an_account_that_google_does_not_accept_is_our_fault(tokens, endpoint, status, error):
    """The operator is told Google's words and Google's time, in case ours is wrong."""
    told = {"error": error, "error_description": "Invalid JWT Signature."}
    endpoint.replies = [as_json(told, status, Date="Sun, 22 Nov 2026 09:00:00 GMT")]
    with pytest.raises(ProviderMisconfigured, match=rf"{error}.*JWT.*22 Nov 2026 09:00:00"):
        await tokens.token()
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        as_json({"error": "invalid_scope"}, 400),
        as_json({"error": "unauthorized_client"}, 401),
        as_json({"error": "temporarily_unavailable"}, 400),
        as_json(DENIED, 403),
        as_json(DENIED, 503),
        as_json(DENIED, 200),
        as_json({"error": ["invalid_grant"]}, 400),
        as_json({"error": {"code": 403}}, 400),
        as_json([], 400),
        as_json("{", 400),
        Reply(400, b'{"error":"invalid_grant"}', {"Content-Type": "text/html"}),
        Reply(400),
        Reply(404),
        Reply(429),
        Reply(500),
        Reply(302, b"", {"Location": "/elsewhere"}),
        Reply(promised=9),
        Reply(200, b'{"access_token":"x"', {"Content-Type": "application/json"}),
        Reply(200, json.dumps(GRANTED).encode(), {"Content-Type": "text/html"}),
        Reply(201, json.dumps(GRANTED).encode(), {"Content-Type": "application/json"}),
        *(
            as_json({**GRANTED, name: value})
            for name, values in {
                "access_token": [None, "", 1, "two words", "line\n", "é", "x" * 4097, ["x"]],
                "expires_in": [None, 0, -1, "3599", True, 3599.5],
                "token_type": [None, "", "MAC", ["Bearer"], "Bearer "],
            }.items()
            for value in values
        ),
    ],
)
async def test_anything_else_is_no_answer(tokens, endpoint, reply):
    """Nothing that is not exactly a grant, or exactly a refusal of our account, is believed."""
    endpoint.replies = [reply]
    with pytest.raises(ProviderUnavailable):
        await tokens.token()
    assert len(endpoint.requests) <= 2


@pytest.mark.parametrize(
    ("header", "seconds"), [("61", 61), ("0", 0), ("-1", None), ("1.5", None), ("9" * 8, None)]
)
@pytest.mark.parametrize("status", [429, 503])
async def test_google_says_when_to_come_again(tokens, endpoint, status, header, seconds):
    """In seconds; then it is not asked a second time at once."""
    endpoint.replies = [Reply(status, b"<html>", {"Retry-After": header})]
    with pytest.raises(ProviderUnavailable) as told:
        await tokens.token()
    moment = None if seconds is None else (NOW + seconds) * seam.SECOND
    assert (told.value.retry_at, len(endpoint.requests)) == (moment, 1)


@pytest.mark.parametrize("kind", ["bearer", "BEARER"])
async def test_a_type_may_be_written_in_any_case(tokens, endpoint, kind):
    """RFC 6749, 5.1."""
    endpoint.replies = [as_json({**GRANTED, "token_type": kind, "scope": SCOPE})]
    assert await tokens.token() == "ya29.one"


async def test_silence_ends_in_time(endpoint, world):
    """One deadline is for the whole question, with its second try."""
    tokens = access_tokens(f"{endpoint.url}/token", timeout=0.3)
    endpoint.replies = [Reply(silent=True)]
    with pytest.raises(ProviderUnavailable):
        await tokens.token()
    assert len(endpoint.requests) == 1
    tokens.close()


async def test_nobody_waits_for_what_is_closed(endpoint, world):
    """A question that runs is given up with the connections."""
    tokens = access_tokens(f"{endpoint.url}/token")
    endpoint.replies = [Reply(silent=True)]
    waiter = asyncio.create_task(tokens.token())
    while not endpoint.requests:
        await asyncio.sleep(0.01)
    tokens.close()
    with pytest.raises(asyncio.CancelledError):
        await waiter


@pytest.mark.parametrize("reply", [Reply(401), as_json(DENIED, 400), Reply(503), Reply(promised=9)])
async def test_nothing_secret_is_shown(tokens, endpoint, reply):
    """Neither token, nor assertion, nor key: not by the object, not by what it raises."""
    assert await tokens.token() == "ya29.one"
    shown = [repr(tokens)]
    tokens.forget("ya29.one")
    endpoint.replies = [reply]
    with pytest.raises(ProviderError) as told:
        await tokens.token()
    shown += [*traceback.format_exception(told.value), repr(vars(told.value))]
    text = "".join(shown)
    (assertion,) = parse_qs(endpoint.requests[-1].body.decode())["assertion"]
    assert not any(secret in text for secret in ("ya29", assertion, assertion.split(".")[2]))
    assert str(account_key().private_numbers().d) not in text


async def test_what_google_writes_cannot_forge_a_line(tokens, endpoint):
    """Its words come into messages on one line, in ASCII, and not at length."""
    endpoint.replies = [
        as_json({"error": "invalid_grant", "error_description": "\n\x1b[2J金" + "x" * 9999}, 400)
    ]
    with pytest.raises(ProviderMisconfigured) as refused:
        await tokens.token()
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300
