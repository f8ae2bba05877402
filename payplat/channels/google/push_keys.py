"""The keys with which Google signs the tokens of pushes: fetched when needed, kept as long as Google says.

Sources: RFC 7517 for the key set, RFC 9111 for ``Cache-Control``; Google, "Validating an ID token".
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import copy
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from payplat import seam
from payplat.channels.google.answers import from_base64url, read_object
from payplat.errors import NoAnswer, ProviderUnavailable
from payplat.outbound import Counterpart

_MIN_LIFE, _MAX_LIFE = 5 * 60, 24 * 3600  # seconds
_SEARCH = 5 * 60  # seconds between fetches for keys that we do not know
_PAUSE = 5  # seconds for which a failure is remembered
_BITS = range(2048, 8193)
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})\b", re.IGNORECASE)


class PushKeys:
    """Google's public keys by ``kid``.

    They serve for the ``max-age`` of the answer, between five minutes and a day. An unknown ``kid`` may be a new key, or
    any sender's invention: for those the keys are fetched once in five minutes.
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        self._url, self._google = url, Counterpart(timeout=timeout)
        self._keys: Mapping[str, rsa.RSAPublicKey] = {}
        # Seconds since 1970: of the keys' life, of rest after a failure, and after a search for an unknown key.
        self._life, self._rest, self._searched = range(0), range(0), range(0)
        self._failure = ProviderUnavailable("Google's keys have ended.")
        self._fetch: asyncio.Task[None] | None = None

    async def load(self, token_header_kid: str | None) -> None:
        """Have the keys at hand, and look for this one if it is unknown; raises ProviderUnavailable without any."""
        if self._may_fetch(token_header_kid):
            await self._fetched(token_header_kid)
        self._must_live()

    def find(self, kid: str) -> rsa.RSAPublicKey | None:
        """Return the key of this name, if it is one of Google's; raises ProviderUnavailable when none are at hand."""
        self._must_live()
        return self._keys.get(kid)

    def close(self) -> None:
        """Close the connections to Google."""
        if self._fetch is not None:
            self._fetch.cancel()
        self._google.close()

    def _must_live(self) -> None:
        if _seconds() not in self._life:
            raise copy(self._failure)

    def _may_fetch(self, kid: str | None) -> bool:
        now = _seconds()
        if now not in self._life:
            return now not in self._rest
        return kid is not None and kid not in self._keys and now not in self._searched

    async def _fetched(self, kid: str | None) -> None:
        """Wait for the one fetch that runs; who gives up waiting does not end it for the others."""
        if self._fetch is None or self._fetch.done():
            self._fetch = asyncio.create_task(self._renew(kid))
        await asyncio.shield(self._fetch)

    async def _renew(self, kid: str | None) -> None:
        asked_at = _seconds()
        try:
            self._keys, lifetime = await self._ask()
            self._life = range(asked_at, asked_at + lifetime)
        except ProviderUnavailable as error:
            self._failure = error
            self._rest = range(_seconds(), _seconds() + _PAUSE)
        if kid is not None and kid not in self._keys:
            self._searched = range(_seconds(), _seconds() + _SEARCH)

    async def _ask(self) -> tuple[Mapping[str, rsa.RSAPublicKey], int]:
        try:
            answer = await self._google.request("GET", self._url)
        except NoAnswer as error:
            raise ProviderUnavailable(f"Google's keys cannot be fetched: {error}.") from error
        if answer.status != 200:
            raise ProviderUnavailable(f"Google's keys cannot be fetched: {answer.status}.")
        keys = dict(_read_keys(read_object(answer).get("keys")))
        if not keys:
            raise ProviderUnavailable("Google's answer holds no key.")
        told = _MAX_AGE.search(answer.cache_control or "")
        return keys, max(_MIN_LIFE, min(int(told[1]) if told else 0, _MAX_LIFE))


def _read_keys(keys: object) -> Iterator[tuple[str, rsa.RSAPublicKey]]:
    """Read the keys that we could use; others, or a damaged one, must not cost us the rest."""
    for jwk in keys if isinstance(keys, list) else []:
        with suppress(ValueError, KeyError, TypeError):
            if (jwk["kty"], jwk["alg"], jwk["use"]) == ("RSA", "RS256", "sig"):
                yield str(jwk["kid"]), _read_key(jwk)


def _read_key(jwk: Mapping[str, Any]) -> rsa.RSAPublicKey:
    exponent, modulus = (int.from_bytes(from_base64url(jwk[name]), "big") for name in ("e", "n"))
    if modulus.bit_length() not in _BITS:
        raise ValueError("the key is too short or too long")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _seconds() -> int:
    return seam.now() // seam.SECOND
