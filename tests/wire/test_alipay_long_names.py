"""Names that Alipay signs and that are longer than what is kept: they keep no payment and no refund from its order."""

import pytest

from payplat.purchase import Inbound
from tests.wire import alipay


def test_a_payer_whose_name_is_too_long_is_known_by_the_next(provider) -> None:
    """Who paid is told for people only: a name that does not fit keeps no payment from its order."""
    fields = {"buyer_open_id": "a" * 192, "buyer_user_id": None, "buyer_id": "2088102100000000"}
    verdict = provider.read_notification(Inbound({}, "", alipay.notice(**fields)))
    assert verdict.payer == "2088102100000000"
    fields["buyer_id"] = "金" * 64
    verdict = provider.read_notification(Inbound({}, "", alipay.notice(**fields)))
    assert verdict.payer is None


@pytest.mark.parametrize(("number", "length"), [("r" * 162, 191), ("r" * 163, 64)])
def test_a_refund_whose_name_is_too_long_is_named_by_its_hash(provider, number, length) -> None:
    """Every refund has a name that can be kept, always the same one."""
    assert len(alipay.TRADE_NO) == 28
    body = alipay.notice(refund_fee="8.80", out_biz_no=number)
    refund = provider.read_notification(Inbound({}, "", body)).refund
    assert refund is not None
    assert len(refund.key) == length
