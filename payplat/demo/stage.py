"""The stage: a whole payplat with simulators around it, on free ports of this machine, with keys made a moment ago."""

import base64
import json
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from string import Template

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tornado.netutil import bind_sockets

from payplat.app import Platform, make_router, make_server, make_worker, open_platform, start_worker
from payplat.configuration import read_settings
from payplat.lanes import Worker
from payplat.registry import installed_doors
from payplat.settings import Settings
from payplat.simulators.alipay.server import AlipaySimulator
from payplat.simulators.apple.server import AppleSimulator
from payplat.simulators.google.apps import Product
from payplat.simulators.google.server import GoogleSimulator
from payplat.simulators.merchant import Merchant

APP_ID, SELLER_ID = "2021000000000001", "2088000000000001"
BUNDLE_ID, APP_APPLE_ID = "com.example.game", 1234567890
ISSUER_ID, KEY_ID = "57246542-96fe-1a63-e053-0824d011072a", "2X9R4HXF34"
# What Apple charges for the products of config/products.toml: milliunits of a currency.
APPLE_PRICES = {
    f"{BUNDLE_ID}.coins_500": (6000, "CNY"),
    f"{BUNDLE_ID}.coins_2800": (30000, "CNY"),
    f"{BUNDLE_ID}.season_pass": (68000, "CNY"),
}

PACKAGE, PUSH_EMAIL = "com.example.game", "push@example.iam.gserviceaccount.com"
# The same at Google: micros of CNY.
GOOGLE_PRICES = {"coins_500": 6_000_000, "coins_2800": 30_000_000, "season_pass": 68_000_000}


@dataclass(frozen=True)
class Companies:
    """The other sides of the wires: the providers."""

    alipay: AlipaySimulator
    apple: AppleSimulator
    google: GoogleSimulator

    @classmethod
    def usual(cls) -> "Companies":
        """Return them, impatient: what they wait for days with comes a hundred times as fast."""
        google = GoogleSimulator(100.0)
        # Three minutes to acknowledge a tester's purchase are short enough as they are.
        google.knobs.turn(tester_window=100.0 * google.knobs.tester_window)
        return cls(AlipaySimulator(100.0), AppleSimulator(100.0), google)

    async def start(self) -> None:
        """Let those listen that do not yet."""
        for company in (self.alipay, self.apple, self.google):
            if not company.url:
                await company.start()

    async def stop(self) -> None:
        """Stop listening."""
        for company in (self.alipay, self.apple, self.google):
            await company.stop()


@dataclass(frozen=True)
class OurKeys:
    """Keys of ours that are slow to make: at Alipay (private, public), and of the service account at Google."""

    alipay: tuple[str, str]
    google: rsa.RSAPrivateKey

    @classmethod
    def fresh(cls) -> "OurKeys":
        """Make them."""
        return cls(_pems(_new_rsa_key()), _new_rsa_key())


@dataclass(frozen=True)
class Stage:
    """What stands on it: the service at ``url`` with its worker, and the other sides of its wires."""

    folder: Path
    settings: Settings
    platform: Platform
    worker: Worker
    url: str
    companies: Companies
    merchant: Merchant
    shop_sockets: list[socket]

    @property
    def alipay(self) -> AlipaySimulator:
        """Alipay."""
        return self.companies.alipay

    @property
    def apple(self) -> AppleSimulator:
        """Apple."""
        return self.companies.apple

    @property
    def google(self) -> GoogleSimulator:
        """Google."""
        return self.companies.google

    @property
    def shop_url(self) -> str:
        """Where a shop may stand: browsers are let back there after paying."""
        return _url(self.shop_sockets)


@asynccontextmanager
async def set_stage(
    folder: Path,
    *,
    overrides: Mapping[str, str] | None = None,
    work: bool = True,
    companies: Companies | None = None,
    keys: OurKeys | None = None,
) -> AsyncIterator[Stage]:
    """Set everything up in ``folder`` and take it down in the end.

    ``overrides`` are configuration as in the environment (``PAYPLAT_DATABASE__URL`` …); ``key_pair`` is the app's private
    and public key at Alipay, made afresh when left out.
    """
    companies = companies or Companies.usual()
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    merchant = Merchant(secret)
    await companies.start()
    await merchant.start()
    sockets, shop_sockets = bind_sockets(0, "127.0.0.1"), bind_sockets(0, "127.0.0.1")
    url = _url(sockets)
    try:
        path = write_configuration(
            folder,
            (url, _url(shop_sockets)),
            companies,
            merchant,
            secret,
            keys or OurKeys.fresh(),
        )
        settings = _read(path, overrides or {})
        async with open_platform(settings, installed_doors()) as platform:
            server, worker = (
                make_server(make_router(platform), settings.server),
                make_worker(platform),
            )
            server.add_sockets(sockets)
            if work:
                await start_worker(platform, worker)
            try:
                yield Stage(
                    folder, settings, platform, worker, url, companies, merchant, shop_sockets
                )
            finally:
                server.stop()
                await server.close_all_connections()
                await worker.stop()
    finally:
        for unused in shop_sockets:
            unused.close()
        await merchant.stop()
        await companies.stop()


