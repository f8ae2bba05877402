"""Pub/Sub pushes: who may push, with which keys of Google's, and what can be read in a push."""

import asyncio
import base64
import datetime as dt
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import google.auth.jwt
import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import id_token

from payplat import seam
from payplat.channels.google.push import (
    ISSUERS,
    MAX_PUSH,
    Push,
    PushAuth,
    PushKeys,
    Undecodable,
    read_push,
)
from payplat.errors import NotAuthentic, ProviderUnavailable
from payplat.purchase import Inbound
from payplat.simulators.google import attacks, jwt
from payplat.simulators.google.keys import NamedKey, stranger
from payplat.simulators.google.server import GoogleSimulator
from tests.simulators.google_stage import (
    ORDER,
    PACKAGE,
    PUSHER,
    USER,
    Inbox,
    keys,
    open_inbox,
    open_play,
)
from tests.wire.google import NOW, SetWorld, set_world
from tests.wire.scripted import LOOPBACK, Reply, Scripted, as_json, scripted

AUDIENCE = "https://pay.example.com/v1/callback/google"
MINUTES_5, DAY = 300, 86_400


@pytest.fixture
def world(monkeypatch) -> SetWorld:
    """The world with a clock to set."""
    return set_world(monkeypatch)


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    """Where the pushes of the simulator go."""
    async with open_inbox() as inbox:
        yield inbox


@pytest.fixture
async def play(world, inbox) -> AsyncIterator[GoogleSimulator]:
    """Google's simulator, its clock and ours at the same moment."""
    async with open_play(inbox, AUDIENCE) as play:
        yield play


@pytest.fixture
async def auth(play) -> AsyncIterator[PushAuth]:
    """The judge of pushes, with the simulator's keys."""
    auth = PushAuth(
        PushKeys(play.certs_url, timeout=5, opened=LOOPBACK), audience=AUDIENCE, email=PUSHER
    )
    yield auth
    auth.close()


def pushed(authorization: str | None, body: bytes = b"") -> Inbound:
    """A push with that header."""
    return Inbound({} if authorization is None else {"authorization": authorization}, "", body)


async def verifier(auth: PushAuth, inbound: Inbound) -> str:
    """What admits a push."""
    await auth.prepare(inbound)
    return auth.check(inbound)


# Who may push.


async def test_google_may_push(auth, play, inbox):
    """A real push passes, and its key is named for the records."""
    await play.buy(PACKAGE, "coins_500")
    inbound = Inbound({k.lower(): v for k, v in inbox.headers[0].items()}, "", inbox.bodies[0])
    assert await verifier(auth, inbound) == f"push:{play.identity.keys[-1].kid}"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "accounts.google.com"},
        {"exp": NOW - 60},
        {"iat": NOW + 60, "exp": NOW + 3660},
        {"sub": None, "azp": None},
        {"new": [1.5, None], "nonce": "x"},
    ],
)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_token_may_differ_where_it_does_not_matter(auth, play, changes, scheme):
    """Either spelling of the issuer, a clock that is a minute off, claims that we do not know."""
    assert await verifier(auth, pushed(f"{scheme} {play.id_token(**changes)}"))


def by_hand(play: GoogleSimulator, header: Any = None, claims: Any = None, sign: Any = None) -> str:
    """A token that is right but for these parts: members of the header or the claims, or their bytes."""
    key = play.identity.keys[-1]
    wrong = {"header": header, "claims": claims}
    right = {
        "header": {"alg": "RS256", "kid": key.kid, "typ": "JWT"},
        "claims": play.identity.claims(play.app()),
    }
    parts = []
    for name, content in right.items():
        change = wrong[name]
        if isinstance(change, bytes):
            parts.append(change)
            continue
        merged = {k: v for k, v in {**content, **(change or {})}.items() if v is not None}
        parts.append(json.dumps(merged).encode())
    signed = ".".join(jwt.b64url(part) for part in parts)
    signature = (sign or jwt.rs256(key.private))(signed.encode())
    return f"{signed}.{jwt.b64url(signature)}"


def by_library(play: GoogleSimulator, alg: str, key: Any) -> str:
    """The right claims, signed by PyJWT in another way."""
    kid = play.identity.keys[-1].kid
    return pyjwt.encode(play.identity.claims(play.app()), key, alg, headers={"kid": kid})


def tampered(play: GoogleSimulator) -> str:
    """Claims of another token under the signature of a right one."""
    header, _, signature = play.id_token(aud="https://elsewhere.example").split(".")
    return f"{header}.{play.id_token().split('.')[1]}.{signature}"


def text_of(claims: dict[str, Any], change: Callable[[str], str]) -> bytes:
    """Claims as JSON, changed as a text."""
    return change(json.dumps(claims)).encode()


