"""Hypothesis's part: it chooses the steps."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.prove.model_choices import (
    ANSWERS,
    MANY,
    TELLING,
    anything,
    faults,
    faults_but_hang_ups,
    indexes,
    payments,
    processes,
    rivals,
)
from tests.prove.model_example import LANES, Example
from tests.prove.model_play import PROCESSES
from tests.prove.model_words import ENDPOINTS, TERMS, Answer, Fault, Step, Told


class LedgerMachine(RuleBasedStateMachine):
    """Takes steps on an example; which order, claim or row an index means depends on what there is."""

    def begin(self) -> Example:
        """Return a new example."""
        raise NotImplementedError

    def taken(self, step: Step) -> None:
        """Take note of a step that was taken."""

    def ended(self) -> None:
        """Take note of an example that came to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.example = self.begin()
        self._is_broken = False
        self._opened = 0

    def teardown(self) -> None:
        """Make peace, unless something is broken."""
        if not self._is_broken and self.example.taken:
            self.example.finish()
            self.ended()

    def _take(self, rule: str, action: str, fault: Fault | None = None, **given: Any) -> None:
        step = Step(rule, action, given, fault)
        self._is_broken = True
        self.example.take(step)
        self._is_broken = False
        self.taken(step)

    def _settle(
        self, rule: str, who: int, fault: Fault | None, *told: Told, among: str = ""
    ) -> None:
        resolved = [self._resolved(each, among) for each in told]
        self._take(rule, "settle_all", fault, who=who, told=resolved)

    def _resolved(self, told: Any, among: str = "") -> Any:
        """Let indexes mean orders that there are."""
        if not isinstance(told, Told):
            return told
        named = {name: getattr(told, name) for name in ("lender", "key_of")}
        named = {name: self._order(i) for name, i in named.items() if i is not None}
        return replace(told, order=self._order(told.order, among), **named)

    def _answered(self, answers: Sequence[Answer]) -> list[Answer]:
        return [self._resolved(answer) for answer in answers]

    def _order(self, index: int, among: str = "") -> int:
        """Return one of the orders; a low index means one of those statuses, if there is any."""
        orders = self.example.expected.state.orders.items()
        all_of_them = [int(number, 16) for number, _ in orders]
        likely = [int(number, 16) for number, order in orders if order.status in among.split()]
        return self._one_of(likely if likely and index < MANY else all_of_them, index)

    def _one_of(self, things: Sequence[Any], index: int) -> Any:
        return things[index % len(things)]

    # --- Clients ---

    @initialize(channels=st.lists(st.sampled_from(sorted(TERMS)), min_size=2, max_size=4))
    def begins_with(self, channels):
        """Begin with some orders."""
        for channel in channels:
            self._open("begins_with", 0, None, channel, "ann", "", "{}")

    def _open(self, rule, who, fault, channel, receiver, idempotency, body) -> None:
        self._opened += 1
        given = {"receiver": receiver, "idempotency": idempotency, "body": body}
        self._take(rule, "open", fault, who=who, number=self._opened, channel=channel, **given)

    @rule(
        who=processes,
        fault=faults,
        channel=st.sampled_from(sorted(TERMS)),
        receiver=st.sampled_from(["ann", "ben"]),
        idempotency=st.sampled_from(["", "k1", "k1", "k2"]),
        body=st.sampled_from(["{}", "{}", "[]"]),
    )
    def opens(self, who, fault, channel, receiver, idempotency, body):
        """Open an order, or open it again with the same key and the same or another body."""
        self._open("opens", who, fault, channel, receiver, idempotency, body)

    @rule(
        who=processes,
        fault=faults,
        index=indexes,
        seconds=st.sampled_from([1, 20]),
        ends=st.booleans(),
    )
    def prepares(self, who, fault, index, seconds, ends):
        """Ask for payment parameters, or have got them."""
        order = self._order(index)
        if ends:
            self._take("prepares", "prepared", fault, who=who, order=order)
        else:
            self._take("prepares", "prepare", fault, who=who, order=order, seconds=seconds)

    @rule(
        who=processes,
        fault=faults,
        index=indexes,
        receipt=st.sampled_from(["receipt 1", "receipt 2", "receipt 3"]),
        seconds=st.sampled_from([0, 2, 30]),
    )
    def keeps_evidence(self, who, fault, index, receipt, seconds):
        """Keep what a client submitted while nobody can tell."""
        given = {"order": self._order(index), "receipt": receipt, "seconds": seconds}
        self._take("keeps_evidence", "keep_receipt", fault, who=who, **given)

    @rule(who=processes, fault=faults, index=indexes, answers=ANSWERS["checks"])
    def looks(self, who, fault, index, answers):
        """Look at a pending order, so that its provider is asked."""
        given = {"order": self._order(index, "pending"), "answers": self._answered(answers)}
        self._take("looks", "look", fault, who=who, **given)

    # --- Companies ---

    @rule(who=processes, fault=faults, index=indexes)
    def repeats(self, who, fault, index):
        """The very same is told again."""
        said = [step.given["told"] for step in self.example.taken if step.action == "settle_all"]
        self._settle("repeats", who, fault, *(self._one_of(said, index) if said else [Told()]))

    @rule(who=processes, fault=faults, told=st.lists(anything, min_size=2, max_size=4))
    def tells_together(self, who, fault, told):
        """Several share one commit."""
        self._settle("tells_together", who, fault, *told)

    @rule(who=processes, fault=faults, told=payments)
    def pays_late(self, who, fault, told):
        """An order is closed, and then its money comes."""
        resolved = self._resolved(told, "pending")
        end = Told(order=resolved.order, kind="closed", states_payment=False)
        self._take("pays_late", "settle_all", who=who, told=[end])
        self._take("pays_late", "settle_all", fault, who=who, told=[resolved])

    @rule(
        index=indexes,
        first=st.one_of(rivals, rivals, st.sampled_from(["release", "give_back"])),
        second=st.one_of(rivals, rivals, st.sampled_from(["release", "give_back"])),
    )
    def race(self, index, first, second):
        """Two processes decide about one order at once."""
        order = self._order(index)
        told = [
            replace(self._resolved(each), order=order) if isinstance(each, Told) else each
            for each in (first, second)
        ]
        self._take("race", "race", order=order, told=told)

    # --- Queues ---

    @rule(who=processes, index=indexes, answers=ANSWERS["checks"])
    def serves_checks(self, who, index, answers):
        """A worker asks about the orders of a channel that are due."""
        self._serve("serves_checks", "checks", who, index, answers)

    @rule(who=processes, index=indexes, answers=ANSWERS["deliveries"])
    def serves_deliveries(self, who, index, answers):
        """A worker delivers what is due to an endpoint."""
        self._serve("serves_deliveries", "deliveries", who, index, answers)

    @rule(who=processes, index=indexes, answers=ANSWERS["duties"])
    def serves_duties(self, who, index, answers):
        """A worker does what is owed in a channel."""
        self._serve("serves_duties", "duties", who, index, answers)

    def _serve(self, rule, queue, who, index, answers) -> None:
        if index < MANY and not any(name == queue for name, _ in self.example.due_lanes()):
            self._take(rule, "let_pass", seconds=self.example.next_due(queue))
        lane = self._lane(queue, index)
        given = {"queue": queue, "lane": lane, "answers": self._answered(answers)}
        self._take(rule, "serve", who=who, **given)

    @rule(who=processes, fault=faults, index=indexes)
    def takes(self, who, fault, index):
        """A worker takes what is due and comes to work on it later."""
        self._claim("takes", who, fault, index)

    def _claim(self, rule, who, fault, index) -> None:
        queue, lane = self._one_of(self.example.due_lanes() or [("checks", "shop")], index)
        self._take(rule, "claim", fault, who=who, queue=queue, lane=lane)

    @precondition(lambda self: self.example.play.held)
    @rule(fault=faults, index=indexes, answers=st.data())
    def works(self, fault, index, answers):
        """A worker works on what it took, whether or not its lease still stands."""
        self._work("works", fault, index, answers)

    def _work(self, rule, fault, index, answers) -> None:
        held = self.example.play.held
        place = index % len(held)
        drawn = self._answered(answers.draw(ANSWERS[held[place].queue]))
        self._take(rule, "work", fault, who=held[place].who, index=place, answers=drawn)

    @precondition(lambda self: self.example.play.held)
    @rule(fault=faults, index=indexes)
    def holds_on(self, fault, index):
        """A worker extends the leases of what it works on."""
        held = self._one_of(self.example.play.held, index)
        self._take("holds_on", "extend", fault, who=held.who, queue=held.queue)

    @rule(who=processes, index=indexes, answers=st.data(), seconds=st.sampled_from([20, 31, 600]))
    def comes_back_late(self, who, index, answers, seconds):
        """A worker stands still for longer than its lease, another one does its work, then it goes on."""
        rule = "comes_back_late"
        self._claim(rule, who, None, index)
        self._take(rule, "let_pass", seconds=seconds)
        if held := self.example.play.held:
            queue = held[-1].queue
            self._serve(rule, queue, (who + 1) % PROCESSES, index, answers.draw(ANSWERS[queue]))
            self._work(rule, None, -1, answers)

    def _lane(self, queue: str, index: int) -> str:
        due = [lane for name, lane in self.example.due_lanes() if name == queue]
        return self._one_of(due or LANES[queue], index)

    # --- Operators ---

    @rule(who=processes, fault=faults, index=indexes)
    def releases(self, who, fault, index):
        """An operator delivers what is held."""
        self._take("releases", "release", fault, who=who, order=self._order(index, "held"))

    @rule(who=processes, fault=faults, index=indexes)
    def gives_back(self, who, fault, index):
        """An operator gives the money of a held order back."""
        self._take("gives_back", "give_back", fault, who=who, order=self._order(index, "held"))

    @rule(endpoint=st.sampled_from(ENDPOINTS), is_open=st.booleans())
    def pauses_and_resumes(self, endpoint, is_open):
        """An operator lets deliveries wait, or go on."""
        self._take("pauses_and_resumes", "resume" if is_open else "pause", endpoint=endpoint)

    @precondition(lambda self: self.example.expected.state.deliveries)
    @rule(index=indexes)
    def resends(self, index):
        """An operator sends a delivery again."""
        self._take("resends", "resend", key=self._row("deliveries", index))

    @rule(
        ended=st.sampled_from(["delivered", "exhausted"]),
        endpoint=st.sampled_from([None, *ENDPOINTS]),
    )
    def resends_many(self, ended, endpoint):
        """An operator sends all again that ended so."""
        self._take("resends_many", "resend_all", ended=ended, endpoint=endpoint)

    @precondition(lambda self: self.example.expected.state.duties)
    @rule(index=indexes)
    def resends_duties(self, index):
        """An operator has a duty tried again."""
        self._take("resends_duties", "resend_duty", key=self._row("duties", index))

    def _row(self, table: str, index: int) -> Any:
        rows = getattr(self.example.expected.state, table)
        ended = [key for key, row in rows.items() if row.status in ("delivered", "exhausted")]
        number, *rest = self._one_of(ended or list(rows), index)
        return (int(number, 16), *rest)

    # --- Troubles and time ---

    @rule(who=processes, fault=faults_but_hang_ups, index=indexes, event=st.booleans())
    def loses_rows(self, who, fault, index, event):
        """A fault removes what tells of a paid order; the sweep must mend it."""
        state = self.example.expected.state
        told = [key for key in state.events if state.orders[key[0]].status == "paid"]
        if told:
            number, kind, cause = self._one_of(told, index)
            given = {"key": (int(number, 16), kind, cause), "event": event and kind == "order.paid"}
            self._take("loses_rows", "lose", fault, who=who, **given)

    @precondition(lambda self: self.example.play.held)
    @rule(who=processes)
    def dies(self, who):
        """A process ends between two things that it does."""
        self._take("dies", "drop", who=who)

    @rule(seconds=st.sampled_from([1, 10, 31, 600, 1900, 7200]))
    def waits(self, seconds):
        """Time passes."""
        self._take("waits", "let_pass", seconds=seconds)

    @rule(queue=st.sampled_from(sorted(LANES)))
    def waits_until_due(self, queue):
        """Time passes until something is due, or a lease ends."""
        self._take("waits_until_due", "let_pass", seconds=self.example.next_due(queue))

    @rule(seconds=st.sampled_from([-1, -60, -3600, -86_400, 86_400]))
    def steps_clock(self, seconds):
        """All clocks are put right, or wrong."""
        self._take("steps_clock", "let_pass", seconds=seconds)


def _telling(name: str, told: st.SearchStrategy[Told], among: str) -> Any:
    """Return the rule of that name: one of the processes is told something."""

    def tells(self, who, fault, told):
        self._settle(name, who, fault, told, among=among)

    tells.__name__ = name
    return rule(who=processes, fault=faults, told=told)(tells)


for _name, (_told, _among) in TELLING.items():
    setattr(LedgerMachine, _name, _telling(_name, _told, _among))
