"""The client of the Android Publisher API, over real sockets: what it sends, what it believes, what a failure means."""

import json
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from payplat import seam
from payplat.channels.google import publisher_api
from payplat.channels.google.access import AccessTokens
from payplat.channels.google.publisher_api import (
    BASE_URL,
    PURCHASE_TOKEN,
    Answered,
    PublisherApi,
    VoidedPage,
)
from payplat.errors import (
    ProviderError,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from payplat.simulators.google.accounts import ALL, VIEW_FINANCIAL_DATA, Account
from payplat.simulators.google.books import new_token
from payplat.simulators.google.keys import NamedKey
from payplat.simulators.google.refusals import REASONS
from payplat.simulators.google.server import GoogleSimulator
from tests.simulators.google_stage import (
    DAY,
    EMAIL,
    ORDER,
    PACKAGE,
    PRODUCTS,
    USER,
    open_inbox,
    open_play,
)
from tests.wire.google import KEY_ID, NOW, SetWorld, access_tokens, account_key, set_world
from tests.wire.scripted import LOOPBACK, Reply, Scripted, as_json, scripted

TOKEN = "opaque-token-up-to-1950.AO-J1Oy_~9"
PRODUCT, ORDER_ID = "coins_500", "GPA.3345-1234-5678-90123"
PURCHASE = {"kind": "androidpublisher#productPurchaseV2", "productLineItem": [{"productId": "x"}]}
VOIDED = {"voidedPurchases": [{"purchaseToken": TOKEN, "voidedReason": 7}]}
GRANTED = {"access_token": "ya29.one", "expires_in": 3599, "token_type": "Bearer"}
NO_CONTENT = Reply(204, promised=0)
APP = f"/androidpublisher/v3/applications/{PACKAGE}"


@pytest.fixture
def world(monkeypatch) -> SetWorld:
    """The world with a clock to set."""
    return set_world(monkeypatch)


@pytest.fixture
async def google() -> AsyncIterator[Scripted]:
    """A server in the API's place."""
    async with scripted() as server:
        yield server


@pytest.fixture
async def granting() -> AsyncIterator[Scripted]:
    """A token endpoint that grants one token after the other."""
    async with scripted() as server:
        server.replies = [
            as_json({**GRANTED, "access_token": f"ya29.{name}"}) for name in ("one", "two", "three")
        ]
        yield server


@pytest.fixture
async def tokens(granting, world) -> AsyncIterator[AccessTokens]:
    """The tokens of our account."""
    tokens = access_tokens(granting.url)
    yield tokens
    tokens.close()


def client(url: str, tokens: AccessTokens, **changes: Any) -> PublisherApi:
    """The client of the tests' app."""
    options: dict[str, Any] = {
        "base_url": url,
        "package_name": PACKAGE,
        "timeout": 5,
        "opened": LOOPBACK,
    }
    return PublisherApi(tokens=tokens, **{**options, **changes})


@pytest.fixture
async def api(google, tokens) -> AsyncIterator[PublisherApi]:
    """The client in front of that server."""
    api = client(google.url, tokens)
    yield api
    api.close()


CALLS = {
    "purchase": (lambda api, token=TOKEN: api.purchase(token), PURCHASE),
    "order": (lambda api: api.order(ORDER_ID), {"orderId": ORDER_ID}),
    "voided": (lambda api: api.voided(NOW * 1000, page_token=None), VOIDED),
    "acknowledge": (lambda api, token=TOKEN: api.acknowledge(PRODUCT, token), None),
    "consume": (lambda api, token=TOKEN: api.consume(PRODUCT, token), None),
    "refund": (lambda api: api.refund(ORDER_ID), None),
}
QUESTIONS = {"purchase", "order", "voided"}
each_call = pytest.mark.parametrize("name", CALLS)


def success(name: str) -> Reply:
    """What Google answers to that call."""
    content = CALLS[name][1]
    return NO_CONTENT if content is None else as_json(content)


def fault(status: int, reason: str, **headers: str) -> Reply:
    """An error in Google's envelope."""
    detail = {"message": "No.", "domain": "androidpublisher", "reason": reason}
    error = {"code": status, "message": "No.", "errors": [detail], "status": "STATUS"}
    return as_json({"error": error}, status, **headers)


# What it sends.


@pytest.mark.parametrize(
    ("name", "asked", "body"),
    [
        ("purchase", f"GET {APP}/purchases/productsv2/tokens/{TOKEN}", b""),
        ("order", f"GET {APP}/orders/{ORDER_ID}", b""),
        (
            "acknowledge",
            f"POST {APP}/purchases/products/{PRODUCT}/tokens/{TOKEN}:acknowledge",
            b"{}",
        ),
        ("consume", f"POST {APP}/purchases/products/{PRODUCT}/tokens/{TOKEN}:consume", b""),
        ("refund", f"POST {APP}/orders/{ORDER_ID}:refund?revoke=true", b""),
    ],
)
async def test_each_call_goes_to_its_endpoint(api, google, name, asked, body):
    """With the method, path and body of its page, and a body's type only where there is a body."""
    google.replies = [success(name)]
    await CALLS[name][0](api)
    (request,) = google.requests
    assert (google.asked, request.body) == ([asked], body)
    assert request.headers.get("Content-Type") == ("application/json" if body else None)
    if request.method == "POST":
        assert request.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("page", [None, "a&b=c +/%"])
async def test_voided_purchases_are_asked_for_with_the_partial_ones(api, google, page):
    """One-time purchases from a time on, the largest page, and each value escaped once."""
    google.replies = [as_json({})]
    await api.voided(1_795_000_000_123, page_token=page)
    target = urlsplit(google.requests[0].uri)
    assert target.path == f"{APP}/purchases/voidedpurchases"
    assert parse_qs(target.query, strict_parsing=True) == {
        "startTime": ["1795000000123"],
        "maxResults": ["1000"],
        "type": ["0"],
        "includeQuantityBasedPartialRefund": ["true"],
        **({"token": [page]} if page else {}),
    }


@each_call
async def test_each_request_carries_the_access_token(api, google, granting, name):
    """And one token serves them all."""
    for _ in range(2):
        google.replies = [success(name)]
        await CALLS[name][0](api)
    assert [bearer(request) for request in google.requests] == ["ya29.one"] * 2
    assert len(granting.requests) == 1


def bearer(request: Any) -> str:
    """The token of a request."""
    scheme, _, token = request.headers["Authorization"].partition(" ")
    assert scheme == "Bearer"
    return token


async def test_a_package_name_cannot_lead_elsewhere(google, tokens):
    """It is one part of the path, whatever is in it; a base URL may end with a slash."""
    api = client(google.url + "/", tokens, package_name="a/../b?c#d")
    google.replies = [success("purchase")]
    await api.purchase(TOKEN)
    path = "/androidpublisher/v3/applications/a%2F..%2Fb%3Fc%23d/purchases/productsv2/tokens/"
    assert google.asked == [f"GET {path}{TOKEN}"]
    api.close()


WRONG = ["", ".", "..", ".x", "../x", "a/b", "a?b", "a#b", "a b", "a:b", "a%2Fb", "é", "a\n", "a+b"]


@pytest.mark.parametrize("wrong", [*WRONG, "x" * 2049])
@pytest.mark.parametrize("name", ["purchase", "acknowledge", "consume"])
async def test_what_is_no_purchase_token_is_never_sent(api, google, name, wrong):
    """It would be part of a path: the characters of real ones, and not too many."""
    with pytest.raises(ValueError, match="Google's ids"):
        await CALLS[name][0](api, wrong)
    assert google.requests == []
    assert not PURCHASE_TOKEN.match(wrong)


@pytest.mark.parametrize("wrong", [*WRONG, "x" * 256])
async def test_what_is_no_product_or_order_is_never_sent(api, google, wrong):
    """They too are part of a path."""
    calls = (
        lambda: api.acknowledge(wrong, TOKEN),
        lambda: api.consume(wrong, TOKEN),
        lambda: api.order(wrong),
        lambda: api.refund(wrong),
    )
    for call in calls:
        with pytest.raises(ValueError, match="Google's ids"):
            await call()
    assert google.requests == []


@pytest.mark.parametrize("token", ["x", "-", "_a.b~c-d", "a" * 2048, new_token()])
async def test_a_purchase_token_goes_as_it_is(api, google, token):
    """None of its characters needs escaping."""
    google.replies = [success("purchase")]
    await api.purchase(token)
    assert google.requests[0].path.rpartition("/")[2] == token


# What it believes.


async def test_what_google_answers_is_handed_on(api, google):
    """Read, and as the text that came."""
    text = '{ "productLineItem": [],\n "new": [1.5, null, {"x": true}], "é": "金" }'
    google.replies = [as_json(text, Content_Type="application/json; charset=UTF-8")]
    answered = await api.purchase(TOKEN)
    assert answered == Answered(json.loads(text), text)
    google.replies = [as_json({"orderId": ORDER_ID, "total": {"units": "4"}})]
    assert await api.order(ORDER_ID) == {"orderId": ORDER_ID, "total": {"units": "4"}}


@pytest.mark.parametrize(
    ("content", "page"),
    [
        ({}, VoidedPage([], None)),
        (VOIDED, VoidedPage(VOIDED["voidedPurchases"], None)),
        ({"voidedPurchases": []}, VoidedPage([], None)),
        ({"tokenPagination": {}}, VoidedPage([], None)),
        ({"tokenPagination": {"nextPageToken": "n"}}, VoidedPage([], "n")),
        ({"pageInfo": {"totalResults": 0}, "new": 1}, VoidedPage([], None)),
    ],
)
async def test_a_page_may_be_short(api, google, content, page):
    """Empty lists are left out, and so is the last page's token."""
    google.replies = [as_json(content)]
    assert await api.voided(0, page_token="p") == page


@pytest.mark.parametrize(
    "content",
    [
        {"voidedPurchases": {"purchaseToken": TOKEN}},
        {"voidedPurchases": None},
        {"voidedPurchases": [None]},
        {"voidedPurchases": [TOKEN]},
        {"voidedPurchases": [{}]},
        {"tokenPagination": None},
        {"tokenPagination": "n"},
        {"tokenPagination": {"nextPageToken": ""}},
        {"tokenPagination": {"nextPageToken": 1}},
        {"tokenPagination": {"nextPageToken": "p"}},
    ],
)
async def test_a_page_that_is_none_is_not_believed(api, google, content):
    """A page without its rows or its end would hide refunds; one that leads to itself would never end."""
    google.replies = [as_json(content)]
    with pytest.raises(ProviderUnavailable):
        await api.voided(0, page_token="p")
    assert len(google.requests) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '{"a":1',
        '{"a":1} x',
        '{"a":1,"a":1}',
        '{"a":NaN}',
        '{"a":-Infinity}',
        '{"a":1e999}',
        '{"a":%s}' % ("9" * 5000),
        '{"a":%s' % ("[" * 100_000),
        "\ufeff{}",
    ],
    ids=lambda text: text[:20],
)
async def test_only_plain_json_is_read(api, google, text):
    """No second meaning of one text, no numbers that are none, no depths."""
    google.replies = [as_json(text)]
    with pytest.raises(ProviderUnavailable):
        await api.purchase(TOKEN)


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/jsonp"])
@pytest.mark.parametrize("name", ["purchase", "consume"])
@pytest.mark.parametrize("reply", [as_json(PURCHASE), fault(404, "purchaseTokenNotFound")])
async def test_what_is_not_called_json_is_not_read(api, google, kind, reply, name):
    """Neither as an answer, nor as a refusal, nor as a receipt."""
    google.replies = [Reply(reply.status, reply.body, {"Content-Type": kind})]
    with pytest.raises(ProviderUnavailable):
        await CALLS[name][0](api)