def claims(**changes: Any) -> Callable[[GoogleSimulator], str]:
    """A token of Google's that says something else."""
    return lambda play: play.id_token(**changes)


def header(**changes: Any) -> Callable[[GoogleSimulator], str]:
    """A token whose header says something else, signed by Google nevertheless."""
    return lambda play: by_hand(play, header=changes)


def altered(change: Callable[[str], str]) -> Callable[[GoogleSimulator], str]:
    """A token of Google's whose claims are another text."""
    return lambda play: by_hand(play, claims=text_of(play.identity.claims(play.app()), change))


def spoiled(change: Callable[[str], str]) -> Callable[[GoogleSimulator], str]:
    """A right token, changed as a text."""
    return lambda play: change(play.id_token())


HOSTILE: dict[str, Callable[[GoogleSimulator], str]] = {
    "another audience": claims(aud="https://elsewhere.example/rtdn"),
    "a longer audience": claims(aud=f"{AUDIENCE}/"),
    "a list of audiences": claims(aud=[AUDIENCE]),
    "two audiences": claims(aud=["https://elsewhere.example", AUDIENCE]),
    "no audience": claims(aud=None),
    "another email": claims(email="evil@attacker.iam.gserviceaccount.com"),
    "another case of the email": claims(email=PUSHER.upper()),
    "a list of emails": claims(email=[PUSHER]),
    "no email": claims(email=None),
    "an unverified email": claims(email_verified=False),
    "an email verified in words": claims(email_verified="true"),
    "an email verified by number": claims(email_verified=1),
    "an email of which nothing is said": claims(email_verified=None),
    "another issuer": claims(iss="https://accounts.attacker.example"),
    "an issuer without TLS": claims(iss="http://accounts.google.com"),
    "a list of issuers": claims(iss=["https://accounts.google.com"]),
    "no issuer": claims(iss=None),
    "it has ended": claims(exp=NOW - 61),
    "it never ends": claims(exp=None),
    "it ends in words": claims(exp=str(NOW + 3600)),
    "it ends at a fraction": claims(exp=NOW + 3600.5),
    "it ends when true": claims(exp=True),
    "it has not begun": claims(iat=NOW + 61),
    "it never began": claims(iat=None),
    "it began in words": claims(iat=str(NOW)),
    "it began when true": claims(iat=True),
    "a stranger's key": claims(key="wrong"),
    "an unknown key": claims(key="wrong", kid="0" * 40),
    "a known key under another name": claims(kid="0" * 40),
    "a key in the header": lambda play: by_hand(
        play,
        header={"jwk": NamedKey(stranger()).jwk(), "jku": "https://attacker.example/certs"},
        sign=jwt.rs256(stranger()),
    ),
    "no name of a key": header(kid=None),
    "a key's name that is a number": header(kid=1),
    "a key's name that is a list": header(kid=["x"]),
    "a key's name that is a path": header(kid="../x"),
    "a key's name that is too long": header(kid="x" * 129),
    "an HMAC with the public key": claims(alg="HS256"),
    "no signature by name": claims(alg="none"),
    "a longer hash": lambda play: by_library(play, "RS512", play.identity.keys[-1].private),
    "another padding": lambda play: by_library(play, "PS256", play.identity.keys[-1].private),
    "a curve": lambda play: by_library(play, "ES256", CURVE),
    "an algorithm in another case": header(alg="rs256"),
    "an algorithm that is said twice": header(alg=["RS256"]),
    "another algorithm than it has": header(alg="RS384"),
    "no algorithm": header(alg=None),
    "an extension that must be understood": header(crit=["x"], x=1),
    "another token's signature": tampered,
    "no signature": spoiled(lambda text: text.rpartition(".")[0] + "."),
    "a short signature": spoiled(lambda text: text[:-4]),
    "a padded signature": spoiled(lambda text: text + "=="),
    "a signature with a line end": spoiled(lambda text: text + "\n"),
    "two parts": spoiled(lambda text: text.rpartition(".")[0]),
    "four parts": spoiled(lambda text: text + ".x"),
    "a header that is none": lambda play: by_hand(play, header=b"[]"),
    "claims that are none": lambda play: by_hand(play, claims=b"[]"),
    "claims that are text": lambda play: by_hand(play, claims=b'"x"'),
    "claims in another encoding": lambda play: by_hand(play, claims='{"x":"é"}'.encode("latin-1")),
    "an audience said twice": altered(lambda text: text.replace("{", '{"aud": "x", ', 1)),
    "a claim that is no number": altered(lambda text: text.replace("{", '{"x": NaN, ', 1)),
    "too many claims": claims(x="x" * 4096),
    "nothing": lambda play: "",
    "words": lambda play: "a.b.c",
    "dots": lambda play: "..",
    "another script": lambda play: "é.é.é",
}
CURVE = ec.generate_private_key(ec.SECP256R1())
each_hostile = pytest.mark.parametrize("name", HOSTILE)


