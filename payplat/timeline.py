"""The timeline: what happened to an order and why, put together from its rows, oldest first."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payplat.database import Database
from payplat.masking import masked
from payplat.models import ATTEMPTS, DELIVERIES, DUTIES, EVENTS, EVIDENCE, TIMELINE
from payplat.purchase import Order
from payplat.seam import rfc3339
from payplat.telling import checks, told

# So many messages of one order are shown, the first ones.
_MOST_MESSAGES = 50
# An order's deliveries are found by their events, which have the index.
_DELIVERIES = EVENTS.join(DELIVERIES, DELIVERIES.c.event_id == EVENTS.c.event_id)
Rows = Sequence[Row[Any]]


class _Moment(NamedTuple):
    at: int
    what: str
    actor: str
    detail: dict[str, Any]


class Timeline:
    """Reads timelines from one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, order: Order) -> list[dict[str, Any]]:
        """Return ``[{at, what, actor, detail, told, checks, message}]``; ``at`` is RFC 3339 in UTC.

        ``told`` is one sentence by language; ``checks`` as ``telling.checks`` makes them; ``message`` is what the
        provider or client sent, masked, or None: ``{source, state, reason, raw, answer}``.
        """

        async def body(connection: AsyncConnection) -> Sequence[Rows]:
            evidence = select(EVIDENCE).where(EVIDENCE.c.order_no == order.order_no)
            statements = (
                select(TIMELINE).where(TIMELINE.c.order_no == order.order_no),
                _attempts(
                    _DELIVERIES,
                    ATTEMPTS.c.delivery_id,
                    DELIVERIES,
                    EVENTS,
                    DELIVERIES.c.endpoint,
                    order,
                ),
                _attempts(DUTIES, ATTEMPTS.c.duty_id, DUTIES, DUTIES, DUTIES.c.what, order),
                evidence.order_by(EVIDENCE.c.id).limit(_MOST_MESSAGES),
            )
            return [(await connection.execute(statement)).all() for statement in statements]

        lines, deliveries, duties, evidence = await self._database.read(body)
        moments = [_Moment(order.created_at, "opened", "client", {"method": order.method})]
        moments += [_Moment(r.at, r.what, r.actor, json.loads(r.detail)) for r in lines]
        moments += [_tried(row, "delivery_attempt", "endpoint") for row in deliveries]
        moments += [_tried(row, "duty_attempt", "duty") for row in duties]
        moments += _untold(evidence, moments)
        moments.sort(key=lambda moment: moment.at)
        messages = {row.sha256: row for row in evidence}
        # A message is shown once: where it was spoken of last, which is what came of it.
        return [_entry(order, moment, messages) for moment in reversed(moments)][::-1]


def _attempts(work: Any, owner: Any, table: Table, of: Table, name: Any, order: Order) -> Any:
    """Select the attempts at the order's ``work``, whose order stands in the table ``of``."""
    joined = work.join(ATTEMPTS, owner == table.c.id)
    named = select(ATTEMPTS, name.label("name")).select_from(joined)
    return named.where(of.c.order_no == order.order_no)


def _tried(row: Row[Any], what: str, label: str) -> _Moment:
    detail = {label: row.name, "ok": bool(row.ok), "milliseconds": row.milliseconds}
    detail |= {"status": row.status} if row.status else {}
    detail |= {"error": row.error} if row.error else {}
    return _Moment(row.at, what, "relay", detail)


def _untold(evidence: Rows, moments: Sequence[_Moment]) -> Iterator[_Moment]:
    """Yield a moment for each message that no line speaks of."""
    spoken_of = {moment.detail.get("evidence") for moment in moments}
    for row in evidence:
        if row.sha256 not in spoken_of:
            detail = {"state": row.state, "reason": row.reason, "evidence": row.sha256}
            yield _Moment(row.created_at, "evidence_kept", row.source, detail)


def _entry(order: Order, moment: _Moment, messages: dict[str, Row[Any]]) -> dict[str, Any]:
    """Return a moment as it is told, with its message, which is taken from ``messages``."""
    at, what, actor, detail = moment
    row = messages.pop(detail.get("evidence", ""), None)
    return {
        "at": rfc3339(at),
        "what": what,
        "actor": actor,
        "detail": detail,
        "told": told(order, what, actor, detail),
        "checks": checks(what, detail),
        "message": _message(row) if row else None,
    }


def _message(row: Row[Any]) -> dict[str, Any]:
    stands = {"source": row.source, "state": row.state, "reason": row.reason}
    answer = masked(bytes(row.answer)) if row.answer else None
    return {**stands, "raw": masked(bytes(row.raw)), "answer": answer}
