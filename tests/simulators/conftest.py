"""Alipay's simulator on a clock that stands still, an application, and an endpoint for notifications."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from payplat.simulators.alipay.server import AlipaySimulator
from payplat.simulators.clock import Clock
from tests.simulators.alipay_client import NOW, Client

APP_ID = "2021000000000001"
SELLER_ID = "2088000000000001"


def pem(key) -> str:
    """The public half, as it is pasted into Alipay's console."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@pytest.fixture(scope="session")
def app_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="session")
def platform_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
async def sim(app_key, platform_key) -> AsyncIterator[AlipaySimulator]:
    """Its clock moves only when it is told to."""
    simulator = AlipaySimulator(clock=Clock(lambda: NOW), platform_key=platform_key)
    simulator.add_app(APP_ID, SELLER_ID, pem(app_key))
    await simulator.start()
    yield simulator
    await simulator.stop()


class Inbox:
    """An endpoint for notifications: keeps what came, answers `success` or what `answers` says."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.types: list[str] = []
        self.answers: list[tuple[int, bytes]] = []
        self.url = ""


class _Notify(RequestHandler):
    def initialize(self, inbox: Inbox) -> None:
        self.inbox = inbox

    async def post(self) -> None:
        self.inbox.bodies.append(self.request.body)
        self.inbox.types.append(self.request.headers["Content-Type"])
        status, answer = self.inbox.answers.pop(0) if self.inbox.answers else (200, b"success")
        if status == 302:
            self.redirect("/elsewhere")
            return
        self.set_status(status)
        self.finish(answer)


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    inbox = Inbox()
    sockets = bind_sockets(0, "127.0.0.1")
    inbox.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/notify"
    routes = [(r"/notify", _Notify, {"inbox": inbox})]
    server = HTTPServer(Application(routes, log_function=lambda _handler: None))
    server.add_sockets(sockets)
    yield inbox
    server.stop()
    await server.close_all_connections()


@pytest.fixture
def client(sim, inbox, app_key) -> Client:
    """The application's own hand-written client."""
    return Client(sim.gateway, APP_ID, app_key, notify_url=inbox.url)


class Browser:
    """Fetches pages without following redirects."""

    def __init__(self) -> None:
        self._http = AsyncHTTPClient(force_instance=True)

    async def __call__(self, url: str, form: str | None = None, **headers: str):
        return await self._http.fetch(
            url,
            method="GET" if form is None else "POST",
            body=form,
            headers=headers,
            follow_redirects=False,
            raise_error=False,
        )

    def close(self) -> None:
        self._http.close()


@pytest.fixture
async def browse() -> AsyncIterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


def imports_of(package: str) -> Iterator[str]:
    """Every payplat module that a file of the package imports."""
    for path in Path(package).rglob("*.py"):
        yield from re.findall(r"^\s*(?:from|import) (payplat[\w.]*)", path.read_text(), re.M)