@each_hostile
async def test_a_token_that_is_wrong_in_one_respect_is_refused(auth, play, name):
    """However right the rest is; the right one beside it passes."""
    assert await verifier(auth, pushed(f"Bearer {play.id_token()}"))
    with pytest.raises(NotAuthentic):
        await verifier(auth, pushed(f"Bearer {HOSTILE[name](play)}"))


@each_hostile
async def test_what_is_wrong_is_seen_without_preparation(auth, play, name):
    """The check alone refuses it too: to load keys is no part of the judgement."""
    await auth.prepare(pushed(f"Bearer {play.id_token()}"))
    with pytest.raises(NotAuthentic):
        auth.check(pushed(f"Bearer {HOSTILE[name](play)}"))


@pytest.mark.parametrize(
    "write",
    [
        lambda _token: None,
        lambda _token: "",
        lambda token: token,
        lambda token: f"Basic {token}",
        lambda token: f"Bearer{token}",
        lambda token: f"Bearer  {token}",
        lambda token: f"Bearer {token} ",
        lambda token: f"Bearer {token},{token}",
        lambda token: f"Bearer {token}, Bearer {token}",
        lambda token: f" Bearer {token}",
    ],
)
async def test_a_token_has_its_place(auth, play, write):
    """After the word Bearer, alone; in the query it is none."""
    token = play.id_token()
    headers = pushed(write(token)).headers
    with pytest.raises(NotAuthentic):
        await verifier(auth, Inbound(headers, f"token={token}&access_token={token}", b""))


@pytest.mark.parametrize(
    "name",
    ["words", "an HMAC with the public key", "a key's name that is a path", "too many claims"],
)
async def test_what_no_key_could_prove_asks_for_none(auth, play, name):
    """Google is not asked because somebody sends nonsense."""
    with pytest.raises(NotAuthentic):
        await verifier(auth, pushed(f"Bearer {HOSTILE[name](play)}"))
    assert play.received == []


async def test_issuers_are_configured_as_a_whole(play):
    """Another world has another issuer; Google's is then none."""
    sim = "http://issuer.example"
    auth = PushAuth(
        PushKeys(play.certs_url, timeout=5, opened=LOOPBACK),
        audience=AUDIENCE,
        email=PUSHER,
        issuers=[sim],
    )
    assert await verifier(auth, pushed(f"Bearer {play.id_token(iss=sim)}"))
    for issuer in ISSUERS:
        with pytest.raises(NotAuthentic):
            await verifier(auth, pushed(f"Bearer {play.id_token(iss=issuer)}"))
    auth.close()


async def test_without_keys_nobody_is_judged(auth, play):
    """A check before any preparation says that it cannot tell, not that the push is forged."""
    with pytest.raises(ProviderUnavailable):
        auth.check(pushed(f"Bearer {play.id_token()}"))


async def test_a_refusal_shows_no_token(auth, play):
    """It may be the token of a real push, and others share it."""
    token = play.id_token(aud="https://elsewhere.example")
    with pytest.raises(NotAuthentic) as refused:
        await verifier(auth, pushed(f"Bearer {token}"))
    assert not any(part in str(refused.value) for part in token.split("."))


# What Google's library says.


def fetched(url: str, method: str) -> Any:
    """A request as the library makes it."""
    with urllib.request.urlopen(urllib.request.Request(url, method=method)) as answer:
        return SimpleNamespace(status=answer.status, data=answer.read(), headers=answer.headers)


async def test_googles_library_accepts_what_we_accept(auth, play, world):
    """With either form of Google's keys, in our time."""
    now = int(time.time())
    world.time = now * seam.SECOND
    token = play.id_token(iat=now, exp=now + 3600)
    assert await verifier(auth, pushed(f"Bearer {token}"))
    for url in (play.certs_url, play.pem_certs_url):
        found = await asyncio.to_thread(
            id_token.verify_token, token, fetched, audience=AUDIENCE, certs_url=url
        )
        assert (found["email"], found["email_verified"]) == (PUSHER, True)


# What the library takes and we do not: it looks at signature, time and audience, and leaves the rest to its caller.
LIBRARY_TAKES = {
    "another email",
    "another case of the email",
    "a list of emails",
    "no email",
    "an unverified email",
    "an email verified in words",
    "an email verified by number",
    "an email of which nothing is said",
    "another issuer",
    "an issuer without TLS",
    "a list of issuers",
    "no issuer",
    "it ends at a fraction",
    "it began when true",
    "no name of a key",
    "an extension that must be understood",
    "a padded signature",
    "an audience said twice",
    "a claim that is no number",
    "too many claims",
}