@pytest.mark.parametrize("reply", [Reply(200), NO_CONTENT, as_json({}), as_json({}, 202)])
@pytest.mark.parametrize("name", sorted(CALLS.keys() - QUESTIONS))
async def test_what_is_told_needs_no_answer(api, google, name, reply):
    """Any success will do, and an empty object is one."""
    google.replies = [reply]
    await CALLS[name][0](api)


@pytest.mark.parametrize("name", sorted(QUESTIONS))
async def test_a_question_needs_an_answer(api, google, name):
    """A success without a body says nothing."""
    google.replies = [NO_CONTENT]
    with pytest.raises(ProviderUnavailable):
        await CALLS[name][0](api)


# What goes wrong.


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "invalid"),
        (400, "purchaseTokenDoesNotMatchProductId"),
        (404, "purchaseTokenNotFound"),
        (410, "purchaseTokenNoLongerValid"),
    ],
)
@each_call
async def test_a_refusal_is_told_with_googles_reason(api, google, name, status, reason):
    """And with its words as they came, for the records; it is not asked again."""
    google.replies = [fault(status, reason)]
    with pytest.raises(ProviderRefused) as refused:
        await CALLS[name][0](api)
    assert (refused.value.code, refused.value.verifier) == (reason, "")
    assert json.loads(refused.value.answer)["error"]["code"] == status
    assert len(google.requests) == 1


