"""What went wrong on the way: what buyers and Alipay were answered, and what payplat's processes wrote down."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from payplat.simulators.alipay.courier import Attempt
from tests.galera.buyers import Buyers
from tests.galera.scene import Scene

_TROUBLE = ("warning", "error", "critical")
# Tornado's line for a request that was answered so: whoever asked has counted it.
_ANSWERED = "503 "


def seen(scene: Scene, buyers: Buyers) -> Counter[str]:
    """Count the errors by their words."""
    refused = (each for each in scene.alipay.notifications if not each.accepted)
    callbacks = Counter(f"callback: {_answer(each)}" for each in refused)
    told = (line for line in _lines(scene.folder) if line["level"] in _TROUBLE)
    logged = (f"log: {line['event']}" for line in told if not line["event"].startswith(_ANSWERED))
    return buyers.errors + callbacks + Counter(logged)


def unforeseen(folder: Path) -> list[str]:
    """Return the last line of each stack that was written down: payplat foresees all that may happen here."""
    stacks = (line["exception"] for line in _lines(folder) if "exception" in line)
    return [stack.strip().splitlines()[-1] for stack in stacks]


def _answer(attempt: Attempt) -> str:
    return attempt.error or f"{attempt.status} {attempt.answer.decode(errors='replace')}"


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    for name in ("serve.log", "worker.log"):
        for line in (folder / name).read_text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # Python itself wrote it
                yield {"level": "error", "event": line, "exception": line}
