"""Takes the model's steps on the real ledger, its queues and its jobs, over one database of either engine."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, delete, select

from payplat import deliveries, duties, seam
from payplat.database import Database
from payplat.deliveries import Ended
from payplat.endpoints import pause, resume
from payplat.errors import PayplatError
from payplat.models import DELIVERIES, DUTIES, EVENTS
from payplat.purchase import Evidence, Order, Source
from payplat.reconcile import first_check
from payplat.rows import Draft
from payplat.sweeps import UntoldOrders
from tests.ledger.build import Crash, draft, fetch, in_world
from tests.prove.model_company import Company
from tests.prove.model_process import CHECKED, Held, Process, small_limits
from tests.prove.model_words import TERMS, Answer, Fault, Key, Step, Told, number_of
from tests.prove.model_world import ModelWorld

PROCESSES = 3


class Play:
    """One example on one database; ``run`` runs a coroutine to its end. ``orders`` are the drafts by number."""

    def __init__(self, database: Database, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self.database, self._run = database, run
        self.world = ModelWorld()
        self.orders: dict[int, Order] = {}
        self.held: list[Held] = []
        self._answers: deque[Answer] = deque()
        self._companies = {
            name: Company(self.orders, self._answers, is_store=name.startswith("store"))
            for name in TERMS
        }
        with in_world(self.world):
            self._processes = [self._process(who) for who in range(PROCESSES)]

    def take(self, step: Step) -> str:
        """Take a step and return what came of it, in words that do not depend on the engine."""
        self.world.time += 1000
        self.world.arm(step.fault)
        with in_world(self.world), small_limits():
            return self._run(self._take(step))

    async def _take(self, step: Step) -> str:
        work = getattr(self, f"_{step.action}")(**step.given)
        self.world.caller = asyncio.create_task(work)
        try:
            return await self.world.caller
        except (PayplatError, Crash, asyncio.CancelledError) as error:
            return type(error).__name__
        finally:
            if self.world.is_struck and step.fault is not None and "who" in step.given:
                await self._recover(step.fault, step.given["who"])

    async def _recover(self, fault: Fault, who: int) -> None:
        """Let what goes on in the background come to its end, and start a process that died again."""
        await self._processes[who].drain()
        self._processes[who] = self._process(who)
        if fault.what == "dies":
            self._lose_claims(who)

    def _lose_claims(self, who: int) -> None:
        self.held = [held for held in self.held if held.who != who]

    def _process(self, who: int) -> Process:
        return Process(who, self.database, self._companies)

    # --- Clients and companies ---

    async def _open(
        self, who: int, number: int, channel: str, receiver: str, idempotency: str, body: str
    ) -> str:
        made = self._draft(number, channel, receiver, idempotency or None, body)
        order, is_new = await self._processes[who].orders.open(made)
        return f"{int(order.order_no, 16)} {is_new}"

    def _draft(self, number: int, channel: str, receiver: str, key: str | None, body: str) -> Draft:
        made = draft(channel, key=key, body=body, order_no=number_of(number), receiver=receiver)
        self.orders[number] = order = made.order
        first = first_check(self._companies[channel], CHECKED, order.expires_at, order.created_at)
        return replace(made, next_check_at=first)

    async def _settle_all(self, who: int, told: list[Told]) -> str:
        settle = self._processes[who].orders.settle
        verdicts = [each.verdict(self.orders) for each in told]
        answers = await asyncio.gather(*map(settle, verdicts), return_exceptions=True)
        return ", ".join(map(_answer, answers))

    async def _race(self, order: int, told: list[Told | str]) -> str:
        """Let two decide about an order at once; the first comes to its COMMIT before the second begins."""
        self.world.lingered = asyncio.Event()
        first = asyncio.create_task(self._decide(0, order, told[0]))
        arrived = asyncio.create_task(self.world.lingered.wait())
        await asyncio.wait((first, arrived), return_when=asyncio.FIRST_COMPLETED)
        self.world.lingered.set()
        second = self._decide(1, order, told[1])
        answers = await asyncio.gather(first, second, return_exceptions=True)
        arrived.cancel()
        return ", ".join(map(_answer, answers))

    async def _decide(self, who: int, order: int, told: Told | str) -> Any:
        if isinstance(told, Told):
            return await self._processes[who].orders.settle(told.verdict(self.orders))
        return await getattr(self, f"_{told}")(who, order)

    async def _prepare(self, who: int, order: int, seconds: float) -> str:
        await self._processes[who].orders.begin_preparation(number_of(order), seconds)
        return ""

    async def _prepared(self, who: int, order: int) -> str:
        await self._processes[who].orders.end_preparation(number_of(order), {"form": "…"})
        return ""

    async def _keep_receipt(self, who: int, order: int, receipt: str, seconds: int) -> str:
        due_at = self.world.now() + seconds * seam.SECOND
        await self._processes[who].orders.waiting.keep(self.orders[order], kept(receipt), due_at)
        return ""

    async def _look(self, who: int, order: int, answers: list[Answer]) -> str:
        self._say(answers)
        process = self._processes[who]
        found = await process.reconciler.refresh(await process.orders.get(number_of(order)))
        return found.status.value

    # --- Operators ---

    async def _release(self, who: int, order: int) -> str:
        done = await self._processes[who].orders.release(number_of(order), "operator")
        return done.status.value

    async def _give_back(self, who: int, order: int) -> str:
        done = await self._processes[who].orders.give_back(number_of(order), "operator")
        return done.status.value

    async def _pause(self, endpoint: str) -> str:
        await self.database.transaction(lambda c: pause(c, self.database, endpoint, "operator"))
        return ""

    async def _resume(self, endpoint: str) -> str:
        await resume(self.database, endpoint)
        return ""

    async def _resend(self, key: Key) -> str:
        order, kind, cause, endpoint = key
        wanted = _events(order, kind, cause).join(
            DELIVERIES, DELIVERIES.c.event_id == EVENTS.c.event_id
        )
        wanted = wanted.with_only_columns(DELIVERIES.c.id).where(DELIVERIES.c.endpoint == endpoint)
        await deliveries.resend(self.database, await self._id(wanted), "operator")
        return ""

    async def _resend_duty(self, key: Key) -> str:
        order, what, cause = key
        mine = (DUTIES.c.order_no == number_of(order), DUTIES.c.what == what)
        wanted = select(DUTIES.c.id).where(*mine, DUTIES.c.cause == cause)
        await duties.resend(self.database, await self._id(wanted), "operator")
        return ""

    async def _resend_all(self, ended: str, endpoint: str | None) -> str:
        span = (0, self.world.now() + 365 * 86_400 * seam.SECOND)
        again = Ended(ended), *span, endpoint, "operator"
        return str(await deliveries.resend_all(self.database, *again))

    async def _id(self, wanted: Any) -> int:
        (row,) = await fetch(self.database, wanted)
        return int(row["id"])

    # --- Queues ---

    async def _claim(self, who: int, queue: str, lane: str) -> str:
        found = await self._processes[who].claim(queue, lane)
        self.held += found
        return str([held.key for held in found])

    async def _serve(self, who: int, queue: str, lane: str, answers: list[Answer]) -> str:
        self._say(answers)
        process = self._processes[who]
        found = await process.claim(queue, lane)
        return str([(held.key, await process.perform(held)) for held in found])

    async def _work(self, who: int, index: int, answers: list[Answer]) -> str:
        self._say(answers)
        return await self._processes[who].perform(self.held.pop(index))

    async def _extend(self, who: int, queue: str) -> str:
        mine = [held for held in self.held if (held.who, held.queue) == (who, queue)]
        return str(await self._processes[who].extend(queue, mine))

    def _say(self, answers: list[Answer]) -> None:
        self._answers.clear()
        self._answers.extend(answers)
        self.world.replies = deque(answer for answer in answers if isinstance(answer, str))

    # --- Troubles ---

    async def _lose(self, who: int, key: Key, event: bool) -> str:
        """Lose an event's deliveries, or event and all, as no code of ours does; then sweep until it is found."""
        ids = _events(*key)
        async with self.database.engine.begin() as connection:
            lost = list((await connection.execute(ids)).scalars())
            await connection.execute(delete(DELIVERIES).where(DELIVERIES.c.event_id.in_(lost)))
            if event:
                await connection.execute(delete(EVENTS).where(EVENTS.c.event_id.in_(lost)))
        sweep = partial(UntoldOrders(self.database, TERMS).run, "")
        try:
            return await sweep()
        except (PayplatError, Crash):
            self.world.arm(None)
            return await sweep()

    async def _drop(self, who: int) -> str:
        """End a process that has nothing in hand but what it claimed."""
        self._processes[who] = self._process(who)
        self._lose_claims(who)
        return ""

    async def _let_pass(self, seconds: int) -> str:
        self.world.time += seconds * seam.SECOND
        return ""


def kept(receipt: str) -> Evidence:
    """Return evidence as a client submits it."""
    return Evidence(Source.VERIFY, receipt.encode())


def _events(order: int, kind: str, cause: str) -> Any:
    named: tuple[ColumnElement[bool], ...] = (EVENTS.c.type == kind, EVENTS.c.cause == cause)
    return select(EVENTS.c.event_id).where(EVENTS.c.order_no == number_of(order), *named)


def _answer(answer: Any) -> str:
    """Return what came of a decision in words; what no caller is promised is a fault of the ledger."""
    if isinstance(answer, PayplatError | Crash):
        return type(answer).__name__
    if isinstance(answer, BaseException):
        raise answer
    if isinstance(answer, str):
        return answer
    return f"{answer.result}:{answer.field}" if answer.field else str(answer.result)
