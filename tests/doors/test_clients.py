"""Who may call: users with a token of their app's login, backends with an API key, and what each of them sees."""

import asyncio
import json
import re
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sqlalchemy import event
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from payplat import api_keys, seam
from payplat.clients import Scope
from tests.ledger.build import Clock, in_world

SECRET = "4f1c9e0b7d2a86355ac1f0e9d8b7c6a5"
ISSUER, AUDIENCE = "https://login.game.test", "payplat"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P256_KEY = ec.generate_private_key(ec.SECP256R1())
KEYS = {"RS256": RSA_KEY, "ES256": P256_KEY}
NOBODY = "0" * 32
SECRET_OF_OTHER = "whsec_" + b64encode(SECRET.encode()).decode()
STRANGE = {"endpoints": {"main": {"url": "https://other.test/", "secret": SECRET_OF_OTHER}}}
STRANGE["login"] = {"issuer": ISSUER, "audience": "other", "secret": SECRET[::-1]}


def pem(key) -> str:
    """The public half of a key."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.fixture
def works() -> bool:
    """Nothing is delivered here."""
    return False


@pytest.fixture
def login() -> dict[str, str]:
    """What the app's tokens are signed with."""
    return {"secret": SECRET}


@pytest.fixture
def overrides(login) -> dict[str, str]:
    """Both kinds of clients, and another app beside the first, which has a channel of its own."""
    return {
        "PAYPLAT_AUTH__MODE": '["jwt", "api_key"]',
        "PAYPLAT_APPS__DEFAULT__LOGIN": json.dumps(
            {"issuer": ISSUER, "audience": AUDIENCE, **login}
        ),
        "PAYPLAT_APPS__OTHER": json.dumps(STRANGE),
        "PAYPLAT_CHANNELS__ALIPAY_OTHER": json.dumps(
            {
                "kind": "alipay",
                "app": "other",
                "app_id": "2021000000000009",
                "seller_id": "2088000000000009",
                "private_key": "file:secrets/alipay_private_key.pem",
                "alipay_public_key": "file:secrets/alipay_public_key.pem",
            }
        ),
    }


def token(sub="player-1", *, key=SECRET, algorithm="HS256", headers=None, **claims) -> str:
    """A token as the app's login makes it, unless told otherwise; a claim of None is left out."""
    told = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 600, "sub": sub, **claims}
    stated = {name: value for name, value in told.items() if value is not None}
    return jwt.encode(stated, key, algorithm, headers)


def bearer(text: str) -> dict[str, str]:
    """The header that carries it."""
    return {"Authorization": f"Bearer {text}"}


USER = bearer(token())


async def key_of(client, app="default", scopes=tuple(Scope)) -> str:
    """A new API key."""
    return await api_keys.create(client.stage.platform.database, app, scopes, "a test")


async def buy(client, headers, receiver="player-1", **more):
    """Ask for an order."""
    wanted = {"channel": "alipay", "product_id": "coins_500", "receiver": receiver, **more}
    return await client.call("POST", "/v1/create_order/", wanted, **headers)


def masked(reply) -> tuple[int, bytes, list[str]]:
    """An answer without what names its request."""
    headers = sorted(f"{k}: {v}" for k, v in reply.headers.get_all() if k not in _OF_REQUEST)
    return reply.status, re.sub(rb"[0-9a-f]{32}", b"", reply.body), headers


_OF_REQUEST = ("X-Request-Id", "Date")


@pytest.mark.parametrize(
    "header",
    ["", "Basic cGxheWVyLTE6eA==", "Bearer", "Bearer x", "Bearer a.b.c", "Bearer " + "x" * 9000,
     "Bearer payplat_x", f"Bearer payplat_{'0' * 12}_{'0' * 64}", f"bearer {token()[:-4]}"],
)  # fmt: skip
async def test_strangers_are_refused(client, header):
    """Without a good token or key every client's door answers 401 and nothing is stored."""
    headers = {"Authorization": header} if header else {}
    replies = [
        await buy(client, headers),
        await client.call("POST", "/v1/verify/alipay", {"order_no": NOBODY}, **headers),
        await client.call("GET", f"/v1/orders/{NOBODY}", **headers),
        await client.call("GET", "/v1/events", **headers),
    ]
    assert {(r.status, r.json["code"], r.headers["WWW-Authenticate"]) for r in replies} == {
        (401, "unknown_client", "Bearer")
    }
    assert await client.count("orders") == 0


