"""The documented configuration is the one that the code knows."""

import base64
import hashlib
import json
import re
import tomllib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import BaseModel

from payplat.api_keys import ApiKeys
from payplat.app import endpoints_of, terms_of
from payplat.catalogue import read_catalogue
from payplat.clients import clients_of
from payplat.configuration import read_settings, walk
from payplat.database import Database
from payplat.errors import ConfigurationError
from payplat.registry import installed_doors, open_channels
from payplat.settings import LoginSettings, Settings

CONFIG = Path(__file__).parent.parent / "config"
# Keys whose value is a table of the user's own names.
TABLES = ("product_codes", "api")
DOORS = installed_doors()
KINDS = {kind: door.settings_type for kind, door in DOORS.items()}
KEY = hashlib.sha256(b"ours").digest()
SECRET = "whsec_" + base64.b64encode(KEY).decode()
PLAYERS = hashlib.sha256(b"players").hexdigest()


def pem_pair() -> tuple[str, str]:
    """A private key and its public half."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem(key), public.decode()


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """A private key as a file holds it."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(
        serialization.Encoding.PEM, form, serialization.NoEncryption()
    ).decode()


def service_account(private_key: str) -> str:
    """A service account's file."""
    return json.dumps(
        {
            "type": "service_account",
            "client_email": "payplat@example.iam.gserviceaccount.com",
            "private_key": private_key,
            "private_key_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
        }
    )


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    """Private keys of ours, for Alipay and Apple, and a public key of Alipay's."""
    return {
        "private_key": pem_pair()[0],
        "alipay_public_key": pem_pair()[1],
        "apple_private_key": pem(ec.generate_private_key(ec.SECP256R1())),
    }


@pytest.fixture
def folder(tmp_path: Path, keys: dict[str, str]) -> Path:
    """The documented configuration with the files it names."""
    (tmp_path / "payplat.toml").write_text((CONFIG / "payplat.toml").read_text())
    (tmp_path / "products.toml").write_text((CONFIG / "products.toml").read_text())
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "main_endpoint").write_text(SECRET)
    (secrets / "alipay_private_key.pem").write_text(keys["private_key"])
    (secrets / "alipay_public_key.pem").write_text(keys["alipay_public_key"])
    (secrets / "apple_private_key.p8").write_text(keys["apple_private_key"])
    (secrets / "google_service_account.json").write_text(service_account(keys["private_key"]))
    (secrets / "google_account_secret").write_text(PLAYERS)
    return tmp_path


def read(folder: Path, **environ: str) -> Settings:
    """Read the configuration in ``folder``."""
    return read_settings(folder / "payplat.toml", environ, KINDS)


def faults(folder: Path, **environ: str) -> str:
    """All faults of the configuration in ``folder``, a line each."""
    with pytest.raises(ConfigurationError) as caught:
        read(folder, **environ)
    return "\n".join(caught.value.faults)


def test_the_documented_configuration_opens(folder):
    """The file that documents every key is itself a working configuration."""
    settings = read(folder)
    channels = open_channels(settings, DOORS)
    assert channels["alipay"].provider.account == "2021000000000000/2088000000000000"
    assert terms_of(settings)["alipay"].endpoints == {"default/main": None}
    assert read_catalogue(folder / "products.toml").product("default", "coins_500").prices == {
        "CNY": 600
    }


def _documented() -> set[str]:
    """The full names of all keys in the file, those in comments too."""
    text = re.sub(r"(?m)^#(?=[a-z_]+ = |\[)", "", (CONFIG / "payplat.toml").read_text())
    return set(_names(tomllib.loads(text)))


def _names(table: dict, prefix: str = "") -> list[str]:
    names = []
    for key, value in table.items():
        name = f"{prefix}{key}"
        inner = isinstance(value, dict) and key not in TABLES
        names += _names(value, f"{name}.") if inner else [name]
    return names


def test_every_key_is_documented_and_every_documented_key_exists(folder):
    """Code and file name the same keys, so that neither can be out of date."""
    settings = read(folder)
    login = LoginSettings(issuer="game", audience="payplat", secret="s" * 32)
    settings.apps["default"] = settings.apps["default"].model_copy(update={"login": login})
    known = {
        ".".join(filter(None, (prefix, field)))
        for prefix, section in walk(settings)
        for field in type(section).model_fields
        if not _is_table(section, field) and field != "folder"
    }
    assert _documented() == known


