"""One example: the same steps on the ledger and on paper, compared after each, and peace in the end."""

import re

from payplat.seam import SECOND
from tests.ledger.invariants import breaches
from tests.prove.model_bench import Bench
from tests.prove.model_paper import Expected
from tests.prove.model_play import Play
from tests.prove.model_rows import Tables, contrasts, differences
from tests.prove.model_state import State
from tests.prove.model_words import COMMITS, ENDPOINTS, TERMS, Step, nothing_bought

# Who is told this does not know whether it happened.
_UNSURE = re.compile("Crash|CancelledError|DatabaseUnavailable")
_REASON = re.compile(r":[a-z_]+")
_DAY = 86_400
LANES = {"checks": list(TERMS), "duties": list(TERMS), "deliveries": list(ENDPOINTS)}


class Breach(AssertionError):
    """Something is not as it must be: where and when, then what is wrong, one sentence each."""

    def __init__(self, when: object, wrong: list[str]) -> None:
        super().__init__("\n".join([str(when), *wrong]))
        self.kind = wrong[0].split()[0].strip(":")


class Example:
    """Steps taken on an emptied ``bench`` and on paper; ``taken`` are the steps so far, ``answers`` what came of them."""

    def __init__(self, bench: Bench) -> None:
        bench.empty()
        self.bench, self.play = bench, Play(bench.database, bench.run)
        self.expected = Expected(self.play.orders)
        self.taken: list[Step] = []
        self.answers: list[str] = []
        self.struck = 0

    def take(self, step: Step) -> None:
        """Take a step; raises Breach when answer or rows are not what they must be."""
        self.taken.append(step)
        answer, world = self.play.take(step), self.play.world
        self.answers.append(answer)
        fault = step.fault if world.is_struck else None
        self.struck += fault is not None
        is_unsure = fault is not None and (step.action == "look" or bool(_UNSURE.search(answer)))
        died = fault is not None and fault.what == "dies"
        must, stages = self.expected.take(step, answer, failed=is_unsure, died=died)
        if fault is None and _without_reasons(step, answer) != must:
            raise Breach(step, [f"answered {answer}, must answer {must}"])
        if is_unsure and self._must_have_happened(step):
            stages = stages[-1:]
        self._compare(step, stages, self.bench.read())

    def finish(self) -> None:
        """Make peace: everything due is done, and then nothing must be left open."""
        self._compare("in the end", [self.expected.state], self.bench.read_aloud())
        for step in self._peace():
            self.take(step)
        if left := list(self._left_open()):
            raise Breach("after all was made good", left)

    def compare(self, other: Bench) -> None:
        """Take the same steps on another engine; raises Breach unless answers and rows are the same."""
        other.empty()
        play = Play(other.database, other.run)
        for step, answer in zip(self.taken, self.answers, strict=True):
            if (theirs := play.take(step)) != answer:
                raise Breach(step, [f"answers differ: {answer}, on the other engine {theirs}"])
        tables = other.read()
        if found := breaches(tables, TERMS):
            raise Breach("on the other engine", found)
        if found := contrasts(self.bench.read(), tables):
            raise Breach("on the other engine", found)

    def _must_have_happened(self, step: Step) -> bool:
        """Tell whether the work goes on without its caller: whoever hangs up cancels no commit."""
        assert step.fault is not None
        shielded = step.action in ("open", "settle_all") and step.fault.at in COMMITS
        return step.fault.what == "hangs up" and shielded

    def _compare(self, when: object, stages: list[State], tables: Tables) -> None:
        found = breaches(tables, TERMS)
        wrong = [differences(stage, tables) for stage in stages]
        if found or all(wrong):
            raise Breach(when, [*found, *wrong[-1]])
        self.expected.state = stages[wrong.index([])]

    def _peace(self):
        """Yield the steps of somebody who puts everything right, then of three quiet days."""
        state = self.expected.state
        for endpoint in sorted(state.paused):
            yield Step("peace", "resume", {"endpoint": endpoint})
        for key in [key for key, way in state.deliveries.items() if way.status == "exhausted"]:
            yield Step("peace", "resend", {"key": (int(key[0], 16), *key[1:])})
        for key in [key for key, duty in state.duties.items() if duty.status == "exhausted"]:
            yield Step("peace", "resend_duty", {"key": (int(key[0], 16), *key[1:])})
        for _ in range(3):
            until = max([state.now, *self._times("checks", "deliveries", "duties")])
            seconds = (until - state.now) // SECOND + _DAY
            yield Step("peace", "let_pass", {"seconds": seconds})
            for queue, lane in self.due_lanes():
                answers = [nothing_bought(is_over=True)] * 20 if queue == "checks" else []
                given = {"who": 0, "queue": queue, "lane": lane, "answers": answers}
                yield Step("peace", "serve", given)

    def due_lanes(self) -> list[tuple[str, str]]:
        """Return the lanes in which something is due."""
        lanes = ((queue, lane) for queue, names in LANES.items() for lane in names)
        return [(queue, lane) for queue, lane in lanes if self.expected.due(queue, lane)]

    def next_due(self, queue: str) -> int:
        """Return in how many seconds something else is due in a queue, or a lease ends there."""
        now = self.expected.state.now
        later = [at for at in self._times(queue) if at > now]
        return (min(later, default=now) - now) // SECOND + 1

    def _times(self, *queues: str) -> list[int]:
        expected = self.expected
        lanes = [(queue, lane) for queue in queues for lane in LANES[queue]]
        rows = [row for queue, lane in lanes for _, row in expected.rows(queue, lane)]
        return [at for at in map(expected.due_at, rows) if at is not None]

    def _left_open(self):
        state = self.expected.state
        for number, order in state.orders.items():
            if order.status == "pending" or order.waits:
                yield f"order {number} is {order.status}, waits {order.waits}"
        for key, way in state.deliveries.items():
            if way.status != "delivered":
                yield f"delivery {key} is {way.status}"
        for key, duty in state.duties.items():
            if duty.status not in ("done", "held", "void"):
                yield f"duty {key} is {duty.status}"
        for kept in state.evidence.values():
            if kept.state == "waiting":
                yield f"evidence of {kept.order} waits"


def _without_reasons(step: Step, answer: str) -> str:
    """Return an answer without the reasons of refusals, of which only the fact is foretold."""
    return _REASON.sub("", answer) if step.action in ("settle_all", "race") else answer