async def test_a_status_stands_for_a_missing_reason(api, google):
    """Newer services of Google's leave the list of errors out."""
    google.replies = [as_json({"error": {"code": 404, "status": "NOT_FOUND"}}, 404)]
    with pytest.raises(ProviderRefused) as refused:
        await api.purchase(TOKEN)
    assert refused.value.code == "NOT_FOUND"


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        "x",
        {"error": "invalid"},
        {"error": {}},
        {"error": {"errors": []}},
        {"error": {"errors": [{}]}},
        {"error": {"errors": [{"reason": 1}]}},
        {"error": {"errors": [{"reason": ""}]}},
        {"error": {"errors": ["invalid"]}},
        {"error": {"errors": {"reason": "invalid"}}},
    ],
)
@pytest.mark.parametrize("status", [400, 404, 410])
async def test_an_error_without_googles_reason_is_not_googles(api, google, status, content):
    """A proxy, or a path that has gone: nothing is known about the purchase."""
    google.replies = [as_json(content, status)]
    with pytest.raises(ProviderUnavailable):
        await api.purchase(TOKEN)


@pytest.mark.parametrize("status", [400, 404])
@each_call
async def test_an_unknown_app_is_our_fault(api, google, name, status):
    """It says nothing about the purchase; every purchase would be refused."""
    google.replies = [fault(status, "applicationNotFound")]
    with pytest.raises(ProviderMisconfigured):
        await CALLS[name][0](api)


