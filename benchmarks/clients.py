"""What the contests of a client's doors share: an app's backend with its API key, which is how most apps call."""

import hashlib
import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.fixed import API_KEY, BUNDLE_ID, ISSUER_ID, KEY_ID
from benchmarks.ground import Ground, Row
from benchmarks.pace import request
from payplat import api_keys, seam

# One backend brings all requests: its limits are not what is measured.
_CLIENTS = """\
[auth]
mode = "api_key"
[limits]
per_client_per_minute = 1000000
per_app_per_minute = 10000000
"""
_APPLE = f"""\
[channels.apple]
bundle_id = "{BUNDLE_ID}"
issuer_id = "{ISSUER_ID}"
key_id = "{KEY_ID}"
private_key = "file:apple.p8"
"""


def let_clients_in(ground: Ground) -> None:
    """Configure that backends call by their API keys."""
    ground.configure(_CLIENTS)


def client_rows() -> list[Row]:
    """Return the backend's key as it is kept."""
    key = {
        "key_id": api_keys.id_of(API_KEY),
        "app": "default",
        "sha256": hashlib.sha256(API_KEY.encode()).hexdigest(),
        "scopes": "buy read",
        "note": "benchmark",
        "created_at": seam.now(),
        "ends_at": None,
    }
    return [key]


def client_request(path: str, content: Row) -> bytes:
    """Return the backend's request to a door."""
    body = json.dumps(content, ensure_ascii=False).encode()
    return request(path, "application/json", body, f"Authorization: Bearer {API_KEY}\r\n")


def open_apple(ground: Ground, more: str = "") -> str:
    """Configure an Apple channel, with ``more`` of its options; return its public key as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem, public = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (ground.folder / "apple.p8").write_bytes(key.private_bytes(pem, form, none))
    ground.configure(_APPLE + more)
    return key.public_key().public_bytes(pem, public).decode()
