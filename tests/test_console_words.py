"""The console's words: every sentence that a page asks for is there, in both languages, and none is left over."""

import re
from pathlib import Path

import pytest

from payplat import endpoints, quarantine, search
from payplat.channel_health import Level
from payplat.circuit import Phase
from payplat.console import deliveries
from payplat.console.words import TABLE
from payplat.operators import Role
from payplat.proposals import Decision, Deed
from payplat.purchase import Status
from payplat.signs import Sign

CONSOLE = Path(__file__).parent.parent / "payplat" / "console"
SOURCES = [*CONSOLE.glob("*.py"), *CONSOLE.glob("pages/*.html")]
CHINESE = re.compile(r"[\u4e00-\u9fff]")
ENDED = ("due", "delivered", "exhausted")
# Sentences whose names are made of a word and a value.
FAMILIES = {
    "status_": Status,
    "role_": Role,
    "delivery_": ENDED,
    "duty_": ("due", "held", "void", "done", "exhausted"),
    "endpoint_": endpoints.Status,
    "kind_": search.Kind,
    "aside_": quarantine.Kind,
    "verdict_": Level,
    "sign_": Sign,
    "circuit_": Phase,
    "check_": ("order", "product", "amount", "signature"),
    "result_": ("passed", "failed", "not_stated", "not_reached"),
    "span_": deliveries._SPANS,
    "proposal_": Deed,
    "done_": (
        "verified",
        "resent",
        "paused",
        "resumed",
        "resolved",
        "proposed",
        "withdrawn",
        *Decision,
    ),
}
# Acts that commands record too are told by the names that they have on record.
FREE = ("act_", "error_", "page_")


def asked() -> set[str]:
    """The names that pages and their code speak of."""
    text = "\n".join(path.read_text() for path in SOURCES if path.name != "words.py")
    return set(re.findall(r"""["']([a-z][a-z_]+)["']""", text))


def test_every_sentence_is_there():
    """Whatever a page asks for by its whole name, and every member of each family."""
    text = "\n".join(path.read_text() for path in SOURCES)
    literal = set(re.findall(r"""\bt\(["']([a-z_]+)["'][,)]""", text))
    assert len(literal) > 60
    assert literal <= TABLE.keys()
    for prefix, members in FAMILIES.items():
        assert {f"{prefix}{member}" for member in members} <= TABLE.keys(), prefix


def test_none_is_left_over():
    """A sentence that no page can ask for would only be translated in vain."""
    made = {f"{prefix}{member}" for prefix, members in FAMILIES.items() for member in members}
    left = TABLE.keys() - asked() - made
    assert {name for name in left if not name.startswith(FREE)} == set()


@pytest.mark.parametrize("name", TABLE)
def test_both_languages_say_the_same(name):
    """Each has its sentence, with the same values in it; Chinese is Chinese, but for units and names."""
    english, chinese = TABLE[name]
    assert english.strip()
    assert re.findall(r"{\d}", english) == re.findall(r"{\d}", chinese)
    assert CHINESE.search(chinese) or name in ("switch", "unit_percent")
    assert not CHINESE.search(english) or name == "switch"
