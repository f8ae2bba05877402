"""Google Play on this machine: the other side of the wire, with its own keys, books, clock and moods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from payplat.simulators.clock import Clock
from payplat.simulators.google import publisher
from payplat.simulators.google.control import Control, Device
from payplat.simulators.google.courier import Attempt
from payplat.simulators.google.knobs import Knobs
from payplat.simulators.google.oauth import Certs, TokenEndpoint
from payplat.simulators.google.play import Play
from payplat.simulators.google.sheet import Index, Sheet


class GoogleSimulator(Play):
    """Starts in the running event loop, on 127.0.0.1.

    `clock` is a Clock, or a callable that gives seconds since the epoch. What may be turned while
    it runs is in `knobs`, what shall go wrong in `faults`. A `signing_key` spares making one.
    """

    def __init__(
        self,
        time_factor: float = 1.0,
        clock: Clock | Callable[[], float] | None = None,
        *,
        signing_key: rsa.RSAPrivateKey | None = None,
    ) -> None:
        if not isinstance(clock, Clock):
            clock = Clock(clock) if clock else Clock()
        super().__init__(clock, Knobs(time_factor), signing_key)
        self._server: HTTPServer | None = None

    async def start(self, port: int = 0) -> None:
        """Listen; port 0 takes a free one. `url` tells where."""
        sockets = bind_sockets(port, "127.0.0.1")
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        self.closing.clear()
        self._server = HTTPServer(self._application())
        self._server.add_sockets(sockets)
        self.herald.courier.start()
        self.agenda.start()

    async def stop(self) -> None:
        """Stop listening and pushing; the books stay, start() goes on with them."""
        self.closing.set()
        if self._server:
            self._server.stop()
            await self._server.close_all_connections()
        await self.agenda.stop()
        self.herald.courier.stop()

    @property
    def api(self) -> str:
        """The host of the Android Publisher API: `/androidpublisher/v3/applications/…` follows."""
        return self.url

    @property
    def certs_url(self) -> str:
        """The key set of the pushes' tokens."""
        return f"{self.url}/oauth2/v3/certs"

    @property
    def pem_certs_url(self) -> str:
        """The same keys as PEM certificates."""
        return f"{self.url}/oauth2/v1/certs"

    def next_answers(self, *kinds: str, path: str = "", **fault: Any) -> None:
        """Spoil the next answers to requests with `path` in theirs, in turn (see faults.KINDS)."""
        for kind in kinds:
            self.faults.answer(kind, path=path, **fault)

    @property
    def notifications(self) -> list[Attempt]:
        """Every delivery tried so far, in the order of sending."""
        return self.herald.courier.attempts

    def _application(self) -> Application:
        doors = [
            (r"/", Index),
            (r"/token", TokenEndpoint),
            (r"/oauth2/(v1|v3)/certs", Certs),
            (r"/sheet", Sheet),
            (r"/device/buy", Device),
            (r"/_sim/(\w+)", Control),
        ]
        shared = {"platform": self}
        # The log belongs to the platform under test; errors here are deliberate.
        return Application(
            [*((path, door, shared) for path, door in doors), *publisher.routes(self)],
            log_function=lambda _door: None,
        )
