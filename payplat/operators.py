"""Operators: the people who may look into the console, their passwords and second factors, and their sessions."""

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import audit, seam
from payplat.audit import Act
from payplat.database import Database
from payplat.errors import Conflict, InvalidRequest, SignInRefused
from payplat.models import OPERATORS, SESSIONS

SHORTEST_PASSWORD, _LONGEST_PASSWORD = 12, 200
# A session ends after so long without a request, and at the latest after so long; who looks is noted once a minute.
IDLE, _WHOLE, _NOTED = 30 * 60 * seam.SECOND, 12 * 3600 * seam.SECOND, 60 * seam.SECOND
# After so many wrong passwords or codes the next try has to wait, each time twice as long, up to a quarter of an hour.
_FREE_FAILURES, _FIRST_LOCK, _LONGEST_LOCK = 5, 30 * seam.SECOND, 15 * 60 * seam.SECOND
_TOTP_STEP = 30 * seam.SECOND
# The smallest that OWASP's Password Storage Cheat Sheet recommends: 19 MiB, two passes.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# What the password of nobody is compared with, so that a name that does not exist takes as long as one that does.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$rW+wegvpb2T2SZsdTCCZZg$/fGhvH/paWAEio9zytn47LBUhDglfUliDKhu04tb6uI"


class Role(StrEnum):
    """What an operator may do: look, or act too."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who has signed in."""

    name: str
    role: Role
    has_totp: bool

    @property
    def acts(self) -> bool:
        """Whether this one may change something."""
        return self.role is Role.OPERATOR


class Operators:
    """The operators of one database, as the console meets them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # A hash takes 19 MiB for some hundredths of a second: never many at once.
        self._hashing = asyncio.Semaphore(2)

    async def sign_in(self, name: str, password: str, code: str) -> str:
        """Return the token of a new session; raises SignInRefused, which does not tell what was wrong."""
        row = await self._row(name)
        fits = await self._fits(row.password if row else _NOBODY, password)
        now = seam.now()
        if row is None or row.ended_at is not None or (row.locked_until or 0) > now:
            raise SignInRefused
        step = _step_of(row, code, now)
        if not fits or step is None:
            await self._database.transaction(lambda c: _fail(c, row, now))
            raise SignInRefused
        return await self._open_session(row, step, now)

    async def find(self, token: str) -> Operator | None:
        """Return whose session this is, None when it has ended or is none."""
        digest, now = _digest(token), seam.now()
        joined = SESSIONS.join(OPERATORS, SESSIONS.c.operator == OPERATORS.c.name)
        wanted = select(SESSIONS, OPERATORS.c.role, OPERATORS.c.totp_secret).select_from(joined)
        here = wanted.where(SESSIONS.c.sha256 == digest, OPERATORS.c.ended_at.is_(None))
        row = (await self._database.read(lambda c: c.execute(here))).first()
        if row is None or row.ends_at <= now or row.seen_at + IDLE <= now:
            return None
        if row.seen_at + _NOTED <= now:
            seen = update(SESSIONS).where(SESSIONS.c.sha256 == digest).values(seen_at=now)
            await self._database.transaction(lambda c: c.execute(seen))
        return Operator(row.operator, Role(row.role), row.totp_secret is not None)

    async def sign_out(self, token: str) -> None:
        """End a session."""
        this = delete(SESSIONS).where(SESSIONS.c.sha256 == _digest(token))
        await self._database.transaction(lambda c: c.execute(this))

    async def change_password(self, name: str, old: str, new: str) -> None:
        """Give an operator another password, and end all sessions.

        Raises SignInRefused when ``old`` is wrong, InvalidRequest when ``new`` is unfit.
        """
        require_password(new)
        row = await self._row(name)
        if row is None or not await self._fits(row.password, old):
            raise SignInRefused
        hashed = await self._hash(new)
        await change(self._database, name, Act(name, "password", name), password=hashed)

    async def add_totp(self, name: str, secret: str, code: str) -> None:
        """Demand a code from now on; raises InvalidRequest unless ``code`` is one of ``secret``'s now."""
        step = _matching(secret, code, seam.now(), after=0)
        if step is None:
            raise InvalidRequest("The code does not fit.", field="code")
        values = {"totp_secret": secret, "totp_step": step}
        await change(self._database, name, Act(name, "totp_added", name), **values)

    async def _row(self, name: str) -> Row[Any] | None:
        if not 0 < len(name.encode()) <= 64:
            return None
        this = select(OPERATORS).where(OPERATORS.c.name == name)
        return (await self._database.read(lambda c: c.execute(this))).first()

    async def _fits(self, hashed: str, password: str) -> bool:
        async with self._hashing:
            return await asyncio.to_thread(_fits, hashed, password)

    async def _hash(self, password: str) -> str:
        async with self._hashing:
            return await asyncio.to_thread(_HASHER.hash, password)

    async def _open_session(self, row: Row[Any], step: int, now: int) -> str:
        token = seam.world.random_bytes(32).hex()
        session = {
            "sha256": _digest(token),
            "operator": row.name,
            "created_at": now,
            "seen_at": now,
            "ends_at": now + _WHOLE,
        }
        succeeded = update(OPERATORS).values(failures=0, locked_until=None, totp_step=step)
        as_read = (OPERATORS.c.name == row.name, OPERATORS.c.totp_step == row.totp_step)

        async def body(connection: AsyncConnection) -> None:
            found = await connection.execute(succeeded.where(*as_read))
            if step != row.totp_step and not found.rowcount:
                raise SignInRefused  # the code was used meanwhile
            await connection.execute(delete(SESSIONS).where(SESSIONS.c.ends_at <= now))
            await connection.execute(insert(SESSIONS), [session])
            await audit.record(connection, Act(row.name, "sign_in", row.name))

        await self._database.transaction(body)
        return token


