"""Real-time Developer Notifications: the envelope, who signs it, and how it comes again."""

import base64
import itertools
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_pem_x509_certificate

from payplat.simulators.clock import Clock
from payplat.simulators.google.notices import envelope
from payplat.simulators.google.server import GoogleSimulator
from payplat.simulators.google.wire import money, rfc3339
from tests.simulators.google_stage import (
    DAY,
    NOW,
    PACKAGE,
    PRODUCTS,
    PUSHER,
    keys,
    open_api,
    open_inbox,
    open_play,
)

SUBSCRIPTION = "projects/simulator/subscriptions/play"


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


def bearer(inbox) -> str:
    """The token of the last push."""
    scheme, token = inbox.headers[-1]["Authorization"].split()
    assert scheme == "Bearer"
    return token


async def test_a_purchase_is_told_in_an_envelope(play, inbox):
    """Both spellings of id and time; inside, which purchase, and nothing about its money."""
    purchase = await play.buy(PACKAGE, "coins_500")
    (body,) = inbox.bodies
    wrapped = json.loads(body)
    assert wrapped.keys() == {"message", "subscription"}
    assert wrapped["subscription"] == SUBSCRIPTION
    message = wrapped["message"]
    assert message["messageId"] == message["message_id"]
    assert message["messageId"].isdecimal()
    assert message["publishTime"] == message["publish_time"] == "2026-09-21T14:13:20Z"
    assert message["attributes"] == {}
    assert json.loads(base64.b64decode(message["data"], validate=True)) == {
        "version": "1.0",
        "packageName": PACKAGE,
        "eventTimeMillis": "1790000000000",
        "oneTimeProductNotification": {
            "version": "1.0",
            "notificationType": 1,
            "purchaseToken": purchase.purchase_token,
            "sku": "coins_500",
        },
    }
    assert inbox.headers[0]["Content-Type"] == "application/json"


