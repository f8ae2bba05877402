"""Any request at any door: a short run."""

from tests.prove.doors import count_payments, knock, opened


def test_any_request_has_its_answer():
    """Whatever is sent, near to right or far from it, no answer is 500 or above, none is missing, and nothing is paid."""
    with opened() as stage:
        tally = knock(stage, 400, 7)
        assert not tally.worst
        assert count_payments(stage) == 0
    assert {200, 400, 401, 404, 405} <= set(tally.statuses)