@pytest.mark.parametrize("reason", ["permissionDenied", "projectNotLinked", "accessNotConfigured"])
@each_call
async def test_an_account_that_may_not_ask_is_our_fault(api, google, name, reason):
    """403 is for the operator, and for nothing else; with or without a reason."""
    for reply in (fault(403, reason), Reply(403)):
        google.requests.clear()
        google.replies = [reply]
        with pytest.raises(ProviderMisconfigured, match="403"):
            await CALLS[name][0](api)
        assert len(google.requests) == 1


QUOTA = ["rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded"]


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("reason", QUOTA)
@each_call
async def test_a_quota_passes(api, google, world, name, status, reason):
    """Whatever status it comes with; to ask again at once would only make it last longer."""
    google.replies = [fault(status, reason)]
    with pytest.raises(ProviderUnavailable):
        await CALLS[name][0](api)
    assert (len(google.requests), world.slept) == (1, [])


@pytest.mark.parametrize("status", [409, 429, 405, 413, 302])
@each_call
async def test_any_other_status_is_no_answer(api, google, name, status):
    """Not even one with a reason; and a redirect leads nowhere: our token is for Google's host alone."""
    google.replies = [fault(status, "invalid", Location=f"{google.url}/elsewhere")]
    with pytest.raises(ProviderUnavailable):
        await CALLS[name][0](api)
    assert len(google.requests) == 1


@each_call
async def test_an_unaccepted_token_is_replaced_once(api, google, granting, name):
    """Google may have taken it back before its end; that nothing was done, it said."""
    google.replies = [fault(401, "authError"), success(name)]
    await CALLS[name][0](api)
    assert [bearer(request) for request in google.requests] == ["ya29.one", "ya29.two"]
    assert len({(request.uri, request.body) for request in google.requests}) == 1


@pytest.mark.parametrize(
    "reply", [fault(401, "authError"), fault(401, "permissionDenied"), Reply(401)]
)
@each_call
async def test_a_second_unaccepted_token_is_our_fault(api, google, granting, name, reply):
    """Then it is the account that is not accepted."""
    google.replies = [reply]
    with pytest.raises(ProviderMisconfigured):
        await CALLS[name][0](api)
    assert (len(google.requests), len(granting.requests)) == (2, 2)


@each_call
async def test_without_a_token_nothing_is_asked(api, google, granting, name):
    """What the token endpoint says is what the caller hears."""
    granting.replies = [as_json({"error": "invalid_grant"}, 400)]
    with pytest.raises(ProviderMisconfigured):
        await CALLS[name][0](api)
    assert google.requests == []


