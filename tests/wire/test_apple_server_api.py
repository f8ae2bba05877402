"""The client of Apple's App Store Server API, over real sockets: what it sends, what it believes, what it tells."""

import base64
import json
import traceback
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from payplat import seam
from payplat.channels.apple import server_api
from payplat.channels.apple.server_api import BASE_URLS, TRANSACTION_ID, ServerApi, read_key
from payplat.errors import (
    ProviderError,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from tests.wire.scripted import LOOPBACK, Reply, Scripted, as_json, scripted

NOW = 1_795_349_760 * seam.SECOND
MINUTE = 60 * seam.SECOND
KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER, KEY_ID, BUNDLE = "57246542-96fe-1a63-e053-0824d011072a", "2X9R4HXF34", "com.example.game"
ID = "2000000123456789"
TOKEN = "7e3fb20b-4cdb-47cc-936d-99d65f608138"
TRANSACTION = {"signedTransactionInfo": "a.b.c"}
HISTORY = {"signedTransactions": ["a.b.c", "d.e.f"], "revision": "r1", "hasMore": False}
ITEM = {"signedPayload": "a.b.c", "sendAttempts": []}
PAGE = {"notificationHistory": [ITEM], "hasMore": False, "paginationToken": "p1"}
ATTEMPT = {"attemptDate": 1795349760123, "sendAttemptResult": "TIMED_OUT"}
TEST = {"signedPayload": "a.b.c", "sendAttempts": [ATTEMPT]}
CONSUMPTION = {
    "customerConsented": True,
    "sampleContentProvided": False,
    "deliveryStatus": "DELIVERED",
}


class SetWorld(seam.World):
    """Its clock stands where a test puts it; its sleeps are counted and take no time."""

    def __init__(self) -> None:
        self.time = NOW
        self.slept: list[float] = []

    def now(self) -> int:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def world(monkeypatch) -> SetWorld:
    """The world with that clock."""
    world = SetWorld()
    monkeypatch.setattr(seam, "world", world)
    return world


@pytest.fixture
async def apple() -> AsyncIterator[Scripted]:
    """A server in Apple's place."""
    async with scripted() as server:
        yield server


def client(url: str, **changes: Any) -> ServerApi:
    """The client of the tests' app."""
    options: dict[str, Any] = {
        "base_url": url,
        "issuer_id": ISSUER,
        "key_id": KEY_ID,
        "private_key": KEY,
        "bundle_id": BUNDLE,
        "timeout": 5,
        "opened": LOOPBACK,
    }
    return ServerApi(**{**options, **changes})


@pytest.fixture
async def api(apple, world) -> AsyncIterator[ServerApi]:
    """The client in front of that server."""
    api = client(apple.url)
    yield api
    api.close()


def fault(code: int, status: int | None = None, **headers: str) -> Reply:
    """An error as Apple writes it; by default with the status that its code begins with."""
    content = {"errorCode": code, "errorMessage": "Transaction id not found."}
    return as_json(content, status or code // 10_000, **headers)


# What it sends.

CALLS = {
    "transaction": (lambda api, number=ID: api.transaction(number), TRANSACTION),
    "history": (lambda api, number=ID: api.transaction_history(number), HISTORY),
    "refunds": (lambda api, number=ID: api.refund_history(number), HISTORY),
    "notifications": (lambda api: api.notification_history(1, 2, only_failures=True), PAGE),
    "request": (lambda api: api.request_test_notification(), {"testNotificationToken": "t-1"}),
    "test": (lambda api: api.test_notification("t-1"), TEST),
    "consumption": (lambda api, number=ID: api.send_consumption(number, CONSUMPTION), None),
    "account": (lambda api, number=ID: api.set_app_account_token(number, TOKEN), None),
}
QUESTIONS = {"transaction", "history", "refunds", "notifications", "test"}
each_call = pytest.mark.parametrize("name", CALLS)


def success(name: str) -> Reply:
    """What Apple answers to that call."""
    content = CALLS[name][1]
    return Reply(202 if name == "consumption" else 200) if content is None else as_json(content)


@pytest.mark.parametrize(
    ("name", "asked", "content"),
    [
        ("transaction", f"GET /inApps/v1/transactions/{ID}", None),
        ("history", f"GET /inApps/v2/history/{ID}", None),
        ("refunds", f"GET /inApps/v2/refund/lookup/{ID}", None),
        (
            "notifications",
            "POST /inApps/v1/notifications/history",
            {"startDate": 1, "endDate": 2, "onlyFailures": True},
        ),
        ("request", "POST /inApps/v1/notifications/test", None),
        ("test", "GET /inApps/v1/notifications/test/t-1", None),
        ("consumption", f"PUT /inApps/v2/transactions/consumption/{ID}", CONSUMPTION),
        (
            "account",
            f"PUT /inApps/v1/transactions/{ID}/appAccountToken",
            {"appAccountToken": TOKEN},
        ),
    ],
)
async def test_each_call_goes_to_its_endpoint(api, apple, name, asked, content):
    """With the method, path and body of its page, and a body's type only where there is a body."""
    apple.replies = [success(name)]
    await CALLS[name][0](api)
    (request,) = apple.requests
    assert apple.asked == [asked]
    assert (json.loads(request.body) if request.body else None) == content
    assert request.headers.get("Content-Type") == ("application/json" if content else None)


@each_call
async def test_each_request_carries_a_token_of_the_app(api, apple, name):
    """ES256 by the key that ``kid`` names, for this team and this app, for twenty minutes; our clock may be ahead."""
    apple.replies = [success(name)]
    await CALLS[name][0](api)
    token = bearer(apple.requests[0])
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": KEY_ID, "typ": "JWT"}
    checks = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(
        token, KEY.public_key(), ["ES256"], checks, audience="appstoreconnect-v1", issuer=ISSUER
    )
    now = NOW // seam.SECOND
    assert (claims["bid"], claims["iat"], claims["exp"]) == (BUNDLE, now - 30, now + 1200)


def bearer(request: Any) -> str:
    """The token of a request."""
    scheme, _, token = request.headers["Authorization"].partition(" ")
    assert scheme == "Bearer"
    return token


async def test_a_token_serves_until_it_is_renewed_before_its_end(api, apple, world):
    """At fifteen of its twenty minutes, or when the clock was set back behind its making."""
    apple.replies = [success("transaction")]
    for minutes in (0, 7, 14.9, 15, 29.9, 30, 29):
        world.time = NOW + int(minutes * MINUTE)
        await api.transaction(ID)
    tokens = [bearer(request) for request in apple.requests]
    first, second, third, fourth = tokens[0], tokens[3], tokens[5], tokens[6]
    assert tokens == [first, first, first, second, second, third, fourth]
    assert len({first, second, third, fourth}) == 4


async def test_a_history_is_asked_for_with_apples_filters(api, apple):
    """Lists are repeated, truth is written as JSON writes it, and every value is escaped once."""
    apple.replies = [as_json(HISTORY)]
    await api.transaction_history(
        ID,
        revision="a&b=c +/%",
        productId=["x", "y z"],
        revoked=True,
        startDate=5,
        sort="ASCENDING",
    )
    target = urlsplit(apple.requests[0].uri)
    assert target.path == f"/inApps/v2/history/{ID}"
    assert parse_qs(target.query, strict_parsing=True) == {
        "productId": ["x", "y z"],
        "revoked": ["true"],
        "startDate": ["5"],
        "sort": ["ASCENDING"],
        "revision": ["a&b=c +/%"],
    }


async def test_a_filter_may_be_false_or_zero(api, apple):
    """Only what is not given is left out."""
    apple.replies = [as_json(HISTORY)]
    await api.transaction_history(ID, revoked=False, startDate=0, productId=[])
    assert apple.requests[0].query == "revoked=false&startDate=0"
    await api.transaction_history(ID)
    assert apple.requests[1].uri == f"/inApps/v2/history/{ID}"


async def test_a_page_is_asked_for_by_the_one_before(api, apple):
    """The body stays the same; only the query names the page."""
    apple.replies = [as_json(PAGE)]
    for token in (None, "a&b"):
        await api.notification_history(1, 2, only_failures=False, pagination_token=token)
    apple.replies = [as_json(HISTORY)]
    await api.refund_history(ID, revision="r&0")
    first, second, third = apple.requests
    assert first.body == second.body
    assert (first.query, second.query, third.query) == (
        "",
        "paginationToken=a%26b",
        "revision=r%260",
    )


@pytest.mark.parametrize(
    "wrong",
    ["", "abc", "1/2", "../1", "1?x", "1#", "1%2F2", " 1", "1\n", "-1", "1.0", "٣", "１", "1" * 33],
)
@pytest.mark.parametrize("name", ["transaction", "history", "refunds", "consumption", "account"])
async def test_what_is_no_transaction_id_is_never_sent(api, apple, name, wrong):
    """It would be part of a path: digits only, and not too many."""
    with pytest.raises(ValueError, match="Apple's ids"):
        await CALLS[name][0](api, wrong)
    assert apple.requests == []
    assert not TRANSACTION_ID.match(wrong)


@pytest.mark.parametrize("wrong", ["", ".", "..", "../x", "a/b", "a?b", "a b", "é", "a" * 256])
async def test_what_is_no_test_token_is_never_sent(api, apple, wrong):
    """It too is part of a path."""
    with pytest.raises(ValueError, match="Apple's ids"):
        await api.test_notification(wrong)
    assert apple.requests == []


@pytest.mark.parametrize("said", [None, False, 1, "true", "True", [True]])
async def test_nothing_is_sent_about_a_customer_without_consent(api, apple, said):
    """Only True is consent; what is absent, or looks like it, is none."""
    with pytest.raises(ValueError, match="consented"):
        await api.send_consumption(ID, {**CONSUMPTION, "customerConsented": said})
    silent = {k: v for k, v in CONSUMPTION.items() if k != "customerConsented"}
    with pytest.raises(ValueError, match="consented"):
        await api.send_consumption(ID, silent)
    assert apple.requests == []


# What it believes.


async def test_what_apple_answers_is_handed_on(api, apple):
    """Signed texts as they came, and where the next page is."""
    apple.replies = [success(name) for name in ("transaction", "history", "refunds")]
    assert await api.transaction(ID) == "a.b.c"
    history = server_api.History(["a.b.c", "d.e.f"], "r1", has_more=False)
    assert await api.transaction_history(ID) == history
    assert await api.refund_history(ID, revision="r0") == history
    apple.replies = [success(name) for name in ("notifications", "request", "test")]
    page = await api.notification_history(1, 2, only_failures=True)
    assert page == server_api.NotificationPage(["a.b.c"], has_more=False, pagination_token="p1")
    assert await api.request_test_notification() == "t-1"
    attempt = server_api.SendAttempt(1795349760123, "TIMED_OUT")
    assert await api.test_notification("t-1") == server_api.TestNotification("a.b.c", [attempt])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("history", {**HISTORY, "signedTransactions": [], "revision": ""}),
        ("refunds", {**HISTORY, "signedTransactions": []}),
        ("refunds", {**HISTORY, "hasMore": True}),
        ("notifications", {**PAGE, "notificationHistory": []}),
        ("notifications", {"notificationHistory": [], "hasMore": False}),
        ("notifications", {**PAGE, "hasMore": True}),
        ("test", {**TEST, "sendAttempts": []}),
        ("transaction", {**TRANSACTION, "new": [1.5, None, {"x": True}]}),
    ],
)
async def test_an_answer_may_be_short_or_newer_than_we_are(api, apple, name, content):
    """Empty lists, a last page without a token, and members that we do not know."""
    apple.replies = [as_json(content)]
    await CALLS[name][0](api)


