"""Patience: how long the server waits for a request, whatever becomes of the connection."""

import asyncio
from contextlib import asynccontextmanager

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from payplat.handlers.patience import Patience


@asynccontextmanager
async def waiting(idle_seconds):
    """A server that waits so long; yields its patience and its port."""
    patience = Patience(Application(), idle_seconds, 60)
    server, (sock, port) = HTTPServer(patience), bind_unused_port()
    server.add_sockets([sock])
    yield patience, port
    server.stop()
    await server.close_all_connections()


async def test_who_hangs_up_is_forgotten():
    """Connections that come, ask for nothing and go leave nothing behind, long before their time is over."""
    async with waiting(60) as (patience, port):
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        async with asyncio.timeout(30):
            while len(patience._ends) < len(opened):
                await asyncio.sleep(0.05)
            for _, writer in opened:
                writer.close()
            while patience._ends:
                await asyncio.sleep(0.05)


async def test_who_says_nothing_is_cut():
    """A connection on which no request comes is closed, and one on which they come in time is not."""
    async with waiting(0.4) as (_, port):
        silent, unheard = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(6):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1 404 " in await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.1)
        assert await silent.read() == b""
        for each in (writer, unheard):
            each.close()