@pytest.mark.parametrize("header", ["61", "-1", "soon", "Sun, 22 Nov 2026 12:17:01 GMT"])
@pytest.mark.parametrize("status", [409, 429, 503])
@each_call
async def test_google_says_when_to_come_again(api, google, name, status, header):
    """In seconds; nothing else is guessed. It is not asked again before."""
    google.replies = [fault(status, "rateLimitExceeded", Retry_After=header)]
    with pytest.raises(ProviderUnavailable) as told:
        await CALLS[name][0](api)
    moment = (NOW + 61) * seam.SECOND if header == "61" else None
    assert (told.value.retry_at, len(google.requests)) == (moment, 1)


@pytest.mark.parametrize(
    "trouble",
    [
        fault(500, "internalError"),
        fault(503, "backendError"),
        Reply(502, b"<html>", {"Content-Type": "text/html"}),
        Reply(body=b'{"kind', promised=99),
    ],
    ids=["500", "503", "html", "cut"],
)
@each_call
async def test_a_question_is_asked_again_at_once(api, google, world, name, trouble):
    """Up to three times when Google stumbles; what tells or gives back something is sent once."""
    google.replies = [trouble, trouble, success(name)]
    if name in QUESTIONS:
        await CALLS[name][0](api)
        assert (len(google.requests), len(world.slept)) == (3, 2)
        assert len({(request.uri, request.body) for request in google.requests}) == 1
    google.requests.clear()
    google.replies = [trouble]
    with pytest.raises(ProviderUnavailable) as told:
        await CALLS[name][0](api)
    assert told.value.retry_at is None
    assert len(google.requests) == (3 if name in QUESTIONS else 1)


async def test_an_answer_may_hold_a_page_and_no_more(api, google):
    """A thousand voided purchases with the longest tokens fit; what is larger than the bound is not read."""
    rows = [{"purchaseToken": "x" * 2048, "orderId": ORDER_ID, "voidedReason": 7}] * 1000
    google.replies = [as_json({"voidedPurchases": rows})]
    assert len((await api.voided(0, page_token=None)).rows) == 1000
    google.replies = [as_json({"x": "y" * publisher_api.MAX_ANSWER})]
    with pytest.raises(ProviderUnavailable):
        await api.voided(0, page_token=None)


@each_call
async def test_silence_ends_in_time(google, tokens, name):
    """One deadline is for the whole call, with all its tries and the wait for a token."""
    api = client(google.url, tokens, timeout=0.3)
    google.replies = [Reply(silent=True)]
    with pytest.raises(ProviderUnavailable):
        await CALLS[name][0](api)
    assert len(google.requests) == 1
    api.close()


async def test_a_slow_grant_costs_no_more_than_the_deadline(google, tokens, granting):
    """The grant goes on for those who can wait longer."""
    api = client(google.url, tokens, timeout=0.2)
    granting.replies = [Reply(silent=True)]
    with pytest.raises(ProviderUnavailable, match="time is up"):
        await api.purchase(TOKEN)
    assert google.requests == []
    api.close()


# In front of the simulator.


@pytest.fixture
async def play(world) -> AsyncIterator[GoogleSimulator]:
    """Google's simulator, its clock and ours at the same moment."""
    async with open_inbox() as inbox, open_play(inbox) as play:
        yield play


@pytest.fixture
async def signed_in(play) -> AsyncIterator[Callable[..., PublisherApi]]:
    """Make clients of an account that may do everything, or what is named."""
    opened: list[PublisherApi | AccessTokens] = []

    def sign_in(package_name: str = PACKAGE, may: Iterable[str] = ALL) -> PublisherApi:
        tokens = access_tokens(play.token_uri)
        api = client(play.api, tokens, package_name=package_name)
        opened.extend((api, tokens))
        play.accounts.add(Account(EMAIL, frozenset(may), NamedKey(account_key(), KEY_ID)), "")
        return api

    yield sign_in
    for each in opened:
        each.close()


@pytest.fixture
async def live(signed_in) -> PublisherApi:
    """The client in front of the simulator."""
    return signed_in()


async def bought(play: GoogleSimulator, **terms: Any) -> Any:
    """A purchase of our order."""
    ids = {"obfuscated_account_id": USER, "obfuscated_profile_id": ORDER}
    return await play.buy(PACKAGE, PRODUCT, **{**ids, **terms})


