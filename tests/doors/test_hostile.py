"""What no well-meaning caller sends: too much, too slowly, wrapped up, or no JSON that anybody could keep."""

import asyncio
import gzip
import itertools
import json
from collections.abc import Iterable
from contextlib import asynccontextmanager, suppress

import pytest

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ORDER = {"channel": "alipay", "product_id": "coins_500", "receiver": "p"}
POST = b"POST /v1/create_order/ HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """Little patience, for the tests that would have to wait."""
    impatient = {"PAYPLAT_SERVER__IDLE_SECONDS": "0.5", "PAYPLAT_SERVER__BODY_SECONDS": "0.5"}
    return impatient if "slow" in request.node.name else {}


@asynccontextmanager
async def connected(stage):
    """A connection of its own to the service."""
    host, port = stage.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def answer_to(stage, parts: Iterable[bytes], pause: float = 0.0) -> bytes:
    """Send the parts one by one, until the service has closed the connection; return all that it said."""
    async with connected(stage) as (reader, writer):
        said = asyncio.ensure_future(all_of(reader))
        with suppress(OSError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
                if said.done():
                    break
        return await asyncio.wait_for(said, 30)


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """What comes before the end, be that a reset."""
    heard = bytearray()
    with suppress(OSError):
        while part := await reader.read(4096):
            heard += part
    return bytes(heard)


def told(raw: bytes) -> tuple[int, str]:
    """Status and code of a raw answer."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["code"]


# --- Too much ---


async def test_an_endless_body_is_refused_while_it_comes(client, stage):
    """A body in chunks that announces nothing gets its 413 soon after 64 KiB, not at its end, and leaves nothing."""
    sent = itertools.count()
    endless = (b"1000\r\n" + b"x" * 4096 + b"\r\n" for _ in sent)
    raw = await answer_to(stage, itertools.chain([CHUNKED], endless), pause=0.005)
    assert told(raw) == (413, "body_too_large")
    assert next(sent) * 4096 < 2**20
    await client.until(lambda: not stage.platform.running)
    await client.until(
        lambda: "_execute" not in {t.get_coro().__name__ for t in asyncio.all_tasks()}
    )


@pytest.mark.parametrize(
    "head",
    [
        POST + b"Content-Length: 65537\r\n\r\n",
        POST + b"Content-Length: 10000000000000\r\n\r\n",
        CHUNKED + b"fffffff\r\n" + b"x" * 65537,
    ],
    ids=["just-over", "terabytes", "one-chunk"],
)
async def test_a_body_that_announces_itself_as_too_large_is_refused_unread(stage, head):
    """Nobody waits for what was announced: 413 with our code, whoever announced it and how."""
    assert told(await answer_to(stage, [head])) == (413, "body_too_large")


async def test_a_body_in_chunks_of_just_64_kib_is_read(stage):
    """The limit is the same however the body comes: what fits is looked at, and found to be no JSON."""
    body = b"4000\r\n" + b"x" * 16384 + b"\r\n"
    parts = [CHUNKED.replace(b"Host: x", b"Host: x\r\nConnection: close"), *[body] * 4]
    assert told(await answer_to(stage, [*parts, b"0\r\n\r\n"])) == (400, "invalid_request")


async def test_two_lengths_are_one_too_many(client, stage):
    """Where proxies could disagree about a request's end there is no request."""
    both = POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert (await answer_to(stage, [both])).startswith(b"HTTP/1.1 400 ")
    await client.until(lambda: not stage.platform.running)


async def test_a_header_without_end_is_cut(stage):
    """More than 16 KiB of header end the connection."""
    fields = (b"X-%d: %s\r\n" % (number, b"x" * 1000) for number in range(1000))
    assert b"HTTP/1.1 2" not in await answer_to(stage, itertools.chain([POST], fields))


# --- Too slowly ---


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (POST, b"X: y\r\n"),
        (POST + b"Content-Length: 60000\r\n\r\n", b" "),
        (CHUNKED, b"1\r\n \r\n"),
        (POST + b"Content-Length: 9\r\n\r\n", b""),
    ],
    ids=["header", "body", "chunks", "lying-length"],
)
async def test_slow_senders_are_cut(client, stage, head, drop):
    """Drops that never stop do not keep a connection: the whole has its time, not each byte."""
    drops = itertools.repeat(drop, 1000)
    assert await answer_to(stage, itertools.chain([head], drops), pause=0.05) == b""
    assert next(drops, None) is not None
    await client.until(lambda: not stage.platform.running)


async def test_slow_senders_hold_nobody_up(client, stage):
    """While a hundred senders dawdle others are served."""
    dawdlers = itertools.repeat([CHUNKED, b"1\r\n"], 100)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(answer_to(stage, parts)) for parts in dawdlers]
        assert (await client.create()).status == 201
    assert {task.result() for task in tasks} == {b""}