async def test_googles_library_refuses_what_we_refuse(play, monkeypatch):
    """But for what it does not look at, which is listed here; with our skew of a minute."""
    moment = dt.datetime.fromtimestamp(NOW, dt.UTC).replace(tzinfo=None)
    monkeypatch.setattr(google.auth._helpers, "utcnow", lambda: moment)
    certificates = play.identity.certificates()

    def takes(name: str) -> bool:
        try:
            google.auth.jwt.decode(
                HOSTILE[name](play), certificates, audience=AUDIENCE, clock_skew_in_seconds=60
            )
        except (ValueError, TypeError, GoogleAuthError):
            return False
        return True

    assert {name for name in HOSTILE if takes(name)} == LIBRARY_TAKES


# The keys.


@pytest.fixture
async def certs() -> AsyncIterator[Scripted]:
    """A server in the place of Google's keys."""
    async with scripted() as server:
        server.replies = [key_set(ONE)]
        yield server


@pytest.fixture
async def push_keys(certs, world) -> AsyncIterator[PushKeys]:
    """The keys from there."""
    push_keys = PushKeys(f"{certs.url}/certs", timeout=5, opened=LOOPBACK)
    yield push_keys
    push_keys.close()


ONE, TWO = (NamedKey(key, kid) for key, kid in zip(keys(), ("one", "two"), strict=True))


def key_set(*named: Any, max_age: int | None = 3600) -> Reply:
    """A key set, of named keys or of anything else."""
    told = [key.jwk() if isinstance(key, NamedKey) else key for key in named]
    headers = (
        {} if max_age is None else {"Cache_Control": f"public, max-age={max_age}, no-transform"}
    )
    return as_json({"keys": told}, **headers)


async def test_keys_are_fetched_when_they_are_needed(push_keys, certs):
    """Once for many pushes."""
    for kid in ("one", "one", None):
        await push_keys.load(kid)
    found = push_keys.find("one")
    assert found
    assert found.public_numbers() == ONE.public.public_numbers()
    assert push_keys.find("two") is None
    assert certs.asked == ["GET /certs"]


async def test_a_stampede_is_one_fetch(push_keys, certs):
    """Whatever keys the pushes name."""
    await asyncio.gather(*(push_keys.load(name) for name in ["one", "two", None] * 50))
    assert len(certs.requests) == 1


async def test_who_gives_up_waiting_takes_nothing_from_the_others(push_keys, certs):
    """Not even the one who came first."""
    reply = key_set(ONE)
    certs.replies = [Reply(200, reply.body, reply.headers, silent=True)]
    first, second = (asyncio.create_task(push_keys.load("one")) for _ in range(2))
    while not certs.requests:
        await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0)
    certs.ended.set()
    await second
    assert first.cancelled()
    assert push_keys.find("one")
    assert len(certs.requests) == 1


@pytest.mark.parametrize(
    ("header", "life"),
    [
        ("public, max-age=3600, must-revalidate", 3600),
        ("MAX-AGE=3600", 3600),
        ("max-age=300", 300),
        ("max-age=301", 301),
        ("max-age=86400", DAY),
        ("max-age=86401", DAY),
        ("max-age=999999999", DAY),
        ("max-age=299", MINUTES_5),
        ("max-age=0", MINUTES_5),
        ("max-age=-1", MINUTES_5),
        ("max-age=soon", MINUTES_5),
        ("s-maxage=3600", MINUTES_5),
        ("x-max-age=3600", MINUTES_5),
        ("no-store", MINUTES_5),
        (None, MINUTES_5),
    ],
)
async def test_keys_live_as_long_as_google_says(push_keys, certs, world, header, life):
    """Between five minutes and a day."""
    reply = key_set(ONE, max_age=None)
    headers = reply.headers if header is None else {**reply.headers, "Cache-Control": header}
    certs.replies = [Reply(200, reply.body, headers), key_set(TWO)]
    await push_keys.load("one")
    world.at(life - 1)
    await push_keys.load("one")
    assert len(certs.requests) == 1
    world.at(life)
    with pytest.raises(ProviderUnavailable):
        push_keys.find("one")
    await push_keys.load("one")
    assert len(certs.requests) == 2
    assert push_keys.find("two")
    assert push_keys.find("one") is None


async def test_each_answer_says_its_own_life(push_keys, certs, world):
    """A long one before it does not count for one that says nothing."""
    certs.replies = [key_set(ONE, max_age=3600), key_set(ONE, max_age=None)]
    for second in (0, 3600, 3899, 3900):
        world.at(second)
        await push_keys.load("one")
    assert len(certs.requests) == 3


async def test_a_clock_set_back_makes_keys_old(push_keys, certs, world):
    """Nothing is known about keys from the future."""
    await push_keys.load("one")
    world.at(-1)
    await push_keys.load("one")
    assert len(certs.requests) == 2