BROKEN = [
    *(
        ("transaction", v)
        for v in ({}, {"signedTransactionInfo": ""}, {"signedTransactionInfo": 1})
    ),
    *(("history", {k: v for k, v in HISTORY.items() if k != gone}) for gone in HISTORY),
    ("history", {**HISTORY, "signedTransactions": ["a.b.c", 1]}),
    ("history", {**HISTORY, "signedTransactions": ["a.b.c", ""]}),
    ("history", {**HISTORY, "signedTransactions": {"a.b.c": 1}}),
    ("history", {**HISTORY, "hasMore": "false"}),
    ("history", {**HISTORY, "hasMore": 0}),
    ("history", {**HISTORY, "hasMore": None}),
    ("history", {**HISTORY, "revision": 1}),
    ("history", {**HISTORY, "hasMore": True, "revision": ""}),
    ("refunds", {**HISTORY, "hasMore": None}),
    ("notifications", {k: v for k, v in PAGE.items() if k != "notificationHistory"}),
    ("notifications", {k: v for k, v in PAGE.items() if k != "hasMore"}),
    ("notifications", {**PAGE, "notificationHistory": ["a.b.c"]}),
    ("notifications", {**PAGE, "notificationHistory": [{"sendAttempts": []}]}),
    ("notifications", {**PAGE, "paginationToken": 1}),
    ("notifications", {**PAGE, "hasMore": True, "paginationToken": ""}),
    ("notifications", {"notificationHistory": [ITEM], "hasMore": True}),
    ("request", {}),
    ("request", {"testNotificationToken": None}),
    ("test", {"signedPayload": "a.b.c"}),
    ("test", {"sendAttempts": []}),
    ("test", {**TEST, "sendAttempts": [{**ATTEMPT, "attemptDate": True}]}),
    ("test", {**TEST, "sendAttempts": [{**ATTEMPT, "attemptDate": "1"}]}),
    ("test", {**TEST, "sendAttempts": [{"attemptDate": 1}]}),
]


