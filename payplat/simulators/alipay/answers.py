"""The text of a gateway answer: the node first, then the certificate's number, then `sign`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payplat.simulators.alipay import wire
from payplat.simulators.alipay.faults import AnswerFault
from payplat.simulators.alipay.fields import METHODS
from payplat.simulators.alipay.keys import Keys

_SIGNATURES: dict[str, dict[str, str]] = {
    "wrong_key": {"sign_with": "wrong"},
    "sha1": {"digest": "sha1"},
}


def node_of(method: str) -> str:
    """`alipay.trade.query` answers in `alipay_trade_query_response`, an unknown method in an error."""
    return f"{method.replace('.', '_')}_response" if method in METHODS else "error_response"


def write(
    node: str,
    answer: Mapping[str, Any],
    keys: Keys,
    *,
    cert_sn: str = "",
    signed: bool = True,
    fault: AnswerFault | None = None,
) -> str:
    """The signature covers the very characters of the node's value."""
    kind = fault.kind if fault else ""
    value = wire.compact(answer)
    sign = keys.sign(value.encode(), **_SIGNATURES.get(kind, {}))
    if fault:
        value = _spoil(node, value, answer, fault)
    parts = [f'"{node}":{value}']
    if cert_sn:
        parts.append(f'"alipay_cert_sn":"{cert_sn}"')
    if signed and kind != "unsigned":
        # The real gateway escapes `/` within the node only.
        parts.append(f'"sign":"{sign}"')
    return "{" + ",".join(parts) + "}"


def _spoil(node: str, value: str, answer: Mapping[str, Any], fault: AnswerFault) -> str:
    altered = wire.compact({**answer, **fault.alter})
    changes = {
        "altered": altered,
        "repeated_node": f'{value},"{node}":{altered}',
        "unescaped": value.replace("\\/", "/"),
    }
    return changes.get(fault.kind, value)
