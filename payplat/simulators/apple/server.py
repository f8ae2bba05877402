"""The App Store on this machine: the other side of the wire, with its own root, books and clock."""

from __future__ import annotations

from collections.abc import Callable

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from payplat.simulators.apple.api import Api
from payplat.simulators.apple.books import ENVIRONMENTS
from payplat.simulators.apple.control import Control
from payplat.simulators.apple.index import Index
from payplat.simulators.apple.knobs import Knobs
from payplat.simulators.apple.ocsp import Responder
from payplat.simulators.apple.sheet import Device, Sheet
from payplat.simulators.apple.simulation import Simulation
from payplat.simulators.clock import Clock


class AppleSimulator(Simulation):
    """Starts in the running event loop, on 127.0.0.1.

    `clock` is a Clock, or a callable that gives seconds since the epoch. What may be turned while
    it runs is in `knobs`, what shall go wrong in `faults`, whose signatures count in `authority`.
    """

    def __init__(
        self, time_factor: float = 1.0, clock: Clock | Callable[[], float] | None = None
    ) -> None:
        if not isinstance(clock, Clock):
            clock = Clock(clock) if clock else Clock()
        super().__init__(clock, Knobs(time_factor))
        self._server: HTTPServer | None = None

    async def start(self, port: int = 0) -> None:
        """Listen; port 0 takes a free one. `url` tells where."""
        sockets = bind_sockets(port, "127.0.0.1")
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        self.authority.open(f"{self.url}/ocsp")
        self.closing.clear()
        self._server = HTTPServer(self._application())
        self._server.add_sockets(sockets)
        self.courier.start()
        self.agenda.start()

    async def stop(self) -> None:
        """Stop listening and notifying; the books stay, start() goes on with them."""
        self.closing.set()
        if self._server:
            self._server.stop()
            await self._server.close_all_connections()
        await self.agenda.stop()
        self.courier.stop()

    def api(self, environment: str) -> str:
        """The base of the App Store Server API; paths below it begin with /inApps/."""
        if environment not in ENVIRONMENTS:
            raise ValueError(f"{environment!r} is none of {', '.join(ENVIRONMENTS)}")
        return f"{self.url}/{environment.lower()}"

    def _application(self) -> Application:
        doors = [
            (r"/", Index),
            (r"/(production|sandbox)(/.*)", Api),
            (r"/ocsp", Responder),
            (r"/sheet", Sheet),
            (r"/device/buy", Device),
            (r"/_sim/(\w+)", Control),
        ]
        shared = {"store": self}
        # The log belongs to the platform under test; errors here are deliberate.
        return Application(
            [(path, door, shared) for path, door in doors], log_function=lambda _door: None
        )
