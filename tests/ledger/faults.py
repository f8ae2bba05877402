"""Faults of a database at a chosen statement or COMMIT: before it took effect, or after."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql
import pytest

from payplat.database import Database


class Defect(Exception):
    """An error of our own, which no database reports."""


def _of_mariadb(kind: type[pymysql.err.Error], code: int) -> Callable[[], Exception]:
    return lambda: kind(code, "made by a test")


# By engine: what is tried again until it works, what is the database's absence, and what is nobody's business but ours.
FAULTS: dict[str, dict[str, Callable[[], Exception]]] = {
    "sqlite": {
        "broken key": lambda: sqlite3.IntegrityError("UNIQUE constraint failed: made by a test"),
        "locked": lambda: sqlite3.OperationalError("database is locked"),
        "disk": lambda: sqlite3.OperationalError("disk I/O error"),
        "defect": Defect,
    },
    "mariadb": {
        "broken key": _of_mariadb(pymysql.err.IntegrityError, 1062),
        "deadlock": _of_mariadb(pymysql.err.OperationalError, 1213),
        "lost": _of_mariadb(pymysql.err.OperationalError, 2013),
        "defect": Defect,
    },
}
TRANSIENT = {"broken key", "deadlock", "lost"}


@dataclass
class Faults:
    """What the statements of a database come to: ``strikes`` says by number (from 0) and text which of them fail.

    One that fails ``late`` has taken effect before. ``passed`` are all so far, ``struck`` the numbers of those that
    failed; ``commits`` counts what is committed.
    """

    strikes: Callable[[int, str], bool] = lambda _number, _text: False
    error: Callable[[], Exception] = Defect
    late: bool = False

    def __post_init__(self) -> None:
        self.passed: list[str] = []
        self.struck: list[int] = []
        self.commits = 0

    def pass_on(self, text: str, act: Callable[[], Any]) -> None:
        """Let a statement take effect, or fail, or both."""
        is_struck = self.strikes(len(self.passed), text)
        if is_struck:
            self.struck.append(len(self.passed))
        self.passed.append(text)
        if is_struck and not self.late:
            raise self.error()
        act()
        self.commits += text == "COMMIT"
        if is_struck:
            raise self.error()


@contextmanager
def failing(database: Database, faults: Faults) -> Iterator[Faults]:
    """Put ``faults`` between SQLAlchemy and the driver, so that everything above sees what a driver would raise."""
    dialect = database.engine.sync_engine.dialect
    execute, commit = dialect.do_execute, dialect.do_commit

    def do_execute(cursor, statement, parameters, context=None):
        faults.pass_on(statement, lambda: execute(cursor, statement, parameters, context))

    def do_executemany(cursor, statement, parameters, context=None):
        faults.pass_on(statement, lambda: many(cursor, statement, parameters, context))

    many = dialect.do_executemany
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialect, "do_execute", do_execute)
        patch.setattr(dialect, "do_executemany", do_executemany)
        patch.setattr(dialect, "do_commit", lambda c: faults.pass_on("COMMIT", lambda: commit(c)))
        yield faults
