"""The provider behind an Alipay channel: the classic gateway protocol with RSA2.

Source: Alipay Open Platform, ``alipay.trade.app.pay``, ``.wap.pay``, ``.page.pay``, ``.precreate``, ``.query``,
``.close``, ``.refund``, ``.fastpay.refund.query``, "Asynchronous notification". Amounts are yuan with two places.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import structlog

from payplat import money, seam
from payplat.channels.alipay.keys import Keys
from payplat.channels.alipay.reading import (
    fen,
    payer_of,
    raise_refusal,
    refund_key,
    refund_of,
    state_of,
)
from payplat.channels.alipay.wire import (
    Malformed,
    beijing,
    from_beijing,
    is_ambiguous,
    notification_text,
    parse_answer,
    parse_form,
    passback,
    query_string,
    read_passback,
    request_text,
)
from payplat.circuit import Circuit
from payplat.errors import (
    NoAnswer,
    NotAuthentic,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
)
from payplat.outbound import Answer, Counterpart
from payplat.provider import EXPIRY_MARGIN, Account, Provider
from payplat.purchase import Evidence, Inbound, Order, Prepared, Refund, Source, State, Verdict
from payplat.retry import Backoff, retrying

log = structlog.get_logger("payplat")
METHODS = {
    "app": ("alipay.trade.app.pay", "QUICK_MSECURITY_PAY"),
    "page": ("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
    "wap": ("alipay.trade.wap.pay", "QUICK_WAP_WAY"),
    "qr": ("alipay.trade.precreate", "QR_CODE_OFFLINE"),
}
_CREATING = frozenset(method for method, _ in METHODS.values())
_BY_BROWSER = frozenset({"alipay.trade.page.pay", "alipay.trade.wap.pay"})
_ASKING = Backoff(base=0.2, factor=2, cap=2, jitter=0.5, attempts=3)
# A subject may not contain these ("alipay.trade.page.pay": subject).
_SUBJECT = str.maketrans("/=&", "   ")


@dataclass(frozen=True, slots=True)
class Told:
    """A gateway answer that is believed: its text members, its exact text, and the key that signed it."""

    node: Mapping[str, str]
    text: str
    verifier: str


class AlipayProvider(Provider):
    """One app id at Alipay. Its account is ``app_id/seller_id``: a notice that names another of either is not ours."""

    kind: ClassVar[str] = "alipay"
    methods: ClassVar[tuple[str, ...]] = tuple(METHODS)
    remote_methods: ClassVar[frozenset[str]] = frozenset({"qr"})
    currency: ClassVar[str] = "CNY"

    def __init__(
        self,
        account: Account,
        *,
        app_id: str,
        seller_id: str,
        keys: Keys,
        gateway: str,
        product_codes: Mapping[str, str],
        timeout: float,
    ) -> None:
        self._app_id, self._keys, self._gateway = app_id, keys, gateway
        self._notify_url, self.environment = account.notify_url, account.environment
        self._product_codes = product_codes
        circuit = Circuit("alipay")
        self._company = Counterpart(
            "alipay", timeout=timeout, opened=account.opened, circuit=circuit
        )
        self.circuits, self.credentials = (circuit,), keys.credentials
        self.account = f"{app_id}/{seller_id}"

    async def prepare(self, order: Order) -> Prepared:
        """Return ``order_string`` (app), ``url`` (page, wap) or ``qr_code`` (qr, asked from the gateway)."""
        method, product_code = METHODS[order.method]
        content = {
            "out_trade_no": order.order_no,
            "total_amount": money.to_text(order.amount or 0, self.currency),
            "subject": order.title.translate(_SUBJECT),
            "product_code": self._product_codes.get(order.method, product_code),
            "time_expire": beijing(order.expires_at),
            "passback_params": passback(order.sku, order.quantity),
        }
        if order.method == "qr":
            told = await self._ask(method, content)
            if not told.node.get("qr_code"):
                raise ProviderUnavailable("The gateway gave no QR code.")
            return Prepared({"qr_code": told.node["qr_code"]}, keep=True)
        # Signed as of the order's creation, so that a repeated request gets the same answer.
        parameters = self._signed(method, content, at=order.created_at, return_url=order.return_url)
        query = query_string(parameters)
        if order.method == "app":
            return Prepared({"order_string": query})
        return Prepared({"url": f"{self._gateway}?{query}"})

    def read_notification(self, inbound: Inbound) -> Verdict:
        """Verify and read an asynchronous notification from its body alone; the query string is never looked at."""
        try:
            fields = parse_form(inbound.body)
        except Malformed:
            raise NotAuthentic("The body is no form that Alipay sends.") from None
        verifier = self._notification_verifier(fields)
        evidence = Evidence(Source.CALLBACK, inbound.body)
        named = f"{fields.get('app_id', '')}/{fields.get('seller_id', '')}"
        # What is signed for another account is no word about ours, not even about an order of that account.
        account = named if named == self.account else f"not {self.account}: {named}"
        return self._notified(fields, account, evidence, f"key:{verifier}")

    async def verify(self, order: Order, evidence: Evidence) -> Verdict:
        """Ask ``alipay.trade.query``, up to three times; a trade that never began is PENDING until it no longer can."""
        return await retrying(
            lambda: self._query(order, evidence.source), _ASKING, ProviderUnavailable
        )

    async def close(self, order: Order) -> None:
        """Ask ``alipay.trade.close``; a refusal says nothing about payment, so the caller asks again."""
        try:
            await self._ask("alipay.trade.close", {"out_trade_no": order.order_no})
        except ProviderRefused as error:
            log.info("close refused", order_no=order.order_no, code=error.code)

    async def refund(self, order: Order, transaction_id: str, key: str) -> Verdict:  # noqa: ARG002
        """Give everything back by ``alipay.trade.refund``; ``key`` is its ``out_request_no``."""
        content = {
            "out_trade_no": order.order_no,
            "refund_amount": money.to_text((order.amount or 0) - order.refunded, self.currency),
            "out_request_no": key,
        }
        told = await self._ask("alipay.trade.refund", content)
        trade_no = told.node.get("trade_no")
        done = told.node.get("fund_change") == "Y" or await self._is_refunded(order, key)
        done = done and trade_no is not None
        total = Refund(refund_key(trade_no, key), total=order.amount)
        return self._verdict(
            State.REFUNDED if done else State.UNKNOWN,
            order.order_no,
            Evidence(Source.RECONCILE, told.text.encode()),
            told.verifier,
            transaction_id=trade_no,
            refund=total if done else None,
        )

    async def probe(self) -> str:
        """Ask about an order that does not exist: the right answer shows that gateway, app id and keys fit."""
        try:
            await self._ask("alipay.trade.query", {"out_trade_no": seam.new_id()})
        except ProviderRefused as error:
            if error.code == "ACQ.TRADE_NOT_EXIST":
                return "the gateway knows our app id and signature, and we know its signature"
        raise ProviderError(
            "The gateway gave no sensible answer about an order that does not exist."
        )

    async def aclose(self) -> None:
        """Close the connections to the gateway."""
        self._company.close()

    async def _query(self, order: Order, source: Source) -> Verdict:
        try:
            told = await self._ask("alipay.trade.query", {"out_trade_no": order.order_no})
        except ProviderRefused as error:
            return self._refused_query(order, source, error)
        if told.node.get("out_trade_no") != order.order_no:
            raise ProviderUnavailable("The gateway answered about another order.")
        return self._queried(told.node, Evidence(source, told.text.encode()), told.verifier)

    def _refused_query(self, order: Order, source: Source, error: ProviderRefused) -> Verdict:
        state = State.UNKNOWN
        if error.code == "ACQ.TRADE_NOT_EXIST":
            over = seam.now() > order.expires_at + EXPIRY_MARGIN
            state = State.CLOSED if over else State.PENDING
        evidence = Evidence(source, error.answer.encode())
        return self._verdict(state, order.order_no, evidence, error.verifier, note=error.code)

    def _queried(self, node: Mapping[str, str], evidence: Evidence, verifier: str) -> Verdict:
        status, amount = node.get("trade_status"), fen(node.get("total_amount"))
        refund = None
        state = state_of(str(status))
        if state is State.CLOSED and node.get("send_pay_date"):
            # Closed after it was paid: Alipay closes a trade once all of it has gone back.
            state, refund = (
                State.REFUNDED,
                Refund(refund_key(node.get("trade_no"), "closed"), total=amount),
            )
        return self._stated(node, state, node["out_trade_no"], evidence, verifier, refund)

    def _notified(
        self, fields: Mapping[str, str], account: str, evidence: Evidence, verifier: str
    ) -> Verdict:
        state, refund = state_of(fields.get("trade_status", "")), refund_of(fields)
        if fields.get("notify_type") != "trade_status_sync":
            state, refund = State.UNKNOWN, None
        if state is State.CLOSED and refund is not None:
            whole = refund.total == fen(fields.get("total_amount"))
            state = State.REFUNDED if whole else State.PAID
        elif state is State.CLOSED and fields.get("gmt_payment"):
            state = State.UNKNOWN  # paid once and closed, but it does not say what went back
        named = fields.get("out_trade_no")
        return self._stated(fields, state, named, evidence, verifier, refund, account)

    def _stated(
        self,
        fields: Mapping[str, str],
        state: State,
        order_no: str | None,
        evidence: Evidence,
        verifier: str,
        refund: Refund | None,
        account: str | None = None,
    ) -> Verdict:
        product, quantity = read_passback(fields.get("passback_params"))
        return self._verdict(
            state,
            order_no,
            evidence,
            verifier,
            account=account or self.account,
            transaction_id=fields.get("trade_no"),
            amount=fen(fields.get("total_amount")),
            product=product,
            quantity=quantity,
            payer=payer_of(fields),
            paid_at=from_beijing(fields.get("gmt_payment") or fields.get("send_pay_date")),
            refund=refund,
            note=str(fields.get("trade_status", "")),
        )

    def _verdict(
        self, state: State, order_no: str | None, evidence: Evidence, verifier: str, **told: Any
    ) -> Verdict:
        told = {"account": self.account, **told}
        return Verdict(
            state,
            self.kind,
            self.environment,
            order_no=order_no,
            evidence=evidence,
            verifier=verifier,
            currency=self.currency,
            **told,
        )

    def _notification_verifier(self, fields: Mapping[str, str]) -> str:
        """Return the fingerprint of the key that signed; raises NotAuthentic."""
        if fields.get("sign_type") != "RSA2" or fields.get("charset", "utf-8").lower() != "utf-8":
            raise NotAuthentic("Only RSA2 over UTF-8 is believed.")
        signature = fields.get("sign", "")
        verifier = self._keys.verifier(notification_text(fields), signature)
        if verifier is None and "" in fields.values():
            # Alipay's documents disagree on whether blank values are signed.
            verifier = self._keys.verifier(notification_text(fields, blanks=False), signature)
        # A signature of next to nothing is no notification either.
        if verifier is None or not fields.get("app_id") or is_ambiguous(fields):
            raise NotAuthentic
        return verifier

    async def _is_refunded(self, order: Order, key: str) -> bool:
        content = {"out_trade_no": order.order_no, "out_request_no": key}
        told = await self._ask("alipay.trade.fastpay.refund.query", content)
        return told.node.get("refund_status") == "REFUND_SUCCESS"

    async def _ask(self, method: str, content: Mapping[str, str]) -> Told:
        """Call the gateway and return its signed answer. Raises ProviderError's three kinds."""
        parameters = self._signed(method, content, at=seam.now())
        body = query_string({"biz_content": parameters.pop("biz_content")}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}
        url = f"{self._gateway}?{query_string(parameters)}"
        try:
            answer = await self._company.request("POST", url, body=body, headers=headers)
        except NoAnswer as error:
            raise ProviderUnavailable(f"The gateway gave no answer: {error}.") from error
        told, number = self._read_answer(answer, method), content["out_trade_no"]
        # The signature does not say which question it answers.
        if told.node.get("out_trade_no", number) != number:
            raise ProviderUnavailable("The gateway answered about another order.")
        return told

    def _read_answer(self, answer: Answer, method: str) -> Told:
        if answer.status != 200:
            raise ProviderUnavailable(f"The gateway answered {answer.status}.")
        try:
            told = parse_answer(answer.body.decode("utf-8"), method)
        except (Malformed, UnicodeDecodeError):
            raise ProviderUnavailable("The gateway's answer cannot be read.") from None
        verifier = self._keys.verifier(told.text.encode(), told.sign or "")
        raise_refusal(told, verifier)
        if verifier is None:
            raise ProviderUnavailable("The gateway's answer is not signed by Alipay.")
        # All that we read is text; a number or a list in its place is as good as absent.
        members = {name: value for name, value in told.node.items() if isinstance(value, str)}
        return Told(members, told.text, f"query:{verifier}")

    def _signed(
        self,
        method: str,
        content: Mapping[str, str],
        *,
        at: int,
        return_url: str | None = None,
    ) -> dict[str, str]:
        """Return a request's common parameters, ``biz_content`` and signature; nothing in it is empty."""
        notify = {"notify_url": self._notify_url} if method in _CREATING else {}
        returns = {"return_url": return_url} if return_url and method in _BY_BROWSER else {}
        parameters = {
            "app_id": self._app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": beijing(at),
            "version": "1.0",
            **self._keys.parameters,
            **notify,
            **returns,
            "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
        }
        parameters["sign"] = self._keys.sign(request_text(parameters))
        return parameters
