"""The error tree and the one table that tells it."""

import pytest

from payplat import errors
from payplat.handlers.base import ERROR_TABLE, error_answer


def _tree(kind: type) -> list[type]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _tree(child))]


def test_every_error_has_its_entry():
    """Each class of the tree stands in the table itself, concrete before abstract."""
    tree = _tree(errors.PayplatError)
    assert set(tree) <= set(ERROR_TABLE)
    order = list(ERROR_TABLE)
    assert all(order.index(kind) < order.index(kind.__base__) for kind in tree[1:])


def test_codes_are_stable_names_and_used_once():
    """A code names one kind of error."""
    codes = [answer.code for answer in ERROR_TABLE.values()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "kind",
    [
        errors.ProviderUnavailable,
        errors.Overloaded,
        errors.Draining,
        errors.DatabaseUnavailable,
        errors.NoAnswer,
    ],
)
def test_transient_trouble_is_5xx(kind):
    """What may work a moment later invites the caller to come again."""
    assert error_answer(kind()).status == 503


def test_what_nobody_foresaw_tells_nothing():
    """An unknown exception is 500 with no word of its text."""
    assert error_answer(RuntimeError("secret")).code == "internal_error"
