"""What hypothesis chooses from: what is told of orders, what companies and merchants answer, what fails."""

from typing import Any

from hypothesis import strategies as st

from tests.ledger.build import PRICE
from tests.prove.model_play import PROCESSES
from tests.prove.model_words import ANYWHERE, COMMITS, OWES, WRONG, Fault, Told

# --- What can be told ---

indexes = st.integers(0, 7)  # which of those that there are
MANY = 6
processes = st.integers(0, PROCESSES - 1)
_sources = st.sampled_from(["callback", "callback", "verify", "reconcile"])
_amounts = st.sampled_from([PRICE, 100, 250, 350, 0, PRICE + 1, -1])
_times = st.sampled_from([10, 20, 30])
_keys = st.sampled_from(["r1", "r2"])
_mostly = st.sampled_from([True, True, True, False])
_transactions = st.sampled_from(["", "", "", "", "b", "c"])


def _told(**parts: Any) -> st.SearchStrategy[Told]:
    wrapped = {
        name: part if isinstance(part, st.SearchStrategy) else st.just(part)
        for name, part in parts.items()
    }
    return st.builds(Told, order=indexes, **wrapped)


payments = _told(
    transaction=_transactions, owes=st.sampled_from(sorted(OWES)), source=_sources, kind="paid"
)
excess = _told(transaction=st.sampled_from(["b", "c"]), source=_sources)
lent = _told(lender=indexes, kind=st.sampled_from(["paid", "claim", "whole", "part"]))
wrong = _told(
    wrong=st.sampled_from(sorted(WRONG)[1:]),
    kind=st.sampled_from(["paid"] * 6 + ["claim", "part", "whole", "pending", "closed"]),
    states_payment=_mostly,
)
endings = _told(kind="closed", source=_sources, states_payment=False)
no_news = _told(
    kind=st.sampled_from(["pending", "unknown"]), source=_sources, states_payment=_mostly
)
refunds = _told(
    kind=st.sampled_from(["part", "total", "share"]),
    amount=_amounts,
    key=_keys,
    at=_times,
    states_payment=st.booleans(),
    transaction=_transactions,
)
whole_refunds = _told(
    kind="whole", key=_keys, at=_times, states_payment=st.booleans(), transaction=_transactions
)
borrowed_refunds = _told(
    kind=st.sampled_from(["part", "whole", "reversal"]), key=_keys, key_of=indexes, amount=100
)
reversals = _told(
    kind=st.sampled_from(["reversal", "reversal", "unnamed"]),
    key=_keys,
    at=_times,
    states_payment=False,
    transaction=_transactions,
)
notices = _told(kind=st.sampled_from(["notice", "remark"]), key=_keys, states_payment=False)
strays = _told(
    stray=True,
    kind=st.sampled_from(["paid", "paid", "whole", "part", "notice", "unknown", "reversal"]),
    amount=100,
    transaction=_transactions,
    states_payment=_mostly,
)
claims = _told(kind="claim", transaction=_transactions, owes=st.sampled_from(sorted(OWES)))
anything = st.one_of(
    payments,
    endings,
    refunds,
    whole_refunds,
    reversals,
    claims,
    wrong,
    excess,
)
# Two at once are about the same order, which both name: then the second waits for the first on any engine.
rivals = st.one_of(payments, endings, refunds, whole_refunds, reversals, excess, claims)

# What companies and clients tell, and the statuses of the orders that it is mostly told of.
TELLING: dict[str, tuple[st.SearchStrategy[Told], str]] = {
    "pays": (payments, "pending closed"),
    "pays_more": (excess, "paid held refunded"),
    "pays_with_anothers": (lent, ""),
    "tells_wrong": (wrong, "pending"),
    "closes": (endings, "pending"),
    "tells_nothing": (no_news, "pending"),
    "refunds_in_part": (refunds, "paid held"),
    "refunds_in_whole": (whole_refunds, "paid held"),
    "refunds_by_anothers_name": (borrowed_refunds, "paid"),
    "reverses": (reversals, "refunded paid held"),
    "notices": (notices, "paid held"),
    "tells_of_nobody": (strays, "paid"),
    "claims": (claims, "pending closed"),
}

# --- What is answered, and what fails ---

_troubles = st.sampled_from(["silent", "silent", "refuses", "misconfigured", "forged"])
_verdicts = st.one_of(payments, endings, no_news, whole_refunds, claims, wrong, lent)
ANSWERS = {
    "checks": st.lists(
        st.booleans().flatmap(lambda said: _verdicts if said else _troubles), max_size=3
    ),
    "deliveries": st.lists(
        st.sampled_from(["200", "200", "500", "nothing", "503!", "302", "410"]), max_size=4
    ),
    "duties": st.lists(
        st.sampled_from(["done", "done", "silent", "refuses", "unknown", "refunded"]), max_size=3
    ),
}
_deaths = [Fault("dies", at, nth) for at in COMMITS for nth in range(3)]
_deaths += [Fault("dies", ANYWHERE, nth) for nth in range(10)]
_failures = [
    Fault(what, at, nth) for what in ("fails", "is down") for at in COMMITS for nth in range(3)
]
_hang_ups = [Fault("hangs up", at, nth) for at in (*COMMITS, ANYWHERE) for nth in range(2)]
faults = st.sampled_from([None] * 100 + _deaths + _failures + _hang_ups)
faults_but_hang_ups = st.sampled_from([None] * 60 + _deaths + _failures)
