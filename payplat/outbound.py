"""Calls to others: one HTTP client per counterpart, with a total deadline, no redirects and a bounded answer."""

import asyncio
import os
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.httpclient import HTTPRequest, HTTPResponse

from payplat.errors import NoAnswer

MAX_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None
    milliseconds: int


class Counterpart:
    """One other side: a provider or a merchant's endpoint.

    Each has its own client: with a shared one, slow merchants would starve the verification of payments.
    """

    def __init__(self, *, timeout: float, connections: int = 20) -> None:
        self._client = CurlAsyncHTTPClient(force_instance=True, max_clients=connections)
        self._timeout, self._slots = timeout, asyncio.Semaphore(connections)
        self._ca_file = _ca_file()

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """POST ``body`` and return the answer, 3xx to 5xx too; raises NoAnswer after the deadline or without one.

        A call that finds no free connection within the deadline has no answer either.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._slots.acquire()
        except TimeoutError:
            raise NoAnswer("too many calls are waiting") from None
        try:
            return await self._post(url, body, headers)
        finally:
            self._slots.release()

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        request = HTTPRequest(
            url,
            method="POST",
            body=body,
            headers={"User-Agent": "payplat", **headers},
            connect_timeout=min(self._timeout, 5),
            request_timeout=self._timeout,
            follow_redirects=False,
            decompress_response=False,
            ca_certs=self._ca_file,
            prepare_curl_callback=_bound,
        )
        started = time.monotonic()
        try:
            response = await self._client.fetch(request, raise_error=False)
        except Exception as error:
            raise NoAnswer(_reason(error)) from error
        if response.code == 599 or len(response.body) > MAX_ANSWER:
            raise NoAnswer(_reason(response.error))
        return _answer(response, started)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _answer(response: HTTPResponse, started: float) -> Answer:
    return Answer(
        response.code,
        response.body,
        response.headers.get("Retry-After"),
        int((time.monotonic() - started) * 1000),
    )


def _bound(curl: Any) -> None:
    curl.setopt(pycurl.MAXFILESIZE, MAX_ANSWER)
    curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)


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
