"""The code blocks of the documents, and the commands in them, typed as a reader would."""

import asyncio
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from payplat.demo.stage import Stage
from tests.processes import run_here

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


@dataclass(frozen=True)
class Block:
    """A block of code; ``marks`` are the words behind its language, such as ``run`` or ``not run here``."""

    language: str
    marks: str
    code: str

    @property
    def lines(self) -> list[str]:
        """Its commands: one a line, without comments."""
        return [line for line in self.code.splitlines() if line and not line.startswith("#")]


def blocks(document: Path) -> list[Block]:
    """Return a document's blocks of code, in order."""
    found = _BLOCK.finditer(document.read_text("utf-8"))
    named = ((*each["info"].partition(" "), each["code"]) for each in found)
    return [Block(language, marks, code) for language, _, marks, code in named]


class Reader:
    """Types the commands of a document in ``folder``; ``given`` are the variables that the document speaks of."""

    def __init__(self, stage: Stage, folder: Path, given: Mapping[str, str]) -> None:
        self._stage, self._folder, self.given = stage, folder, dict(given)

    async def types(self, line: str) -> subprocess.CompletedProcess:
        """Type one command; ``payplat`` is run in here, which is faster, everything else by the shell."""
        words = shlex.split(line)
        assigned = {}
        while _ASSIGNMENT.fullmatch(words[0]):
            name, _, value = words.pop(0).partition("=")
            assigned[name] = Template(value).substitute(self.given)
        if words[0] != "payplat":
            return await asyncio.to_thread(self._shell, line)
        arguments = [Template(word).substitute(self.given) for word in words[1:]]
        environ = {name: v for name, v in self.given.items() if name.startswith("PAYPLAT_")}
        return await asyncio.to_thread(run_here, self._stage, *arguments, **environ | assigned)

    def _shell(self, line: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], **self.given},
            capture_output=True,
            text=True,
            timeout=60,
        )