# --- Wrapped up ---


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"Content_Encoding": "gzip"}, "Content-Encoding"),
        ({"Content_Encoding": "identity, br"}, "Content-Encoding"),
        ({"Content_Type": "Multipart/Form-Data; boundary=x"}, "Content-Type"),
        ({"Content_Type": "multipart/mixed"}, "Content-Type"),
    ],
)
async def test_wrapped_bodies_are_refused(client, headers, field):
    """Nothing is unpacked here, so that no small body becomes a large one: 415 that names the header."""
    body = gzip.compress(json.dumps(ORDER).encode())
    reply = await client.call("POST", "/v1/create_order/", body, **headers)
    assert (reply.status, reply.json["code"]) == (415, "unsupported_body")
    assert reply.json["field"] == field
    named = {"Content_Type": "text/plain", **headers}
    reply = await client.call("POST", "/v1/callback/alipay", body, **named)
    assert (reply.status, reply.body) == (415, b"fail")


async def test_identity_is_no_wrapping(client):
    """Who says that nothing was done to the body is served."""
    reply = await client.call("POST", "/v1/create_order/", ORDER, Content_Encoding="Identity")
    assert reply.status == 201


# --- No JSON that anybody could keep ---

_DEEP = b'{"metadata":%s}' % (b"[" * 64 + b"]" * 64)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (_DEEP, "nested too deeply"),
        (b"[" * 60000, "nested too deeply"),
        (b'{"channel":"a","channel":"b"}', "a key appears twice"),
        (b'{"metadata":{"a":"1","a":"2"}}', "a key appears twice"),
        (b'{"quantity":1%s}' % (b"0" * 5000), "an integer is too large"),
        (b'{"quantity":-1%s}' % (b"0" * 5000), "an integer is too large"),
        (b'{"quantity":1e999}', "a number is too large"),
        (b'{"quantity":NaN}', "NaN is no JSON"),
        (b'{"quantity":-Infinity}', "-Infinity is no JSON"),
        (b'{"receiver":"a\\u0000"}', "a text contains NUL"),
        (b'{"metadata":{"a\\u0000":"b"}}', "a text contains NUL"),
        (b'{"metadata":{"a":"\\u0000"}}', "a text contains NUL"),
        (b'{"metadata":{"a":"\\ud83d"}}', "half a surrogate pair"),
        (b'{"metadata":{"\\ude00":"b"}}', "half a surrogate pair"),
        (b'{"metadata":{"a":"\\ude00\\ud83d"}}', "half a surrogate pair"),
        (b'{"receiver":"a\x00"}', "Invalid control character"),
        (b'{"receiver":"\xed\xa0\x80"}', "utf-8"),
        (b'\xef\xbb\xbf{"receiver":"a"}', "no valid JSON"),
    ],
    ids=str,
)
async def test_what_is_wrong_with_json_is_named(client, body, wrong):
    """Each is a 400 whose detail says what is wrong, and nothing is stored."""
    reply = await client.call("POST", "/v1/create_order/", body)
    assert (reply.status, reply.json["code"]) == (400, "invalid_request")
    assert wrong in reply.json["detail"]
    assert await client.count("orders") == 0


async def test_every_text_that_is_one_is_kept(client):
    """Whole surrogate pairs, written as such or not, and a backslash before u0000 are plain text."""
    metadata = r'{"\ud83d\ude00":"\\u0000 \\ud83d","emoji":"😀"}'
    body = json.dumps(ORDER)[:-1].encode() + b', "metadata": ' + metadata.encode() + b"}"
    order_no = (await client.call("POST", "/v1/create_order/", body)).json["order_no"]
    kept = (await client.order(order_no))["metadata"]
    assert kept == {"😀": r"\u0000 \ud83d", "emoji": "😀"}


# --- What every answer has ---


async def test_every_answer_is_safe_to_show_to_a_browser(client):
    """No answer is kept, guessed at, framed or run, and none says which server in which version wrote it."""
    order_no = (await client.create()).json["order_no"]
    replies = [
        await client.create(),
        await client.call("GET", f"/v1/orders/{order_no}"),
        await client.verify(order_no),
        await client.call("GET", "/v1/events"),
        await client.call("GET", "/healthz"),
        await client.call("GET", "/nothing"),
        await client.call("DELETE", "/v1/events"),
        await client.call("BREW", "/v1/events"),
        await client.call("POST", "/v1/create_order/", b"x" * 70000),
        await client.callback(b"sign=x"),
        await client.callback(b"{}", "/v1/callback/apple"),
    ]
    assert [r.status for r in replies] == [201, 200, 200, 200, 200, 404, 405, 405, 413, 200, 400]
    for reply in replies:
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        policy = reply.headers["Content-Security-Policy"]
        assert policy == "default-src 'none'; frame-ancestors 'none'"
        assert "Server" not in reply.headers
