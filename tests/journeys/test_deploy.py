"""What deploy/ offers: units, a proxy, an image, checked by the programs that read them where these are installed."""

import asyncio
import datetime as dt
import json
import os
import re
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager, suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tornado.httpclient import AsyncHTTPClient

from payplat.configuration import read_settings
from payplat.registry import installed_doors, open_channels
from tests.documents import ROOT
from tests.processes import free_port
from tests.test_help import COMMANDS

DEPLOY = ROOT / "deploy"
UNITS = ["payplat.service", "payplat-worker.service"]
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
# Where the stage keeps what the units load as credentials.
STAGED = {
    "apps.default.endpoints.main.secret": "endpoint",
    "channels.alipay.private_key": "alipay_private_key.pem",
    "channels.alipay.alipay_public_key": "alipay_public_key.pem",
    "channels.apple.private_key": "apple_private_key.p8",
    "channels.google.service_account": "google_service_account.json",
    "channels.google.account_secret": "google_account_secret",
}
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def works() -> bool:
    """Nobody works here."""
    return False


def needs(program: str) -> str:
    """The path of a program; skips where it is not installed."""
    found = shutil.which(program, path=PATH)
    if found is None:
        pytest.skip(f"{program} not found")
    return found


def settings_in(unit: str, name: str) -> list[str]:
    """The values that a unit gives to a setting."""
    return re.findall(rf"^{name}=(.*)$", (DEPLOY / unit).read_text(), re.MULTILINE)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_the_unit(unit, tmp_path):
    """`systemd-analyze verify` has nothing to say of it; the sandbox is a tight one, and its user nobody else's."""
    analyze = needs("systemd-analyze")
    text = (DEPLOY / unit).read_text().replace("/opt/payplat/bin/payplat", "/bin/true")
    (tmp_path / unit).write_text(text)
    checks = [["verify"], ["security", "--offline=true", "--threshold=20"]]
    for check in checks:
        ended = subprocess.run([analyze, *check, tmp_path / unit], capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert settings_in(unit, "DynamicUser") == ["yes"]
    assert settings_in(unit, "User") == ["payplat"]


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_starts_a_command_that_exists(unit):
    """What it runs is a command of payplat, and a reload is the signal that payplat hears."""
    (started,) = settings_in(unit, "ExecStart")
    program, command, *options = started.split()
    assert program.endswith("/payplat")
    known = {name for each in COMMANDS[f"payplat {command}"].params for name in each.opts}
    known |= {
        name for each in COMMANDS[f"payplat {command}"].params for name in each.secondary_opts
    }
    assert {each for each in options if each.startswith("-")} <= known
    assert settings_in(unit, "ExecReload") == ["/bin/kill -HUP $MAINPID"]


@on_sqlite
@pytest.mark.parametrize("unit", UNITS)
async def test_every_secret_can_be_a_credential(stage, database_url, unit, tmp_path):
    """With the unit's credentials alone, named as it names them, the configuration is complete and its keys are read."""
    loaded = dict(each.split(":") for each in settings_in(unit, "LoadCredential"))
    assert all(path == f"/etc/payplat/secrets/{name}" for name, path in loaded.items())
    assert loaded.keys() == {"database.url", *STAGED}
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "database.url").write_text(database_url)
    for name, file in STAGED.items():
        shutil.move(stage.folder / "secrets" / file, folder / name)
    kinds = {kind: door.settings_type for kind, door in installed_doors().items()}
    environ = {"CREDENTIALS_DIRECTORY": str(folder)}
    settings = read_settings(stage.folder / "payplat.toml", environ, kinds)
    channels = open_channels(settings, installed_doors())
    assert channels.keys() == {"alipay", "apple", "google"}
    for channel in channels.values():
        await channel.provider.aclose()


