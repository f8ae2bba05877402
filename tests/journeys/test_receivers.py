"""The receivers in docs/receiver, run as a merchant would: they take what payplat signs, and nothing else."""

import base64
import hashlib
import hmac
import importlib.util
import json
import secrets
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from payplat import seam
from payplat.deliveries import signed_headers

FOLDER = Path(__file__).parents[2] / "docs" / "receiver"
BODY = json.dumps({"type": "order.paid", "data": {"receiver": "玩家 🎮"}}, ensure_ascii=False)
ID = "evt_01934f5e0c7d7c3e9a1b2c3d4e5f6071"


@dataclass(frozen=True)
class Sent:
    """What arrives at a receiver, and the secrets that it holds."""

    secrets: str
    id: str
    timestamp: str
    signature: str
    body: bytes

    @property
    def arguments(self) -> list[str]:
        """The command line."""
        return [self.secrets, self.id, self.timestamp, self.signature]


def new_secret(length: int = 32) -> str:
    """A fresh secret."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(length)).decode()


def key(secret: str) -> bytes:
    """The raw key of a secret."""
    return base64.b64decode(secret.removeprefix("whsec_"))


def sent(secret: str, body: bytes = BODY.encode(), off: int = 0) -> Sent:
    """A delivery as payplat signs it, with a clock that is ``off`` seconds."""
    headers = signed_headers(ID, body, [key(secret)], seam.now() + off * seam.SECOND)
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return Sent(secret, *(headers[name] for name in names), body)


def signed(delivery: Sent, timestamp: str) -> Sent:
    """The delivery with that timestamp, whatever it is, well signed."""
    text = f"{delivery.id}.{timestamp}.".encode() + delivery.body
    digest = hmac.new(key(delivery.secrets), text, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return replace(delivery, timestamp=timestamp, signature=signature)


def genuine() -> dict[str, Sent]:
    """Deliveries that every receiver must take."""
    mine, other = new_secret(), new_secret()
    plain = sent(mine)
    foreign = sent(other).signature
    return {
        "as payplat sends it": plain,
        "an empty body": sent(mine, b""),
        "bytes that are no text": sent(mine, b"\xff\x00\r\n\xfe"),
        "lines of Windows": sent(mine, b'{\r\n"a": 1\r\n}\r\n'),
        "290 seconds ago": sent(mine, off=-290),
        "290 seconds ahead": sent(mine, off=290),
        "the second of two signatures": replace(plain, signature=f"{foreign} {plain.signature}"),
        "the first of two signatures": replace(plain, signature=f"{plain.signature} {foreign}"),
        "beside another version": replace(plain, signature=f"v1a,AAAA {plain.signature}"),
        "the new of two keys": replace(plain, secrets=f"{other} {mine}"),
        "the old of two keys": replace(plain, secrets=f"{mine} {other}"),
        "the shortest key": sent(new_secret(24)),
    }


def forged() -> dict[str, Sent]:
    """Deliveries that no receiver may take, each wrong in one respect."""
    mine = new_secret()
    plain = sent(mine)
    version, code = plain.signature.split(",")
    flipped = bytes([*plain.body[:-1], plain.body[-1] ^ 1])
    return {
        "another secret": replace(plain, secrets=new_secret()),
        "two other secrets": replace(plain, secrets=f"{new_secret()} {new_secret()}"),
        "a changed body": replace(plain, body=flipped),
        "a longer body": replace(plain, body=plain.body + b"\n"),
        "a body written again": replace(plain, body=json.dumps(json.loads(plain.body)).encode()),
        "no body": replace(plain, body=b""),
        "another id": replace(plain, id=ID[:-1] + "2"),
        "no id": replace(plain, id=""),
        "310 seconds ago": sent(mine, off=-310),
        "310 seconds ahead": sent(mine, off=310),
        "another timestamp": replace(plain, timestamp=str(int(plain.timestamp) + 1)),
        "no timestamp": replace(plain, timestamp=""),
        "a cut signature": replace(plain, signature=plain.signature[:-4]),
        "a signature without its padding": replace(plain, signature=plain.signature.rstrip("=")),
        "half a signature": replace(plain, signature=f"{version},{code[:22]}"),
        "only its version": replace(plain, signature="v1,"),
        "version 2 alone": replace(plain, signature=f"v2,{code}"),
        "no version": replace(plain, signature=code),
        "no signature": replace(plain, signature=""),
        "blanks as signature": replace(plain, signature="   "),
        "no Base64": replace(plain, signature="v1,ÿ%%%"),
        "a changed signature": replace(plain, signature=f"v1,{chr(ord(code[0]) ^ 1)}{code[1:]}"),
    }


def stricter() -> dict[str, Sent]:
    """What the specification leaves open and these receivers refuse."""
    plain = sent(new_secret())
    now = plain.timestamp
    odd = {
        text: signed(plain, text) for text in (f"+{now}", f" {now}", f"{now}.0", f"{now}\n", "1e9")
    }
    weak = {secret: replace(plain, secrets=secret) for secret in ("", "whsec_", "whsec_????")}
    short = sent(new_secret(16))
    return {**odd, **weak, "a short key": short, "an old empty key": replace(plain, secrets=" ")}


@pytest.fixture(scope="module", params=["python", "node", "java", "go", "php"])
def receiver(request, tmp_path_factory) -> list[str]:
    """The command of a receiver; skipped where its runtime is missing."""
    tools = {"java": ("java", "javac"), "python": ()}.get(request.param, (request.param,))
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"docs/receiver for {request.param}: {' and '.join(missing)} not found")
    folder = tmp_path_factory.mktemp(request.param)
    return {
        "python": lambda: [sys.executable, str(FOLDER / "verify.py")],
        "node": lambda: ["node", str(FOLDER / "verify.mjs")],
        "java": lambda: compiled_java(folder),
        "go": lambda: compiled_go(folder),
        "php": lambda: ["php", str(FOLDER / "verify.php")],
    }[request.param]()


def compiled_java(folder: Path) -> list[str]:
    """Compile once: the launcher would do it each time."""
    subprocess.run(
        ["javac", "-Xlint:all", "-Werror", "-d", folder, FOLDER / "Verify.java"], check=True
    )
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", str(folder), "Verify"]


def compiled_go(folder: Path) -> list[str]:
    """Build once, without a word to the user's own caches."""
    environ = {"PATH": str(Path(shutil.which("go")).parent), "GOCACHE": str(folder / "cache")}
    environ |= {"GOPATH": str(folder), "GOFLAGS": "", "HOME": str(folder)}
    program = str(folder / "verify")
    build = ["go", "build", "-o", program, str(FOLDER / "verify.go")]
    subprocess.run(build, check=True, env=environ)
    return [program]


