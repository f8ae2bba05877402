"""Sets of public keys at an address: fetched when needed, kept as long as their owner says.

Sources: RFC 7517 for the key set, RFC 9111 for ``Cache-Control``.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from typing import Any, Generic, TypeVar

from payplat import seam, strict_json
from payplat.addresses import Network
from payplat.errors import NoAnswer, ProviderUnavailable
from payplat.outbound import Answer, Counterpart

Key = TypeVar("Key")
_MIN_LIFE, _MAX_LIFE = 5 * 60, 24 * 3600  # seconds
_SEARCH = 5 * 60  # seconds between fetches for keys that we do not know
_PAUSE = 5  # seconds for which a failure is remembered
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})\b", re.IGNORECASE)
_JSON = ("application/json", "application/jwk-set+json")


class KeySet(Generic[Key]):
    """The public keys of ``owner`` at ``url``, by ``kid``.

    They serve for the ``max-age`` of the answer, between five minutes and a day. An unknown ``kid`` may be a new key, or
    any sender's invention: for those the keys are fetched once in five minutes. ``read_key`` reads one member of the set,
    and raises ValueError, KeyError or TypeError for one that we could not use.
    """

    def __init__(
        self,
        url: str,
        read_key: Callable[[Mapping[str, Any]], Key],
        *,
        owner: str,
        timeout: float,
        opened: Iterable[Network] = (),
    ) -> None:
        self._url, self._read_key, self._owner = url, read_key, owner
        self._counterpart = Counterpart("key_set", timeout=timeout, opened=opened)
        self._keys: Mapping[str, Key] = {}
        # Seconds since 1970: of the keys' life, of rest after a failure, and after a search for an unknown key.
        self._life, self._rest, self._searched = range(0), range(0), range(0)
        self._failure = ProviderUnavailable(f"{owner}'s keys have ended.")
        self._fetch: asyncio.Task[None] | None = None

    async def load(self, kid: str | None) -> None:
        """Have the keys at hand, and look for this one if it is unknown; raises ProviderUnavailable without any."""
        if self._may_fetch(kid):
            await self._fetched(kid)
        self._must_live()

    def find(self, kid: str) -> Key | None:
        """Return the key of this name, if there is one; raises ProviderUnavailable when none are at hand."""
        self._must_live()
        return self._keys.get(kid)

    def close(self) -> None:
        """Close the connections to their owner."""
        if self._fetch is not None:
            self._fetch.cancel()
        self._counterpart.close()

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

    async def _ask(self) -> tuple[Mapping[str, Key], int]:
        try:
            answer = await self._counterpart.request("GET", self._url)
        except NoAnswer as error:
            raise ProviderUnavailable(
                f"{self._owner}'s keys cannot be fetched: {error}."
            ) from error
        if answer.status != 200:
            raise ProviderUnavailable(f"{self._owner}'s keys cannot be fetched: {answer.status}.")
        keys = dict(self._read_keys(answer))
        if not keys:
            raise ProviderUnavailable(f"{self._owner}'s answer holds no key.")
        told = _MAX_AGE.search(answer.cache_control or "")
        return keys, max(_MIN_LIFE, min(int(told[1]) if told else 0, _MAX_LIFE))

    def _read_keys(self, answer: Answer) -> Iterator[tuple[str, Key]]:
        """Read the keys that we could use; others, or a damaged one, must not cost us the rest."""
        for member in self._members(answer):
            with suppress(ValueError, KeyError, TypeError):
                yield str(member["kid"]), self._read_key(member)

    def _members(self, answer: Answer) -> list[Any]:
        if answer.content_type.partition(";")[0].strip().lower() not in _JSON:
            raise ProviderUnavailable(f"{self._owner}'s answer is no JSON.")
        try:
            told = strict_json.read(answer.body.decode())
        except ValueError:
            raise ProviderUnavailable(f"{self._owner}'s answer cannot be read.") from None
        keys = told.get("keys") if isinstance(told, dict) else None
        return keys if isinstance(keys, list) else []


def _seconds() -> int:
    return seam.now() // seam.SECOND
