"""What workers must do: claims and leases, checks, deliveries and duties, in plain dictionaries.

Work of several transactions is a generator: it yields wherever a crash may leave things as they are then.
"""

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from payplat import seam
from payplat.purchase import Evidence, Order, Source, Verdict
from tests.ledger.build import refund
from tests.prove.model_books import sha256
from tests.prove.model_ledger import Ledger
from tests.prove.model_state import Kept, Sold, State, Work
from tests.prove.model_words import TERMS, Answer, Key, Told, nothing_bought, number_of

SECOND = seam.SECOND
LEASE, MARGIN = 30 * SECOND, 60 * SECOND
_NOTHING = Evidence(Source.RECONCILE, b"")
_LATER = ("silent", "misconfigured")
_TROUBLE = (*_LATER, "refuses", "forged")
Doing = Generator[None, None, str]


@dataclass(frozen=True)
class Claim:
    """A claimed row as it stood then, by whom; ``edition`` is its event's, which a loss may replace."""

    queue: str
    key: Key
    who: int
    token: int
    row: Any
    edition: int = 0


class Queues(Ledger):
    """The workers' part; ``goods`` are the orders as they were drafted, by number, ``claims`` what workers hold."""

    def __init__(self, goods: Mapping[int, Order], state: State) -> None:
        super().__init__(state, TERMS)
        self.goods, self.claims = goods, list[Claim]()
        self.answers: deque[Answer] = deque()

    def due(self, queue: str, lane: str) -> list[tuple[Key, Any]]:
        """Return what waits in a lane and whose time has come, in the order of the names."""
        rows = ((key, row) for key, row in self.rows(queue, lane) if self.due_at(row) is not None)
        return sorted(
            (each for each in rows if self.due_at(each[1]) <= self.state.now), key=lambda e: e[0]
        )

    def rows(self, queue: str, lane: str) -> Iterator[tuple[Key, Any]]:
        """Yield what is in a lane."""
        if queue == "checks":
            orders = self.state.orders.items()
            yield from (((int(n, 16),), o) for n, o in orders if o.goods.channel == lane)
        elif queue == "duties":
            duties = self.state.duties.items()
            mine = ((k, d) for k, d in duties if self.state.orders[k[0]].goods.channel == lane)
            yield from ((key_of(key), duty) for key, duty in mine)
        elif lane not in self.state.paused:
            ways = self.state.deliveries.items()
            yield from ((key_of(key), way) for key, way in ways if key[3] == lane)

    def due_at(self, row: Sold | Work) -> Any:
        """Return when a row wants to be claimed, None if never."""
        if isinstance(row, Sold):
            return row.next_check_at
        return row.due_at if row.status == "due" else None

    def claim(self, who: int, queue: str, lane: str) -> str:
        """Take what is due for a while."""
        found = self._claimed(who, queue, lane)
        self.claims += found
        return str([claim.key for claim in found])

    def serve(self, who: int, queue: str, lane: str) -> Doing:
        """Take what is due, and work on it."""
        done: list[tuple[Key, str]] = []
        for claim in self._claimed(who, queue, lane):
            answer = yield from self.perform(claim)
            done += [(claim.key, answer)]
        return str(done)

    def extend(self, who: int, queue: str) -> str:
        """Hold on to what is still one's own."""
        mine = [claim for claim in self.claims if (claim.who, claim.queue) == (who, queue)]
        held = [row for row in map(self._claimed_row, mine) if row is not None]
        for row in held:
            if isinstance(row, Sold):
                row.next_check_at = self.state.now + LEASE
            else:
                row.due_at = self.state.now + LEASE
        return str(len(held))

    def _claimed_row(self, claim: Claim) -> Any:
        """Return the row if it is still the claim's."""
        if claim.queue == "checks":
            row: Any = self.sold(claim.key[0])
        else:
            row = getattr(self.state, claim.queue)[row_of(claim.key)]
        return row if row.token == claim.token else None

    def work(self, who: int, index: int) -> Doing:
        """Work on what was claimed some time ago, whoever else holds it by now."""
        return (yield from self.perform(self.claims.pop(index)))

    def _claimed(self, who: int, queue: str, lane: str) -> list[Claim]:
        found, until = [], self.state.now + LEASE
        for key, row in self.due(queue, lane):
            row.token = self.name()
            if isinstance(row, Sold):
                row.next_check_at = until
            else:
                row.due_at = until
            edition = self.state.events[row_of(key)[:3]] if queue == "deliveries" else 0
            found.append(Claim(queue, key, who, row.token, copy(row), edition))
        return found

    def perform(self, claim: Claim) -> Doing:
        """Work on what was claimed."""
        if claim.queue == "checks":
            return (yield from self.check(claim))
        if claim.queue == "duties":
            return (yield from self._do_duty(claim))
        return self._deliver_once(claim)

    def _deliver_once(self, claim: Claim) -> str:
        key = row_of(claim.key)
        if self.state.events[key[:3]] != claim.edition:
            return "gone"
        reply, way = self._next("200"), self.state.deliveries[key]
        if way.token != claim.token:
            return ""
        way.token = None
        if reply == "200":
            way.status = "delivered"
            if key[1] == "order.paid":
                self._goods_arrived(key[0])
        elif reply == "410":
            way.due_at = self.state.now
            self.state.paused.add(key[3])
        else:
            patience = 120 if "!" in str(reply) else 0
            self._failed(way, claim.row.failures + 1, most=2, patience=patience)
        return ""

    def _goods_arrived(self, number: str) -> None:
        for (order, _, _), duty in self.state.duties.items():
            is_idle = duty.status == "due" and not duty.failures and duty.token is None
            if order == number and is_idle:
                duty.due_at = min(duty.due_at, self.state.now)

    def _failed(self, work: Work, failures: int, *, most: int, patience: int = 0) -> None:
        work.failures = failures
        if failures >= most:
            work.status = "exhausted"
        else:
            work.due_at = self.state.now + max(10 * 3 ** (failures - 1), patience) * SECOND

    def _do_duty(self, claim: Claim) -> Doing:
        number, what, cause = row_of(claim.key)
        sold, duty = self.state.orders[number], self.state.duties[number, what, cause]
        ok, told = True, None
        if what != "refund" or sold.status != "refunded":
            answer = self._next("done")
            ok = answer == "done" or (what != "refund" and answer not in _TROUBLE)
            if answer == "refunded" and what != "refund":
                told = self._all_back(sold, f"{number}:store")
            elif what == "refund" and answer == "done":
                told = self._all_back(sold, f"{number}_{cause}")
        if told is not None:
            result = self.settle(told)
            ok = what != "refund" or result in ("refunded", "repeated")
            yield
        if duty.token == claim.token:
            duty.token = None
            if ok:
                duty.status = "done"
            else:
                self._failed(duty, claim.row.failures + 1, most=2)
        return ""

    def _all_back(self, sold: Sold, key: str) -> Verdict:
        transaction = sold.paid_by[3] if sold.paid_by else ""
        return refund(sold.goods, key, whole=True, transaction_id=transaction)

    # --- Asking about orders ---

    def check(self, claim: Claim, due_at: int = 0) -> Doing:
        """Ask about a claimed order; before its time, ``due_at``, its schedule stays as it is."""
        number, before = number_of(claim.key[0]), claim.row
        waiting = self.waiting(number) if before.waits else []
        is_open = False
        for kept in list(waiting):
            is_open |= not (yield from self._examine(number, kept))
        if not waiting and before.status == "pending":
            answer = self._ask(number)
            if answer == "forged":
                return "NotAuthentic"
            if isinstance(answer, Verdict):
                self.settle(answer)
                yield
        order = self.state.orders[number]
        if order.token == claim.token:
            goes_on, order.token = is_open or order.status == "pending", None
            is_early = due_at > self.state.now
            order.checks, order.checked_at = before.checks + (not is_early), self.state.now
            order.waits = is_open
            due_at = due_at if is_early else self._next_check(order, is_open)
            order.next_check_at = due_at if goes_on else None
        return ""

    def _examine(self, number: str, kept: Kept) -> Generator[None, None, bool]:
        sold, evidence = self.state.orders[number], Evidence(Source(kept.source), kept.raw)
        answer, reason = self._next(Told(kind="pending")), ""
        if answer in _LATER:
            return False
        if isinstance(answer, Told):
            told = answer.verdict(self.goods, sold.goods, evidence)
            if told.state == "pending":
                return False
            self.settle(told)
            yield
            reason = "state" if told.state == "unknown" else ""
        else:
            reason = "refused"
        asked = self.state.evidence[self.evidence_name(sold, kept.raw)]
        if asked.state == "waiting":
            asked.state = "quarantined" if reason else "used"
        yield
        return True

    def _ask(self, number: str) -> Verdict | str:
        sold = self.state.orders[number]
        is_over = self.state.now > sold.goods.expires_at + MARGIN
        if not self.knows(sold):
            return nothing_bought(is_over=is_over).verdict(self.goods, sold.goods, _NOTHING)
        answer = self._next(Told(kind="pending"))
        if is_over and isinstance(answer, Told) and answer.kind == "pending":
            answer = self._next(Told(kind="pending"))
        return answer.verdict(self.goods, sold.goods) if isinstance(answer, Told) else answer

    def _next_check(self, order: Sold, is_open: bool) -> int:
        now, closing = self.state.now, order.goods.expires_at + MARGIN + SECOND
        due = now + min(3600, 15 * 2**order.checks) * SECOND
        if now >= closing:
            return due
        return min(due, closing) if is_open or self.knows(order) else closing

    # --- Looking things up ---

    def _next(self, usual: Answer) -> Answer:
        return self.answers.popleft() if self.answers else usual

    def sold(self, order: int) -> Sold:
        """Return an order."""
        return self.state.orders[number_of(order)]

    def waiting(self, number: str) -> list[Kept]:
        """Return what of an order's evidence waits."""
        kept = self.state.evidence.values()
        return [each for each in kept if each.state == "waiting" and each.order == number]

    def knows(self, sold: Sold) -> bool:
        """Tell whether its company knows the order by our number."""
        return not sold.goods.channel.startswith("store")

    def evidence_name(self, sold: Sold, raw: bytes) -> tuple[str, str, str]:
        """Return how evidence is named."""
        return sold.goods.kind, sold.goods.environment, sha256(raw)


def row_of(key: Key) -> Any:
    """Return a step's name of a row as the dictionaries have it."""
    return (number_of(key[0]), *key[1:])


def key_of(row: Key) -> Key:
    """Return a row's name as steps have it."""
    return (int(row[0], 16), *row[1:])
