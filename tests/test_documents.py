"""The pages that list what the code knows, compared with the code: commands, error codes, settings, documents."""

import json
import re

import pytest

from payplat.errors import PayplatError
from payplat.handlers.base import ERROR_TABLE, error_answer
from tests.documents import DOCS, blocks
from tests.test_help import COMMANDS

_ROW = re.compile(r"^\| (.*) \|$", re.MULTILINE)
LANGUAGES = ["md", "zh-CN.md"]


def rows(document: str, heading: str) -> list[list[str]]:
    """The cells of the table under the last heading that begins so, without the table's own heading."""
    text = (DOCS / document).read_text("utf-8").rpartition(f"\n## {heading}")[2]
    return [row.split(" | ") for row in _ROW.findall(text.replace("|  |", "| - |"))][1:]


def spelled(words: str) -> tuple[str, str]:
    """How a command is to be typed, and its options but for ``--config``, as the page shows them."""
    taken = COMMANDS[words].params
    arguments = [p.name.strip("_").upper() for p in taken if p.param_type_name == "argument"]
    options = [
        "/".join(f"`{name}`" for name in (max(p.opts, key=len), *p.secondary_opts))
        for p in taken
        if p.param_type_name == "option" and p.name != "config"
    ]
    return f"`{' '.join([words, *arguments])}`", " ".join(options) or "-"


def test_every_command_is_documented():
    """Each command stands on the page with its arguments, its options and its own sentence, and no other does."""
    known = sorted(words for words, each in COMMANDS.items() if not getattr(each, "commands", None))
    sentences = [(COMMANDS[w].help or "").split("\n\n")[0].replace("\n", " ") for w in known]
    expected = [[*spelled(w), said] for w, said in zip(known, sentences, strict=True)]
    assert rows("commands.md", "All commands") == expected
    chinese = rows("commands.zh-CN.md", "全部命令")
    assert [row[:2] for row in chinese] == [row[:2] for row in expected]
    assert all(re.search("[\u4e00-\u9fff]", row[2]) for row in chinese)


@pytest.mark.parametrize(
    ("document", "heading"), [("errors.md", "All codes"), ("errors.zh-CN.md", "全部错误码")]
)
def test_every_error_code_is_documented(document, heading):
    """Each stable code stands on the page once with its status; what only HTTP knows stands there too."""
    told = [(row[0].strip("`"), row[1]) for row in rows(document, heading)]
    known = {(answer.code, str(answer.status)) for answer in ERROR_TABLE.values()}
    codes = [code for code, _ in told]
    assert len(codes) == len(set(codes))
    assert known <= set(told)
    assert {code for code, _ in set(told) - known} == {"method_not_allowed", "http_error"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_shown_error_is_a_real_one(language):
    """The example has the code, the status and the sentence that the API gives to that error."""
    shown = json.loads(blocks(DOCS / f"errors.{language}")[0].code)
    (kind,) = [kind for kind in ERROR_TABLE if ERROR_TABLE[kind].code == shown["code"]]
    assert issubclass(kind, PayplatError)
    assert shown["status"] == error_answer(kind()).status
    assert shown["detail"] == str(kind())
    assert shown["title"] == shown["code"].replace("_", " ").capitalize()