def test_every_key_has_a_comment():
    """Above each key stands what it is for, or it belongs to a group of keys that are explained together."""
    lines, bare = (CONFIG / "payplat.toml").read_text().splitlines(), []
    for number, line in enumerate(lines):
        if re.match(r"#?[a-z_]+ = ", line):
            above = (each for each in reversed(lines[:number]) if not _is_key_or_table(each))
            bare += [] if next(above, "").startswith("# ") else [line]
    assert bare == []


def _is_key_or_table(line: str) -> bool:
    return re.match(r"#?(?:[a-z_]+ = |\[)", line) is not None


def _is_table(section: BaseModel, field: str) -> bool:
    value = getattr(section, field)
    return isinstance(value, BaseModel) or (isinstance(value, dict) and field not in TABLES)


def test_later_layers_win(folder, tmp_path_factory, keys):
    """A secret file beats the TOML file, the environment beats both."""
    secrets = tmp_path_factory.mktemp("credentials")
    (secrets / "channels.alipay.app_id").write_text("2021999999999999\n")
    (secrets / "server.port").write_text("1111")
    settings = read(folder, PAYPLAT_SECRETS=str(secrets), PAYPLAT_SERVER__PORT="2222")
    assert settings.channels["alipay"].app_id == "2021999999999999"
    assert settings.server.port == 2222


def test_all_faults_come_in_one_list(folder):
    """Unknown keys, missing keys and wrong values are told together, each by its full name."""
    text = (folder / "payplat.toml").read_text()
    text = text.replace("[server]", "[server]\nprot = 1").replace(
        'seller_id = "2088', '#seller_id = "2088'
    )
    (folder / "payplat.toml").write_text(
        text.replace("lifetime_seconds = 1800", "lifetime_seconds = 1")
    )
    told = faults(
        folder,
        PAYPLAT_DATABSE__URL="sqlite:///x",
        PAYPLAT_APPS__DEFAULT__ENDPOINTS__MAIN__SECRET="weak",
    )
    assert "server.prot: unknown key" in told
    assert "channels.alipay.seller_id: missing" in told
    assert "orders.lifetime_seconds: Input should be greater" in told
    assert "databse: unknown key" in told
    assert "weak" not in told


def test_metrics_are_not_for_the_public(folder):
    """Production refuses a public address for them, and nothing but their address."""
    production = {"PAYPLAT_ENVIRONMENT": "production"}
    told = faults(folder, **production, PAYPLAT_METRICS__HOST="8.8.8.8")
    assert "metrics.host: a public address" in told
    for host in ("0.0.0.0", "::", "0", ""):
        told = faults(folder, **production, PAYPLAT_METRICS__HOST=host)
        assert "metrics.host: every address of this machine" in told
    for host in ("127.0.0.1", "10.0.0.7", "fd00::7", "metrics.internal"):
        assert "metrics" not in faults(folder, **production, PAYPLAT_METRICS__HOST=host)


def test_a_weak_webhook_secret_stops_the_start(folder):
    """A secret that is no long random key is refused by name, and its value is not told."""
    told = faults(folder, PAYPLAT_APPS__DEFAULT__ENDPOINTS__MAIN__SECRET="whsec_c2hvcnQ=")
    assert "apps.default.endpoints.main.secret" in told
    assert "c2hvcnQ" not in told


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("DATABASE__URL", "postgresql://db/x", "database.url"),
        ("DATABASE__URL", "garbage", "database.url"),
        ("DATABASE__URL", "mariadb://db:port/x", "database.url"),
        ("SECRETS", "/nowhere/at/all", "PAYPLAT_SECRETS"),
        ("APPS__DEFAULT__RETURN_URLS", '["https://game.example"]', "return_urls"),
        ("CHANNELS__ALIPAY__TIMEOUT_SECONDS", "600", "channels.alipay.timeout_seconds"),
    ],
)
def test_what_cannot_be_used_is_a_fault_and_no_stack(folder, name, value, fault):
    """Whatever is wrong with a value, its key's full name is told."""
    assert fault in faults(folder, **{f"PAYPLAT_{name}": value})


def login(app: str = "DEFAULT", **options: object) -> dict[str, str]:
    """The environment that gives an app a login of its own, and lets its users in."""
    given = {"issuer": "game", "audience": "payplat", **options}
    return {
        "PAYPLAT_AUTH__MODE": '["jwt", "api_key"]',
        f"PAYPLAT_APPS__{app}__LOGIN": json.dumps(given),
    }


