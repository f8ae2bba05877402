"""Where a call may go and what it may bring back, over real sockets: no way leads around the guard or the bounds."""

import asyncio
import gzip
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from payplat.errors import NoAnswer
from payplat.outbound import MAX_ANSWER, Counterpart
from tests.wire.scripted import LOOPBACK, Reply, Scripted, as_json, scripted


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    """The other side, which a public service must not reach."""
    async with scripted() as server:
        yield server


@pytest.fixture
async def closed() -> AsyncIterator[Counterpart]:
    """Our side as it comes: no network is opened."""
    counterpart = Counterpart(timeout=5)
    yield counterpart
    counterpart.close()


@pytest.fixture
async def opened() -> AsyncIterator[Counterpart]:
    """Our side where this machine may be called."""
    counterpart = Counterpart(timeout=5, opened=LOOPBACK)
    yield counterpart
    counterpart.close()


SPELLINGS = (
    "127.0.0.1 localhost 127.1 2130706433 0x7f.1 0177.0.0.1 0 0.0.0.0 [::1] [::] [::ffff:127.0.0.1]"
)


@pytest.mark.parametrize("host", SPELLINGS.split())
async def test_this_machine_is_not_called(server, closed, host):
    """However it is spelled, what it resolves to is refused before a connection is made."""
    port = server.url.rsplit(":", 1)[1]
    with pytest.raises(NoAnswer, match="address not permitted"):
        await closed.request("GET", f"http://{host}:{port}/")
    assert not server.requests


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "10.0.0.1", "100.100.100.200", "[fd00:ec2::254]"]
)
async def test_no_private_network_is_called(closed, opened, host):
    """Nor the addresses where clouds keep credentials; an opened network opens no other."""
    for counterpart in (closed, opened):
        with pytest.raises(NoAnswer, match="address not permitted"):
            await counterpart.request("GET", f"http://{host}/latest/meta-data/")


async def test_a_connection_of_another_is_not_used(server, closed, opened):
    """A connection that stands open for one counterpart serves no other."""
    assert (await opened.request("GET", server.url)).status == 200
    with pytest.raises(NoAnswer, match="address not permitted"):
        await closed.request("GET", server.url)


async def test_a_refused_call_leaves_the_next_as_it_is(server, opened):
    """A handle that was refused one address calls a permitted one."""
    with pytest.raises(NoAnswer, match="address not permitted"):
        await opened.request("GET", "http://10.0.0.1/")
    assert (await opened.request("GET", server.url)).status == 200


async def test_a_redirect_leads_nowhere(server, opened):
    """Whereto it points is told to nobody and not asked."""
    async with scripted() as other:
        server.replies = [as_json("{}", 307, Location=other.url)]
        assert (await opened.request("POST", server.url, body=b"b")).status == 307
        assert not other.requests


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy", "ALL_PROXY"])
async def test_the_environments_proxy_is_not_used(server, closed, opened, monkeypatch, name):
    """A proxy would choose the address in our place: calls go directly, or not at all."""
    async with scripted() as proxy:
        monkeypatch.setenv(name, proxy.url)
        assert (await opened.request("GET", server.url)).status == 200
        with pytest.raises(NoAnswer, match="address not permitted"):
            await closed.request("GET", server.url)
        assert not proxy.requests


async def test_no_compression_is_asked_for_or_undone(server, opened):
    """A small body that would unfold to a large one stays small."""
    bomb = gzip.compress(bytes(100 * MAX_ANSWER))
    server.replies = [Reply(body=bomb, headers={"Content-Encoding": "gzip"})]
    assert (await opened.request("GET", server.url)).body == bomb
    assert "Accept-Encoding" not in server.requests[0].headers


@asynccontextmanager
async def raw(answer: Callable[[asyncio.StreamWriter], object]) -> AsyncIterator[str]:
    """A server whose answers ``answer(writer)`` writes, byte by byte if it likes."""

    tasks: set[asyncio.Task] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        try:
            await answer(writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_endless_answer_is_cut(opened):
    """It ends at the bound and not at the deadline, long before it could fill the memory."""
    sent = 0

    async def for_ever(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await writer.drain()
            sent += 0x10000

    async with raw(for_ever) as url:
        with pytest.raises(NoAnswer):
            await opened.request("GET", url)
    assert sent < 64 * 1024 * 1024


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
async def test_a_trickle_ends_at_the_deadline(head):
    """A byte now and then, in body or head, keeps no call alive beyond its time."""

    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    counterpart = Counterpart(timeout=0.5, opened=LOOPBACK)
    started = time.monotonic()
    async with raw(trickle) as url:
        with pytest.raises(NoAnswer):
            await counterpart.request("GET", url)
        assert time.monotonic() - started < 10
        counterpart.close()


# --- TLS ---


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A certificate that its own key signed, for that host, and the key, as files."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form, nothing = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, nothing))
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize(
    ("host", "trusted", "answers"),
    [("localhost", True, True), ("localhost", False, False), ("other.example", True, False)],
)
async def test_tls_is_verified(tmp_path, monkeypatch, host, trusted, answers):
    """Only a certificate of this host under a root of this machine is believed, a self-signed one is not."""
    cert, key = certificate(tmp_path, host)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with scripted(context) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        counterpart = Counterpart(timeout=5, opened=LOOPBACK)
        call = counterpart.request("GET", url)
        if answers:
            assert (await call).status == 200
        else:
            with pytest.raises(NoAnswer, match=r"(?i)certificate"):
                await call
        assert len(server.requests) == answers
        counterpart.close()