async def test_a_push_is_signed_by_a_published_key(play, inbox, api):
    """OpenID Connect, RS256, under a key of the set, which may be kept for a while."""
    await play.buy(PACKAGE, "castle")
    token = bearer(inbox)
    response = await api.fetch(play.certs_url)
    assert response.headers["Cache-Control"].startswith("public, max-age=21600")
    published = jwt.PyJWKSet.from_dict(json.loads(response.body))
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(
        token,
        published[header["kid"]],
        ["RS256"],
        audience=inbox.url,
        issuer="https://accounts.google.com",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert (claims["email"], claims["email_verified"]) == (PUSHER, True)
    assert (claims["iat"], claims["exp"]) == (NOW, NOW + 3600)
    assert claims["sub"] == claims["azp"]


async def test_the_keys_are_published_as_certificates_too(play, inbox, api):
    """By `kid`, in PEM; the same key."""
    await play.buy(PACKAGE, "castle")
    response = await api.fetch(play.pem_certs_url)
    (pem,) = json.loads(response.body).values()
    key = load_pem_x509_certificate(pem.encode()).public_key()
    assert "max-age" in response.headers["Cache-Control"]
    options = {"verify_exp": False, "verify_iat": False}
    assert jwt.decode(bearer(inbox), key, ["RS256"], audience=inbox.url, options=options)


async def test_keys_are_rotated(play, inbox, api):
    """A new one signs; the old stays published, or not."""
    await play.buy(PACKAGE, "castle")
    old = jwt.get_unverified_header(bearer(inbox))["kid"]
    play.identity.rotate()
    await play.buy(PACKAGE, "coins_500")
    new = jwt.get_unverified_header(bearer(inbox))["kid"]
    published = json.loads((await api.fetch(play.certs_url)).body)["keys"]
    assert [each["kid"] for each in published] == [old, new]
    play.identity.rotate(keep=False)
    published = json.loads((await api.fetch(play.certs_url)).body)["keys"]
    assert {old, new}.isdisjoint(each["kid"] for each in published)


async def test_audience_issuer_and_subscription_can_be_set(inbox):
    """The audience of the subscription stands in the token, the endpoint's only without one."""
    async with open_play(inbox, audience="payplat") as play:
        play.issuer = "accounts.google.com"
        await play.buy(PACKAGE, "castle")
        claims = jwt.decode(bearer(inbox), options={"verify_signature": False})
        assert (claims["aud"], claims["iss"]) == ("payplat", "accounts.google.com")
        named = {"push_url": inbox.url, "push_audience": "", "push_email": PUSHER}
        play.add_app("com.second", products=PRODUCTS, subscription="projects/p/s", **named)
        await play.buy("com.second", "castle")
        assert json.loads(inbox.bodies[-1])["subscription"] == "projects/p/s"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_these_statuses_acknowledge(play, inbox, status):
    """One delivery, and none after it."""
    inbox.answers = [status]
    await play.buy(PACKAGE, "castle", test=True)
    await play.advance(60)
    assert len(inbox.bodies) == 1
    assert play.notifications[0].accepted


@pytest.mark.parametrize("status", [203, 206, 307, 400, 401, 404, 500, 503, 0])
async def test_nothing_else_acknowledges(play, inbox, status):
    """Not even another 2xx, nor a redirect, which is not followed; 0: the line is cut."""
    inbox.answers = [status]
    await play.buy(PACKAGE, "castle")
    assert len(inbox.bodies) == 1
    assert not play.notifications[0].accepted
    await play.advance(10)
    assert [each.accepted for each in play.notifications] == [False, True]
    assert len(set(inbox.ids)) == 1


async def test_it_comes_again_with_growing_pauses(play, inbox):
    """From ten seconds, doubled up to ten minutes, until it is too old, always as the same message."""
    assert play.knobs.retention == 7 * DAY
    play.knobs.turn(retention=DAY)
    inbox.answers = [500] * 200
    await play.buy(PACKAGE, "castle")
    await play.advance(2 * DAY)
    times = [each.at - NOW for each in play.notifications]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses[:8] == [10, 20, 40, 80, 160, 320, 600, 600]
    assert set(pauses[6:]) == {600}
    assert DAY - 600 < times[-1] <= DAY
    assert len(set(inbox.ids)) == 1
    assert [each.number for each in play.notifications[:3]] == [1, 2, 3]
    assert play.herald.courier.messages[0].state == "expired"


async def test_time_can_be_pressed(inbox):
    """The time factor divides Google's waiting times."""
    sim = GoogleSimulator(100.0, Clock(lambda: NOW), signing_key=keys()[0])
    await sim.start()
    push = {"push_url": inbox.url, "push_audience": "", "push_email": PUSHER}
    sim.add_app(PACKAGE, products=PRODUCTS, **push)
    inbox.answers = [500]
    purchase = await sim.buy(PACKAGE, "castle")
    await sim.advance(0.1)
    assert len(inbox.bodies) == 2
    await sim.advance(3 * DAY / 100)
    assert purchase.state == 1
    await sim.stop()


async def test_a_message_can_be_set_aside(play, inbox):
    """With a dead-letter topic deliveries are numbered, and end."""
    play.knobs.turn(dead_letter=5)
    inbox.answers = [500] * 9
    await play.buy(PACKAGE, "castle")
    await play.advance(3600)
    assert [json.loads(body)["deliveryAttempt"] for body in inbox.bodies] == [1, 2, 3, 4, 5]
    assert play.herald.courier.messages[0].state == "dead"


async def test_an_endpoint_that_is_down_is_tried_again(play, inbox):
    """A refused connection is no acknowledgement."""
    push = {"push_url": "http://127.0.0.1:9/", "push_audience": "", "push_email": PUSHER}
    play.add_app("com.down", products=PRODUCTS, **push)
    await play.buy("com.down", "castle")
    assert play.notifications[0].status is None
    assert play.notifications[0].error
    await play.advance(10)
    assert len(play.notifications) == 2


async def test_without_an_endpoint_nothing_is_told(play, inbox):
    """Nor where the purchase says so."""
    quiet = {"push_url": None, "push_audience": "", "push_email": ""}
    play.add_app("com.quiet", products=PRODUCTS, **quiet)
    await play.buy("com.quiet", "castle")
    await play.buy(PACKAGE, "castle", notify=False)
    await play.advance(3600)
    assert (play.notifications, inbox.bodies) == ([], [])


async def test_messages_come_twice_or_under_two_ids(play, inbox):
    """At least once is a promise; a repetition by the publisher has its own id."""
    play.faults.notification(copies=2)
    await play.buy(PACKAGE, "castle")
    assert len(inbox.bodies) == 2
    assert len(set(inbox.ids)) == 1
    play.faults.notification(copies=3, parallel=True)
    play.faults.notification(event="voided", republish=1)
    purchase = await play.buy(PACKAGE, "coins_500")
    assert len(inbox.bodies) == 5
    await play.refund(purchase.purchase_token)
    voided = [each for each in play.notifications if each.event == "voided"]
    assert len({each.message_id for each in voided}) == len(voided) == 2


async def test_messages_come_late_or_not_at_all(play, inbox):
    """Held until they are let go, delayed, lost on the way, or dropped."""
    play.faults.notification(hold=True)
    await play.buy(PACKAGE, "castle", buyer="1")
    play.faults.notification(delay=60)
    await play.buy(PACKAGE, "castle", buyer="2")
    play.faults.notification(lose=1)
    await play.buy(PACKAGE, "castle", buyer="3")
    play.faults.notification(drop=True)
    await play.buy(PACKAGE, "castle", buyer="4")
    assert inbox.bodies == []
    await play.advance(10)
    assert len(inbox.bodies) == 1
    await play.advance(50)
    assert len(inbox.bodies) == 2
    await play.flush()
    assert len(inbox.bodies) == 3
    await play.advance(DAY)
    assert len(inbox.bodies) == 3


async def test_messages_overtake_each_other(play, inbox):
    """The purchase is told after its refund."""
    play.faults.notification(behind_next=True)
    purchase = await play.buy(PACKAGE, "castle")
    await play.buy(PACKAGE, "coins_500")
    await play.idle()
    assert [each["oneTimeProductNotification"]["sku"] for each in inbox.told] == ["coins_500"]
    inbox.bodies.clear()
    await play.refund(purchase.purchase_token)
    await play.idle()
    kinds = [
        each.get("oneTimeProductNotification", {}).get("notificationType") for each in inbox.told
    ]
    # The refund is told twice, as voided and as canceled, on two connections at once.
    assert kinds[0] != 1
    assert sorted(str(kind) for kind in kinds) == ["1", "2", "None"]
    assert [each.event for each in play.notifications].count("purchased") == 2


async def test_faults_can_last_until_they_are_cleared(play, inbox):
    """Switched on, and off again."""
    play.faults.notification(times=None, drop=True)
    await play.buy(PACKAGE, "castle", buyer="1")
    await play.buy(PACKAGE, "castle", buyer="2")
    play.faults.clear()
    await play.buy(PACKAGE, "castle", buyer="3")
    assert len(inbox.bodies) == 1


async def test_what_was_under_way_at_a_stop_comes_after_the_next_start(play, inbox):
    """The books outlive the server."""
    inbox.answers = [500]
    await play.buy(PACKAGE, "castle")
    await play.stop()
    await play.start()
    await play.advance(10)
    assert [each.accepted for each in play.notifications] == [False, True]


async def test_the_console_sends_a_test(play, inbox):
    """A notification about nothing."""
    await play.send_test_notification(PACKAGE)
    (told,) = inbox.told
    assert told["testNotification"] == {"version": "1.0"}


async def test_any_bytes_can_be_pushed(play, inbox):
    """Rightly signed by default, with other headers where they are given; nobody repeats it."""
    inbox.answers = [500]
    attempt = await play.notify_raw(b"\xff poison")
    assert (attempt.status, attempt.notification) == (500, {})
    assert inbox.bodies == [b"\xff poison"]
    assert jwt.get_unverified_header(bearer(inbox))["alg"] == "RS256"
    await play.notify_raw(b"[]", Authorization="Bearer x", Content_Type="text/plain")
    assert inbox.headers[1]["Authorization"] == "Bearer x"
    assert inbox.headers[1]["Content-Type"] == "text/plain"
    await play.advance(3600)
    assert len(inbox.bodies) == 2


ATTACKS_ON_THE_TOKEN = {
    "wrong_audience": {"aud": "https://elsewhere.example/rtdn"},
    "wrong_email": {"email": "evil@attacker.iam.gserviceaccount.com"},
    "no_email": {"email": None, "email_verified": None},
    "unverified_email": {"email_verified": False},
    "wrong_issuer": {"iss": "https://accounts.attacker.example"},
    "expired": {"iat": NOW - 7200, "exp": NOW - 3600},
    "without_expiry": {"exp": None},
    "from_the_future": {"iat": NOW + 3600, "exp": NOW + 7200},
}


@pytest.mark.parametrize("name", ATTACKS_ON_THE_TOKEN)
async def test_attacks_with_a_wrong_claim(play, inbox, name):
    """All the rest is as Google makes it, its signature too."""
    attempt = await play.attack(name)
    key = play.identity.keys[-1].public
    options = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
    claims = jwt.decode(bearer(inbox), key, ["RS256"], options=options)
    genuine = play.identity.claims(play.apps[PACKAGE])
    expected = {**genuine, **ATTACKS_ON_THE_TOKEN[name]}
    assert claims == {each: value for each, value in expected.items() if value is not None}
    assert attempt.event == name
    assert inbox.told[0]["packageName"] == PACKAGE


async def test_attacks_with_a_wrong_signature(play, inbox):
    """A stranger's, under Google's kid or a new one; the public key as a secret; none at all."""
    await play.attack("foreign_key")
    own = play.identity.keys[-1]
    stranger = bearer(inbox)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(stranger, own.public, ["RS256"], options={"verify_aud": False})
    assert jwt.get_unverified_header(stranger)["kid"] == own.kid
    await play.attack("unknown_kid")
    assert jwt.get_unverified_header(bearer(inbox))["kid"] != own.kid
    await play.attack("hs256")
    assert jwt.get_unverified_header(bearer(inbox)) == {
        "alg": "HS256",
        "kid": own.kid,
        "typ": "JWT",
    }
    await play.attack("unsigned")
    assert bearer(inbox).endswith(".")
    await play.attack("no_authorization")
    assert "Authorization" not in inbox.headers[-1]
    await play.attack("not_a_token")
    assert bearer(inbox) == "a.b.c"


async def test_attacks_with_a_wrong_message(play, inbox):
    """Rightly signed, and yet not what it should be."""
    purchase = await play.buy(PACKAGE, "castle")
    inbox.bodies.clear()
    for name in ("other_subscription", "other_package", "unknown_member", "unknown_type"):
        await play.attack(name, token=purchase.purchase_token)
    wrapped = [json.loads(body) for body in inbox.bodies]
    assert wrapped[0]["subscription"] == "projects/attacker/subscriptions/rtdn"
    assert [each["packageName"] for each in inbox.told[:2]] == [PACKAGE, "com.attacker.game"]
    assert inbox.told[2]["futureNotification"]["purchaseToken"] == purchase.purchase_token
    assert inbox.told[3]["oneTimeProductNotification"]["notificationType"] == 99
    assert len(set(inbox.ids)) == 4


async def test_attacks_on_the_reader(play, inbox):
    """No Base64, no JSON, no id, too deep, too long."""
    names = ("malformed_base64", "data_is_not_json", "body_is_not_json", "deeply_nested")
    for name in (*names, "no_message_id", "megabyte"):
        attempt = await play.attack(name)
        assert attempt.accepted
        assert ("packageName" in attempt.notification) is (name in ("no_message_id", "megabyte"))
        assert jwt.get_unverified_header(bearer(inbox))["kid"] == play.identity.keys[-1].kid
    messages = [json.loads(inbox.bodies[at])["message"] for at in (0, 1, 4, 5)]
    with pytest.raises(ValueError, match="base64"):
        base64.b64decode(messages[0]["data"], validate=True)
    with pytest.raises(json.JSONDecodeError):
        json.loads(base64.b64decode(messages[1]["data"], validate=True))
    with pytest.raises(json.JSONDecodeError):
        json.loads(inbox.bodies[2])
    with pytest.raises(RecursionError):
        json.loads(inbox.bodies[3])
    assert {"messageId", "message_id"}.isdisjoint(messages[2])
    assert len(inbox.bodies[5]) > 1_000_000
    with pytest.raises(ValueError, match="is none of"):
        await play.attack("make")


async def test_a_token_can_be_forged_to_taste(play):
    """Any claim, `alg`, `key` and `kid`; what makes no sense is refused."""
    token = play.id_token(aud="me", email=None, kid="k1")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["aud"] == "me"
    assert "email" not in claims
    assert jwt.get_unverified_header(token)["kid"] == "k1"
    assert jwt.get_unverified_header(play.id_token(alg="none"))["alg"] == "none"
    key = play.identity.keys[-1].public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert key == play.identity.keys[-1].public_pem
    with pytest.raises(ValueError, match="no token of"):
        play.id_token(alg="ES256")


@pytest.mark.parametrize(
    ("micros", "expected"),
    [
        (4_990_000, {"units": "4", "nanos": 990_000_000}),
        (0, {}),
        (1, {"nanos": 1000}),
        (-1_500_000, {"units": "-1", "nanos": -500_000_000}),
    ],
)
def test_money_is_written_without_zeros(micros, expected):
    """Both parts of one sign; int64 as text."""
    assert money(micros, "USD") == {"currencyCode": "USD", **expected}


def test_times_are_written_as_google_does():
    """A fraction only where there is one; an attempt's number only where there is one."""
    assert rfc3339(NOW) == "2026-09-21T14:13:20Z"
    assert rfc3339(NOW + 0.1234) == "2026-09-21T14:13:20.123Z"
    assert json.loads(envelope(b"{}", "1", NOW, "s", 7))["deliveryAttempt"] == 7
