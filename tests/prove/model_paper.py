"""An installation on paper: what clients, operators and troubles must lead to, beside ledger and workers."""

import pickle
from collections import deque
from collections.abc import Mapping
from copy import copy
from inspect import isgenerator

from payplat.purchase import Order
from tests.prove.model_queues import LEASE, MARGIN, SECOND, Claim, Doing, Queues, row_of
from tests.prove.model_state import Kept, Sold, State, Work
from tests.prove.model_words import Key, Step, Told, number_of
from tests.prove.model_world import EPOCH

FRESH = 5 * SECOND
MOST_WAITING = 2


class Expected(Queues):
    """All that one installation must hold; ``goods`` are the orders as they were drafted, by number."""

    def __init__(self, goods: Mapping[int, Order]) -> None:
        super().__init__(goods, State(EPOCH))

    def take(self, step: Step, answer: str, *, failed: bool, died: bool) -> tuple[str, list[State]]:
        """Take a step; return what must come of it, and how things may stand on the way when it ``failed``."""
        self.state.now += 1000
        self.answers = deque(step.given.get("answers", []))
        claims = list(self.claims)
        stages = [self._copied()] if failed else []
        given = {name: value for name, value in step.given.items() if name != "answers"}
        doing = getattr(self, step.action)(**given)
        while isgenerator(doing):
            try:
                next(doing)
            except StopIteration as end:
                doing = end.value
            if failed:
                stages.append(self._copied())
        if step.action == "claim" and answer != doing:
            self.claims = claims  # nobody knows that it claimed them
        if died:
            self.drop(step.given["who"])
        return doing, [*stages, self.state]

    def _copied(self) -> State:
        return pickle.loads(pickle.dumps(self.state))  # several times faster than deepcopy

    # --- Clients and companies ---

    def open(
        self, who: int, number: int, channel: str, receiver: str, idempotency: str, body: str
    ) -> str:
        """Open an order, or find the one that the key opened."""
        state, goods = self.state, self.goods[number]
        known, known_body = state.keys.get((receiver, idempotency), ("", ""))
        if idempotency and known:
            return f"{int(known, 16)} False" if known_body == body else "IdempotencyMismatch"
        if idempotency:
            state.keys[receiver, idempotency] = (goods.order_no, body)
        closing = goods.expires_at + MARGIN + SECOND
        first = closing if channel.startswith("store") else state.now + 15 * SECOND
        sold = Sold(goods, first, amount=goods.amount, currency=goods.currency)
        state.orders[goods.order_no] = sold
        return f"{number} True"

    def settle_all(self, who: int, told: list[Told]) -> Doing:
        """Settle what is told, one after the other."""
        results = []
        for each in told:
            results.append(self.settle(each.verdict(self.goods)))
            yield
        return ", ".join(results)

    def race(self, order: int, told: list[Told | str]) -> Doing:
        """Let the first decide, then the second."""
        first = self._decide(order, told[0])
        yield
        return f"{first}, {self._decide(order, told[1])}"

    def _decide(self, order: int, told: Told | str) -> str:
        if isinstance(told, Told):
            return self.settle(told.verdict(self.goods))
        return str(getattr(self, told)(0, order))

    def prepare(self, who: int, order: int, seconds: float) -> str:
        """Become the only one who asks for the order's payment parameters."""
        sold = self.sold(order)
        if sold.preparing_until > self.state.now:
            return "StillRunning"
        sold.preparing_until = self.state.now + int(seconds * SECOND)
        return ""

    def prepared(self, who: int, order: int) -> str:
        """Let others ask."""
        self.sold(order).preparing_until = 0
        return ""

    def keep_receipt(self, who: int, order: int, receipt: str, seconds: int) -> str:
        """Let evidence wait, unless it waits already, or too much does."""
        sold, raw = self.sold(order), receipt.encode()
        number, waiting = sold.goods.order_no, self.waiting(sold.goods.order_no)
        if raw in [kept.raw for kept in waiting]:
            return ""
        if len(waiting) >= MOST_WAITING:
            return "Overloaded"
        fresh = Kept("waiting", number, None, raw, "verify")
        known = self.state.evidence.setdefault(self.evidence_name(sold, raw), fresh)
        was_put_aside = known.state == "quarantined" and known.order == number
        if known.state == "unclaimed" or was_put_aside:
            known.state, known.order = "waiting", number
        sold.waits, sold.token = True, None
        sold.next_check_at = self.state.now + seconds * SECOND
        return ""

    def look(self, who: int, order: int) -> Doing:
        """Ask about a pending order for whoever looks at it, if nobody does or just did."""
        sold, now = self.sold(order), self.state.now
        can_ask = self.knows(sold) or sold.waits
        is_fresh = sold.checked_at is not None and sold.checked_at > now - FRESH
        is_held = sold.token is not None and (sold.next_check_at or now) > now
        if sold.status == "pending" and can_ask and not is_fresh and not is_held:
            due_at = sold.next_check_at or now
            sold.token, sold.next_check_at = self.name(), now + LEASE
            yield
            claim = Claim("checks", (order,), who, sold.token, copy(sold))
            yield from self.check(claim, due_at)
        return self.sold(order).status

    # --- Operators ---

    def release(self, who: int, order: int) -> str:
        """Deliver a held order, unless its money is on its way back."""
        sold, refunds = self.sold(order), self._owed_back(order)
        if sold.status != "held" or any(duty.status == "due" for duty in refunds):
            return "Conflict"
        self.deliver(sold.goods.order_no, sold)
        return "paid"

    def give_back(self, who: int, order: int) -> str:
        """Owe a held order's money to its payer, once."""
        sold = self.sold(order)
        can_give = self.terms[sold.goods.channel].gives_back
        if sold.status != "held" or self._owed_back(order) or not can_give:
            return "Conflict"
        self.owe(sold.goods.order_no, "refund", "operator", "due")
        return "held"

    def pause(self, endpoint: str) -> str:
        """Let deliveries wait."""
        self.state.paused.add(endpoint)
        return ""

    def resume(self, endpoint: str) -> str:
        """Let them go on."""
        if endpoint not in self.state.paused:
            return "Conflict"
        self.state.paused.remove(endpoint)
        return ""

    def resend(self, key: Key) -> str:
        """Send what has ended once more."""
        return self._again(self.state.deliveries[row_of(key)], ("delivered", "exhausted"))

    def resend_duty(self, key: Key) -> str:
        """Try once more what was given up."""
        return self._again(self.state.duties[row_of(key)], ("exhausted",))

    def resend_all(self, ended: str, endpoint: str | None) -> str:
        """Send all once more that ended so, to one endpoint or all."""
        ways = self.state.deliveries.items()
        mine = [way for key, way in ways if endpoint in (None, key[3]) and way.status == ended]
        for way in mine:
            self._again(way, (ended,))
        return str(len(mine))

    def _again(self, work: Work, ended: tuple[str, ...]) -> str:
        if work.status not in ended:
            return "Conflict"
        work.status, work.due_at, work.failures = "due", self.state.now, 0
        return ""

    def _owed_back(self, order: int) -> list[Work]:
        duties = self.state.duties.items()
        return [d for (n, what, _), d in duties if n == number_of(order) and what == "refund"]

    # --- Troubles ---

    def lose(self, who: int, key: Key, event: bool) -> str:
        """What was lost is made again, and is due."""
        told = row_of(key)
        edition = self.state.events[told]
        for way in [way for way in self.state.deliveries if way[:3] == told]:
            self.state.deliveries[way] = Work("due", self.state.now)
        self.state.events[told] = self.name() if event else edition
        return ""

    def drop(self, who: int) -> str:
        """A process ends, and what it claimed waits for the end of the lease."""
        self.claims = [claim for claim in self.claims if claim.who != who]
        return ""

    def let_pass(self, seconds: int) -> str:
        """Time passes, or a clock is put back."""
        self.state.now += seconds * SECOND
        return ""
