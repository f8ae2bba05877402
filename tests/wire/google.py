"""Google's side of the wire for the tests: a clock to set, the file of a service account, and its public half."""

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from payplat import seam
from payplat.channels.google.access import AccessTokens, ServiceAccount
from tests.simulators import google_stage
from tests.simulators.google_stage import EMAIL
from tests.wire.scripted import LOOPBACK

NOW = int(google_stage.NOW)
"""Seconds since 1970; also the simulator's clock."""
KEY_ID = "0f3c9d2e"


class SetWorld(seam.World):
    """Its clock stands where a test puts it; its sleeps are counted and take no time."""

    def __init__(self) -> None:
        self.time = NOW * seam.SECOND
        self.slept: list[float] = []

    def now(self) -> int:
        """Return that time."""
        return self.time

    def at(self, seconds: float) -> None:
        """Put the clock so many seconds after the beginning."""
        self.time = int((NOW + seconds) * seam.SECOND)

    async def sleep(self, seconds: float) -> None:
        """Go on at once."""
        self.slept.append(seconds)


def set_world(monkeypatch: pytest.MonkeyPatch) -> SetWorld:
    """Make that the world."""
    world = SetWorld()
    monkeypatch.setattr(seam, "world", world)
    return world


@cache
def private_pem() -> str:
    """The account's key as its file holds it."""
    return pem(account_key())


def account_key() -> rsa.RSAPrivateKey:
    """The account's key."""
    return google_stage.keys()[1]


def public_pem() -> str:
    """Its public half."""
    return (
        account_key()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def pem(key: Any, form: str = "PKCS8", secret: bytes | None = None) -> str:
    """Write a private key as text."""
    hidden = (
        serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
    )
    private_format = getattr(serialization.PrivateFormat, form)
    return key.private_bytes(serialization.Encoding.PEM, private_format, hidden).decode()


@cache
def account() -> ServiceAccount:
    """The account as it is read from its file, once: to check a key is slow."""
    return ServiceAccount.read(account_file())


def access_tokens(token_uri: str, timeout: float = 5) -> AccessTokens:
    """Tokens of the account, from that address; the time is in seconds."""
    return AccessTokens(replace(account(), token_uri=token_uri), timeout=timeout, opened=LOOPBACK)


def account_file(**changes: Any) -> str:
    """Write the file that Google Cloud hands out for a service account; None leaves a member out."""
    told = {
        "type": "service_account",
        "project_id": "example-project",
        "private_key_id": KEY_ID,
        "private_key": private_pem(),
        "client_email": EMAIL,
        "client_id": "100000000000000000001",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        **changes,
    }
    return json.dumps({name: value for name, value in told.items() if value is not None})