async def test_a_purchase_is_read_through_its_life(live, play):
    """Pending, purchased, acknowledged, consumed: each as the API then tells it."""
    purchase = await bought(play, pending=True, quantity=2)
    token = purchase.purchase_token
    content = (await live.purchase(token)).content
    assert content["purchaseStateContext"] == {"purchaseState": "PENDING"}
    await play.complete_pending(token)
    await live.acknowledge(PRODUCT, token)
    content = (await live.purchase(token)).content
    assert content["purchaseStateContext"] == {"purchaseState": "PURCHASED"}
    assert content["acknowledgementState"] == "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"
    assert content["obfuscatedExternalProfileId"] == ORDER
    await live.acknowledge(PRODUCT, token)
    await live.consume(PRODUCT, token)
    answered = await live.purchase(token)
    (item,) = answered.content["productLineItem"]
    assert item["productOfferDetails"]["consumptionState"] == "CONSUMPTION_STATE_CONSUMED"
    assert json.loads(answered.text) == answered.content
    with pytest.raises(ProviderRefused) as refused:
        await live.consume(PRODUCT, token)
    assert refused.value.code == "productNotOwnedByUser"


async def test_an_order_is_read_and_given_back(live, play):
    """The refund revokes, so that it is among the voided purchases."""
    purchase = await bought(play)
    assert (await live.order(purchase.order_id))["total"]["units"] == "4"
    await live.refund(purchase.order_id)
    assert (await live.order(purchase.order_id))["state"] == "REFUNDED"
    content = (await live.purchase(purchase.purchase_token)).content
    assert content["purchaseStateContext"] == {"purchaseState": "CANCELLED"}
    page = await live.voided((NOW - DAY) * 1000, page_token=None)
    assert [row["purchaseToken"] for row in page.rows] == [purchase.purchase_token]
    assert page.next_page_token is None
    with pytest.raises(ProviderRefused) as refused:
        await live.refund(purchase.order_id)
    assert refused.value.code == "invalid"


async def test_voided_purchases_are_read_page_by_page(live, play):
    """All of them, the partly voided too, each once."""
    silent = {"push_url": None, "push_audience": "", "push_email": "x@y.z"}
    play.add_app(PACKAGE, products=PRODUCTS, **silent)
    tokens = list(void_many(play, 1001))
    pages, page_token = [], None
    while not pages or page_token:
        pages.append(await live.voided((NOW - DAY) * 1000, page_token=page_token))
        page_token = pages[-1].next_page_token
    assert [len(page.rows) for page in pages] == [1000, 1]
    assert sorted(row["purchaseToken"] for page in pages for row in page.rows) == sorted(tokens)
    assert pages[1].rows[0]["voidedQuantity"] == 1


def void_many(play: GoogleSimulator, count: int) -> Iterator[str]:
    """Buy so many and give them back, the last one in part."""
    for number in range(count):
        purchase, _ = play.start_purchase(
            PACKAGE, PRODUCT, notify=False, buyer=str(number), quantity=2
        )
        play.start_refund(purchase, quantity=1 if number == count - 1 else None)
        yield purchase.purchase_token


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ("x", "invalid"),
        ("unknown", "purchaseTokenNotFound"),
        ("product", "purchaseTokenDoesNotMatchProductId"),
        ("package", "purchaseTokenDoesNotMatchPackageName"),
        ("gone", "purchaseTokenNoLongerValid"),
    ],
)
async def test_a_forged_or_mixed_up_token_is_refused(signed_in, play, world, wrong, code):
    """Each with the API's own reason."""
    purchase, live = await bought(play), signed_in()
    silent = {"push_url": None, "push_audience": "", "push_email": "x@y.z"}
    play.add_app("com.example.other", products={}, **silent)
    other = signed_in("com.example.other")
    if wrong == "gone":
        await live.refund(purchase.order_id)
        await play.advance(61 * DAY)
        world.at(61 * DAY)
    calls = {
        "x": lambda: live.purchase("x"),
        "unknown": lambda: live.purchase(new_token()),
        "product": lambda: live.consume("castle", purchase.purchase_token),
        "package": lambda: other.purchase(purchase.purchase_token),
        "gone": lambda: live.purchase(purchase.purchase_token),
    }
    with pytest.raises(ProviderRefused) as refused:
        await calls[wrong]()
    assert refused.value.code == code


async def test_an_account_without_permission_is_our_fault(signed_in, play):
    """It may look and not act; what it may not do is not done."""
    purchase = await bought(play)
    api = signed_in(may=[VIEW_FINANCIAL_DATA])
    await api.purchase(purchase.purchase_token)
    with pytest.raises(ProviderMisconfigured, match="permissionDenied"):
        await api.consume(PRODUCT, purchase.purchase_token)
    assert not purchase.consumed