def write_configuration(
    folder: Path,
    urls: tuple[str, str],
    companies: Companies,
    merchant: Merchant,
    secret: str,
    keys: OurKeys,
) -> Path:
    """Write a complete configuration for the service and the shop at ``urls``, and register us with the providers.

    Return the configuration's path.
    """
    url, shop_url = urls
    hidden = folder / "secrets"
    hidden.mkdir(exist_ok=True)
    (hidden / "endpoint").write_text(secret)
    shutil.copy(config_folder() / "products.toml", folder / "products.toml")
    template = Template((config_folder() / "demo.toml").read_text("utf-8"))
    written = template.safe_substitute(
        public_url=url,
        shop_url=shop_url,
        port=url.rsplit(":", 1)[1],
        merchant_url=merchant.url,
        **_at_alipay(hidden, companies.alipay, keys.alipay),
        **_at_apple(hidden, companies.apple, url),
        **_at_google(hidden, companies.google, url, keys.google),
    )
    path = folder / "payplat.toml"
    path.write_text(written, "utf-8")
    return path


def _at_alipay(hidden: Path, alipay: AlipaySimulator, key_pair: tuple[str, str]) -> dict[str, str]:
    """Register the app at Alipay and keep the keys; return what the configuration says of it."""
    private, public = key_pair
    alipay.add_app(APP_ID, SELLER_ID, public)
    (hidden / "alipay_private_key.pem").write_text(private)
    (hidden / "alipay_public_key.pem").write_text(alipay.public_key_pem)
    return {"gateway": alipay.gateway, "app_id": APP_ID, "seller_id": SELLER_ID}


def _at_apple(hidden: Path, apple: AppleSimulator, url: str) -> dict[str, str]:
    """Register the app at Apple and keep the keys; return what the configuration says of it."""
    private, public = _pems(ec.generate_private_key(ec.SECP256R1()))
    apple.add_app(
        BUNDLE_ID,
        app_apple_id=APP_APPLE_ID,
        issuer_id=ISSUER_ID,
        key_id=KEY_ID,
        public_key_pem=public,
        notification_urls={"Sandbox": f"{url}/v1/callback/apple"},
        prices=APPLE_PRICES,
    )
    (hidden / "apple_private_key.p8").write_text(private)
    (hidden / "apple_root.pem").write_text(apple.root_pem)
    names = {"bundle_id": BUNDLE_ID, "issuer_id": ISSUER_ID, "key_id": KEY_ID}
    return {**names, "apple_api": apple.api("Sandbox")}


def _at_google(
    hidden: Path, google: GoogleSimulator, url: str, key: rsa.RSAPrivateKey
) -> dict[str, str]:
    """Register the app at Google and keep the service account; return what the configuration says of it."""
    google.add_app(
        PACKAGE,
        products={sku: Product(micros, "CNY") for sku, micros in GOOGLE_PRICES.items()},
        push_url=f"{url}/v1/callback/google",
        push_audience=f"{url}/v1/callback/google",
        push_email=PUSH_EMAIL,
    )
    (hidden / "google_service_account.json").write_text(json.dumps(google.service_account(key=key)))
    (hidden / "google_account_secret").write_text(secrets.token_hex(32))
    addresses = {"google_api": google.api, "google_certs": google.certs_url}
    return {"package_name": PACKAGE, "push_email": PUSH_EMAIL, **addresses}


def _new_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pems(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> tuple[str, str]:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


def config_folder() -> Path:
    """Return the shipped configuration: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    return next(f for f in (package / "config", package.parent / "config") if f.is_dir())


def _url(sockets: list[socket]) -> str:
    return f"http://127.0.0.1:{sockets[0].getsockname()[1]}"


def _read(path: Path, overrides: Mapping[str, str]) -> Settings:
    kinds = {kind: door.settings_type for kind, door in installed_doors().items()}
    return read_settings(path, overrides, kinds)
