"""Outcomes a person can order at the cashier, or force by the amount alone.

The last two digits of the amount in fen decide, without any call of the control API:

======  ==================  =====================================================================
amount  name                what happens
======  ==================  =====================================================================
…81     forged_first        a forged notification, then the genuine one
…82     twice_at_once       the notification arrives twice at the same moment
…83     lost_once           the first delivery is lost, the first retry (after 4 min) arrives
…84     refund_first        the payment's notification comes after that of the first refund
…85     limited_twice       alipay.trade.query answers 40005 twice, then works
…86     unsigned_once       the first successful alipay.trade.query lacks its signature
…87     refund_cut          the first alipay.trade.refund is carried out, its answer cut off
…91     lost                the notification never comes
…92     five_times          the notification comes five times
…93     forged              only a forged notification comes
…94     one_fen_off         the notification states one fen too much, rightly signed
…95     busy_twice          alipay.trade.query answers 20000 twice, then works
…96     slow                the first alipay.trade.query takes three seconds
…97     delayed             the notification comes 30 seconds late
======  ==================  =====================================================================

…88, …90, …98 and …99 are common price endings and stay ordinary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from payplat.simulators.alipay.fields import QUERY, REFUND


@dataclass(frozen=True)
class Misfortune:
    """`notice` is a fault of the payment's notification, `answer` one of the gateway's answers."""

    name: str
    zh: str
    en: str
    cents: int | None = None
    notice: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)


MENU = (
    Misfortune("lost", "付款，通知丢失", "Pay, lose the notification", 91, {"drop": True}),
    Misfortune("five_times", "付款，通知五次", "Pay, notify five times", 92, {"copies": 5}),
    Misfortune(
        "forged", "付款，只收到伪造通知", "Pay, forged notice only", 93, {"sign_with": "wrong"}
    ),
    Misfortune(
        "one_fen_off", "付款，通知金额多一分", "Pay, notice off by one fen", 94, {"amount_off": 1}
    ),
    Misfortune("delayed", "付款，通知延迟 30 秒", "Pay, notice 30 s late", 97, {"delay": 30.0}),
    Misfortune(
        "forged_first",
        "付款，先伪造通知后真通知",
        "Pay, forged notice, then the genuine",
        81,
        {"sign_with": "wrong", "then_genuine": True},
    ),
    Misfortune(
        "twice_at_once",
        "付款，同时收到两次通知",
        "Pay, two notices at the same moment",
        82,
        {"copies": 2, "parallel": True},
    ),
    Misfortune("lost_once", "付款，首次通知丢失", "Pay, first delivery lost", 83, {"lose": 1}),
    Misfortune(
        "refund_first",
        "付款，退款通知先到",
        "Pay, refund notice comes first",
        84,
        {"behind_next": True},
    ),
    Misfortune(
        "busy_twice",
        "付款，查询两次系统繁忙",
        "Pay, query fails twice (20000)",
        95,
        answer={"kind": "20000", "method": QUERY, "times": 2},
    ),
    Misfortune(
        "slow",
        "付款，查询慢三秒",
        "Pay, query takes 3 s",
        96,
        answer={"kind": "slow", "method": QUERY, "seconds": 3.0},
    ),
    Misfortune(
        "limited_twice",
        "付款，查询两次被限流",
        "Pay, query limited twice (40005)",
        85,
        answer={"kind": "40005", "method": QUERY, "times": 2},
    ),
    Misfortune(
        "unsigned_once",
        "付款，查询结果缺少签名",
        "Pay, query answer unsigned once",
        86,
        answer={"kind": "unsigned", "method": QUERY},
    ),
    Misfortune(
        "refund_cut",
        "付款，退款应答中断",
        "Pay, refund's answer cut off",
        87,
        answer={"kind": "cut", "method": REFUND},
    ),
    Misfortune(
        "other_seller",
        "付款，通知收款方不符",
        "Pay, other seller in notice",
        None,
        {"other_seller": True},
    ),
    Misfortune(
        "foreign_app",
        "付款，通知应用不符",
        "Pay, foreign app_id in notice",
        None,
        {"foreign_app": True},
    ),
    Misfortune(
        "unsigned",
        "付款，通知缺少签名",
        "Pay, notice without signature",
        None,
        {"signature": "none"},
    ),
    Misfortune("gbk", "付款，通知为 GBK 编码", "Pay, notice in GBK", None, {"charset": "gbk"}),
)

BY_NAME = {each.name: each for each in MENU}
BY_CENTS = {each.cents: each for each in MENU if each.cents is not None}


def magic(fen: int) -> Misfortune | None:
    """The misfortune that an amount forces."""
    return BY_CENTS.get(fen % 100)
