"""Who comes too often is told so; who forges keeps no genuine notice out."""

import asyncio
from ipaddress import ip_network
from itertools import pairwise

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from payplat import seam
from payplat.errors import TooManyRequests
from payplat.handlers import pay
from payplat.limits import MINUTE, Limit
from payplat.peers import household, peer_of

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.fixture
def overrides() -> dict[str, str]:
    """Three calls a minute, two forgeries a minute, and proxies on this machine."""
    return {
        "PAYPLAT_LIMITS__PER_CLIENT_PER_MINUTE": "3",
        "PAYPLAT_LIMITS__FORGERIES_PER_MINUTE": "2",
        "PAYPLAT_SERVER__TRUSTED_PROXIES": '["127.0.0.0/8"]',
    }


class Clock(seam.World):
    """A clock that stands until it is turned; microseconds."""

    time = 1_700_000_000 * seam.SECOND

    def now(self) -> int:
        """The time on it."""
        return self.time


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The clock of the test."""
    clock = Clock()
    monkeypatch.setattr(seam, "world", clock)
    return clock


def refusal(limit: Limit, key: str) -> int:
    """Seconds that the key has to wait, 0 when it was admitted."""
    try:
        limit.spend(key)
    except TooManyRequests as error:
        return error.seconds
    return 0


# --- Buckets and addresses ---


def test_a_bucket_empties_and_fills_again(clock):
    """So many at once and no more; the wait that it names is long enough, and no longer than needed."""
    limit = Limit("client", per_minute=4)
    assert [refusal(limit, "a") for _ in range(6)] == [0, 0, 0, 0, 15, 15]
    assert refusal(limit, "b") == 0
    clock.time += 15 * seam.SECOND - 1
    assert refusal(limit, "a") == 1
    clock.time += 1
    assert [refusal(limit, "a") for _ in range(2)] == [0, 15]
    clock.time += 10 * MINUTE
    assert [refusal(limit, "a") for _ in range(5)] == [0, 0, 0, 0, 15]


def test_a_clock_that_goes_back_shuts_nobody_out(clock):
    """An hour back in time costs a minute at most."""
    limit = Limit("client", per_minute=1)
    limit.spend("a")
    clock.time -= 60 * MINUTE
    assert refusal(limit, "a") == 60
    clock.time += MINUTE
    assert refusal(limit, "a") == 60, (
        "what was refused costs nothing, but this clock is still early"
    )
    clock.time += 60 * MINUTE
    assert refusal(limit, "a") == 0


def test_the_number_of_buckets_is_bounded(clock):
    """A million callers cost no more memory than the most recent few, and those keep their place."""
    limit = Limit("client", per_minute=2, most_keys=3)
    for key in ("a", "b", "b", "c", "a", "d"):
        limit.spend(key)
    assert len(limit) == 3
    assert refusal(limit, "a") == 30
    assert refusal(limit, "b") == 0, "its two calls are forgotten"


@pytest.mark.parametrize(
    ("socket", "forwarded", "peer"),
    [
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7,10.0.0.2 , 10.3.0.4", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        ("", "198.51.100.7", ""),
    ],
)
def test_only_trusted_proxies_say_who_calls(socket, forwarded, peer):
    """The chain is read from its end, as far as it is trusted; what stands before that anybody could have written."""
    assert peer_of(socket, forwarded, PROXIES) == peer


@pytest.mark.parametrize(
    ("peer", "caller"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_one_line_is_one_caller(peer, caller):
    """A line has 2^64 addresses of IPv6, and one quota."""
    assert household(peer) == caller


# --- Clients ---


@on_sqlite
async def test_a_client_beyond_its_quota_is_told_when_to_come_again(client):
    """Every call for clients counts against one quota; the 429 tells when and why, and opens no order."""
    order_no = (await client.create()).json["order_no"]
    await client.order(order_no)
    assert (await client.verify(order_no)).status == 200
    refused = [
        await client.create(),
        await client.call("GET", f"/v1/orders/{order_no}"),
        await client.verify(order_no),
        await client.call("GET", "/v1/events"),
    ]
    assert {(r.status, r.json["code"]) for r in refused} == {(429, "too_many_requests")}
    for reply in refused:
        seconds = int(reply.headers["Retry-After"])
        assert 0 < seconds <= 20
        assert reply.headers["RateLimit-Policy"] == '"client";q=3;w=60'
        assert reply.headers["RateLimit"] == f'"client";r=0;t={seconds}'
    assert await client.count("orders") == 1
    assert (await client.call("GET", "/healthz")).status == 200


@on_sqlite
async def test_who_waits_as_told_is_served(client, clock):
    """After the seconds of Retry-After there is room again."""
    for _ in range(3):
        await client.create()
    wait = int((await client.create()).headers["Retry-After"])
    clock.time += wait * seam.SECOND
    assert (await client.create()).status == 201


@on_sqlite
async def test_clients_behind_a_proxy_have_quotas_of_their_own(client):
    """The one who used his up cannot get another by writing addresses into X-Forwarded-For himself."""
    for invented in range(3):
        await client.call("GET", "/v1/events", X_Forwarded_For=f"203.0.113.{invented}, 192.0.2.1")
    for line in ("203.0.113.99, 192.0.2.1", "192.0.2.1"):
        assert (await client.call("GET", "/v1/events", X_Forwarded_For=line)).status == 429
    reply = await client.call("GET", "/v1/events", X_Forwarded_For="192.0.2.1, 192.0.2.2")
    assert reply.status == 200


# --- Forgeries ---

GARBAGE = {"alipay": (200, b"sign=x"), "apple": (400, b"{}"), "google": (401, b"{}")}


def forged_count(channel: str) -> float:
    """How many forged notices the counter has seen."""
    return REGISTRY.get_sample_value("payplat_forged_total", {"channel": channel}) or 0.0


@on_sqlite
@pytest.mark.parametrize("channel", GARBAGE)
async def test_forgeries_beyond_the_quota_are_turned_away_and_not_logged(
    client, channel, monkeypatch
):
    """The first ones get the usual answer, the rest 429; the log stays as it is while the counter goes on."""
    monkeypatch.setattr(pay, "_forged_log", pay.LogLimit(0))
    usual, body = GARBAGE[channel]
    before = forged_count(channel)
    with capture_logs() as lines:
        replies = [await client.callback(body, f"/v1/callback/{channel}") for _ in range(10)]
    assert [reply.status for reply in replies] == [usual] * 2 + [429] * 8
    assert {int(reply.headers["Retry-After"]) for reply in replies[2:]} <= set(range(1, 31))
    assert [line["event"] for line in lines] == ["forged"] * 2
    assert forged_count(channel) == before + 10


@on_sqlite
async def test_a_flood_of_forgeries_keeps_no_genuine_notice_out(client, stage):
    """Whoever sits at the same address and has used everything up: what Alipay signed is served."""
    stage.alipay.faults.notification(drop=True)
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    flood = [await client.callback(b"sign=x") for _ in range(5)]
    assert (flood[-1].status, flood[-1].body) == (429, b"fail")
    genuine = stage.alipay.notification_body(order_no)
    for _ in range(3):
        assert (await client.callback(genuine)).body == b"success"
    assert (await client.callback(b"sign=x")).status == 429
    assert (await client.order(order_no))["status"] == "paid"


@on_sqlite
async def test_forgeries_and_calls_are_counted_apart_and_by_address(client):
    """A forger costs neither the clients at his address nor forgers elsewhere their quota."""
    for _ in range(4):
        await client.callback(b"sign=x", X_Forwarded_For="192.0.2.1")
    assert (await client.callback(b"sign=x", X_Forwarded_For="192.0.2.2")).status == 200
    assert (await client.call("GET", "/v1/events", X_Forwarded_For="192.0.2.1")).status == 200


@on_sqlite
async def test_a_flood_of_forgeries_leaves_every_turn_of_the_loop_to_others(client):
    """Of fifty forged notices that arrive together one is looked at before everybody else has had a turn."""
    for _ in range(3):
        await client.callback(b"sign=x")
    before, seen = forged_count("alipay"), []
    flood = asyncio.gather(*(client.callback(b"sign=x") for _ in range(50)))
    while not flood.done():
        seen.append(forged_count("alipay"))
        await asyncio.sleep(0)
    assert {reply.status for reply in flood.result()} <= {200, 429}
    assert forged_count("alipay") == before + 50
    assert max(later - earlier for earlier, later in pairwise(seen)) == 1