WRONG = {
    "has ended": {"exp": int(time.time()) - 60},
    "never ends": {"exp": None},
    "begins tomorrow": {"nbf": int(time.time()) + 86400},
    "is of another login": {"iss": "https://login.evil.test"},
    "names no login": {"iss": None},
    "is for another service": {"aud": "shop"},
    "is for nobody": {"aud": None},
    "names no user": {"sub": None},
    "names a user that cannot be": {"sub": "two words"},
    "names a user with a line's end": {"sub": "player-1\n"},
    "has another key": {"key": SECRET[::-1]},
    "is not signed": {"key": None, "algorithm": "none"},
    "demands what we do not know": {"headers": {"crit": ["x"], "x": 1}},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_token_that_is_wrong_in_one_respect(client, wrong):
    """A token that differs from a good one in one respect is no token."""
    assert (await buy(client, bearer(token(**wrong)))).status == 401
    assert (await buy(client, USER)).status == 201


async def test_a_user_buys_for_himself(client):
    """A user opens orders for himself, reads them without the timeline, and has them verified; for another it is 403."""
    created = await buy(client, USER)
    assert created.status == 201
    order_no = created.json["order_no"]
    seen = await client.call("GET", f"/v1/orders/{order_no}", **USER)
    assert seen.status == 200
    assert "timeline" not in seen.json
    verified = await client.call("POST", "/v1/verify/alipay", {"order_no": order_no}, **USER)
    assert verified.status == 200
    refused = await buy(client, USER, receiver="player-2")
    assert (refused.status, refused.json["code"]) == (403, "not_permitted")
    assert refused.json["field"] == "receiver"
    assert (await client.call("GET", "/v1/events", **USER)).status == 403


async def test_a_backend_acts_for_all_users(client):
    """A backend's key buys for any user of its app, sees the timeline, and pulls events."""
    headers = bearer(await key_of(client))
    order_no = (await buy(client, headers, receiver="player-7")).json["order_no"]
    seen = await client.call("GET", f"/v1/orders/{order_no}", **headers)
    assert [line["what"] for line in seen.json["timeline"]] == ["opened"]
    assert (await client.call("GET", "/v1/events", **headers)).status == 200


@pytest.mark.parametrize("scope", Scope)
async def test_a_key_may_do_what_it_is_for(client, scope):
    """A key with one scope opens the doors of that scope, and 403 is the answer of all others."""
    headers = bearer(await key_of(client, scopes=[scope]))
    order_no = (await buy(client, bearer(await key_of(client)))).json["order_no"]
    replies = {
        Scope.BUY: await buy(client, headers),
        Scope.READ: await client.call("GET", f"/v1/orders/{order_no}", **headers),
        Scope.EVENTS: await client.call("GET", "/v1/events", **headers),
    }
    assert {name for name, reply in replies.items() if reply.status != 403} == {scope}


async def test_a_key_is_kept_as_a_hash(client):
    """What is stored and listed of a key cannot be used, and its text is random."""
    texts = [await key_of(client) for _ in range(2)]
    database = client.stage.platform.database
    rows = await database.read(lambda c: c.execute(api_keys.API_KEYS.select()))
    stored = repr(rows.all()) + repr(await api_keys.list_keys(database))
    assert not any(text[-64:] in stored for text in texts)
    assert texts[0][-64:] != texts[1][-64:]


async def test_a_key_with_another_secret_is_none(client):
    """Whoever knows a key's id, or all but a character of it, has no key; the key itself goes on."""
    key = await key_of(client)
    wrong = [
        key[:-1] + ("0" if key[-1] != "0" else "1"),
        key[:21] + "0" * 64,
        key.upper(),
        key[:-1],
    ]
    for text in wrong:
        assert (await buy(client, bearer(text))).status == 401
    assert (await buy(client, bearer(key))).status == 201


async def test_a_key_is_replaced_without_a_gap(client):
    """A rotated key and its successor are both good until the overlap ends; the new one may do what the old one might."""
    database, clock = client.stage.platform.database, Clock()
    with in_world(clock):
        old = await key_of(client, scopes=[Scope.READ])
        new = await api_keys.rotate(database, old.split("_")[1], 3600)

        async def statuses() -> list[int]:
            calls = [client.call("GET", f"/v1/orders/{NOBODY}", **bearer(k)) for k in (old, new)]
            return [(await call).status for call in calls]

        assert await statuses() == [404, 404]
        clock.forward(3601)
        assert await statuses() == [401, 404]
        assert (await buy(client, bearer(new))).status == 403


async def test_a_revoked_key_ends_soon(client):
    """A key that was revoked is forgotten by every process within seconds."""
    database, clock = client.stage.platform.database, Clock()
    with in_world(clock):
        headers = bearer(key := await key_of(client))
        assert (await buy(client, headers)).status == 201
        await api_keys.end(database, key.split("_")[1], seam.now())
        clock.forward(api_keys.FRESH + 1)
        assert (await buy(client, headers)).status == 401


async def test_a_key_is_looked_up_once_for_all_who_come_with_it(client):
    """Requests that come at the same moment with a key that nobody knows yet ask the database for it once."""
    headers = bearer(await key_of(client))
    with statements(client) as made:
        replies = await asyncio.gather(*(buy(client, headers) for _ in range(8)))
    assert [reply.status for reply in replies] == [201] * 8
    assert sum("FROM api_keys" in statement for statement in made) == 1


@pytest.mark.parametrize("who", ["another user", "another app's user", "another app's backend"])
async def test_what_is_not_yours_looks_like_nothing(client, who):
    """An order of another user or app has the answers, and costs the statements, of one that never was."""
    order_no = (await buy(client, USER)).json["order_no"]
    strangers = {
        "another user": token("player-2"),
        "another app's user": token(key=SECRET[::-1], aud="other"),
        "another app's backend": await key_of(client, app="other"),
    }
    headers = bearer(strangers[who])
    await client.call("GET", f"/v1/orders/{NOBODY}", **headers)  # the key is looked up once
    for method, path, body in (
        ("GET", "/v1/orders/{}", None),
        ("POST", "/v1/verify/alipay", {"order_no": "{}"}),
    ):
        told = []
        for number in (order_no, NOBODY):
            sent = body and {"order_no": number}
            with statements(client) as made:
                reply = await client.call(method, path.format(number), sent, **headers)
            told.append((masked(reply), made))
        assert told[0] == told[1]
        assert told[0][0][0] == 404


async def test_another_apps_channel_looks_closed(client):
    """A channel or events of another app answer like those of none."""
    for headers in (USER, bearer(await key_of(client))):
        theirs = await buy(client, headers, channel="alipay_other")
        none = await buy(client, headers, channel="alipay_none")
        assert masked(theirs) == masked(none)
        assert theirs.status == 400
    theirs = await client.call("GET", "/v1/events?app=other", **headers)
    none = await client.call("GET", "/v1/events?app=none", **headers)
    assert masked(theirs) == masked(none)
    assert theirs.status == 400


async def test_a_provider_needs_no_token(client):
    """A provider's notice is judged by its own signature alone."""
    reply = await client.callback(b"a=b")
    assert (reply.status, reply.body) == (200, b"fail")


@contextmanager
def statements(client) -> Iterator[list[str]]:
    """The statements that are made meanwhile."""
    made: list[str] = []

    def note(_connection, _cursor, statement, *_):
        made.append(statement)

    engine = client.stage.platform.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield made
    event.remove(engine, "before_cursor_execute", note)


class TestLimits:
    """How often clients may come."""

    @pytest.fixture
    def overrides(self, overrides) -> dict[str, str]:
        """Few calls for a client, some more for an app."""
        few = {"PER_CLIENT_PER_MINUTE": "4", "PER_APP_PER_MINUTE": "9"}
        return overrides | {f"PAYPLAT_LIMITS__{name}": value for name, value in few.items()}

    async def test_each_client_counts_for_itself(self, client):
        """A user or a stranger who came too often is told when to come again; others at his address are not."""

        async def look(headers, times):
            calls = [client.call("GET", f"/v1/orders/{NOBODY}", **headers) for _ in range(times)]
            return [await call for call in calls]

        replies = await look(USER, 6)
        assert [reply.status for reply in replies] == [404] * 4 + [429] * 2
        assert replies[-1].headers["RateLimit-Policy"] == '"client";q=4;w=60'
        assert 0 < int(replies[-1].headers["Retry-After"]) <= 60
        strangers = await look(bearer("x"), 6)
        assert [reply.status for reply in strangers] == [401] * 4 + [429] * 2
        assert [reply.status for reply in await look(bearer(token("player-2")), 4)] == [404] * 4
        last = await look(bearer(token("player-3")), 3)
        assert [reply.status for reply in last] == [404, 429, 429]
        assert last[-1].headers["RateLimit-Policy"] == '"app";q=9;w=60'
        assert [r.status for r in await look(bearer(await key_of(client, "other")), 2)] == [404] * 2


class TestPublicKeys:
    """Logins that sign with a private key."""

    @pytest.fixture(params=KEYS)
    def algorithm(self, request) -> str:
        """The algorithm of the login's key."""
        return request.param

    @pytest.fixture
    def login(self, algorithm) -> dict[str, str]:
        """The public key."""
        return {"public_key": pem(KEYS[algorithm])}

    async def test_only_its_own_algorithm(self, client, algorithm):
        """A token signed with the login's private key is good; with another, or with the public key, it is not."""
        key = KEYS[algorithm]
        good = token(key=key, algorithm=algorithm)
        assert (await buy(client, bearer(good))).status == 201
        other = next(name for name in KEYS if name != algorithm)
        secret = pem(key).encode().ljust(100)
        for wrong in (
            token(key=KEYS[other], algorithm=other),
            jwt.api_jws.PyJWS().encode(_payload(good), None, "none"),
            forged_hs256(good, secret.strip()),
        ):
            assert (await buy(client, bearer(wrong))).status == 401


class TestKeySet:
    """A login whose keys are at an address."""

    @pytest.fixture
    async def published(self) -> AsyncIterator[dict]:
        """What the login tells of its keys, which a test may change."""
        told = {"keys": [_jwk(RSA_KEY, "one"), {"kty": "oct", "kid": "odd", "k": "c2VjcmV0"}]}

        class Keys(RequestHandler):
            def get(self):
                told["asked"] = told.get("asked", 0) + 1
                self.finish({"keys": told["keys"]})

        server, sockets = HTTPServer(Application([("/keys", Keys)])), bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        told["url"] = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/keys"
        yield told
        server.stop()
        await server.close_all_connections()

    @pytest.fixture
    def login(self, published) -> dict[str, str]:
        """The address."""
        return {"jwks_url": published["url"]}

    async def test_the_key_that_a_token_names(self, client, published):
        """The key that a token names is found, one that came later too; an unknown or symmetric one is none."""

        async def status(kid, key=RSA_KEY, algorithm="RS256"):
            headers = {"kid": kid} if kid else {}
            text = token(key=key, algorithm=algorithm, headers=headers)
            return (await buy(client, bearer(text))).status

        assert await status("one") == 201
        assert published["asked"] == 1
        published["keys"] += [_jwk(P256_KEY, "two")]
        assert await status("two", P256_KEY, "ES256") == 201
        assert await status("two", RSA_KEY) == 401
        assert await status("odd", "secret" * 6, "HS256") == 401
        assert await status("three") == 401  # those of nobody are not looked for all the time
        assert await status(None) == 401
        assert published["asked"] == 3

    async def test_no_keys_are_nobodys_fault(self, client, published):
        """While the keys cannot be had the answer is 503, and the same token is good afterwards."""
        good = bearer(token(key=RSA_KEY, algorithm="RS256", headers={"kid": "one"}))
        keys, published["keys"] = published["keys"], []
        with in_world(clock := Clock()):
            assert (await buy(client, good)).status == 503
            published["keys"] = keys
            clock.forward(6)
            assert (await buy(client, good)).status == 201


def _payload(text: str) -> bytes:
    return jwt.api_jws.PyJWS().decode(text, options={"verify_signature": False})


def forged_hs256(text: str, secret: bytes) -> str:
    """The same content, signed with a public key as if it were a secret."""

    class Careless(jwt.algorithms.HMACAlgorithm):
        def prepare_key(self, key):
            return key

    jws = jwt.api_jws.PyJWS()
    jws.unregister_algorithm("HS256")
    jws.register_algorithm("HS256", Careless(jwt.algorithms.HMACAlgorithm.SHA256))
    return jws.encode(_payload(text), secret, "HS256")


def _jwk(key, kid: str) -> dict:
    kind = jwt.algorithms.RSAAlgorithm if key is RSA_KEY else jwt.algorithms.ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
