"""What Alipay's words mean: states, refunds, amounts, and the gateway's ways to say no.

Sources: Alipay Open Platform, "Trade states", "Asynchronous notification", "Common error codes".
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from payplat import money
from payplat.channels.alipay.wire import SignedAnswer
from payplat.errors import (
    InvalidRequest,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from payplat.purchase import Refund, State

_LONGEST = 191  # bytes of a name that is kept
_PAID = ("TRADE_SUCCESS", "TRADE_FINISHED")


def state_of(trade_status: str) -> State:
    """Read ``trade_status``; what is not among Alipay's four words is UNKNOWN."""
    if trade_status in _PAID:
        return State.PAID
    names = {"WAIT_BUYER_PAY": State.PENDING, "TRADE_CLOSED": State.CLOSED}
    return names.get(trade_status, State.UNKNOWN)


def refund_of(fields: Mapping[str, str]) -> Refund | None:
    """Read a refund notice: ``refund_fee`` is the sum of all refunds so far, and 0.00 in some payment notices."""
    total = fen(fields.get("refund_fee"))
    if not total:
        return None
    return Refund(
        refund_key(fields.get("trade_no"), fields.get("out_biz_no") or total), total=total
    )


def refund_key(trade_no: str | None, request_no: str | int) -> str:
    """Name a refund: its request number is unique within its trade only; a name too long to be kept by its hash."""
    name = f"{trade_no}/{request_no}"
    return name if _fits(name) else hashlib.sha256(name.encode()).hexdigest()


def payer_of(fields: Mapping[str, str]) -> str | None:
    """Return who paid, by the newest of Alipay's three names for that; None where none can be kept."""
    names = (fields.get(name) for name in ("buyer_open_id", "buyer_user_id", "buyer_id"))
    return next((name for name in names if name and _fits(name)), None)


def _fits(name: str) -> bool:
    return len(name.encode()) <= _LONGEST


def fen(yuan: str | None) -> int | None:
    """Read an amount of yuan as fen, exactly; None when it is none."""
    try:
        return money.from_text(yuan, "CNY") if yuan else None
    except InvalidRequest:
        return None


def raise_refusal(told: SignedAnswer, verifier: str | None) -> None:
    """Raise what the gateway's codes mean ("Common error codes"); an unsigned no is never believed about a trade."""
    code, sub_code = _code(told.node, "code"), _code(told.node, "sub_code")
    if code == "10000":
        return
    if code == "20000" or code == "40005" or sub_code.endswith("SYSTEM_ERROR"):
        raise ProviderUnavailable(f"The gateway is busy: {sub_code or code}.")
    if code == "40004" and verifier is not None:
        proof = {"answer": told.text, "verifier": f"query:{verifier}"}
        raise ProviderRefused(f"Alipay refused: {sub_code}.", code=sub_code, **proof)
    if code in ("20001", "40001", "40002", "40003", "40006"):
        raise ProviderMisconfigured(f"Alipay does not accept our request: {sub_code or code}.")
    raise ProviderUnavailable(f"The gateway's answer is not understood: {code}.")


def _code(node: Mapping[str, Any], name: str) -> str:
    """Return a code for people and logs: short and ASCII, whoever wrote it."""
    return str(node.get(name, ""))[:64].encode("ascii", "replace").decode()