async def test_a_new_key_is_found(push_keys, certs):
    """Google has another one since; the old one is as Google says."""
    certs.replies = [key_set(ONE), key_set(ONE, TWO)]
    await push_keys.load("one")
    assert push_keys.find("two") is None
    await asyncio.gather(*(push_keys.load("two") for _ in range(20)))
    assert push_keys.find("one")
    assert push_keys.find("two")
    assert len(certs.requests) == 2


async def test_pushes_survive_the_rotation_of_keys(auth, play):
    """The first push with a new key has it fetched; a key that was taken back is good for nothing more."""
    old = play.id_token()
    assert await verifier(auth, pushed(f"Bearer {old}"))
    play.identity.rotate(keep=False)
    assert await verifier(auth, pushed(f"Bearer {play.id_token()}"))
    with pytest.raises(NotAuthentic):
        await verifier(auth, pushed(f"Bearer {old}"))
    assert [each.call for each in play.received] == ["oauth.certs"] * 3


@pytest.mark.parametrize("reply", [None, Reply(503), Reply(promised=9)], ids=["cold", "503", "cut"])
async def test_unknown_keys_cost_one_fetch_in_five_minutes(push_keys, certs, world, reply):
    """Anybody can invent names: a thousand are looked for once, even in vain, and the known key serves all the time."""
    if reply:
        await push_keys.load("one")
        certs.requests.clear()
        certs.replies = [reply]
    await asyncio.gather(*(push_keys.load(f"at-once-{number}") for number in range(500)))
    for number in range(500):
        await push_keys.load(f"in-turn-{number}")
        await push_keys.load("one")
    assert len(certs.requests) == 1
    assert push_keys.find("one")
    for second, fetches in ((299, 1), (300, 2), (301, 2), (599, 2), (600, 3)):
        world.at(second)
        await push_keys.load("another")
        assert len(certs.requests) == fetches


@pytest.mark.parametrize("reply", [Reply(503), Reply(promised=9), Reply(302), key_set()])
async def test_without_keys_it_is_not_known_who_pushes(push_keys, certs, world, reply):
    """Neither yes nor no, and Pub/Sub comes again; one failure stands for five seconds."""
    certs.replies = [reply]
    told = await asyncio.gather(*(push_keys.load("one") for _ in range(50)), return_exceptions=True)
    assert {type(error) for error in told} == {ProviderUnavailable}
    with pytest.raises(ProviderUnavailable):
        push_keys.find("one")
    with pytest.raises(ProviderUnavailable):
        await push_keys.load("one")
    assert len(certs.requests) == 1
    certs.replies = [key_set(ONE)]
    world.at(4)
    with pytest.raises(ProviderUnavailable):
        await push_keys.load("one")
    world.at(5)
    await push_keys.load("one")
    assert len(certs.requests) == 2
    assert push_keys.find("one")


async def test_keys_that_have_ended_are_none(push_keys, certs, world):
    """They may have been taken back; when no new ones come, nobody is judged by the old."""
    certs.replies = [key_set(ONE), Reply(503)]
    await push_keys.load("one")
    world.at(3600)
    with pytest.raises(ProviderUnavailable):
        await push_keys.load("one")
    with pytest.raises(ProviderUnavailable):
        push_keys.find("one")


def jwk(**changes: Any) -> dict[str, Any]:
    """The second key with something changed; None leaves it out."""
    return {name: value for name, value in {**TWO.jwk(), **changes}.items() if value is not None}


SHORT, EVEN = rsa.generate_private_key(65537, 1024), jwt.b64url(b"\x02")


@pytest.mark.parametrize(
    "other",
    [
        None,
        "two",
        [],
        {},
        jwk(kty="EC"),
        jwk(kty=None),
        jwk(alg="RS512"),
        jwk(alg=None),
        jwk(use="enc"),
        jwk(use=None),
        jwk(kid=None),
        jwk(n=None),
        jwk(n=""),
        jwk(n=1),
        jwk(n="é"),
        jwk(n="AA=="),
        jwk(n=jwt.b64url(b"\xff" * 1025)),
        jwk(e=None),
        jwk(e=EVEN),
        jwk(e=""),
        NamedKey(SHORT, "two").jwk(),
    ],
)
async def test_a_key_that_we_cannot_use_is_left_out(push_keys, certs, other):
    """A new kind of key, or a damaged one, costs us none of the others; alone it is as good as none."""
    certs.replies = [key_set(other, ONE)]
    await push_keys.load("one")
    assert push_keys.find("one")
    assert push_keys.find("two") is None
    alone = PushKeys(certs.url, timeout=5, opened=LOOPBACK)
    certs.replies = [key_set(other)]
    with pytest.raises(ProviderUnavailable):
        await alone.load("one")
    alone.close()