@pytest.mark.parametrize(("name", "content"), BROKEN)
async def test_a_success_that_lacks_something_is_none(api, apple, name, content):
    """Nothing is guessed: a page without its end would hide purchases, and is as good as no answer."""
    apple.replies = [as_json(content)]
    with pytest.raises(ProviderUnavailable):
        await CALLS[name][0](api)
    assert len(apple.requests) == 1


async def test_pages_that_lead_to_themselves_are_refused(api, apple):
    """Whoever reads them all would never end."""
    apple.replies = [as_json({**HISTORY, "hasMore": True})]
    with pytest.raises(ProviderUnavailable):
        await api.transaction_history(ID, revision="r1")
    apple.replies = [as_json({**PAGE, "hasMore": True})]
    with pytest.raises(ProviderUnavailable):
        await api.notification_history(1, 2, only_failures=True, pagination_token="p1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"a.b.c"',
        '{"signedTransactionInfo":"a.b.c"',
        '{"signedTransactionInfo":"a.b.c"} x',
        '{"signedTransactionInfo":"x","signedTransactionInfo":"a.b.c"}',
        '{"signedTransactionInfo":"a.b.c","n":NaN}',
        '{"signedTransactionInfo":"a.b.c","n":-Infinity}',
        '{"signedTransactionInfo":"a.b.c","n":%s}' % ("9" * 5000),
        '{"signedTransactionInfo":"a.b.c","n":%s' % ("[" * 100_000),
        "\ufeff" + json.dumps(TRANSACTION),
    ],
    ids=lambda text: text[:60],
)
async def test_only_plain_json_is_read(api, apple, text):
    """No second meaning of one text, no numbers that are none, no depths."""
    apple.replies = [as_json(text)]
    with pytest.raises(ProviderUnavailable):
        await api.transaction(ID)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
