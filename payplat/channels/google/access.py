"""Access to Google's APIs: a service account, and the access tokens that it is granted.

Sources: Google, "Using OAuth 2.0 for Server to Server Applications"; RFC 7523, the JWT bearer grant.
"""

import asyncio
import re
from collections.abc import Iterable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self
from urllib.parse import urlencode, urlsplit

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from payplat import seam
from payplat.addresses import Network
from payplat.channels.google.answers import read_json, read_object, retry_at
from payplat.circuit import Circuit
from payplat.errors import NoAnswer, ProviderError, ProviderMisconfigured, ProviderUnavailable
from payplat.outbound import Answer, Counterpart
from payplat.retry import Backoff, retrying

GOOGLE_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
SCOPE = "https://www.googleapis.com/auth/androidpublisher"

_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_MAX_FILE = 64 * 1024
_MIN_BITS = 2048
_ASSERTION_LIFE = 3600  # seconds, the most that Google takes
_EARLY = 225  # seconds before its end at which a token is renewed
_PAUSE = 5  # seconds for which a failure is remembered
_ASKING = Backoff(base=0.2, jitter=0.5, attempts=2)
_TOKEN = re.compile(r"[!-~]{1,4096}")


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Who asks. ``token_uri`` is where it gets its tokens."""

    client_email: str
    private_key_id: str
    token_uri: str
    private_key: rsa.RSAPrivateKey = field(repr=False)

    @classmethod
    def read(cls, json_text: str) -> Self:
        """Read the file that Google Cloud hands out for a service account ("Creating a service account key").

        Raises ValueError that says what is wrong, never the key.
        """
        told = _read_file(json_text)
        if told.get("type") != "service_account":
            raise ValueError("this is not the file of a service account: its type is another")
        token_uri = _text(told, "token_uri")
        if not _is_address(token_uri):
            raise ValueError("token_uri is no address")
        key = _read_key(_text(told, "private_key"))
        return cls(_text(told, "client_email"), _text(told, "private_key_id"), token_uri, key)


class AccessTokens:
    """The access token of one account, asked for once for all who need it.

    It is renewed 225 seconds before its end; should that fail, the old one serves for the rest of its life. A failure
    stands for five seconds, so that many calls do not become many questions.
    """

    def __init__(
        self, account: ServiceAccount, *, timeout: float, opened: Iterable[Network] = ()
    ) -> None:
        self._account, self._timeout = account, timeout
        self.circuit = Circuit("google_oauth")
        self._google = Counterpart(
            "google_oauth", timeout=timeout, opened=opened, circuit=self.circuit
        )
        # Seconds since 1970: in which the token is valid, and in which nothing is asked.
        self._token, self._life, self._rest = "", range(0), range(0)
        self._failure: ProviderError = ProviderUnavailable("Google's access token has ended.")
        self._renewal: asyncio.Task[None] | None = None

    async def token(self) -> str:
        """Return a token that is valid now.

        Raises ProviderMisconfigured when Google does not accept the account, ProviderUnavailable when there is no token
        to be had.
        """
        if _seconds() not in self._rest:
            await self._renewed()
        if _seconds() not in self._life:
            raise copy(self._failure)
        return self._token

    def forget(self, token: str) -> None:
        """Ask for another token: this one was not accepted. A newer one stays."""
        if token == self._token:
            self._token, self._life, self._rest = "", range(0), range(0)

    def close(self) -> None:
        """Close the connections to Google."""
        if self._renewal is not None:
            self._renewal.cancel()
        self._google.close()

    async def _renewed(self) -> None:
        """Wait for the one renewal that runs; who gives up waiting does not end it for the others."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew())
        await asyncio.shield(self._renewal)

    async def _renew(self) -> None:
        asked_at = _seconds()
        try:
            self._token, lifetime = _granted(await self._ask())
        except ProviderError as error:
            self._failure = error
            self._rest = range(_seconds(), _seconds() + _PAUSE)
        else:
            self._life = range(asked_at, asked_at + lifetime)
            self._rest = range(asked_at, asked_at + lifetime - _EARLY)

    async def _ask(self) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                return await retrying(self._send, _ASKING, NoAnswer)
        except (NoAnswer, TimeoutError) as error:
            reason = str(error) or "time is up"
            raise ProviderUnavailable(f"Google grants no token now: {reason}.") from error

    async def _send(self) -> Answer:
        form = urlencode({"grant_type": _GRANT_TYPE, "assertion": self._assertion()})
        uri = self._account.token_uri
        answer = await self._google.request("POST", uri, body=form.encode(), headers=_FORM)
        if answer.status >= 500 and answer.retry_after is None:
            raise NoAnswer(f"it answered {answer.status}")
        return answer

    def _assertion(self) -> str:
        now, account = _seconds(), self._account
        claims = {
            "iss": account.client_email,
            "scope": SCOPE,
            # Google's own address, wherever the grant is asked for; its libraries do the same.
            "aud": GOOGLE_TOKEN_URI,
            "iat": now,
            "exp": now + _ASSERTION_LIFE,
        }
        return jwt.encode(claims, account.private_key, "RS256", {"kid": account.private_key_id})


def _granted(answer: Answer) -> tuple[str, int]:
    """Return the token and the seconds of its life."""
    if answer.status != 200:
        _raise_refusal(answer)
    told = read_object(answer)
    token, lifetime = told.get("access_token"), told.get("expires_in")
    is_bearer = str(told.get("token_type")).lower() == "bearer"
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or not is_bearer:
        raise ProviderUnavailable("Google's grant holds no bearer token.")
    if type(lifetime) is not int or lifetime <= 0:
        raise ProviderUnavailable("Google's grant does not say how long it is valid.")
    return token, lifetime


def _raise_refusal(answer: Answer) -> NoReturn:
    told: dict[str, Any] = {}
    with suppress(ProviderUnavailable):
        told = read_object(answer)
    error = told.get("error")
    text = f"{ascii(error)[:40]}: {ascii(told.get('error_description'))[:120]}"
    if answer.status in (400, 401) and error in ("invalid_grant", "invalid_client"):
        time = ascii(answer.date or "not told")[:40]
        text = f"Google does not accept the service account ({text}); its time is {time}."
        raise ProviderMisconfigured(text)
    text = f"Google grants no token now: it answered {answer.status} ({text})."
    raise ProviderUnavailable(text, retry_at=retry_at(answer))


def _read_file(json_text: str) -> dict[str, Any]:
    if len(json_text) > _MAX_FILE:
        raise ValueError("the file of the service account is too large")
    try:
        return read_json(json_text.encode())
    except ValueError:
        raise ValueError("the file of the service account is no JSON object") from None


def _text(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"the file of the service account has no {name}")
    return value


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None


def _read_key(pem: str) -> rsa.RSAPrivateKey:
    if "-----BEGIN PRIVATE KEY-----" not in pem:
        raise ValueError("private_key is no PEM of an unencrypted PKCS#8 key")
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("private_key is damaged: it cannot be read") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < _MIN_BITS:
        raise ValueError(f"private_key is no RSA key of at least {_MIN_BITS} bits")
    return key


def _seconds() -> int:
    return seam.now() // seam.SECOND