def codes(receiver: list[str], deliveries: dict[str, Sent]) -> dict[str, int]:
    """The exit code for each delivery."""

    def code(delivery: Sent) -> int:
        command = [*receiver, *delivery.arguments]
        return subprocess.run(
            command, input=delivery.body, capture_output=True, timeout=60
        ).returncode

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(deliveries, pool.map(code, deliveries.values()), strict=True))


def test_what_payplat_signs_is_taken(receiver):
    """A delivery is genuine by any of its signatures and any of the receiver's keys, whatever its bytes are."""
    deliveries = genuine()
    assert codes(receiver, deliveries) == dict.fromkeys(deliveries, 0)


def test_everything_else_is_refused(receiver):
    """Another key, body, id or time, a signature that is cut, missing or of another version: exit code 1."""
    deliveries = forged() | stricter()
    assert codes(receiver, deliveries) == dict.fromkeys(deliveries, 1)


def official(delivery: Sent) -> bool:
    """The verdict of the Standard Webhooks project's own library."""
    headers = {
        "webhook-id": delivery.id,
        "webhook-timestamp": delivery.timestamp,
        "webhook-signature": delivery.signature,
    }
    return any(accepts(secret, delivery.body, headers) for secret in delivery.secrets.split())


def accepts(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    """Whether the library raises nothing."""
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except Exception:  # noqa: BLE001 - it has several ways to say no
        return False
    return True


def test_the_official_library_says_the_same():
    """Python's receiver and the Standard Webhooks library agree on every delivery that both can read."""
    spec = importlib.util.spec_from_file_location("receiver", FOLDER / "verify.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, delivery in (genuine() | forged()).items():
        if name == "bytes that are no text":  # the library takes text
            continue
        held, *rest = delivery.secrets.split(), delivery.id, delivery.timestamp, delivery.signature
        assert module.verify(held, *rest, delivery.body) == official(delivery), name