async def test_json_is_utf8(api, apple, encoding):
    """Whatever else a parser would take."""
    body = json.dumps({**TRANSACTION, "x": "é"}, ensure_ascii=False).encode(encoding)
    apple.replies = [Reply(200, body, {"Content-Type": "application/json"})]
    with pytest.raises(ProviderUnavailable):
        await api.transaction(ID)


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json;charset=UTF-8", "Application/JSON"]
)
async def test_json_may_name_its_charset(api, apple, kind):
    """Other servers in the way may add it."""
    apple.replies = [as_json(TRANSACTION, Content_Type=kind)]
    assert await api.transaction(ID) == "a.b.c"


@pytest.mark.parametrize(
    "kind", ["text/html", "text/plain", "application/jsonp", "x-application/json"]
)
@pytest.mark.parametrize("reply", [as_json(TRANSACTION), fault(4040010)])
async def test_what_is_not_called_json_is_not_read(api, apple, kind, reply):
    """Neither as an answer nor as a refusal."""
    apple.replies = [
        Reply(reply.status, reply.body, {"Content-Type": kind}),
    ]
    with pytest.raises(ProviderUnavailable):
        await api.transaction(ID)


@pytest.mark.parametrize("status", [201, 202, 204, 206])
@each_call
async def test_only_the_documented_success_is_one(api, apple, name, status):
    """Apple documents one status for each call."""
    expected = success(name)
    if expected.status != status:
        apple.replies = [Reply(status, b"" if status == 204 else expected.body, expected.headers)]
        with pytest.raises(ProviderUnavailable):
            await CALLS[name][0](api)