@pytest.mark.parametrize(
    "reply",
    [
        as_json({}),
        as_json([]),
        as_json({"keys": {"one": ONE.jwk()}}),
        as_json({"keys": None}),
        as_json({"one": "-----BEGIN CERTIFICATE-----"}),
        as_json(key_set(ONE).body.decode().replace("{", '{"keys": [], ', 1)),
        as_json(key_set(ONE).body.decode()[:-1]),
        Reply(200, key_set(ONE).body, {"Content-Type": "text/html"}),
        Reply(201, key_set(ONE).body, {"Content-Type": "application/json"}),
        as_json({"keys": [ONE.jwk()], "x": "y" * 70_000}),
    ],
)
async def test_what_is_no_key_set_holds_no_key(push_keys, certs, reply):
    """Another form, another status, or more than any set has."""
    certs.replies = [reply]
    with pytest.raises(ProviderUnavailable):
        await push_keys.load("one")


async def test_silence_ends_in_time(certs, world):
    """A push may wait ten seconds for its answer."""
    push_keys = PushKeys(certs.url, timeout=0.3, opened=LOOPBACK)
    certs.replies = [Reply(silent=True)]
    with pytest.raises(ProviderUnavailable):
        await push_keys.load("one")
    push_keys.close()


async def test_nobody_waits_for_what_is_closed(certs, world):
    """A fetch that runs is given up with the connections."""
    push_keys = PushKeys(certs.url, timeout=5, opened=LOOPBACK)
    certs.replies = [Reply(silent=True)]
    waiter = asyncio.create_task(push_keys.load("one"))
    while not certs.requests:
        await asyncio.sleep(0.01)
    push_keys.close()
    with pytest.raises(asyncio.CancelledError):
        await waiter


# What is pushed.

TOKEN = "opaque-token-up-to-1950.AO-J1Oy_~9"
PURCHASED = {"version": "1.0", "notificationType": 1, "purchaseToken": TOKEN, "sku": "coins_500"}
VOIDED = {"purchaseToken": TOKEN, "orderId": "GPA.1", "productType": 2, "refundType": 1}
SUBSCRIPTION = "projects/p/subscriptions/s"


