"""The stage: a whole payplat with simulators around it, on free ports of this machine, with keys made a moment ago."""

import base64
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from string import Template

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tornado.netutil import bind_sockets

from payplat.app import Platform, make_server, make_worker, open_platform, start_worker
from payplat.lanes import Worker
from payplat.registry import installed_doors
from payplat.settings import Settings, read_settings
from payplat.simulators.alipay.server import AlipaySimulator
from payplat.simulators.merchant import Merchant

APP_ID, SELLER_ID = "2021000000000001", "2088000000000001"


@dataclass(frozen=True)
class Stage:
    """What stands on it: the service at ``url`` with its worker, and the other sides of its wires."""

    folder: Path
    settings: Settings
    platform: Platform
    worker: Worker
    url: str
    alipay: AlipaySimulator
    merchant: Merchant
    shop_sockets: list[socket]

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
    alipay: AlipaySimulator | None = None,
    key_pair: tuple[str, str] | None = None,
) -> AsyncIterator[Stage]:
    """Set everything up in ``folder`` and take it down in the end.

    ``overrides`` are configuration as in the environment (``PAYPLAT_DATABASE__URL`` …); ``key_pair`` is the app's private
    and public key, made afresh when left out.
    """
    alipay = alipay or AlipaySimulator(time_factor=100.0)
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    merchant = Merchant(secret)
    if not alipay.url:
        await alipay.start()
    await merchant.start()
    sockets, shop_sockets = bind_sockets(0, "127.0.0.1"), bind_sockets(0, "127.0.0.1")
    url = _url(sockets)
    try:
        path = write_configuration(
            folder, (url, _url(shop_sockets)), alipay, merchant, secret, key_pair or new_key_pair()
        )
        settings = _read(path, overrides or {})
        async with open_platform(settings, installed_doors()) as platform:
            server, worker = make_server(platform), make_worker(platform)
            server.add_sockets(sockets)
            if work:
                await start_worker(platform, worker)
            try:
                yield Stage(folder, settings, platform, worker, url, alipay, merchant, shop_sockets)
            finally:
                server.stop()
                await server.close_all_connections()
                await worker.stop()
    finally:
        for unused in shop_sockets:
            unused.close()
        await merchant.stop()
        await alipay.stop()


def write_configuration(
    folder: Path,
    urls: tuple[str, str],
    alipay: AlipaySimulator,
    merchant: Merchant,
    secret: str,
    key_pair: tuple[str, str],
) -> Path:
    """Write a complete configuration for the service and the shop at ``urls``, and tell the simulator our public key.

    Return the configuration's path.
    """
    private, public = key_pair
    url, shop_url = urls
    alipay.add_app(APP_ID, SELLER_ID, public)
    hidden = folder / "secrets"
    hidden.mkdir(exist_ok=True)
    (hidden / "endpoint").write_text(secret)
    (hidden / "alipay_private_key.pem").write_text(private)
    (hidden / "alipay_public_key.pem").write_text(alipay.public_key_pem)
    shutil.copy(config_folder() / "products.toml", folder / "products.toml")
    template = Template((config_folder() / "demo.toml").read_text("utf-8"))
    written = template.safe_substitute(
        public_url=url,
        shop_url=shop_url,
        port=url.rsplit(":", 1)[1],
        merchant_url=merchant.url,
        gateway=alipay.gateway,
        app_id=APP_ID,
        seller_id=SELLER_ID,
    )
    path = folder / "payplat.toml"
    path.write_text(written, "utf-8")
    return path


def new_key_pair() -> tuple[str, str]:
    """Return a fresh RSA key and its public half as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
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