async def create(database: Database, name: str, role: Role, by: str) -> str:
    """Store a new operator and return the password, which nobody can read again; raises Conflict, InvalidRequest."""
    if not 0 < len(name.encode()) <= 64 or not name.isprintable() or name != name.strip():
        raise InvalidRequest("A name is 1 to 64 bytes of text.", field="name")
    password = _new_password()
    row = {
        "name": name,
        "role": role.value,
        "password": _HASHER.hash(password),
        "totp_step": 0,
        "failures": 0,
        "created_at": seam.now(),
    }

    async def body(connection: AsyncConnection) -> None:
        same = select(OPERATORS.c.name).where(OPERATORS.c.name == name)
        if await connection.scalar(same) is not None:
            raise Conflict("There is an operator of that name, or was one.")
        await connection.execute(insert(OPERATORS), [row])
        await audit.record(connection, Act(by, "operator_created", name, {"role": role.value}))

    await database.transaction(body)
    return password


async def reset_password(database: Database, name: str, by: str) -> str:
    """Give an operator a new password, without a second factor, and return it; raises Conflict."""
    password = _new_password()
    values = {"password": _HASHER.hash(password), "totp_secret": None, "locked_until": None}
    await change(database, name, Act(by, "password_reset", name), failures=0, **values)
    return password


async def set_role(database: Database, name: str, role: Role, by: str) -> None:
    """Give an operator another role; raises Conflict."""
    await change(database, name, Act(by, "role", name, {"role": role.value}), role=role.value)


async def end(database: Database, name: str, by: str) -> None:
    """Let an operator in no more; raises Conflict."""
    await change(database, name, Act(by, "operator_ended", name), ended_at=seam.now())


async def change(database: Database, name: str, act: Act, **values: Any) -> None:
    """Change an operator who is still one, end all sessions, and put it on record; raises Conflict."""
    this = (OPERATORS.c.name == name, OPERATORS.c.ended_at.is_(None))

    async def body(connection: AsyncConnection) -> None:
        found = await connection.execute(select(OPERATORS.c.name).where(*this).with_for_update())
        if found.first() is None:
            raise Conflict("There is no such operator.")
        await connection.execute(update(OPERATORS).where(*this).values(**values))
        await connection.execute(delete(SESSIONS).where(SESSIONS.c.operator == name))
        await audit.record(connection, act)

    await database.transaction(body)


async def list_operators(database: Database) -> Sequence[Row[Any]]:
    """Return all operators by name: ``name, role, has_totp, created_at, ended_at``, without what lets anybody in."""
    columns = (OPERATORS.c.name, OPERATORS.c.role, OPERATORS.c.created_at, OPERATORS.c.ended_at)
    has_totp = OPERATORS.c.totp_secret.is_not(None).label("has_totp")
    wanted = select(*columns, has_totp).order_by(OPERATORS.c.name)
    return (await database.read(lambda c: c.execute(wanted))).all()


def require_password(password: str) -> None:
    """Raise InvalidRequest for a password that is too short, or too long to hash."""
    if not SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        limits = f"{SHORTEST_PASSWORD} to {_LONGEST_PASSWORD}"
        raise InvalidRequest(f"A password has {limits} characters.", field="new")


def new_totp_secret() -> str:
    """Return a new secret for codes that change with time (RFC 6238): 160 bits in Base32."""
    return base64.b32encode(seam.world.random_bytes(20)).decode()


def totp_uri(secret: str, name: str) -> str:
    """Return what an authenticator scans (Key Uri Format of Google Authenticator)."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="payplat")


async def _fail(connection: AsyncConnection, row: Row[Any], now: int) -> None:
    """Count a wrong try, and let the next one wait where there were many."""
    failures = OPERATORS.c.failures + 1
    extra = row.failures + 1 - _FREE_FAILURES
    lock = now + min(_FIRST_LOCK << min(extra, 10), _LONGEST_LOCK) if extra >= 0 else None
    this = update(OPERATORS).where(OPERATORS.c.name == row.name)
    await connection.execute(this.values(failures=failures, locked_until=lock))


def _step_of(row: Row[Any], code: str, now: int) -> int | None:
    """Return the thirty seconds that the code is of, the last ones used where none is demanded, None for a wrong one."""
    if row.totp_secret is None:
        return int(row.totp_step)
    return _matching(row.totp_secret, code, now, after=row.totp_step)


def _matching(secret: str, code: str, now: int, after: int) -> int | None:
    """Return which of the thirty seconds around ``now`` the code is of, if it comes ``after`` those used last."""
    present, totp = now // _TOTP_STEP, pyotp.TOTP(secret)
    around = range(max(present - 1, after + 1), present + 2)
    return next(
        (step for step in around if pyotp.utils.strings_equal(totp.generate_otp(step), code)), None
    )


def _fits(hashed: str, password: str) -> bool:
    try:
        return len(password) <= _LONGEST_PASSWORD and _HASHER.verify(hashed, password)
    except VerificationError:
        return False


def _new_password() -> str:
    return base64.b32encode(seam.world.random_bytes(15)).decode().lower()


def _digest(token: str) -> str:
    """256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()
