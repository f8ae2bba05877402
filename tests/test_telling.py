"""Every line that an order's timeline can hold is told in a sentence of its own, in both languages."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from payplat.inquiry import Outcome
from payplat.telling import _SENTENCES, checks, told

PACKAGE = Path(__file__).parent.parent / "payplat"
ORDER = SimpleNamespace(product_id="coins_500", quantity=1, amount=600, currency="CNY")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# Who writes lines, and which argument says what happened.
WRITERS = {
    "timeline_row": 2,
    "_tell": 0,
    "_alert": 0,
    "_line": 0,
    "_Moment": 1,
    "_tried": 1,
    "Record": 2,
    "_write_line": 2,
    "partial": 1,
}


def written() -> set[str]:
    """Everything that the code writes into a timeline, read from the source."""
    found: set[str] = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            found.update(_of_call(node))
            found.update(_of_dict(node))
    return found


def _of_call(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        given = node.args[WRITERS[name] :][:1] if name in WRITERS else []
        yield from _texts(given)
    if isinstance(node, ast.Assign | ast.Return) and getattr(node, "value", None):
        # What _pay and _overdue decide on before they write it.
        name = getattr(getattr(node, "targets", [None])[0], "id", "")
        if name == "what" and isinstance(node.value, ast.Call):
            yield from _texts(
                [inner for inner in ast.walk(node.value) if isinstance(inner, ast.IfExp)]
            )
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Constant):
            yield from (t for t in _texts([node.value]) if t.startswith("duty_"))


def _of_dict(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Dict):
        named = {getattr(k, "value", None): v for k, v in zip(node.keys, node.values, strict=True)}
        if {"what", "actor"} <= named.keys():
            yield from _texts([named["what"]])


def _texts(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes:
        branches = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
        for branch in branches:
            if isinstance(branch, ast.Constant) and isinstance(branch.value, str) and branch.value:
                yield branch.value


def test_every_line_has_sentences():
    """Whatever the code can write is told by words of its own, not by the general ones."""
    found = written() | {"held", "refunded"}  # a payment is told by the status it leads to
    assert len(found) > 22
    assert {name.split()[0] for name in _SENTENCES} == found


@pytest.mark.parametrize("name", _SENTENCES)
def test_sentences_are_whole(name):
    """With and without their details they are sentences in English and Chinese, and no name of a value is left."""
    what, _, variant = name.partition(" ")
    full = {
        "transaction_id": "T",
        "amount": 600,
        "currency": "CNY",
        "refund": "R",
        "field": "amount",
    }
    full |= {
        "endpoint": "default/main",
        "event_id": "evt_1",
        "error": "answered 500",
        "duty": "bind",
    }
    full |= {
        "milliseconds": 3,
        "notice": "n",
        "state": "used",
        "outcome": variant,
        "reason": variant,
        "act": variant,
        "proposed_by": "bob",
    }
    full |= {"ok": not variant}
    for detail in ({}, full):
        sentences = told(ORDER, what, "cli:anna", detail)
        assert sentences.keys() == {"en", "zh"}
        assert sentences["en"].endswith((".", "…", "500"))
        assert CHINESE.search(sentences["zh"])
        assert not CHINESE.search(sentences["en"])
        assert "{" not in "".join(sentences.values())
    assert "…" not in "".join(told(ORDER, what, "cli:anna", full).values())


def test_every_outcome_of_a_question_has_a_sentence():
    """Each is told apart from the others."""
    assert {f"queried {outcome}" for outcome in Outcome} <= _SENTENCES.keys()


def test_what_nobody_knows_is_told_too():
    """A line of a newer version gets a general sentence, and odd details do no harm."""
    odd = {"amount": "x", "currency": 5, "share": "much", "at": None}
    assert told(ORDER, "teleported", "cli:anna", odd) == {
        "en": "On record by cli:anna: teleported.",
        "zh": "记录（cli:anna）：teleported。",
    }


PASSED = {"verifier": "key", "compared": ["product", "amount"]}
CHECKED = [
    ("paid", PASSED, "passed passed passed passed"),
    ("paid", {"verifier": "key", "compared": ["product"]}, "passed passed not_stated passed"),
    ("quarantined", {**PASSED, "field": "amount"}, "passed passed failed passed"),
    ("quarantined", {**PASSED, "field": "product"}, "passed failed not_reached passed"),
    ("quarantined", {**PASSED, "field": "account"}, "failed not_reached not_reached passed"),
    ("quarantined", {**PASSED, "field": "transaction_id"}, "failed passed passed passed"),
    ("excess", PASSED, "failed passed passed passed"),
    ("evidence_refused", {"reason": "refused"}, "not_reached not_reached not_reached failed"),
    ("evidence_refused", {"reason": "state"}, "not_reached not_reached not_reached passed"),
    ("resent", {"endpoint": "default/main"}, ""),
]


@pytest.mark.parametrize(("what", "detail", "results"), CHECKED)
def test_the_four_checks(what, detail, results):
    """Order, product, amount and signature are told with their results; lines without evidence have none."""
    found = checks(what, detail)
    assert " ".join(each["result"] for each in found) == results
    assert [each["check"] for each in found] in ([], ["order", "product", "amount", "signature"])
