"""A server on this machine that keeps what came and answers as it is told, well or badly."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

# What must be open for a call to a server of this machine.
LOOPBACK = (ip_network("127.0.0.0/8"),)


@dataclass(frozen=True)
class Reply:
    """An answer; ``promised`` bytes are announced whatever comes, a ``silent`` one waits."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None
    silent: bool = False
    chunked: bool = False


def as_json(content: Any, status: int = 200, **headers: str) -> Reply:
    """An answer in JSON; ``content`` is text as it stands, or becomes it; headers are written with underscores."""
    text = content if isinstance(content, str) else json.dumps(content)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, text.encode(), {"Content-Type": "application/json", **named})


class Scripted:
    """What it shall answer, in turn, the last one for ever; the requests that came, and how many at once.

    Silent answers come when ``ended`` is set.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.replies: list[Reply] = [Reply()]
        self.requests: list[HTTPServerRequest] = []
        self.open = self.peak = 0
        self.ended = asyncio.Event()

    @property
    def asked(self) -> list[str]:
        """The requests as ``METHOD target``."""
        return [f"{request.method} {request.uri}" for request in self.requests]


class _Door(RequestHandler):
    def initialize(self, script: Scripted) -> None:
        self.script = script

    async def answer(self) -> None:
        script = self.script
        script.requests.append(self.request)
        script.open += 1
        script.peak = max(script.peak, script.open)
        reply = script.replies.pop(0) if len(script.replies) > 1 else script.replies[0]
        if reply.silent:
            await script.ended.wait()
        self.set_status(reply.status)
        self.clear_header("Content-Type")
        for name, value in reply.headers.items():
            self.set_header(name, value)
        if reply.promised is not None:
            await self._break_off(reply)
        elif reply.chunked:
            self.write(reply.body)
            await self.flush()
        else:
            self.write(reply.body)
        script.open -= 1

    get = post = put = answer

    async def _break_off(self, reply: Reply) -> None:
        stream = self.detach()
        head = f"HTTP/1.1 {reply.status} OK\r\nContent-Type: application/json\r\n"
        await stream.write(f"{head}Content-Length: {reply.promised}\r\n\r\n".encode() + reply.body)
        stream.close()


@asynccontextmanager
async def scripted(tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """Run such a server, with a certificate where one is given."""
    sockets = bind_sockets(0, "127.0.0.1")
    script = Scripted(f"http{'s' if tls else ''}://127.0.0.1:{sockets[0].getsockname()[1]}")
    routes = [(r".*", _Door, {"script": script})]
    server = HTTPServer(Application(routes, log_function=lambda _handler: None), ssl_options=tls)
    server.add_sockets(sockets)
    try:
        yield script
    finally:
        script.ended.set()
        server.stop()
        await server.close_all_connections()
