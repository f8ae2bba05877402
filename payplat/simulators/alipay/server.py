"""Alipay on this machine: the other side of the wire, with its own keys, books, clock and moods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from payplat.simulators.alipay.cashier import Cashier, Index, Scan
from payplat.simulators.alipay.control import Control
from payplat.simulators.alipay.courier import Attempt
from payplat.simulators.alipay.entrance import enter
from payplat.simulators.alipay.gateway import Gateway
from payplat.simulators.alipay.knobs import CURRENT, Knobs
from payplat.simulators.alipay.platform import Platform
from payplat.simulators.alipay.trades import Trade
from payplat.simulators.alipay.wallet import Wallet, open_order
from payplat.simulators.clock import Clock


class AlipaySimulator(Platform):
    """Starts in the running event loop, on 127.0.0.1.

    `clock` is a Clock, or a callable that gives seconds since the epoch. What may be turned while
    it runs is in `knobs`, what shall go wrong in `faults`; the magic amounts are in `misfortunes`.
    """

    def __init__(
        self,
        time_factor: float = 1.0,
        profile: str = CURRENT,
        immediate_resends: int = 0,
        clock: Clock | Callable[[], float] | None = None,
        *,
        platform_key: rsa.RSAPrivateKey | None = None,
    ) -> None:
        if not isinstance(clock, Clock):
            clock = Clock(clock) if clock else Clock()
        super().__init__(clock, Knobs(time_factor, profile, immediate_resends), platform_key)
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
        """Stop listening and notifying; the books stay, start() goes on with them."""
        self.closing.set()
        if self._server:
            self._server.stop()
            await self._server.close_all_connections()
        await self.agenda.stop()
        self.herald.courier.stop()

    @property
    def gateway(self) -> str:
        """The address of the gateway."""
        return f"{self.url}/gateway.do"

    def enter(self, order: str) -> Trade:
        """As a buyer who opens the cashier by a page address, an HTML form, a QR address or an
        order string; the trade exists from here on. Raises Refusal."""
        return enter(self, order)

    def open_in_wallet(self, order_string: str, action: str = "pay") -> dict[str, str]:
        """As `POST /wallet`: what the app's SDK returns."""
        return open_order(self, order_string, action)

    def next_answers(self, *kinds: str, method: str = "", **fault: Any) -> None:
        """Spoil the next answers of the gateway, one after the other (see faults.KINDS)."""
        for kind in kinds:
            self.faults.answer(kind, method=method, **fault)

    @property
    def notifications(self) -> list[Attempt]:
        """Every delivery tried so far, in the order of sending."""
        return self.herald.courier.attempts

    async def flush(self) -> None:
        """Deliver all notifications that wait or are held, now."""
        await self.herald.courier.flush()

    async def idle(self) -> None:
        """Wait until nothing that is due now is still to be done."""
        await self.agenda.idle()

    async def advance(self, seconds: float) -> None:
        """Move the clock; whatever falls due on the way happens, in order, at its own time."""
        await self.agenda.advance(seconds)

    def _application(self) -> Application:
        doors = [
            (r"/", Index),
            (r"/gateway\.do", Gateway),
            (r"/cashier/(\d+)", Cashier),
            (r"/qr/(\w+)", Scan),
            (r"/wallet", Wallet),
            (r"/_sim/(\w+)", Control),
        ]
        shared = {"platform": self}
        # The log belongs to the platform under test; errors here are deliberate.
        return Application(
            [(path, door, shared) for path, door in doors], log_function=lambda _door: None
        )