WEAK_LOGINS = {
    "short secret": {"secret": "x1y2z3" * 5},
    "secret of few characters": {"secret": "ab" * 40},
    "empty secret": {"secret": ""},
    "no key": {},
    "two keys": {"secret": "0123456789abcdef" * 2, "jwks_url": "https://login.test/keys"},
    "secret as key": {"public_key": "0123456789abcdef" * 2},
    "private key": {"public_key": "-----BEGIN PRIVATE KEY-----\nMIIE"},
    "no https": {"jwks_url": "ftp://login.test/keys"},
}


@pytest.mark.parametrize("weak", WEAK_LOGINS.values(), ids=WEAK_LOGINS)
def test_a_login_that_proves_nothing_stops_the_start(folder, weak):
    """A login without one good key is told by its name, and the key is not."""
    with pytest.raises(ConfigurationError) as caught:
        clients_of(read(folder, **login(**weak)), ApiKeys(Database("sqlite:///none.db")))
    told = "\n".join(caught.value.faults)
    assert told.startswith("apps.default.login"), told
    assert not any(value and str(value)[:12] in told for value in weak.values())


def test_users_need_a_login_and_a_login_its_mode(folder):
    """Where users may call, each app has its login; a login that nobody may use is a fault too, and open stands alone."""
    fault = "apps.default.login: it and auth.mode = jwt belong together"
    assert fault in faults(folder, PAYPLAT_AUTH__MODE="jwt")
    assert fault in faults(folder, **login(secret=SECRET) | {"PAYPLAT_AUTH__MODE": "api_key"})
    assert "auth.mode" in faults(folder, PAYPLAT_AUTH__MODE='["open", "api_key"]')
    assert "auth.mode" in faults(folder, PAYPLAT_AUTH__MODE="[]")


def test_two_apps_have_two_logins(folder):
    """Two apps whose tokens could be for either do not start."""
    other = {"PAYPLAT_APPS__OTHER__ENDPOINTS__MAIN__URL": "https://other.test/"}
    other["PAYPLAT_APPS__OTHER__ENDPOINTS__MAIN__SECRET"] = other_secret()
    settings = read(folder, **(login(secret=SECRET) | login("OTHER", secret=SECRET) | other))
    with pytest.raises(ConfigurationError, match="the same issuer and audience"):
        clients_of(settings, ApiKeys(Database("sqlite:///none.db")))


def test_production_opens_for_clients_that_are_known(folder):
    """With users and backends that show who they are, production has nothing against its clients."""
    told = faults(
        folder, PAYPLAT_ENVIRONMENT="production", PAYPLAT_SERVER__PORT="x", **login(secret=SECRET)
    )
    assert "auth" not in told
    assert "login" not in told


def endpoint(**options: object) -> dict[str, str]:
    """The environment that gives the documented endpoint these options."""
    return {
        f"PAYPLAT_APPS__DEFAULT__ENDPOINTS__MAIN__{name.upper()}": json.dumps(value)
        for name, value in options.items()
    }


def _other(length: int = 32) -> bytes:
    return hashlib.shake_256(b"other").digest(length)


def other_secret(length: int = 32) -> str:
    """Another secret, of so many bytes."""
    return "whsec_" + base64.b64encode(_other(length)).decode()


def test_an_endpoint_signs_with_every_secret_listed(folder):
    """The secrets of a list stand in its order, each may be a file, and one alone needs no list."""
    alone = endpoints_of(read(folder))["default/main"]
    listed = endpoints_of(
        read(folder, **endpoint(secret=[other_secret(), "file:secrets/main_endpoint"]))
    )
    assert listed["default/main"].secrets == (_other(), *alone.secrets)
    assert alone.secrets == (KEY,)


@pytest.mark.parametrize(
    "secret",
    [
        [],
        [SECRET, "whsec_c2hvcnQ="],
        ["whsec_c2hvcnQ=", SECRET],
        [SECRET, other_secret(65)],
        [SECRET, other_secret().removeprefix("whsec_")],
        [SECRET, "file:secrets/nowhere"],
        [SECRET] * 4,
    ],
)
def test_a_fault_in_any_listed_secret_stops_the_start(folder, secret):
    """No secret, too many of them, one that is weak or cannot be read: the key is named, and no secret is told."""
    told = faults(folder, **endpoint(secret=secret))
    key = r"apps\.default\.endpoints\.main\.secret(\.\d)?"
    assert all(re.fullmatch(f"{key}: .{{1,80}}", fault) for fault in told.splitlines()), told
    assert not any(each.removeprefix("whsec_")[:8] in told for each in secret)


