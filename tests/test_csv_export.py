"""Rows for a spreadsheet: its texts stay texts, whatever they begin with."""

import csv
import io

import pytest

from payplat.csv_export import to_csv


def test_a_file_is_as_spreadsheets_want_it() -> None:
    """UTF-8 with its mark, CRLF, quotes where needed; numbers are numbers, None is empty, Chinese is itself."""
    told = to_csv(["订单", "amount"], [['金币, "500"', -600], ["two\nlines", None]])
    assert told == (
        b"\xef\xbb\xbf" + '订单,amount\r\n"金币, ""500""",-600\r\n"two\nlines",\r\n'.encode()
    )


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@x",
        "\t=1",
        "\r=1",
        "\n=1",
        "＝1",
        "＋1",
        "－1",
        "＠x",
        "  =1",
        "\u3000=1",
        "\0=1",
    ],
)
def test_no_cell_is_a_formula(text) -> None:
    """What would be calculated begins with an apostrophe, in the head too; it reads back whole."""
    told = to_csv([text], [[text], ["x", text]]).decode("utf-8-sig")
    head, first, second = csv.reader(io.StringIO(told, newline=""))
    plain = text.replace("\0", "")
    assert (head, first, second) == ([f"'{plain}"], [f"'{plain}"], ["x", f"'{plain}"])


@pytest.mark.parametrize("text", ["player-1", "a=b", "1", "'quoted", ""])
def test_what_is_no_formula_is_untouched(text) -> None:
    """A sign in the middle of a text is harmless."""
    assert to_csv(["x"], [[text, "y"]]).decode("utf-8-sig").split("\r\n")[1] == f"{text},y"