async def test_an_app_that_google_does_not_know_is_our_fault(signed_in):
    """A misspelt package name must not look like forged purchases."""
    with pytest.raises(ProviderMisconfigured, match="applicationNotFound"):
        await signed_in("com.example.gane").purchase(new_token())


async def test_a_token_that_ends_early_is_replaced(live, play):
    """Its life at Google's is shorter than told; one call later all is well."""
    purchase = await bought(play)
    await live.purchase(purchase.purchase_token)
    play.accounts._tokens.clear()
    await live.purchase(purchase.purchase_token)
    asked = [(each.call, each.status) for each in play.received]
    assert asked == [
        ("oauth.token", 200),
        ("productsv2.get", 200),
        ("productsv2.get", 401),
        ("oauth.token", 200),
        ("productsv2.get", 200),
    ]


KINDS = {
    **dict.fromkeys(("rateLimitExceeded", "quotaExceeded"), ProviderUnavailable),
    **dict.fromkeys(("internalError", "backendError", "concurrentUpdate"), ProviderUnavailable),
    **dict.fromkeys(("authError", "permissionDenied"), ProviderMisconfigured),
    **dict.fromkeys(("projectNotLinked", "accessNotConfigured"), ProviderMisconfigured),
    "applicationNotFound": ProviderMisconfigured,
    "dailyLimitExceeded": ProviderUnavailable,
    **dict.fromkeys(("html", "cut", "garbage"), ProviderUnavailable),
}


@pytest.mark.parametrize(
    "kind", [*(name for name in REASONS if "_" not in name), "html", "cut", "garbage"]
)
async def test_each_misfortune_has_its_meaning(live, play, kind):
    """Every reason of the API's and every broken answer, at every call: refused, our fault, or no answer."""
    purchase = await bought(play)
    token, order_id = purchase.purchase_token, purchase.order_id
    play.faults.answer(kind, path="/androidpublisher", times=None, processed=False)
    for call in (
        live.purchase(token),
        live.order(order_id),
        live.voided((NOW - DAY) * 1000, page_token=None),
        live.acknowledge(PRODUCT, token),
        live.consume(PRODUCT, token),
        live.refund(order_id),
    ):
        with pytest.raises(ProviderError) as told:
            await call
        assert type(told.value) is KINDS.get(kind, ProviderRefused)
        assert getattr(told.value, "code", kind) == kind


async def test_a_lost_answer_can_be_asked_for(live, play):
    """What was told arrived although its answer did not: the state says so, and telling it again is safe."""
    purchase = await bought(play)
    play.next_answers("cut", path=":acknowledge")
    with pytest.raises(ProviderUnavailable):
        await live.acknowledge(PRODUCT, purchase.purchase_token)
    assert purchase.acknowledged
    await live.acknowledge(PRODUCT, purchase.purchase_token)


# What it tells of itself.


@each_call
@pytest.mark.parametrize(
    "trouble",
    [
        Reply(401),
        fault(404, "notFound"),
        fault(429, "x"),
        Reply(500),
        Reply(promised=9),
        Reply(302),
    ],
)
async def test_nothing_secret_is_shown(api, google, name, trouble):
    """Neither by the client nor by what it raises, its causes included."""
    google.replies = [trouble]
    with pytest.raises(ProviderError) as told:
        await CALLS[name][0](api)
    shown = [repr(api), repr(vars(api)), *traceback.format_exception(told.value)]
    shown += [repr(vars(told.value)), repr(told.value.__cause__), repr(told.value.__context__)]
    assert not any(secret in "".join(shown) for secret in ("ya29", TOKEN))


async def test_answers_do_not_show_who_bought_what(api, google):
    """Purchases of customers do not belong into logs."""
    google.replies = [as_json(VOIDED)]
    shown = repr([await api.purchase(TOKEN), await api.voided(0, page_token=None)])
    assert TOKEN not in shown


async def test_what_google_writes_cannot_forge_a_line(api, google):
    """Its words come into messages on one line, in ASCII, and not at length."""
    google.replies = [fault(400, "\n\x1b[2J金" + "x" * 9999)]
    with pytest.raises(ProviderRefused) as refused:
        await api.purchase(TOKEN)
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_google_has_one_host():
    """The API's, and over TLS."""
    assert BASE_URL == "https://androidpublisher.googleapis.com"