def test_an_endpoint_learns_of_the_types_it_names(folder):
    """What is listed is what the ledger is told; without a list it is every type."""
    types = ["order.paid", "order.refunded"]
    terms = terms_of(read(folder, **endpoint(types=types)))
    assert {kind: terms[kind].endpoints for kind in terms} == {
        kind: {"default/main": types} for kind in ("alipay", "apple", "google")
    }


@pytest.mark.parametrize(
    "types", [[], ["paid"], ["order."], ["order.Paid"], ["order.paid", "order paid"], "order.paid"]
)
def test_what_is_no_list_of_types_stops_the_start(folder, types):
    """An empty list, a text, and anything in the list that is no type of an event are told by the key."""
    assert "apps.default.endpoints.main.types" in faults(folder, **endpoint(types=types))


def test_somebody_must_learn_of_payments(folder):
    """An app none of whose endpoints learns of order.paid would sell and never deliver: it does not start."""
    deaf = endpoint(types=["order.refunded"])
    assert "apps.default.endpoints: none of them learns of order.paid" in faults(folder, **deaf)
    second = {
        "PAYPLAT_APPS__DEFAULT__ENDPOINTS__STOCK__URL": "https://stock.example.com/",
        "PAYPLAT_APPS__DEFAULT__ENDPOINTS__STOCK__SECRET": SECRET,
    }
    assert read(folder, **deaf, **second).apps["default"].endpoints.keys() == {"main", "stock"}


PRIVATE = """
0.0.0.0 169.254.169.254 [::ffff:127.0.0.1] localhost. 2130706433 10.0.0.1 x.localhost [::1
""".split()


@pytest.mark.parametrize("host", PRIVATE)
def test_production_sends_nothing_to_private_addresses(folder, host):
    """However this machine or a private network is spelled, production does not start with it."""
    told = faults(
        folder,
        PAYPLAT_ENVIRONMENT="production",
        PAYPLAT_APPS__DEFAULT__ENDPOINTS__MAIN__URL=f"https://{host}/x",
    )
    assert "apps.default.endpoints.main.url" in told


def test_a_channel_of_no_app_or_kind_stops_the_start(folder):
    """A channel must belong to an app that exists and be of a kind that is installed."""
    assert "channels.alipay.app: there is no [apps.other]" in faults(
        folder, PAYPLAT_CHANNELS__ALIPAY__APP="other"
    )
    assert "channels.paypal.kind" in faults(folder, PAYPLAT_CHANNELS__PAYPAL__APP="default")


def test_production_refuses_what_only_the_sandbox_may(folder):
    """Open clients, http, loopback and foreign gateways are named one by one."""
    told = faults(
        folder,
        PAYPLAT_ENVIRONMENT="production",
        PAYPLAT_PUBLIC_URL="http://pay.example.com",
        PAYPLAT_APPS__DEFAULT__ENDPOINTS__MAIN__URL="https://127.0.0.1/x",
        PAYPLAT_CHANNELS__ALIPAY__GATEWAY="https://openapi.example.com/gateway.do",
    )
    for name in (
        "auth.mode",
        "public_url",
        "apps.default.endpoints.main.url",
        "channels.alipay.gateway",
    ):
        assert f"{name}:" in told


def test_wrong_or_swapped_keys_stop_the_start(folder, keys):
    """A key that cannot be read, or our own public key in Alipay's place, is refused without being told."""
    for name, value in (("PRIVATE_KEY", "MIIE" * 40), ("ALIPAY_PUBLIC_KEY", keys["private_key"])):
        settings = read(folder, **{f"PAYPLAT_CHANNELS__ALIPAY__{name}": value})
        with pytest.raises(ConfigurationError) as caught:
            open_channels(settings, DOORS)
        assert caught.value.faults[0].startswith(f"channels.alipay: {name.lower()}")
        assert value[30:60] not in str(caught.value)


def test_secrets_are_masked(folder, keys):
    """Neither settings nor endpoints, shown in any way, hold a key, a secret or the database's password."""
    listed = endpoint(secret=[other_secret(), SECRET])
    settings = read(folder, PAYPLAT_DATABASE__URL="mariadb://pay:hunter2@db/payplat", **listed)
    shown = repr(settings) + str(settings.model_dump()) + repr(endpoints_of(settings))
    keys_of_ours = (SECRET[6:30], other_secret()[6:30], PLAYERS, repr(KEY)[2:30])
    for secret in (*keys_of_ours, "hunter2", keys["private_key"][60:100]):
        assert secret not in shown


