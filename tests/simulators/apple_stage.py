"""Apple's own client and verifier, pointed at the simulator, and what the tests ask of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

from appstoreserverlibrary.api_client import AppStoreServerAPIClient
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from payplat.simulators.apple import jws
from payplat.simulators.apple.server import AppleSimulator

NOW = 1_790_000_000.0
BUNDLE = "com.example.game"
APPLE_ID = 1234567890
ISSUER = "57246542-96fe-1a63-e053-0824d011072a"
KEY_ID = "2X9R4HXF34"
TOKEN = "7e3fb20b-4cdb-47cc-936d-99d65f608138"
PRICES = {"coins_500": (4990, "USD"), "castle": (9990, "USD")}


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    """The public half, as the App Store keeps it."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@cache
def api_key() -> ec.EllipticCurvePrivateKey:
    """The team's In-App Purchase key, made once."""
    return ec.generate_private_key(ec.SECP256R1())


@asynccontextmanager
async def opened(clock=None, **urls: str) -> AsyncIterator[AppleSimulator]:
    """A simulator that listens and knows the game; ``urls`` for notifications, by environment."""
    sim = AppleSimulator(clock=clock)
    register(sim, **urls)
    await sim.start()
    yield sim
    await sim.stop()


def register(sim: AppleSimulator, bundle_id: str = BUNDLE, **urls: str) -> None:
    """Register the game, or another app of the same team."""
    sim.add_app(
        bundle_id,
        app_apple_id=APPLE_ID,
        issuer_id=ISSUER,
        key_id=KEY_ID,
        public_key_pem=pem(api_key()),
        notification_urls=urls,
        prices=PRICES,
    )


class OfficialClient(AppStoreServerAPIClient):
    """Apple's client with the simulator's address; its calls run in a thread."""

    def __init__(self, sim: AppleSimulator, environment: str = "Sandbox") -> None:
        secret = api_key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        super().__init__(secret, KEY_ID, ISSUER, BUNDLE, Environment(environment))
        self._base_url = sim.api(environment)

    async def ask(self, name: str, *arguments):
        """Call one of Apple's methods."""
        return await asyncio.to_thread(getattr(self, name), *arguments)


def verifier(sim: AppleSimulator, environment: str = "Sandbox") -> SignedDataVerifier:
    """Apple's verifier, offline, trusting the simulator's root."""
    return SignedDataVerifier(
        [sim.root_der], False, Environment(environment), BUNDLE, app_apple_id=APPLE_ID
    )


def payload(token: str) -> dict:
    """What a token says, unverified."""
    return jws.read(token)[1]


def bearer(now: float, head: dict | None = None, key=None, **claims: object) -> str:
    """A token as payplat makes it; an override of None leaves a claim out."""
    wanted = {
        "iss": ISSUER,
        "iat": int(now),
        "exp": int(now) + 1200,
        "aud": "appstoreconnect-v1",
        "bid": BUNDLE,
        **claims,
    }
    kept = {name: value for name, value in wanted.items() if value is not None}
    head = {"alg": "ES256", "kid": KEY_ID, "typ": "JWT", **(head or {})}
    return "Bearer " + jws.sign_with(head, kept, key or api_key())


@dataclass
class RawClient:
    """Asks the API by hand, with a bearer that may be anything."""

    http: AsyncHTTPClient
    sim: AppleSimulator
    environment: str = "Sandbox"

    async def __call__(
        self, path: str, method: str = "GET", body: object = None, token: str | None = None
    ) -> HTTPResponse:
        """Ask; the answer comes back whatever its status."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return await self.http.fetch(
            self.sim.api(self.environment) + path,
            method=method,
            body=content,
            headers={"Authorization": bearer(self.sim.bearer_time) if token is None else token},
            allow_nonstandard_methods=True,
            follow_redirects=False,
            raise_error=False,
            request_timeout=3,
        )


def error(response: HTTPResponse) -> tuple[int, int]:
    """HTTP status and errorCode."""
    return response.code, json.loads(response.body)["errorCode"]