@pytest.mark.parametrize("name", ["consumption", "account"])
async def test_a_page_in_html_is_no_receipt(api, apple, name):
    """Something in the way answered for Apple; what we told it has not arrived."""
    apple.replies = [Reply(success(name).status, b"<html>", {"Content-Type": "text/html"})]
    with pytest.raises(ProviderUnavailable):
        await CALLS[name][0](api)


# What goes wrong.


@pytest.mark.parametrize("code", [4040010, 4040005, 4000006, 4000002, 4030004, 4040007, 4000187])
@each_call
async def test_a_refusal_is_told_with_apples_code(api, apple, name, code):
    """And with its words as they came, for the records; it is not asked again."""
    apple.replies = [fault(code)]
    with pytest.raises(ProviderRefused) as refused:
        await CALLS[name][0](api)
    assert (refused.value.code, refused.value.verifier) == (str(code), "")
    assert json.loads(refused.value.answer)["errorCode"] == code
    assert len(apple.requests) == 1


@pytest.mark.parametrize("code", [4040002, 4040004, 4040006, 4290000, 5000001])
async def test_a_retryable_code_is_no_refusal(api, apple, code):
    """Whatever status it comes with; it is the caller's to come again, later."""
    apple.replies = [fault(code, 404)]
    with pytest.raises(ProviderUnavailable):
        await api.transaction(ID)
    assert len(apple.requests) == 1


@pytest.mark.parametrize(
    "content",
    [{}, {"errorCode": "4040010"}, {"errorCode": True}, {"errorCode": 4040010.0}, [4040010], "x"],
)
@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_4xx_without_apples_code_is_not_apples(api, apple, status, content):
    """A proxy, or a path that has gone: nothing is known about the transaction."""
    apple.replies = [as_json(content, status)]
    with pytest.raises(ProviderUnavailable):
        await api.transaction(ID)


@pytest.mark.parametrize("body", [b"", b'{"errorCode":4040010}'])
@each_call
async def test_an_unaccepted_token_is_our_fault(api, apple, name, body):
    """401 comes without an error body, says nothing about the id, and tells Apple's time, in case ours is wrong."""
    apple.replies = [Reply(401, body, {"Date": "Sun, 22 Nov 2026 09:00:00 GMT"})]
    with pytest.raises(ProviderMisconfigured, match="22 Nov 2026 09:00:00"):
        await CALLS[name][0](api)
    assert len(apple.requests) == 1


