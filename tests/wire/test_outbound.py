"""Calls to others, over real sockets: what is sent, what is told of the answer, and every bound."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from tornado.netutil import bind_sockets

from payplat.errors import NoAnswer
from payplat.outbound import MAX_ANSWER, Counterpart
from tests.wire.scripted import LOOPBACK, Reply, Scripted, as_json, scripted


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    """The other side."""
    async with scripted() as server:
        yield server


@pytest.fixture
async def counterpart() -> AsyncIterator[Counterpart]:
    """Our side, with the usual bounds."""
    counterpart = Counterpart(opened=LOOPBACK, timeout=5)
    yield counterpart
    counterpart.close()


@pytest.mark.parametrize(
    ("method", "body"), [("GET", None), ("POST", None), ("POST", b"b"), ("PUT", b""), ("PUT", b"b")]
)
async def test_a_request_is_sent_as_it_is(server, counterpart, method, body):
    """Method, address, headers and body arrive; a body is called nothing that we did not call it."""
    headers = {"X-One": "1"}
    await counterpart.request(method, f"{server.url}/a?b=c", body=body, headers=headers)
    (request,) = server.requests
    assert (server.asked, request.body) == ([f"{method} /a?b=c"], body or b"")
    assert (request.headers["X-One"], request.headers["User-Agent"]) == ("1", "payplat")
    assert "Content-Type" not in request.headers


async def test_one_client_makes_all_kinds_of_requests(server, counterpart):
    """A connection that carried a PUT carries a GET without any trace of it."""
    for method, body in [
        ("PUT", b"a"),
        ("GET", None),
        ("POST", b"c"),
        ("POST", None),
        ("GET", None),
    ]:
        kind = {"Content-Type": "text/plain"} if body else {}
        await counterpart.request(method, server.url, body=body, headers=kind)
    assert [request.body for request in server.requests] == [b"a", b"", b"c", b"", b""]
    assert ["Content-Type" in r.headers for r in server.requests] == [
        True,
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("status", [200, 202, 302, 404, 429, 500])
async def test_an_answer_of_any_status_is_told(server, counterpart, status):
    """With its body and the headers that callers look at; a redirect is not followed."""
    date = "Sun, 22 Nov 2026 12:16:00 GMT"
    server.replies = [as_json("{}", status, Retry_After="7", Date=date, Location="/there")]
    answer = await counterpart.request("GET", server.url)
    assert (answer.status, answer.body, answer.content_type) == (status, b"{}", "application/json")
    assert (answer.retry_after, answer.date) == ("7", date)
    assert len(server.requests) == 1


async def test_headers_that_are_absent_are_told_as_absent(server, counterpart):
    """Nothing is made up for them."""
    answer = await counterpart.request("GET", server.url)
    assert (answer.content_type, answer.retry_after) == ("", None)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("bound", [MAX_ANSWER, 100])
async def test_an_answer_is_bounded(server, chunked, bound):
    """At the bound it is read, one byte above it is none, whether its length was announced or not."""
    counterpart = Counterpart(opened=LOOPBACK, timeout=5, max_answer=bound)
    server.replies = [Reply(body=b"x" * size, chunked=chunked) for size in (bound, bound + 1)]
    assert len((await counterpart.request("GET", server.url)).body) == bound
    with pytest.raises(NoAnswer):
        await counterpart.request("GET", server.url)
    counterpart.close()


@pytest.mark.parametrize("reply", [Reply(body=b"{", promised=9), Reply(promised=9)])
async def test_half_an_answer_is_none(server, counterpart, reply):
    """Nobody is told the beginning."""
    server.replies = [reply]
    with pytest.raises(NoAnswer):
        await counterpart.request("GET", server.url)


async def test_a_closed_port_gives_no_answer(counterpart):
    """It is the same kind of trouble as silence."""
    (closed,) = bind_sockets(0, "127.0.0.1")
    port = closed.getsockname()[1]
    closed.close()
    with pytest.raises(NoAnswer):
        await counterpart.request("GET", f"http://127.0.0.1:{port}")


async def test_silence_ends_at_the_deadline(server):
    """The caller gets its turn back."""
    counterpart = Counterpart(opened=LOOPBACK, timeout=0.2)
    server.replies = [Reply(silent=True)]
    started = time.monotonic()
    with pytest.raises(NoAnswer):
        await counterpart.request("GET", server.url)
    assert time.monotonic() - started < 3
    counterpart.close()


async def test_calls_beyond_the_connections_wait(server):
    """The other side never sees more than that many at once."""
    counterpart = Counterpart(opened=LOOPBACK, timeout=10, connections=2)
    server.replies = [Reply(silent=True)]
    calls = asyncio.gather(*(counterpart.request("GET", server.url) for _ in range(6)))
    while server.open < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    server.ended.set()
    assert [answer.status for answer in await calls] == [200] * 6
    assert server.peak == 2
    counterpart.close()


async def test_nobody_waits_for_a_connection_beyond_the_deadline(server):
    """Who finds none in time has no answer either."""
    counterpart = Counterpart(opened=LOOPBACK, timeout=0.5, connections=2)
    server.replies = [Reply(silent=True)]
    calls = [counterpart.request("GET", server.url) for _ in range(6)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [NoAnswer] * 6
    assert sum("waiting" in str(result) for result in results) >= 2
    counterpart.close()


@pytest.mark.parametrize("url", ["file:///etc/hostname", "gopher://127.0.0.1/", "nothing"])
async def test_only_http_is_spoken(counterpart, url):
    """Whatever else the library could fetch."""
    with pytest.raises(NoAnswer):
        await counterpart.request("GET", url)