def test_two_accounts_of_one_provider(folder, keys):
    """A channel's name need not be its kind: two Alipay accounts are two channels."""
    second = {
        f"PAYPLAT_CHANNELS__ALIPAY_HK__{name.upper()}": value
        for name, value in {
            "private_key": keys["private_key"],
            "alipay_public_key": keys["alipay_public_key"],
            "kind": "alipay",
            "app_id": "2021000000000002",
            "seller_id": "2088" + "1" * 12,
        }.items()
    }
    channels = open_channels(read(folder, **second), DOORS)
    assert channels["alipay_hk"].provider.account != channels["alipay"].provider.account


def test_two_channels_of_one_account_stop_the_start(folder, keys):
    """What a company says of an account must be meant for one channel: the second one is named with the first."""
    text = (folder / "payplat.toml").read_text()
    twin = text[text.index("[channels.apple]") : text.index("# Google Play, by")]
    (folder / "payplat.toml").write_text(
        text + twin.replace("channels.apple", "channels.apple_two")
    )
    with pytest.raises(ConfigurationError) as caught:
        open_channels(read(folder), DOORS)
    assert caught.value.faults == ["channels.apple_two: the same account as channels.apple"]


# --- What must not start does not ---


def public_half(private: str) -> str:
    """The public key of a private one."""
    key = serialization.load_pem_private_key(private.encode(), None).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def truncated(text: str) -> str:
    """The first two thirds, as a copy that went wrong leaves them."""
    return text[: len(text) * 2 // 3]


WRONG_KEYS = {
    "alipay.private_key": (
        lambda keys: "",
        lambda keys: truncated(keys["private_key"]),
        lambda keys: public_half(keys["private_key"]),
        lambda keys: keys["alipay_public_key"],
        lambda keys: keys["apple_private_key"],
    ),
    "alipay.alipay_public_key": (
        lambda keys: "",
        lambda keys: truncated(keys["alipay_public_key"]),
        lambda keys: keys["private_key"],
        lambda keys: public_half(keys["private_key"]),
        lambda keys: public_half(keys["apple_private_key"]),
    ),
    "apple.private_key": (
        lambda keys: "",
        lambda keys: truncated(keys["apple_private_key"]),
        lambda keys: public_half(keys["apple_private_key"]),
        lambda keys: keys["private_key"],
    ),
    "google.service_account": (
        lambda keys: "",
        lambda keys: truncated(service_account(keys["private_key"])),
        lambda keys: service_account(truncated(keys["private_key"])),
        lambda keys: service_account(public_half(keys["private_key"])),
        lambda keys: service_account(keys["apple_private_key"]),
        lambda keys: keys["private_key"],
    ),
}


@pytest.mark.parametrize(
    ("name", "wrong"), [(name, wrong) for name, all_ in WRONG_KEYS.items() for wrong in all_]
)
def test_a_wrong_key_stops_the_start(folder, keys, name, wrong):
    """Empty, truncated, public for private, private for public, ours for theirs, another's kind: named and not told."""
    channel, option = name.split(".")
    value = wrong(keys)
    settings = read(folder, **{f"PAYPLAT_CHANNELS__{channel.upper()}__{option.upper()}": value})
    with pytest.raises(ConfigurationError) as caught:
        open_channels(settings, DOORS)
    (fault,) = caught.value.faults
    assert fault.startswith(f"channels.{channel}: ")
    assert option in fault
    assert not any(line in fault for line in value.split() if len(line) > 20)


@pytest.mark.parametrize(
    "name",
    [
        *("alipay.app_id", "alipay.seller_id", "alipay.private_key", "apple.bundle_id"),
        *("apple.issuer_id", "apple.key_id", "apple.private_key", "google.package_name"),
        *("google.service_account", "google.account_secret", "google.push_email"),
    ],
)
def test_a_missing_key_stops_the_start(folder, name):
    """Each option that a channel cannot do without is asked for by name."""
    channel, option = name.split(".")
    before, table, rest = (folder / "payplat.toml").read_text().partition(f"[channels.{channel}]")
    rest = re.sub(rf"(?m)^{option} = .*$", "", rest, count=1)
    (folder / "payplat.toml").write_text(before + table + rest)
    assert f"channels.{name}: missing" in faults(folder)


@pytest.mark.parametrize(
    "raw",
    [
        bytes(32),
        b"\xa5" * 24,
        b"\x13\x9e\x41\xf7\x60" * 5 + b"\x13",
        b"changeme" * 4,
        b"0123456789abcdef0123456789abcdef",
        b"0123456789abcdef0123456789",
        bytes(range(64)),
        bytes(range(200, 100, -3)),
        b"my-Password-for-the-webhook!",
        base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        KEY[:23],
    ],
)
def test_a_secret_that_is_none_stops_the_start(folder, raw):
    """Patterns, well-known words, the specification's own example, and what is too short, of both kinds of secret."""
    text = "whsec_" + base64.b64encode(raw).decode()
    told = faults(folder, **endpoint(secret=[SECRET, text]))
    assert told.startswith("apps.default.endpoints.main.secret: ")
    assert text[6:20] not in told
    players = raw.decode("latin-1") if raw.isascii() and raw.isalnum() else None
    if players:
        told = faults(folder, PAYPLAT_CHANNELS__GOOGLE__ACCOUNT_SECRET=players)
        assert told.startswith("channels.google.account_secret: ")
        assert players not in told


@pytest.mark.parametrize("length", [24, 32, 64])
def test_random_bytes_are_a_secret(folder, length):
    """What openssl makes is taken at any length that is allowed."""
    read(folder, **endpoint(secret=[other_secret(length)]))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"checks__base_seconds": 1800, "orders__lifetime_seconds": 1800}, "checks.base_seconds"),
        ({"checks__base_seconds": 3600, "orders__lifetime_seconds": 60}, "checks.base_seconds"),
        ({"checks__base_seconds": 3600, "checks__cap_seconds": 20}, None),
        ({"checks__base_seconds": 1799, "orders__lifetime_seconds": 1800}, None),
        ({"delivery__attempts": 1000}, "delivery.attempts"),
        ({"delivery__attempts": 8, "delivery__cap_seconds": 604800}, None),
        ({"delivery__attempts": 1000, "delivery__cap_seconds": 600}, None),
        ({"delivery__attempts": 1}, None),
    ],
)
def test_a_schedule_must_come_to_its_point(folder, changes, fault):
    """The first check comes before the order's end, the last delivery within a month."""
    named = {f"PAYPLAT_{name.upper()}": str(value) for name, value in changes.items()}
    if fault is None:
        read(folder, **named)
    else:
        assert faults(folder, **named).startswith(f"{fault}: ")


