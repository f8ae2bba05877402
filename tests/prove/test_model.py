"""The model itself: a small run of it, what it once found, and faults planted for it to find."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from payplat.decisions import Case
from payplat.purchase import Status
from tests.mariadb import MariaDB
from tests.prove.model import Run
from tests.prove.model_bench import Bench, server_bench, sqlite_bench
from tests.prove.model_example import Breach
from tests.prove.model_words import dump, load

# The shortest steps of what was found, as `prove model` tells them.
FOUND = {
    "a refund without a number that has another's name": (
        '[["opens","open",{"who":0,"number":1,"channel":"shop","receiver":"ann","idempotency":"","body":"{}"},null],'
        '["opens","open",{"who":0,"number":2,"channel":"shop","receiver":"ann","idempotency":"","body":"{}"},null],'
        '["tells_together","settle_all",{"who":0,"told":[{"order":1},{"order":2},'
        '{"order":1,"kind":"part","amount":100}]},null],'
        '["tells_of_nobody","settle_all",{"who":0,"told":[{"order":2,"kind":"part","amount":100,"key_of":1,'
        '"stray":true}]},null]]'
    ),
    "a purchase of an unknown order beside the claim of its transaction": (
        '[["opens","open",{"who":0,"number":1,"channel":"shop","receiver":"ann","idempotency":"","body":"{}"},null],'
        '["tells_together","settle_all",{"who":0,"told":[{"order":1,"kind":"claim"},'
        '{"order":1,"wrong":"order nonsense"}]},null]]'
    ),
    "deliveries sent again in another order on each engine": (
        '[["begins_with","open",{"who":0,"number":1,"channel":"store","receiver":"ann","idempotency":"","'
        'body":"{}"},null],["begins_with","open",{"who":0,"number":2,"channel":"shop_hold","receiver":"an'
        'n","idempotency":"","body":"{}"},null],["begins_with","open",{"who":0,"number":3,"channel":"shop'
        '_refund","receiver":"ann","idempotency":"","body":"{}"},null],["refunds_by_anothers_name","settl'
        'e_all",{"who":2,"told":[{"order":3,"kind":"part","amount":100}]},null],["serves_deliveries","ser'
        've",{"who":0,"queue":"deliveries","lane":"default/main","answers":[]},null],["resends_many","res'
        'end_all",{"ended":"delivered","endpoint":"default/main"},null]]'
    ),
    "our own database's trouble, counted as the provider's": (
        '[["begins_with","open",{"who":0,"number":1,"channel":"store_hold","receiver":"ann","idempotency"'
        ':"","body":"{}"},null],["begins_with","open",{"who":0,"number":4,"channel":"store_hold","receive'
        'r":"ann","idempotency":"","body":"{}"},null],["tells_together","settle_all",{"who":2,"told":[{"o'
        'rder":4,"owes":"consume"}]},null],["takes","claim",{"who":2,"queue":"duties","lane":"store_hold"'
        '},null],["works","work",{"who":2,"index":0,"answers":["refunded"]},{"what":"fails","at":"after_c'
        'ommit"}]]'
    ),
}


@pytest.fixture
def bench(sqlite_template: Path, tmp_path: Path) -> Iterator[Bench]:
    """A SQLite database to play on, in virtual time."""
    file = Path(shutil.copy(sqlite_template, tmp_path / "payplat.db"))
    with structlog.testing.capture_logs(), sqlite_bench(file) as bench:
        yield bench


@pytest.fixture
def server(request, mariadb: MariaDB, mariadb_template: str) -> Iterator[Bench]:
    """A MariaDB database to play on."""
    request.node.user_properties.append(("lane", "mariadb"))
    with mariadb.copied_database(mariadb_template) as url, server_bench(url) as bench:
        yield bench


def test_any_steps_lead_where_they_must(bench):
    """After each of many steps of every kind all rows are what they must be, and in peace nothing stays open."""
    run = Run(bench)
    run.play(1, examples=8, steps=40)
    assert run.examples >= 8
    assert run.steps > 8 * 40
    assert run.faults > 0


def test_both_engines_lead_to_the_same(bench, server):
    """The same steps have the same answers and leave the same rows on SQLite and on MariaDB."""
    run = Run(bench, server, share=1)
    run.play(2, examples=3, steps=40)
    assert run.compared >= 3


@pytest.mark.parametrize("steps", FOUND.values(), ids=FOUND)
def test_what_was_found_stays_mended(bench, server, steps):
    """Steps that once went wrong go right, on both engines."""
    Run(bench).take(load(steps), server)


def test_a_close_that_overwrites_is_found(bench, monkeypatch):
    """Were a close to overwrite a payment, few steps would show it, and the same steps again."""

    def close(self, verdict):
        self._move(Status.CLOSED)
        return Status.CLOSED

    monkeypatch.setattr(Case, "_close", close)
    assert len(shortest(bench)) <= 6


def test_a_refund_that_is_forgotten_is_found(bench, monkeypatch):
    """Were an order's sum of refunds to be forgotten, few steps would show it, and the same steps again."""
    monkeypatch.setattr(Case, "_sum_refunds", lambda case: None)
    assert len(shortest(bench)) <= 6


def shortest(bench):
    """Play until something goes wrong; return the shortest steps that do, after they were read from what is told."""
    run = Run(bench)
    with pytest.raises(Breach):
        run.play(3, examples=50, steps=40)
    steps = load(dump(run.shortest()))
    with pytest.raises(Breach):
        run.take(steps, None)
    return steps
