"""The planted bugs: each can be planted, so that none is counted as found because it was not there."""

import shutil
from pathlib import Path

import pytest

from tests.prove.bugs import ROOT, Bug, planted

BUGS = {bug.name: bug for bug in planted()}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_bug_can_be_planted(bug: Bug, tmp_path: Path) -> None:
    """Its text stands in the code once, what comes out is Python and another, and its judges exist."""
    copy = tmp_path / "payplat" / bug.file
    copy.parent.mkdir(parents=True)
    shutil.copy(ROOT / "payplat" / bug.file, copy)
    bug.plant(tmp_path)
    compile(copy.read_text(), bug.file, "exec")
    assert copy.read_text() != (ROOT / "payplat" / bug.file).read_text()
    assert all((ROOT / by).exists() for by in bug.by if not by.startswith("simulate "))


def test_there_are_enough() -> None:
    """At least thirty kinds are planted, and no name twice."""
    assert len(BUGS) == len(planted()) >= 30
