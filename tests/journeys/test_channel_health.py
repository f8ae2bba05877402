"""How well each channel is: what happened to it, over real sockets, and what ``payplat channels list`` says of that."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, update

from payplat import seam, signs
from payplat.channel_health import ChannelHealth, Health, Level, as_answer
from payplat.circuit import Phase
from payplat.doctor import examine
from payplat.errors import ConfigurationError
from payplat.explanation import Language
from payplat.models import DUTIES, ORDERS
from payplat.registry import installed_doors, open_channels
from payplat.signs import Sign
from tests.processes import run_here

DOORS = installed_doors()
CERTIFIED_APP, CERTIFIED_SELLER = "2021000000000002", "2088000000000002"
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
pytestmark = on_sqlite


@pytest.fixture(autouse=True)
def _written_soon(monkeypatch) -> None:
    """Signs are written ten times a second."""
    monkeypatch.setattr(signs, "_PERIOD", 0.1)


@pytest.fixture
def works() -> bool:
    """Nobody asks a provider but the test."""
    return False


async def look(stage, channel: str = "alipay") -> ChannelHealth:
    """How well the channel is now."""
    found = await Health(stage.platform.database, stage.platform.providers).look()
    return {health.channel: health for health in found}[channel]


async def seen(client, sign: Sign, count: int, channel: str = "alipay") -> ChannelHealth:
    """Wait until so many of these signs are on record; return how well the channel is then."""

    async def is_seen() -> ChannelHealth | None:
        health = await look(client.stage, channel)
        return health if health.seen(sign).count >= count else None

    return await client.until(is_seen)


def names(health: ChannelHealth) -> list[str]:
    """Why the channel is not well."""
    return [reason.name for reason in health.reasons]


async def test_notices_and_answers_are_signs_of_life(client, stage):
    """An authentic notice and a client's verification each leave their sign, and all is well."""
    began = seam.now()
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    other = (await client.create()).json["order_no"]
    assert (await client.verify(other)).status == 200
    await seen(client, Sign.VERIFIED, 1)
    health = await seen(client, Sign.CALLBACK, 1)
    assert began <= health.seen(Sign.CALLBACK).last_at <= seam.now()
    assert (health.verdict, names(health)) == (Level.OK, [])
    assert (await look(stage, "google")).signs == {}


async def test_forged_notices_are_told_until_an_authentic_one_comes(client, stage):
    """After a forged notice nobody knows whether the provider's key has changed; a genuine one says that it has not."""
    order_no = await client.entered()
    await client.callback(stage.alipay.notification_body(order_no, sign_with="wrong"))
    health = await seen(client, Sign.FORGED, 1)
    assert (health.verdict, names(health)) == (Level.WARNING, ["forged"])
    assert health.seen(Sign.FORGED).detail == "respond_callback"
    told = [health.reasons[0].told(language) for language in Language]
    assert "not signed by the provider" in told[0]
    assert "并非渠道签名" in told[1]
    await stage.alipay.pay(order_no)
    assert names(await seen(client, Sign.CALLBACK, 1)) == []


async def test_who_does_not_answer_is_left_alone_and_tried_again(client, stage):
    """Its circuit opens, the door says 503 without asking, other channels do not notice; then one trial heals it."""
    stage.alipay.faults.notification(drop=True)
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    stage.alipay.faults.answer("http_500", times=None)
    provider = stage.platform.providers["alipay"]

    async def is_left_alone() -> bool:
        before = len(stage.alipay.received)
        assert (await client.verify(order_no)).status == 503
        return len(stage.alipay.received) == before

    await client.until(is_left_alone)
    assert provider.circuits[0].phase is not Phase.CLOSED
    health = await seen(client, Sign.QUERY_FAILED, 4)
    assert health.verdict is Level.TROUBLE
    assert names(health) == ["circuit", "query_failed"]
    assert health.seen(Sign.QUERY_FAILED).detail
    assert (await look(stage, "google")).verdict is Level.OK
    assert (await client.order(order_no))["status"] == "pending"  # unknown stays unknown
    stage.alipay.faults.clear()

    async def is_paid() -> bool:
        told = await client.verify(order_no)
        return told.status == 200 and told.json["status"] == "paid"

    await client.until(is_paid)
    assert provider.circuits[0].phase is Phase.CLOSED
    assert names(await seen(client, Sign.VERIFIED, 1)) == []


