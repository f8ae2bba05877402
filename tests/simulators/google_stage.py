"""Google's simulator on a clock that stands still, a game, its endpoint, and a hand-written client."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator
from functools import cache
from urllib.parse import quote, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from payplat.simulators.clock import Clock
from payplat.simulators.google.apps import Product
from payplat.simulators.google.server import GoogleSimulator

NOW = 1_790_000_000.0
DAY = 86400
PACKAGE = "com.example.game"
PUSHER = "pusher@example-project.iam.gserviceaccount.com"
EMAIL = "payments@example-project.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/androidpublisher"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
USER = "a" * 43
ORDER = "0192f3a4b5c67d8e9f00112233445566"
PRODUCTS = {
    "coins_500": Product(4_990_000, title="500 coins", regions={"DE": (5_490_000, "EUR")}),
    "castle": Product(19_000_000, "JPY"),
}


@cache
def keys() -> tuple[rsa.RSAPrivateKey, ...]:
    """Of Google's pushes and of the service account, made once: making keys is slow."""
    return tuple(rsa.generate_private_key(65537, 2048) for _ in range(2))


class Inbox:
    """An endpoint for pushes: keeps what came, answers 204 or what `answers` says."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[HTTPHeaders] = []
        self.answers: list[int] = []
        self.url = ""

    @property
    def told(self) -> list[dict]:
        """The DeveloperNotifications, taken out of their envelopes."""
        wrapped = [json.loads(body)["message"]["data"] for body in self.bodies]
        return [json.loads(base64.b64decode(data, validate=True)) for data in wrapped]

    @property
    def ids(self) -> list[str]:
        """Their message ids."""
        return [json.loads(body)["message"]["messageId"] for body in self.bodies]


class _Endpoint(RequestHandler):
    def initialize(self, inbox: Inbox) -> None:
        self.inbox = inbox

    async def post(self) -> None:
        self.inbox.bodies.append(self.request.body)
        self.inbox.headers.append(self.request.headers)
        status = self.inbox.answers.pop(0) if self.inbox.answers else 204
        if status == 0:
            self.detach().close()
            return
        if status == 307:
            self.set_header("Location", self.inbox.url)
        self.set_status(status)
        self.finish()


@contextlib.asynccontextmanager
async def open_inbox() -> AsyncIterator[Inbox]:
    """Listen on a free port."""
    inbox = Inbox()
    sockets = bind_sockets(0, "127.0.0.1")
    inbox.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/rtdn"
    routes = [(r"/rtdn", _Endpoint, {"inbox": inbox})]
    server = HTTPServer(Application(routes, log_function=lambda _handler: None))
    server.add_sockets(sockets)
    yield inbox
    server.stop()
    await server.close_all_connections()


@contextlib.asynccontextmanager
async def open_play(inbox: Inbox, audience: str = "") -> AsyncIterator[GoogleSimulator]:
    """The simulator with one game; its clock moves only when it is told to."""
    sim = GoogleSimulator(clock=Clock(lambda: NOW), signing_key=keys()[0])
    await sim.start()
    sim.add_app(
        PACKAGE,
        products=PRODUCTS,
        push_url=inbox.url,
        push_audience=audience,
        push_email=PUSHER,
    )
    yield sim
    await sim.stop()


class Api:
    """Speaks with the simulator over HTTP, by hand."""

    def __init__(self, sim: GoogleSimulator) -> None:
        self.sim = sim
        self.file = sim.service_account(EMAIL, key=keys()[1])
        self.token = ""
        self._http = AsyncHTTPClient(force_instance=True)

    def assertion(self, *, key=None, header=None, **claims) -> str:
        """What the account signs to get a token; None leaves a claim out."""
        now = int(self.sim.clock.now())
        given = {
            "iss": EMAIL,
            "scope": SCOPE,
            "aud": "https://oauth2.googleapis.com/token",
            "iat": now,
            "exp": now + 3600,
            **claims,
        }
        kept = {name: value for name, value in given.items() if value is not None}
        headers = {"kid": self.file["private_key_id"], **(header or {})}
        return jwt.encode(kept, key or self.file["private_key"], "RS256", headers=headers)

    async def grant(self, assertion: str, grant_type: str = GRANT):
        """Ask the token endpoint."""
        form = urlencode({"grant_type": grant_type, "assertion": assertion})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self.fetch(self.sim.token_uri, "POST", form, kind)

    async def sign_in(self) -> None:
        """Get a token, and use it from now on."""
        response = await self.grant(self.assertion())
        self.token = json.loads(response.body)["access_token"]

    async def ask(self, path: str, method: str = "GET", body=None, package: str = PACKAGE):
        """Call the API below the app's name."""
        if not self.token:
            await self.sign_in()
        url = f"{self.sim.api}/androidpublisher/v3/applications/{quote(package, safe='')}{path}"
        text = json.dumps(body) if body is not None else "" if method == "POST" else None
        return await self.fetch(url, method, text, {"Authorization": f"Bearer {self.token}"})

    async def get(self, path: str, **more) -> dict:
        """The JSON of an answer that is not an error."""
        response = await self.ask(path, **more)
        assert response.code == 200, response.body
        assert response.headers["Content-Type"] == "application/json; charset=UTF-8"
        return json.loads(response.body)

    async def refused(self, path: str, method: str = "GET", **more) -> tuple[int, str]:
        """Status and reason of an answer that is an error, in Google's shape."""
        response = await self.ask(path, method, **more)
        error = json.loads(response.body)["error"]
        assert error["code"] == response.code
        assert error["errors"][0]["message"] == error["message"]
        return response.code, error["errors"][0]["reason"]

    async def do(self, path: str, body=None) -> None:
        """Something that is answered without a word."""
        response = await self.ask(path, "POST", body)
        assert (response.code, response.body) == (204, b"")

    async def v1(self, purchase) -> dict:
        """Products.get."""
        return await self.get(product_path(purchase))

    async def v2(self, purchase) -> dict:
        """Productsv2.getproductpurchasev2."""
        return await self.get(f"/purchases/productsv2/tokens/{purchase.purchase_token}")

    async def fetch(self, url: str, method: str = "GET", body=None, headers=None):
        """Any request; redirects are not followed."""
        return await self._http.fetch(
            url,
            method=method,
            body=body,
            headers=headers,
            follow_redirects=False,
            raise_error=False,
        )

    async def control(self, name: str, wishes: dict | None = None, status: int = 200) -> dict:
        """POST a wish to the control API, or GET a list."""
        method, kind = ("GET" if wishes is None else "POST"), {"Content-Type": "application/json"}
        body = None if wishes is None else json.dumps(wishes)
        response = await self.fetch(f"{self.sim.url}/_sim/{name}", method, body, kind)
        assert response.code == status, response.body
        return json.loads(response.body)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()


@contextlib.asynccontextmanager
async def open_api(sim: GoogleSimulator) -> AsyncIterator[Api]:
    """A client with a service account that may do everything."""
    api = Api(sim)
    yield api
    api.close()


def product_path(purchase, verb: str = "") -> str:
    """Of a purchase in products.*."""
    ending = f":{verb}" if verb else ""
    token = quote(purchase.purchase_token, safe="")
    return f"/purchases/products/{purchase.product_id}/tokens/{token}{ending}"
