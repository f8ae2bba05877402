"""What people did: every act of an operator, in the console or by command, with its reason; only ever appended."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.database import Database
from payplat.errors import InvalidRequest
from payplat.models import AUDIT

_LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did to what: ``subject`` is an order's number, ``delivery 7``, an endpoint, an operator's name."""

    operator: str
    act: str
    subject: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordedAct(Act):
    """An act on record; ``at`` is RFC 3339 in UTC."""

    id: int = 0
    at: str = ""


def require_reason(reason: str) -> str:
    """Return the reason of an act; raises InvalidRequest when it says nothing or too much."""
    if not reason.strip() or len(reason) > _LONGEST_REASON:
        told = f"An act needs its reason, in at most {_LONGEST_REASON} characters."
        raise InvalidRequest(told, field="reason")
    return reason


async def record(connection: AsyncConnection, act: Act) -> None:
    """Append the act, in the transaction of what was done."""
    row = {
        "at": seam.now(),
        "operator": act.operator,
        "act": act.act,
        "subject": act.subject,
        "detail": json.dumps(act.detail, ensure_ascii=False),
    }
    await connection.execute(insert(AUDIT), [row])


async def list_acts(
    database: Database, *, subject: str | None = None, before: int | None = None, limit: int = 50
) -> Sequence[RecordedAct]:
    """Return the newest acts, of one subject or of all, and those before that id; newest first."""
    wanted = select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
    if subject is not None:
        wanted = wanted.where(AUDIT.c.subject == subject)
    if before is not None:
        wanted = wanted.where(AUDIT.c.id < before)
    rows = (await database.read(lambda c: c.execute(wanted))).all()
    return [
        RecordedAct(
            row.operator, row.act, row.subject, json.loads(row.detail), row.id, seam.rfc3339(row.at)
        )
        for row in rows
    ]
