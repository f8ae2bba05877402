"""What is printed: a line for each step with its time; in the end the judges, the errors on the way, and the result."""

import time
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from tests.galera import errors
from tests.galera.judges import Finding, Judges

_SHOWN = 10


class Teller:
    """Prints."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False)
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print one line, with the seconds since the beginning."""
        self._console.print(f"{time.monotonic() - self._began:6.1f} s  {text}", soft_wrap=True)

    def verdict(self, judges: Judges) -> bool:
        """Print all that was found; return whether every rule holds."""
        findings = list(judges.findings())
        self._table(["rule", "seen", "broken"], map(_row, findings))
        for finding in findings:
            for broken in finding.broken[:_SHOWN]:
                self._console.print(f"{finding.rule}: {broken}", style="red")
        seen = errors.seen(judges.scene, judges.buyers)
        self._table(["error on the way", "times"], sorted(seen.items()))
        result = {
            "orders": len(judges.buyers.began),
            "acknowledged": len(judges.acknowledged),
            "lost": len(judges.lost),
            "doubled": len(judges.doubled),
            "sent again": judges.sent_again,
            "longest gap": f"{judges.buyers.longest_gap:.1f} s",
        }
        self._table(list(result), [list(result.values())])
        return all(finding.holds for finding in findings)

    def _table(self, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        table = Table(*names)
        for row in rows:
            table.add_row(*map(str, row))
        self._console.print(table)


def _row(finding: Finding) -> tuple[str, int, str]:
    return finding.rule, finding.seen, "✓ 0" if finding.holds else f"✗ {len(finding.broken)}"
