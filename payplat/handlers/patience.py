"""Patience with senders: a connection on which the next request takes too long to come is closed."""

import asyncio
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)


class Patience(HTTPServerConnectionDelegate):
    """Waits for the requests that ``server`` then takes.

    ``idle_seconds`` count from the last answer to the end of the next headers, ``body_seconds`` from there to the end of
    the body, however steadily it drips. One look around for all connections: Tornado's own limits set two timers a
    request, which cost as much as the request's signature.
    """

    def __init__(
        self, server: HTTPServerConnectionDelegate, idle_seconds: float, body_seconds: float
    ) -> None:
        self._server = server
        self.idle_seconds, self.body_seconds = idle_seconds, body_seconds
        self._pause = min(1.0, idle_seconds / 4, body_seconds / 4)
        self._ends: dict[HTTP1Connection, float] = {}
        self._next_look: asyncio.TimerHandle | None = None

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        """Wait for a request."""
        return _Awaited(self._server.start_request(server_conn, request_conn), request_conn, self)

    def give(self, connection: HTTP1Connection, seconds: float) -> None:
        """Let what ``connection`` sends now take so long."""
        loop = asyncio.get_running_loop()
        self._ends[connection] = loop.time() + seconds
        if self._next_look is None:
            self._next_look = loop.call_later(self._pause, self._look)

    def end(self, connection: HTTP1Connection) -> None:
        """Wait for nothing more of ``connection``."""
        self._ends.pop(connection, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection, end in list(self._ends.items()):
            # Tornado does not say when somebody hangs up between two requests.
            if connection.stream.closed():
                self.end(connection)
            elif end < now:
                self.end(connection)
                connection.close()
        self._next_look = loop.call_later(self._pause, self._look) if self._ends else None


class _Awaited(HTTPMessageDelegate):
    """A request on its way, which ``delegate`` reads."""

    def __init__(
        self, delegate: HTTPMessageDelegate, connection: HTTP1Connection, patience: Patience
    ) -> None:
        self._delegate, self._connection, self._patience = delegate, connection, patience
        patience.give(connection, patience.idle_seconds)

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Any:
        self._patience.give(self._connection, self._patience.body_seconds)
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._patience.end(self._connection)
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._patience.end(self._connection)
        self._delegate.on_connection_close()
