"""The token endpoint and access tokens: who may ask, for what, and how long."""

import json

import pytest

from payplat.simulators.google.accounts import MANAGE_ORDERS, VIEW_FINANCIAL_DATA
from payplat.simulators.google.jwt import decode, encode, rs256
from payplat.simulators.google.keys import stranger
from tests.simulators.google_stage import EMAIL, keys, open_api, open_inbox, open_play, product_path

NOW = 1_790_000_000


@pytest.fixture
async def inbox():
    async with open_inbox() as inbox:
        yield inbox


@pytest.fixture
async def play(inbox):
    async with open_play(inbox) as play:
        yield play


@pytest.fixture
async def api(play):
    async with open_api(play) as api:
        yield api


async def test_an_assertion_buys_an_access_token(api):
    """It is opaque, lasts an hour less a second, and opens the API."""
    response = await api.grant(api.assertion())
    granted = json.loads(response.body)
    assert response.code == 200
    assert granted.keys() == {"access_token", "expires_in", "token_type"}
    assert (granted["expires_in"], granted["token_type"]) == (3599, "Bearer")
    assert granted["access_token"].startswith("ya29.")
    assert await api.get("/purchases/voidedpurchases") == {}


async def test_the_configured_token_uri_is_an_audience_too(api, play):
    """A client that follows `token_uri` is as right as one that keeps to Google's address."""
    assert (await api.grant(api.assertion(aud=play.token_uri))).code == 200


async def test_the_file_is_what_google_hands_out(api, play):
    """A service account's JSON, whose token_uri points here."""
    assert api.file["type"] == "service_account"
    assert api.file["client_email"] == EMAIL
    assert api.file["token_uri"] == play.token_uri
    assert "BEGIN PRIVATE KEY" in api.file["private_key"]
    fresh = play.service_account("second@example-project.iam.gserviceaccount.com")
    assert fresh["private_key"] != api.file["private_key"]


@pytest.mark.parametrize(
    ("claims", "error", "words"),
    [
        ({"iss": "nobody@example.com"}, "invalid_grant", "account not found"),
        ({"aud": "https://elsewhere.example/token"}, "invalid_grant", "audience"),
        ({"exp": NOW + 3601}, "invalid_grant", "short-lived"),
        ({"iat": NOW - 3600, "exp": NOW - 301}, "invalid_grant", "short-lived"),
        ({"iat": NOW + 301}, "invalid_grant", "short-lived"),
        ({"iat": None}, "invalid_grant", "short-lived"),
        ({"exp": None}, "invalid_grant", "short-lived"),
        ({"scope": "https://www.googleapis.com/auth/drive"}, "invalid_scope", ""),
    ],
)
async def test_a_wrong_claim_is_refused(api, claims, error, words):
    """With status 400, a name and a sentence."""
    response = await api.grant(api.assertion(**claims))
    told = json.loads(response.body)
    assert (response.code, told["error"]) == (400, error)
    assert words in told["error_description"]


async def test_a_wrong_signature_is_refused(api):
    """By another key, under a deleted one or another name, with HMAC, or with nothing at all."""
    genuine = decode(api.assertion())
    mislabelled = encode({**genuine.header, "alg": "HS256"}, genuine.claims, rs256(keys()[1]))
    hmac = ".".join(["eyJhbGciOiJIUzI1NiJ9", *api.assertion().split(".")[1:]])
    forged = [
        mislabelled,
        api.assertion(key=stranger()),
        api.assertion(header={"kid": "deleted"}),
        hmac,
        "no token",
    ]
    for assertion in forged:
        response = await api.grant(assertion)
        assert (response.code, json.loads(response.body)["error"]) == (400, "invalid_grant")


async def test_other_grants_are_refused(api):
    """Only the JWT bearer grant, in a form, and for the account itself."""
    response = await api.grant(api.assertion(), "client_credentials")
    assert json.loads(response.body)["error"] == "unsupported_grant_type"
    response = await api.grant(api.assertion(sub="boss@example.com"))
    assert (response.code, json.loads(response.body)["error"]) == (401, "unauthorized_client")
    response = await api.fetch(api.sim.token_uri, "POST", "{}", {"Content-Type": "text/plain"})
    assert json.loads(response.body)["error"] == "invalid_request"


async def test_a_token_ends(api, play):
    """One second too late it opens nothing; a new one does."""
    await api.sign_in()
    await play.advance(3598)
    assert await api.get("/purchases/voidedpurchases") == {}
    await play.advance(1)
    response = await api.ask("/purchases/voidedpurchases")
    assert (response.code, response.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
    assert await api.refused("/purchases/voidedpurchases") == (401, "authError")
    await api.sign_in()
    assert await api.get("/purchases/voidedpurchases") == {}


async def test_without_a_token_nothing_opens(api):
    """Nor with somebody else's."""
    api.token = "ya29.guessed"
    assert await api.refused("/purchases/voidedpurchases") == (401, "authError")


@pytest.mark.parametrize(
    ("permissions", "may_see", "may_do"),
    [([], False, False), ([VIEW_FINANCIAL_DATA], True, False), ([MANAGE_ORDERS], False, True)],
)
async def test_permissions_are_asked_for(api, play, permissions, may_see, may_do):
    """Seeing and doing are granted one by one; without, Google says 401."""
    api.file = play.service_account(EMAIL, permissions, key=keys()[1])
    purchase = await play.buy("com.example.game", "castle")
    path = product_path(purchase)
    denied = (401, "permissionDenied")
    seen = await api.ask(path)
    assert seen.code == (200 if may_see else 401)
    if not may_see:
        assert await api.refused(path) == denied
    if may_do:
        await api.do(product_path(purchase, "acknowledge"))
    else:
        assert await api.refused(product_path(purchase, "acknowledge"), "POST") == denied
