"""API keys: what an app's backend calls with. Shown once, kept as a hash, rotated with an overlap."""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select, update

from payplat import seam
from payplat.database import Database
from payplat.errors import Conflict
from payplat.models import API_KEYS

PREFIX = "payplat_"
_FORM = re.compile(rf"{PREFIX}([0-9a-f]{{12}})_([0-9a-f]{{64}})")
# Seconds for which a key that was found is believed without another look: so long a revoked one may go on.
FRESH = 10
_MOST = 1000


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that is good now."""

    key_id: str
    app: str
    scopes: Collection[str]


class ApiKeys:
    """The API keys of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[int, ApiKey]] = {}
        self._looks: dict[str, asyncio.Task[ApiKey | None]] = {}

    async def find(self, text: str) -> ApiKey | None:
        """Return the key that this text is, None when it is none, was revoked or has ended."""
        digest = _digest(text)
        until, key = self._known.get(digest, (0, None))
        if key is not None and seam.now() < until:
            return key
        return await self._looked_up(text, digest)

    async def _looked_up(self, text: str, digest: str) -> ApiKey | None:
        """Look once for all who come with the same key meanwhile; who gives up waiting ends it for nobody else."""
        look = self._looks.get(digest)
        if look is None:
            look = self._looks[digest] = asyncio.create_task(self._look_up(text, digest))
            look.add_done_callback(lambda _: self._looks.pop(digest))
        return await asyncio.shield(look)

    async def _look_up(self, text: str, digest: str) -> ApiKey | None:
        self._known.pop(digest, None)
        form = _FORM.fullmatch(text)
        row = await self._row(form[1]) if form else None
        now = seam.now()
        if row is None or not hmac.compare_digest(row.sha256, digest):
            return None
        if row.ends_at is not None and row.ends_at <= now:
            return None
        key = ApiKey(row.key_id, row.app, frozenset(row.scopes.split()))
        self._remember(digest, key, now, row.ends_at)
        return key

    def _remember(self, digest: str, key: ApiKey, now: int, ends_at: int | None) -> None:
        if len(self._known) >= _MOST:
            self._known.pop(next(iter(self._known)))
        until = now + FRESH * seam.SECOND
        self._known[digest] = (until if ends_at is None else min(until, ends_at), key)

    async def _row(self, key_id: str) -> Row[Any] | None:
        this = select(API_KEYS).where(API_KEYS.c.key_id == key_id)
        return (await self._database.read(lambda c: c.execute(this))).first()


async def create(database: Database, app: str, scopes: Collection[str], note: str) -> str:
    """Store a new key of ``app`` and return its text, which nobody can read again."""
    key_id, secret = seam.world.random_bytes(6).hex(), seam.world.random_bytes(32).hex()
    text = f"{PREFIX}{key_id}_{secret}"
    row = {
        "key_id": key_id,
        "app": app,
        "sha256": _digest(text),
        "scopes": " ".join(sorted(scopes)),
        "note": note,
        "created_at": seam.now(),
        "ends_at": None,
    }
    await database.transaction(lambda c: c.execute(database.insert_new(API_KEYS), [row]))
    return text


async def end(database: Database, key_id: str, at: int) -> None:
    """Let the key end at that time (microseconds, UTC), never later than it would; raises Conflict without such a key."""
    still = API_KEYS.c.ends_at.is_(None) | (API_KEYS.c.ends_at > at)
    this = API_KEYS.c.key_id == key_id
    if await database.read(lambda c: c.scalar(select(API_KEYS.c.key_id).where(this))) is None:
        raise Conflict("There is no such key.")
    await database.transaction(
        lambda c: c.execute(update(API_KEYS).where(this, still).values(ends_at=at))
    )


async def rotate(database: Database, key_id: str, overlap: float) -> str:
    """Return a new key like this one, which ends after ``overlap`` seconds; raises Conflict when it has ended."""
    this = select(API_KEYS).where(API_KEYS.c.key_id == key_id)
    row = (await database.read(lambda c: c.execute(this))).first()
    now = seam.now()
    if row is None or (row.ends_at is not None and row.ends_at <= now):
        raise Conflict("There is no such key that is in use.")
    text = await create(database, row.app, row.scopes.split(), row.note)
    await end(database, key_id, now + int(overlap * seam.SECOND))
    return text


async def list_keys(database: Database) -> Sequence[Row[Any]]:
    """Return all keys, the newest first, without what could be used."""
    columns = [column for column in API_KEYS.c if column.name != "sha256"]
    wanted = select(*columns).order_by(API_KEYS.c.created_at.desc(), API_KEYS.c.key_id)
    return (await database.read(lambda c: c.execute(wanted))).all()


def id_of(text: str) -> str:
    """Return the id of a key, which may be shown."""
    return text.removeprefix(PREFIX).partition("_")[0]


def _digest(text: str) -> str:
    """256 random bits need no slow hash."""
    return hashlib.sha256(text.encode()).hexdigest()
