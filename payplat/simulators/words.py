"""Pages in two languages: which one a visitor gets, and a table of words in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

LANGUAGES = ("zh", "en")


def language(asked: str, preferred: str) -> str:
    """What was asked for, or the first language of an Accept-Language header known here."""
    if asked in LANGUAGES:
        return asked
    wanted = (part.split(";")[0].strip().lower()[:2] for part in preferred.split(","))
    return next((lang for lang in wanted if lang in LANGUAGES), "zh")


class Phrases:
    """`t.buy` in the language of the page, `t.other` the language one may switch to.

    A subclass brings the table: for each name its words in the order of LANGUAGES.
    """

    table: ClassVar[Mapping[str, tuple[str, str]]]

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self.other = "en" if lang == "zh" else "zh"

    def __getattr__(self, name: str) -> str:
        try:
            return self.table[name][LANGUAGES.index(self.lang)]
        except KeyError:
            raise AttributeError(name) from None