@pytest.mark.parametrize(
    ("header", "retry_at"),
    [
        (str(NOW // 1000 + 61_000), NOW + 61 * seam.SECOND),
        (str(NOW // seam.SECOND + 61), NOW + 61 * seam.SECOND),
        ("61", NOW + 61 * seam.SECOND),
        ("0", NOW),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("9" * 15, 999_999_999_999_999_000),
        ("9" * 16, None),
        ("Sun, 22 Nov 2026 12:17:01 GMT", None),
        ("٣", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
@each_call
async def test_apple_says_when_to_come_again(api, apple, name, status, header, retry_at):
    """In milliseconds since 1970; seconds since then or from now are understood too, and nothing else is guessed."""
    header = header.encode().decode("latin-1")
    apple.replies = [fault(4290000, status, Retry_After=header)]
    with pytest.raises(ProviderUnavailable) as told:
        await CALLS[name][0](api)
    assert told.value.retry_at == retry_at
    assert len(apple.requests) == 1


@pytest.mark.parametrize("headers", [{}, {"Retry_After": "1"}])
async def test_a_rate_limit_is_not_asked_again(api, apple, world, headers):
    """It would only last longer."""
    for limited in (as_json("", 429, **headers), fault(4040010, 429, **headers)):
        apple.replies = [limited, as_json(TRANSACTION)]
        apple.requests.clear()
        with pytest.raises(ProviderUnavailable):
            await api.transaction(ID)
        assert (len(apple.requests), world.slept) == (1, [])


@pytest.mark.parametrize(
    "trouble",
    [
        fault(5000000),
        fault(5000001),
        Reply(502, b"<html>", {"Content-Type": "text/html"}),
        Reply(503),
        Reply(body=b'{"signed', promised=99),
    ],
    ids=["5000000", "5000001", "html", "empty", "truncated"],
)
@each_call
async def test_a_question_is_asked_again_at_once(api, apple, world, name, trouble):
    """Up to three times when Apple stumbles; what tells or starts something is sent once."""
    apple.replies = [trouble, trouble, success(name)]
    if name in QUESTIONS:
        await CALLS[name][0](api)
        assert (len(apple.requests), len(world.slept)) == (3, 2)
        assert len({(r.uri, r.body, bearer(r)) for r in apple.requests}) == 1
    apple.requests.clear()
    apple.replies = [trouble]
    with pytest.raises(ProviderUnavailable) as told:
        await CALLS[name][0](api)
    assert told.value.retry_at is None
    assert len(apple.requests) == (3 if name in QUESTIONS else 1)


@each_call
async def test_a_redirect_leads_nowhere(api, apple, name):
    """Our token is for Apple's host alone."""
    apple.replies = [Reply(302, b"", {"Location": f"{apple.url}/elsewhere"})]
    with pytest.raises(ProviderUnavailable):
        await CALLS[name][0](api)
    assert len(apple.requests) == 1


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_may_hold_a_page_and_no_more(api, apple, chunked):
    """Twenty signed notifications fit; what is larger than the bound is not read."""
    size = server_api.MAX_ANSWER - len(json.dumps({"signedTransactionInfo": ""}))
    for added, fits in ((0, True), (1, False)):
        reply = as_json({"signedTransactionInfo": "x" * (size + added)})
        apple.replies = [Reply(200, reply.body, reply.headers, chunked=chunked)]
        if fits:
            assert len(await api.transaction(ID)) == size
        else:
            with pytest.raises(ProviderUnavailable):
                await api.transaction(ID)


@each_call
async def test_silence_ends_in_time(apple, world, name):
    """One deadline is for the whole call, with all its tries."""
    api = client(apple.url, timeout=0.3)
    apple.replies = [Reply(silent=True)]
    with pytest.raises(ProviderUnavailable) as told:
        await CALLS[name][0](api)
    assert told.value.retry_at is None
    assert len(apple.requests) == 1
    api.close()


async def test_tries_end_with_the_deadline(apple, monkeypatch):
    """A wait between them that would outlast it is cut short."""
    monkeypatch.setattr(server_api, "_ASKING", server_api.Backoff(base=60, attempts=3))
    api = client(apple.url, timeout=0.3)
    apple.replies = [Reply(503)]
    with pytest.raises(ProviderUnavailable, match="time is up"):
        await api.transaction(ID)
    assert len(apple.requests) == 1
    api.close()


async def test_a_base_url_may_end_with_a_slash(apple, world):
    """Paths begin with one, and Apple's know no second."""
    api = client(apple.url + "/")
    apple.replies = [as_json(TRANSACTION)]
    await api.transaction(ID)
    assert apple.asked == [f"GET /inApps/v1/transactions/{ID}"]
    api.close()


# What it tells of itself.


@each_call
@pytest.mark.parametrize(
    "trouble",
    [Reply(401), fault(4040010), fault(4290000), Reply(500), Reply(promised=9), Reply(302)],
)
async def test_nothing_secret_is_shown(api, apple, name, trouble):
    """Neither by the client nor by what it raises, its causes included."""
    apple.replies = [trouble]
    with pytest.raises(ProviderError) as told:
        await CALLS[name][0](api)
    shown = [repr(api), repr(vars(api)), *traceback.format_exception(told.value)]
    shown += [repr(vars(told.value)), repr(told.value.__cause__), repr(told.value.__context__)]
    text = "".join(shown)
    assert bearer(apple.requests[0]) not in text
    assert "Bearer ey" not in text
    assert str(KEY.private_numbers().private_value) not in text


async def test_answers_do_not_show_what_was_signed(api, apple):
    """Purchases of customers do not belong into logs."""
    apple.replies = [success(name) for name in ("history", "notifications", "test")]
    history = await api.transaction_history(ID)
    page = await api.notification_history(1, 2, only_failures=True)
    test = await api.test_notification("t-1")
    assert "a.b.c" not in repr([history, page, test])


async def test_what_apple_writes_cannot_forge_a_line(api, apple):
    """Its words come into messages on one line, in ASCII, and not at length."""
    told = {"errorCode": 4000000, "errorMessage": "\n\x1b[2J金" + "x" * 9999}
    apple.replies = [
        Reply(400, json.dumps(told, ensure_ascii=False).encode(), success("transaction").headers)
    ]
    with pytest.raises(ProviderRefused) as refused:
        await api.transaction(ID)
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


# Its key.


def pem(key: Any, form: str = "PKCS8", secret: bytes | None = None) -> str:
    """A key as text."""
    hidden = (
        serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
    )
    private_format = getattr(serialization.PrivateFormat, form)
    return key.private_bytes(serialization.Encoding.PEM, private_format, hidden).decode()


def test_a_key_is_read_as_apple_hands_it_out():
    """With the line ends of any system."""
    for text in (pem(KEY), pem(KEY).replace("\n", "\r\n"), f"\n{pem(KEY)}\n"):
        assert read_key(text).private_numbers() == KEY.private_numbers()


RSA = rsa.generate_private_key(65537, 2048)
P384 = ec.generate_private_key(ec.SECP384R1())
PUBLIC = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)

DER = KEY.private_bytes(
    serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
EC_OID, NO_OID = bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209")
UNKNOWN = base64.encodebytes(DER.replace(EC_OID, NO_OID)).decode()
UNKNOWN = f"-----BEGIN PRIVATE KEY-----\n{UNKNOWN}-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "PKCS#8"),
        ("AuthKey_2X9R4HXF34.p8", "PKCS#8"),
        (PUBLIC.decode(), "PKCS#8"),
        (pem(KEY, "TraditionalOpenSSL"), "PKCS#8"),
        (pem(KEY, secret=b"password"), "PKCS#8"),
        (pem(KEY, secret=b"password") + pem(KEY), "damaged"),
        (UNKNOWN, "damaged"),
        (pem(KEY).replace("MI", "BB"), "damaged"),
        (pem(KEY)[:100], "damaged"),
        (pem(KEY).replace("MI", "金"), "damaged"),
        (pem(KEY).replace("MI", "\udc80"), "damaged"),
        (pem(RSA), "P-256"),
        (pem(P384), "P-256"),
    ],
    ids=(
        "empty name public traditional locked locked_and_open unknown changed cut chinese surrogate rsa p384"
    ).split(),
)
def test_another_key_is_refused_by_name(text, reason):
    """What is wrong is said, and not one line of the key."""
    with pytest.raises(ValueError, match=reason) as refused:
        read_key(text)
    shown = "".join(traceback.format_exception(refused.value))
    assert refused.value.__cause__ is None
    assert all(line not in shown for line in text.split("\n") if len(line) > 20)


def test_both_environments_have_their_host():
    """Apple's hosts, by TLS."""
    assert BASE_URLS == {
        "production": "https://api.storekit.apple.com",
        "sandbox": "https://api.storekit-sandbox.apple.com",
    }