@pytest.mark.parametrize(
    ("networks", "allowed"),
    [
        ([], True),
        (["10.20.0.0/16", "192.168.1.0/24", "fd12:3456::/48"], True),
        (["10.20.0.0/16", "127.0.0.0/8"], False),
        (["::1/128"], False),
        (["169.254.0.0/16"], False),
        (["0.0.0.0/0"], False),
        (["100.64.0.0/10"], False),
    ],
)
def test_production_opens_private_networks_only(folder, networks, allowed):
    """Its own machine, link-local and the like stay closed; in the sandbox each may be opened."""
    opened = {"PAYPLAT_OUTBOUND__NETWORKS": json.dumps(networks)}
    assert [str(each) for each in read(folder, **opened).outbound.networks] == networks
    told = faults(folder, PAYPLAT_ENVIRONMENT="production", **opened)
    assert ("outbound.networks: " not in told) is allowed


@pytest.mark.parametrize("networks", ["10.0.0.1/8", "localhost", "10.0.0.0/33"])
def test_what_is_no_network_stops_the_start(folder, networks):
    """A network is told by its address and its length."""
    told = faults(folder, PAYPLAT_OUTBOUND__NETWORKS=json.dumps([networks]))
    assert "outbound.networks" in told


@pytest.mark.parametrize(
    "environ",
    [
        {"PAYPLAT_ORDERS": "[" * 2000},
        {"__".join(["PAYPLAT_A", *"b" * 2000]): "1"},
    ],
)
def test_a_nest_without_end_is_a_fault(folder, environ):
    """Whatever is nested deeper than can be read is told, not thrown."""
    assert "nested too deeply" in faults(folder, **environ)


def test_a_file_nested_without_end_is_a_fault(folder):
    """In the configuration and in the catalogue."""
    (folder / "payplat.toml").write_text(f"a = {'[' * 5000}")
    assert "nested too deeply" in faults(folder)
    (folder / "products.toml").write_text(f"a = {'[' * 5000}")
    with pytest.raises(ConfigurationError):
        read_catalogue(folder / "products.toml")
