"""Rows as a CSV file that spreadsheets open as text: in UTF-8 with its mark, and nothing in it is a formula."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

# What makes a spreadsheet calculate, also in the full width that East Asian input methods write.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_MARK = "\ufeff"


def to_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Return a head of ``names`` and the ``rows`` below, lines ended by CRLF; None is an empty cell.

    A text that would be a formula, after spaces too, begins with an apostrophe. Numbers stay numbers.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([_inert(name) for name in names])
    writer.writerows([_inert(cell) for cell in row] for row in rows)
    return (_MARK + text.getvalue()).encode()


def _inert(cell: Any) -> Any:
    if cell is None or type(cell) in (int, float):
        return cell
    text = str(cell).replace("\0", "")
    seen = text.lstrip(" \u00a0\u3000\ufeff")
    return f"'{text}" if seen.startswith(_FORMULA) else text
