"""What ``payplat doctor`` says of an installation, channel by channel."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import insert, update

from payplat import seam
from payplat.configuration import read_settings
from payplat.doctor import examine
from payplat.endpoints import pause
from payplat.errors import ConfigurationError
from payplat.models import DELIVERIES, ORDERS
from payplat.registry import installed_doors

DOORS = installed_doors()
KINDS = {kind: door.settings_type for kind, door in DOORS.items()}


@pytest.fixture
def works() -> bool:
    """Nobody works here but the doctor."""
    return False


async def findings(settings) -> dict[str, tuple[bool, str]]:
    """What the doctor finds, by what was looked at."""
    return {found.what: (found.ok, found.says) async for found in examine(settings, DOORS)}


def ill(found: dict[str, tuple[bool, str]]) -> list[str]:
    """What is not well; the tests' own database server does not sync its commits, and doctor sees that."""
    return [what for what, (ok, _) in found.items() if not ok and what != "durability"]


async def test_a_sound_installation(stage):
    """Every channel's company accepts our keys, and everything else is well."""
    found = await findings(stage.settings)
    assert ill(found) == []
    assert {"channel alipay", "channel apple", "channel google"} <= found.keys()


def reread(stage, **changes: str):
    """The staged configuration with changes, as after an operator's edit."""
    named = {f"PAYPLAT_{name}": value for name, value in changes.items()}
    named["PAYPLAT_DATABASE__URL"] = stage.settings.database.url.get_secret_value()
    return read_settings(stage.folder / "payplat.toml", named, KINDS)


def apple_key() -> str:
    """An In-App Purchase key that Apple does not know."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(*form, serialization.NoEncryption()).decode()


async def test_a_key_that_apple_does_not_know(stage):
    """A well-formed key of somebody else is found out, and only its channel is ill."""
    found = await findings(reread(stage, CHANNELS__APPLE__PRIVATE_KEY=apple_key()))
    assert ill(found) == ["channel apple"]
    assert "does not accept our token" in found["channel apple"][1]


async def test_a_key_that_cannot_be_read(stage):
    """A damaged key is named by its option, and never told."""
    found = await findings(
        reread(stage, CHANNELS__APPLE__PRIVATE_KEY="-----BEGIN PRIVATE KEY-----")
    )
    assert found["keys"][0] is False
    assert "channels.apple" in found["keys"][1]


async def test_a_clock_that_is_off(stage, monkeypatch):
    """A clock ten minutes slow is told apart from a wrong key."""
    right = seam.world.now
    monkeypatch.setattr(seam.world, "now", lambda: right() - 600 * seam.SECOND, raising=False)
    says = (await findings(stage.settings))["channel apple"]
    assert says[0] is False
    assert "clock" in says[1] or "its time is" in says[1]


async def test_apple_is_down(stage):
    """A company that does not answer is told as such."""
    await stage.apple.stop()
    assert (await findings(stage.settings))["channel apple"][0] is False


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("CHANNELS__APPLE__ISSUER_ID", "missing"),
        ("CHANNELS__APPLE__KEY_ID", "missing"),
    ],
)
async def test_what_apple_needs_is_asked_for(stage, name, reason):
    """Issuer and key id are needed before anything starts."""
    path = stage.folder / "payplat.toml"
    option = name.rpartition("__")[2].lower()
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith(option)))
    with pytest.raises(ConfigurationError) as caught:
        reread(stage)
    assert f"channels.apple.{option}: {reason}" in "\n".join(caught.value.faults)


async def test_production_wants_apples_own_root(stage):
    """The simulator's root and host, and a missing Apple id, stop a production installation by name."""
    with pytest.raises(ConfigurationError) as caught:
        reread(stage, ENVIRONMENT="production")
    told = "\n".join(caught.value.faults)
    assert all(f"channels.apple.{key}:" in told for key in ("roots", "api", "app_apple_id"))


# --- Where calls may go ---


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_address_that_is_not_permitted(stage):
    """Endpoints and gateways on this machine are told one by one when nobody opened it."""
    found = await findings(reread(stage, OUTBOUND__NETWORKS="[]"))
    channels = ["channel alipay", "channel apple", "channel google"]
    assert ill(found) == ["addresses", *channels]
    told = "default/main: its host leads to 127.0.0.1, which is not permitted (outbound.networks)"
    assert found["addresses"] == (False, told)
    assert "address not permitted" in found["channel alipay"][1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_name_that_leads_nowhere(stage):
    """An endpoint whose host nobody knows is told."""
    url = {"APPS__DEFAULT__ENDPOINTS__MAIN__URL": "https://nowhere.invalid/"}
    says = (await findings(reread(stage, **url)))["addresses"]
    assert says == (False, "default/main: its host cannot be resolved")


# --- Work that nobody does ---


def deliveries(event, endpoint: str) -> list[dict[str, Any]]:
    """Deliveries of an event to an endpoint, one that waits and one that was given up."""
    shared = {"order_no": event["order_no"], "endpoint": endpoint, "created_at": 1, "failures": 20}
    return [
        {**shared, "event_id": event["event_id"] + status, "status": status, "due_at": 1}
        for status in ("due", "exhausted")
    ]


async def test_what_stands_still_is_told(stage, client):
    """A paused endpoint, one that is configured no more, what was given up, and orders of a channel that was closed."""
    database = stage.platform.database
    told = (await findings(stage.settings))["endpoints"]
    assert told == (True, "default/main open")
    for channel in ("alipay", "google"):
        await client.create(channel=channel)
    event = {"order_no": "0" * 32, "event_id": "evt_"}
    rows = [row for name in ("default/main", "default/old") for row in deliveries(event, name)]
    await database.transaction(lambda c: c.execute(insert(DELIVERIES), rows))
    await database.transaction(lambda c: pause(c, database, "default/main", "answered 410"))
    only_alipay = {"alipay": stage.settings.channels["alipay"]}
    found = await findings(stage.settings.model_copy(update={"channels": only_alipay}))
    assert ill(found) == ["endpoints", "orders"]
    assert found["endpoints"][1].split("; ") == [
        "default/main is paused, 1 deliveries wait for it",
        "default/old is not configured, 1 deliveries wait for it",
        "default/main: 1 deliveries gave up",
        "default/old: 1 deliveries gave up",
    ]
    assert found["orders"][1] == "orders of google wait, no such channel is open"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_is_settled_needs_no_channel(stage, client):
    """Orders that wait for nothing are no matter, nor is an endpoint of before that has everything."""
    created = await client.create(channel="google")
    over = {"status": "closed", "next_check_at": None}
    database = stage.platform.database
    await database.transaction(lambda c: c.execute(update(ORDERS).values(over)))
    event = {"order_no": created.json["order_no"], "event_id": "evt_"}
    row = {**deliveries(event, "default/old")[0], "status": "delivered"}
    await database.transaction(lambda c: c.execute(insert(DELIVERIES).values(row)))
    only_alipay = {"alipay": stage.settings.channels["alipay"]}
    assert ill(await findings(stage.settings.model_copy(update={"channels": only_alipay}))) == []