def told(
    member: str = "oneTimeProductNotification", content: Any = PURCHASED, **changes: Any
) -> Any:
    """A DeveloperNotification; None leaves a member out."""
    whole = {
        "version": "1.0",
        "packageName": PACKAGE,
        "eventTimeMillis": "1795349760123",
        member: content,
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def one_time(**changes: Any) -> Any:
    """A notification about a one-time product."""
    content = {**PURCHASED, **changes}
    return told(content={name: value for name, value in content.items() if value is not None})


def voided(**changes: Any) -> Any:
    """A notification about a voided purchase."""
    content = {**VOIDED, **changes}
    kept = {name: value for name, value in content.items() if value is not None}
    return told("voidedPurchaseNotification", kept)


def wrapped(notification: Any, message: Any = None, envelope: Any = None) -> bytes:
    """The push of a notification, an object or its bytes; None leaves a member of message or envelope out."""
    data = notification if isinstance(notification, bytes) else json.dumps(notification).encode()
    inner = {"data": base64.b64encode(data).decode(), "messageId": "136969346945"}
    inner |= {"message_id": "136969346945", "attributes": {}, **(message or {})}
    outer = {
        "message": {name: value for name, value in inner.items() if value is not None},
        "subscription": SUBSCRIPTION,
        **(envelope or {}),
    }
    return json.dumps({name: value for name, value in outer.items() if value is not None}).encode()


def test_a_push_is_read():
    """Who sent it, about which app and purchase, and when; the notification as it came."""
    assert read_push(wrapped(told())) == Push(
        message_id="136969346945",
        subscription=SUBSCRIPTION,
        package_name=PACKAGE,
        kind="purchased",
        purchase_token=TOKEN,
        order_id=None,
        sku="coins_500",
        refund_type=None,
        at_ms=1795349760123,
        notification=told(),
    )


async def test_what_the_simulator_pushes_is_read(play, inbox):
    """Each event that there is, through a purchase's life."""
    ids = {"obfuscated_account_id": USER, "obfuscated_profile_id": ORDER}
    whole = await play.buy(PACKAGE, "coins_500", **ids)
    await play.void(whole.purchase_token)
    part = await play.buy(PACKAGE, "coins_500", quantity=2, buyer="x", **ids)
    await play.refund(part.purchase_token, quantity=1)
    await play.review(part.purchase_token)
    late = await play.buy(PACKAGE, "castle", pending=True, **ids)
    await play.cancel_pending(late.purchase_token)
    await play.send_test_notification(PACKAGE)
    pushes = [read_push(body) for body in inbox.bodies]
    assert [push.message_id for push in pushes] == inbox.ids
    assert {(push.package_name, push.subscription) for push in pushes} == {
        (PACKAGE, "projects/simulator/subscriptions/play")
    }
    assert {push.at_ms for push in pushes} == {NOW * 1000}
    first, second, third = (each.purchase_token for each in (whole, part, late))
    assert {
        (push.kind, push.purchase_token, push.order_id, push.refund_type) for push in pushes
    } == {
        ("purchased", first, None, None),
        ("voided", first, whole.order_id, 1),
        ("canceled", first, None, None),
        ("purchased", second, None, None),
        ("voided", second, part.order_id, 2),
        ("unknown", None, part.order_id, None),
        ("canceled", third, None, None),
        ("test", None, None, None),
    }


@pytest.mark.parametrize(
    ("notification", "kind"),
    [
        (one_time(notificationType=2), "canceled"),
        (one_time(sku=None), "purchased"),
        (one_time(new=[1.5]), "purchased"),
        (told(eventTimeMillis=1795349760123), "purchased"),
        (voided(), "voided"),
        (voided(refundType=2), "voided"),
        (voided(orderId=""), "voided"),
        (voided(orderId=None), "voided"),
        (voided(productType=1), "subscription"),
        (told("subscriptionNotification", {"notificationType": 4}), "subscription"),
        (told("subscriptionNotification", {"purchaseToken": TOKEN}), "subscription"),
        (told("testNotification", {"version": "1.0"}), "test"),
        (told("testNotification", {}), "test"),
        (told("pendingRefundReviewNotification", {"orderId": "GPA.1"}), "unknown"),
        (told("futureNotification", {"purchaseToken": TOKEN}), "unknown"),
        (told("futureNotification", "x"), "unknown"),
        (told("futureNotification", None), "unknown"),
        (one_time(notificationType=0), "unknown"),
        (one_time(notificationType=99, purchaseToken=""), "unknown"),
        (voided(productType=3), "unknown"),
        (voided(refundType=3), "unknown"),
    ],
)
def test_a_push_is_of_one_kind(notification, kind):
    """What Google may invent yet is unknown, and not an error."""
    push = read_push(wrapped(notification))
    assert push.kind == kind
    assert push.at_ms == 1795349760123
    assert push.notification == notification


@pytest.mark.parametrize(
    "message",
    [
        {"message_id": None},
        {"messageId": None},
        {"publishTime": "2026-11-22T10:00:00.123Z", "attributes": {"x": "y"}, "orderingKey": ""},
    ],
)
def test_a_message_may_be_named_in_one_spelling(message):
    """Both are sent today; either is the id."""
    body = wrapped(told(), message, {"deliveryAttempt": 5})
    assert read_push(body).message_id == "136969346945"


POISON = {
    "nothing": b"",
    "no JSON": b"{not json",
    "no object": b"[]",
    "another encoding": wrapped(told()).decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + wrapped(told()),
    "a key twice": wrapped(told()).replace(b"{", b'{"subscription": "x", ', 1),
    "no number": wrapped(told(), envelope={"x": float("nan")}),
    "too deep": b"[" * 60_000,
    "too large": wrapped(told(), {"padding": "x" * MAX_PUSH}),
    "no message": wrapped(told(), envelope={"message": None}),
    "a message that is text": wrapped(told(), envelope={"message": "x"}),
    "no subscription": wrapped(told(), envelope={"subscription": None}),
    "an empty subscription": wrapped(told(), envelope={"subscription": ""}),
    "a subscription that is a list": wrapped(told(), envelope={"subscription": [SUBSCRIPTION]}),
    "a subscription with a line end": wrapped(told(), envelope={"subscription": "a\nb"}),
    "a subscription that is too long": wrapped(told(), envelope={"subscription": "x" * 501}),
    "no id": wrapped(told(), {"messageId": None, "message_id": None}),
    "empty ids": wrapped(told(), {"messageId": "", "message_id": ""}),
    "two ids": wrapped(told(), {"message_id": "1"}),
    "an id that is a number": wrapped(told(), {"messageId": 1, "message_id": None}),
    "an id that is an object": wrapped(told(), {"messageId": {}, "message_id": None}),
    "an id with a space": wrapped(told(), {"messageId": "1 2", "message_id": None}),
    "an id that is too long": wrapped(told(), {"messageId": "1" * 256, "message_id": None}),
    "no data": wrapped(told(), {"data": None}),
    "empty data": wrapped(told(), {"data": ""}),
    "data that is an object": wrapped(told(), {"data": told()}),
    "data that is no base64": wrapped(told(), {"data": "%%% no base64 %%%"}),
    "data without its padding": wrapped(told(), {"data": "e30"}),
    "data in lines": wrapped(
        told(), {"data": base64.encodebytes(json.dumps(told()).encode()).decode()}
    ),
    "data with a stray character": wrapped(
        told(), {"data": "%" + base64.b64encode(json.dumps(told()).encode()).decode()}
    ),
    "data in another script": wrapped(told(), {"data": "é"}),
    "data that is no JSON": wrapped(b"\xff\xfe neither text nor JSON"),
    "data that is no object": wrapped(b"[]"),
    "data with a key twice": wrapped(
        json.dumps(told()).replace("{", '{"packageName":"x",', 1).encode()
    ),
    "data that is too deep": wrapped(b"[" * 40_000),
    "no package": wrapped(told(packageName=None)),
    "an empty package": wrapped(told(packageName="")),
    "a package that is a list": wrapped(told(packageName=[PACKAGE])),
    "no time": wrapped(told(eventTimeMillis=None)),
    "a time in words": wrapped(told(eventTimeMillis="now")),
    "a time with a sign": wrapped(told(eventTimeMillis="-1")),
    "a time before all times": wrapped(told(eventTimeMillis=-1)),
    "a fraction of a time": wrapped(told(eventTimeMillis=1795349760123.5)),
    "a time that is true": wrapped(told(eventTimeMillis=True)),
    "a time with foreign digits": wrapped(told(eventTimeMillis="١٢٣")),
    "a time without end": wrapped(told(eventTimeMillis="9" * 16)),
    "two members": wrapped(told(testNotification={"version": "1.0"})),
    "two purchases": wrapped(told(voidedPurchaseNotification=VOIDED)),
    "a member that is text": wrapped(told(content="x")),
    "a member that is a list": wrapped(told(content=[PURCHASED])),
    "no type": wrapped(one_time(notificationType=None)),
    "a type in words": wrapped(one_time(notificationType="1")),
    "a type that is true": wrapped(one_time(notificationType=True)),
    "a type that is a list": wrapped(one_time(notificationType=[1])),
    "a fractional type": wrapped(one_time(notificationType=1.0)),
    "no token": wrapped(one_time(purchaseToken=None)),
    "an empty token": wrapped(one_time(purchaseToken="")),
    "a token that is a number": wrapped(one_time(purchaseToken=1)),
    "a token that is a path": wrapped(one_time(purchaseToken="../../orders/x")),
    "a token that is too long": wrapped(one_time(purchaseToken="x" * 2049)),
    "a sku that is a list": wrapped(one_time(sku=["coins_500"])),
    "a sku with a line end": wrapped(one_time(sku="coins\n500")),
    "a void without a token": wrapped(voided(purchaseToken=None)),
    "a void without a product type": wrapped(voided(productType=None)),
    "a void without a refund type": wrapped(voided(refundType=None)),
    "a void with a refund type in words": wrapped(voided(refundType="1")),
    "a void of a path": wrapped(voided(orderId="../x")),
}


@pytest.mark.parametrize("name", POISON)
def test_what_cannot_be_read_is_told_apart(name):
    """It will never get better, and is acknowledged by whoever catches this; its words are not repeated."""
    with pytest.raises(Undecodable) as refused:
        read_push(POISON[name])
    assert len(str(refused.value)) < 80
    assert refused.value.__cause__ is None


def test_a_large_push_still_fits():
    """The longest token, and some more than any notification has."""
    push = read_push(wrapped(one_time(purchaseToken="x" * 2048, new="y" * 30_000)))
    assert push.purchase_token == "x" * 2048


def test_a_push_does_not_show_the_purchase():
    """Its token does not belong into logs."""
    assert TOKEN not in repr(read_push(wrapped(told())))


READ_AS = {"other_subscription": "purchased", "other_package": "purchased"}
READ_AS |= {"unknown_member": "unknown", "unknown_type": "unknown"}
UNREADABLE = {
    "malformed_base64",
    "data_is_not_json",
    "body_is_not_json",
    "no_message_id",
    "deeply_nested",
    "megabyte",
}


@pytest.mark.parametrize("name", attacks.NAMES)
async def test_each_attack_of_the_simulator_is_seen(auth, play, name):
    """A false token is refused; a message that nobody can read is told apart; the rest names app and subscription."""
    push = play.attacks.make(name, play.app())
    inbound = Inbound({k.lower(): v for k, v in push.headers.items()}, "", push.body)
    if name not in UNREADABLE | READ_AS.keys():
        with pytest.raises(NotAuthentic):
            await verifier(auth, inbound)
        return
    assert await verifier(auth, inbound)
    if name in UNREADABLE:
        with pytest.raises(Undecodable):
            read_push(push.body)
        return
    read = read_push(push.body)
    assert read.kind == READ_AS[name]
    assert (read.package_name == PACKAGE) is (name != "other_package")
    assert ("attacker" in read.subscription) is (name == "other_subscription")