async def test_a_client_who_submits_evidence_meanwhile_is_told_202(client, stage):
    """While Google's circuit is open its evidence is kept as ever, for the job."""
    order_no = (await client.create(channel="google")).json["order_no"]
    stage.google.next_answers(*["backendError"] * 400)
    body = {"order_no": order_no, "purchase_token": "a" * 40}

    async def is_open() -> bool:
        assert (await client.call("POST", "/v1/verify/google", body)).status == 202
        circuits = stage.platform.providers["google"].circuits
        return any(circuit.phase is Phase.OPEN for circuit in circuits)

    await client.until(is_open)
    assert (await client.call("POST", "/v1/verify/google", body)).status == 202
    assert await client.count("evidence", "state = 'waiting'") == 1


async def test_open_work_is_told(client, stage):
    """Duties that were given up are trouble, a check that nobody makes is a warning, held orders are counted."""
    first = (await client.create()).json["order_no"]
    await client.create()
    database, now = stage.platform.database, seam.now()
    duty = {"order_no": first, "channel": "alipay", "what": "refund", "failures": 24}
    row = {**duty, "cause": "c", "created_at": now, "due_at": now, "status": "exhausted"}
    held = update(ORDERS).where(ORDERS.c.order_no == first)
    late = update(ORDERS).where(ORDERS.c.order_no != first)
    for statement in (
        insert(DUTIES).values(row),
        held.values(status="held", next_check_at=None),
        late.values(next_check_at=now - 2000 * seam.SECOND),
    ):
        await database.transaction(lambda c, s=statement: c.execute(s))
    health = await look(stage)
    assert names(health) == ["exhausted", "checks_late"]
    assert (health.work.orders_held, health.work.checks_waiting) == (1, 1)
    assert 2000 <= health.work.checks_late_seconds < 2100


async def test_a_provider_that_never_tells_is_told_of(client, stage):
    """When payments are only ever found by asking, the notifications go somewhere else."""
    await signs.write(stage.platform.database, {("alipay", "verified"): signs.Seen(5, seam.now())})
    assert names(await look(stage)) == ["deaf"]


async def test_a_refused_account_is_trouble_until_an_answer_settles(client, stage):
    """However long ago it was."""
    database = stage.platform.database
    await signs.write(database, {("alipay", "misconfigured"): signs.Seen(1, 1000, "no contract")})
    health = await look(stage)
    assert (health.verdict, names(health)) == (Level.TROUBLE, ["misconfigured"])
    assert "no contract" in health.reasons[0].told(Language.ZH)
    await signs.write(database, {("alipay", "verified"): signs.Seen(1, 2000)})
    assert names(await look(stage)) == []


async def test_the_command_lists_every_channel(client, stage, database_url):
    """As a table for people, as JSON for programs; the exit code is 1 only when a channel is in trouble."""
    environ = {"PAYPLAT_DATABASE__URL": database_url}

    async def typed(*options: str):
        return await asyncio.to_thread(run_here, stage, "channels", "list", *options, **environ)

    database = stage.platform.database
    await signs.write(database, {("alipay", "forged"): signs.Seen(7, seam.now(), "verify_order")})
    told = await typed("--json")
    assert told.returncode == 0
    found = {each["channel"]: each for each in json.loads(told.stdout)}
    assert {"alipay", "apple", "google"} <= found.keys()
    assert found["alipay"]["verdict"] == "warning"
    assert found["alipay"]["signs"]["forged"]["count"] == 7
    assert found["alipay"]["signs"]["callback"] == {"count": 0, "last_at": None, "detail": ""}
    assert found["apple"]["credentials"][0]["name"] == "roots"
    assert found["google"]["credentials"] == []
    assert found == {h: as_answer(await look(stage, h)) for h in found}
    await signs.write(database, {("apple", "misconfigured"): signs.Seen(1, seam.now(), "keys")})
    table = await typed()
    assert table.returncode == 1
    assert all(word in table.stdout for word in ("alipay", "trouble", "never"))


