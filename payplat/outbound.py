"""Calls to others: one HTTP client per counterpart, with a total deadline, no redirects and a bounded answer.

Where a name leads is known only when a socket is opened for it, so that is where addresses are refused.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.httpclient import HTTPRequest, HTTPResponse

from payplat import metrics, seam, traces
from payplat.addresses import Network, is_permitted
from payplat.circuit import Circuit
from payplat.errors import NoAnswer

MAX_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whatever its status; text members are those headers as they came."""

    status: int
    body: bytes = field(repr=False)
    content_type: str
    retry_after: str | None
    date: str | None
    cache_control: str | None
    milliseconds: int


class Counterpart:
    """One other side: a provider or a merchant's endpoint.

    Each has its own client: with a shared one, slow merchants would starve the verification of payments.
    Calls are counted under ``name``. A call may take ``timeout`` seconds, its answer ``max_answer`` bytes. It goes to
    public addresses, and to those of the networks in ``opened``. A ``circuit`` is for providers: merchants' endpoints
    have a lane and a schedule each.
    """

    def __init__(
        self,
        name: str = "other",
        *,
        timeout: float,
        connections: int = 20,
        max_answer: int = MAX_ANSWER,
        opened: Iterable[Network] = (),
        circuit: Circuit | None = None,
    ) -> None:
        self._client = seam.http_client(
            lambda: CurlAsyncHTTPClient(force_instance=True, max_clients=connections)
        )
        self._name, self._timeout, self._slots = name, timeout, asyncio.Semaphore(connections)
        self._max_answer, self._ca_file = max_answer, _ca_file()
        self._opened, self._circuit = tuple(opened), circuit

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        """Make a request and return the answer, 3xx to 5xx too; raises NoAnswer after the deadline or without one.

        A call that finds no free connection within the deadline has no answer either, nor one to an address that is not
        permitted.
        """
        started, outcome = asyncio.get_running_loop().time(), "no_answer"
        try:
            tried: dict[str, bool] = {}
            with traces.tracer.span(f"call {self._name}"):
                answer = await self._call(self._prepared(method, url, body, headers, tried), tried)
            outcome = f"{answer.status // 100}xx"
            return answer
        finally:
            took = asyncio.get_running_loop().time() - started
            metrics.CALL_SECONDS.labels(self._name, outcome).observe(took)

    async def _call(self, request: HTTPRequest, tried: dict[str, bool]) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                await self._slots.acquire()
        except TimeoutError:
            raise NoAnswer("too many calls are waiting") from None
        try:
            if self._circuit is None:
                return await self._fetch(request, tried)
            return await self._circuit.through(lambda: self._fetch(request, tried))
        finally:
            self._slots.release()

    def _prepared(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        tried: dict[str, bool],
    ) -> HTTPRequest:
        return HTTPRequest(
            url,
            method=method,
            body=body,
            allow_nonstandard_methods=True,  # a POST may have no body
            # An empty one stops libcurl from calling every body a form.
            headers={"User-Agent": "payplat", "Content-Type": "", **headers},
            connect_timeout=min(self._timeout, 5),
            request_timeout=self._timeout,
            follow_redirects=False,
            decompress_response=False,
            ca_certs=self._ca_file,
            prepare_curl_callback=partial(self._bound, tried),
        )

    async def _fetch(self, request: HTTPRequest, tried: dict[str, bool]) -> Answer:
        started = asyncio.get_running_loop().time()
        try:
            # Shielded: a call that is given up would otherwise be logged as an error when it ends.
            call = asyncio.ensure_future(self._client.fetch(request, raise_error=False))
            call.add_done_callback(_end)
            response = await asyncio.shield(call)
        except Exception as error:
            raise NoAnswer(_refusal(tried) or _reason(error)) from error
        if response.code == 599 or len(response.body) > self._max_answer:
            raise NoAnswer(_reason(response.error))
        return _answer(response, started)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        if self._circuit is not None:
            self._circuit.close()

    def _bound(self, tried: dict[str, bool], curl: Any) -> None:
        curl.setopt(pycurl.MAXFILESIZE, self._max_answer)
        # Through a proxy, which libcurl would take from the environment, the address would be the proxy's.
        curl.setopt(pycurl.PROXY, "")
        curl.setopt(pycurl.OPENSOCKETFUNCTION, partial(self._open, tried))

    def _open(self, tried: dict[str, bool], _purpose: int, target: Any) -> socket.socket | int:
        """Open the socket for a resolved address if it is permitted; note in ``tried`` whether it is."""
        address = str(target.addr[0])
        tried[address] = is_permitted(address, self._opened)
        if not tried[address]:
            return int(pycurl.SOCKET_BAD)
        return _Lent(target.family, target.socktype, target.protocol)


async def resolve(url: str) -> list[str]:
    """Return the addresses that the host of ``url`` leads to from here; raises OSError when there are none."""
    host = urlsplit(url).hostname
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class _Lent(socket.socket):
    """A socket of which libcurl takes a duplicate; ours is closed when nobody holds it any more."""

    def __del__(self) -> None:
        self.close()


def _answer(response: HTTPResponse, started: float) -> Answer:
    return Answer(
        response.code,
        response.body,
        response.headers.get("Content-Type", ""),
        response.headers.get("Retry-After"),
        response.headers.get("Date"),
        response.headers.get("Cache-Control"),
        int((asyncio.get_running_loop().time() - started) * 1000),
    )


def _end(call: asyncio.Future[HTTPResponse]) -> None:
    """Take note of how a call ended that nobody waits for any more."""
    if not call.cancelled():
        call.exception()


def _refusal(tried: Mapping[str, bool]) -> str:
    """Say that of all addresses that a name led to none was permitted; nothing where one was."""
    return "" if any(tried.values()) or not tried else f"{', '.join(tried)}: address not permitted"


def _reason(error: object) -> str:
    # libcurl's own words; they name hosts, never bodies or headers.
    return str(error)[:200] if error else "the answer is too large"


def _ca_file() -> str | None:
    paths = ssl.get_default_verify_paths()
    candidates = (
        os.environ.get(paths.openssl_cafile_env),
        paths.cafile,
        "/etc/ssl/certs/ca-certificates.crt",
    )
    return next((c for c in candidates if c and Path(c).is_file()), None)
