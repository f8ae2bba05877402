"""Sentences for pages in English and Chinese, and which of the two a browser gets."""

import re
from collections.abc import Mapping

LANGUAGES = ("en", "zh")
_HAN, _LATIN = "[\u4e00-\u9fff]", "[A-Za-z]"
_SEAM = re.compile(f"(?<={_HAN})(?={_LATIN})|(?<={_LATIN})(?={_HAN})")


class Words:
    """``t("pay", "¥6.00")`` in the language of a page; ``table`` holds each sentence in all languages by its key."""

    def __init__(self, table: Mapping[str, tuple[str, str]], language: str) -> None:
        self.language = language
        self.other = LANGUAGES[language == "en"]
        self._table, self._column = table, LANGUAGES.index(language)

    def __call__(self, key: str, *values: object) -> str:
        """Return a sentence; KeyError when there is none of that name."""
        return spaced(self._table[key][self._column].format(*values))

    def name(self, key: str) -> str:
        """Return what a thing is called, or the key itself."""
        return self._table.get(key, (key, key))[self._column]


def spaced(text: str) -> str:
    """Put a space where a Chinese character and a Latin word meet."""
    return _SEAM.sub(" ", text)


def choose(asked: str, remembered: str, accepted: str) -> str:
    """Return the language asked for, else remembered, else the first known one of ``Accept-Language``."""
    wishes = [asked, remembered, *(part.split(";")[0].strip()[:2] for part in accepted.split(","))]
    return next((wish.lower() for wish in wishes if wish.lower() in LANGUAGES), "en")