# --- What expires ---


class CertifiedWorld(seam.World):
    """It is some other day."""

    def __init__(self, *day: int) -> None:
        self._ahead = int(datetime(*day, tzinfo=UTC).timestamp()) * seam.SECOND - super().now()

    def now(self) -> int:
        return super().now() + self._ahead


class TestCertificates:
    """A channel in certificate mode, whose certificates end at the beginning of 2048."""

    @pytest.fixture
    def overrides(self, alipay, our_keys) -> dict[str, str]:
        """A second channel of kind alipay, by certificates."""
        papers = alipay.add_certified_app(CERTIFIED_APP, CERTIFIED_SELLER, our_keys.alipay[1])
        options = {
            "kind": "alipay",
            "app_id": CERTIFIED_APP,
            "seller_id": CERTIFIED_SELLER,
            "gateway": alipay.gateway,
            "private_key": our_keys.alipay[0],
            "app_cert": papers.app_cert_pem,
            "alipay_cert": papers.alipay_cert_pem,
            "root_cert": papers.root_cert_pem,
        }
        return {f"PAYPLAT_CHANNELS__CERTIFIED__{k.upper()}": v for k, v in options.items()}

    async def test_their_ends_are_known(self, stage):
        """The app's, Alipay's and the root's that stands behind it, by the names of their settings."""
        health = await look(stage, "certified")
        ends = {c.name: seam.rfc3339(c.not_after)[:10] for c in health.credentials}
        assert ends == {
            "app_cert": "2048-01-02",
            "alipay_cert": "2048-01-02",
            "root_cert": "2049-01-01",
        }
        assert health.verdict is Level.OK

    async def test_near_its_end_a_certificate_is_warned_of(self, stage, monkeypatch):
        """Thirty days before it health and doctor say so, and all still works."""
        monkeypatch.setattr(seam, "world", CertifiedWorld(2047, 12, 1))
        assert names(await look(stage, "certified")) == []
        monkeypatch.setattr(seam, "world", CertifiedWorld(2047, 12, 20))
        health = await look(stage, "certified")
        assert (health.verdict, names(health)) == (Level.WARNING, ["expires", "expires"])
        warned = [f async for f in examine(stage.settings, DOORS) if f.is_warning]
        assert [f.what for f in warned if f.ok] == ["certificates of certified"] * 2
        assert "app_cert expires at 2048-01-02" in warned[0].says

    async def test_after_its_end_nothing_starts(self, stage, monkeypatch):
        """An expired certificate proves nothing: the setting is named, and running processes tell of trouble."""
        for day, word in (
            ((2048, 2, 1), "expired at 2048-01-02"),
            ((2017, 1, 1), "not valid before"),
        ):
            monkeypatch.setattr(seam, "world", CertifiedWorld(*day))
            with pytest.raises(ConfigurationError) as caught:
                open_channels(stage.settings, DOORS)
            (fault,) = caught.value.faults
            assert fault.startswith("channels.certified: app_cert ")
            assert word in fault
            assert (await look(stage, "certified")).verdict is Level.TROUBLE


async def test_who_needs_a_proxy_is_reminded_of_it(stage):
    """Behind a proxy on this machine every caller counts as one until the proxy is trusted; that is a hint, no fault."""
    public = stage.settings.model_copy(update={"public_url": "https://pay.example.com"})
    server = public.server.model_copy(update={"host": "127.0.0.1", "trusted_proxies": []})

    async def hints(settings) -> list[tuple[str, bool]]:
        return [(f.what, f.ok) async for f in examine(settings, DOORS) if f.is_warning]

    assert await hints(public.model_copy(update={"server": server})) == [("proxies", True)]
    trusting = server.model_copy(update={"trusted_proxies": ["127.0.0.1/32"]})
    assert await hints(public.model_copy(update={"server": trusting})) == []
    assert await hints(stage.settings) == []