def test_the_image_is_made_of_files_that_exist():
    """Whatever the Dockerfile copies is there, it starts a command of payplat, and not as root."""
    text = (DEPLOY / "Dockerfile").read_text()
    copied = [line.split()[1:-1] for line in re.findall(r"^COPY (?!--from).*$", text, re.MULTILINE)]
    files = [file for line in copied for file in line]
    assert {"requirements.lock", "payplat", "pyproject.toml"} <= set(files)
    assert all((ROOT / file).exists() for file in files)
    (command,) = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert "payplat " + json.loads(command)[0] in COMMANDS
    (user,) = re.findall(r"^USER (.*)$", text, re.MULTILINE)
    assert user == "10001:10001"


def test_the_composition_starts_commands_that_exist():
    """The services of compose.yaml run payplat's own commands, from the Dockerfile beside it."""
    text = (DEPLOY / "compose.yaml").read_text()
    started = [json.loads(each)[0] for each in re.findall(r"^    command: (\[.*\])$", text, re.M)]
    ours = [each for each in started if not each.startswith("--")]
    assert ours == ["migrate", "serve", "worker"]
    assert all(f"payplat {each}" in COMMANDS for each in ours)
    assert "dockerfile: deploy/Dockerfile" in text


def test_the_composition_is_yaml():
    """It can be read, and every volume, secret and service that it names is declared; where PyYAML is installed."""
    yaml = pytest.importorskip("yaml")
    told = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for service in told["services"].values():
        assert set(service.get("secrets", [])) <= told["secrets"].keys()
        assert set(service.get("depends_on", {})) <= told["services"].keys()
        names = {each.split(":")[0] for each in service.get("volumes", []) if each[0] != "."}
        assert names <= told["volumes"].keys()


# --- The proxy ---


def certificate() -> bytes:
    """A certificate of a minute ago with its key, as HAProxy reads them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = serialization.Encoding.PEM
    return made.public_bytes(pem) + key.private_bytes(pem, *form)


@asynccontextmanager
async def proxied(stage, folder):
    """Run deploy/haproxy.cfg before the stage, with its addresses changed alone; yields the public address."""
    program, port = needs("haproxy"), free_port()
    (folder / "proxy.pem").write_bytes(certificate())
    text = (DEPLOY / "haproxy.cfg").read_text()
    for shown, here in {
        "bind :443": f"bind 127.0.0.1:{port}",
        "/etc/haproxy/pay.example.com.pem": str(folder / "proxy.pem"),
        "10.0.0.11:8080": stage.url.removeprefix("http://"),
        "10.0.0.12:8080": f"127.0.0.1:{free_port()}",
    }.items():
        assert shown in text
        text = text.replace(shown, here)
    (folder / "haproxy.cfg").write_text(text)
    checked = subprocess.run(
        [program, "-c", "-f", folder / "haproxy.cfg"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with (folder / "haproxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program, "-db", "-f", str(folder / "haproxy.cfg"), stdout=log, stderr=log
        )
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@on_sqlite
async def test_the_proxy_lets_through_what_is_public(client, stage, tmp_path):
    """/v1/ and /healthz are reached by TLS, everything else is not; a service that is not ready gets nothing."""
    web = AsyncHTTPClient(force_instance=True)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with proxied(stage, tmp_path) as url:

        async def status(path: str, body: bytes | None = None) -> int:
            method = "GET" if body is None else "POST"
            try:
                got = await web.fetch(
                    url + path, method=method, body=body, ssl_options=trusting, raise_error=False
                )
            except OSError:
                return 0
            return got.code

        async def is_up() -> bool:
            return await status("/healthz") == 200

        async def is_down() -> bool:
            return await status("/healthz") == 503

        await client.until(is_up)
        wanted = {"channel": "alipay", "product_id": "coins_500", "receiver": "player-1"}
        assert await status("/v1/create_order/", json.dumps(wanted).encode()) == 201
        for hidden in ("/", "/readyz", "/console", "/metrics", "/v1", "/V1/events", "//v1/events"):
            assert await status(hidden) == 404, hidden
        stage.platform.draining.set()
        await client.until(is_down)
    web.close()
