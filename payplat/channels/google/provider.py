"""The provider behind a Google Play channel: purchase tokens, acknowledgement, real-time developer notifications.

A notification only says that something changed, and a client is believed nothing: Google is always asked. Sources: Google
Play Developer API v3; Google Play Billing, "Fight fraud and abuse", "Real-time developer notifications".
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

import structlog

from payplat import seam
from payplat.channels.google import reading
from payplat.channels.google.access import AccessTokens
from payplat.channels.google.publisher_api import PURCHASE_TOKEN, PublisherApi
from payplat.channels.google.push import Push, PushAuth, Undecodable, read_push
from payplat.channels.google.voids import Reading
from payplat.errors import AnotherOrder, NotAuthentic, ProviderError, ProviderRefused
from payplat.provider import Account, Missed, Provider
from payplat.purchase import (
    Evidence,
    Inbound,
    Order,
    Prepared,
    Source,
    State,
    Verdict,
)

log = structlog.get_logger("payplat")
_MILLISECOND = seam.SECOND // 1000
_TOLD = (State.PAID, State.REFUNDED)


def shown(token: str, order_no: str, source: Source) -> Evidence:
    """Return a token as evidence for an order: shown for another one it is other evidence, and both may have to wait."""
    return Evidence(source, f"{token} {order_no}".encode())


class GoogleProvider(Provider):
    """One app in Google Play; its account is the package name."""

    kind: ClassVar[str] = reading.KIND
    methods: ClassVar[tuple[str, ...]] = ("play_billing",)
    currency: ClassVar[str | None] = None
    knows_orders: ClassVar[bool] = False

    def __init__(
        self,
        account: Account,
        *,
        package_name: str,
        account_secret: bytes,
        api: PublisherApi,
        tokens: AccessTokens,
        push: PushAuth,
        subscription: str | None,
        testers: frozenset[str],
        asks_price: bool,
        sweep_seconds: float,
    ) -> None:
        self.environment, self.account, self.testers = account.environment, package_name, testers
        self._secret, self._api, self._tokens, self._push = account_secret, api, tokens, push
        self._subscription, self._asks_price = subscription, asks_price
        self.sweep_seconds, self.circuits = sweep_seconds, (api.circuit, tokens.circuit)

    async def prepare(self, order: Order) -> Prepared:
        """Return what Play Billing needs: ``product_id``, ``obfuscated_account_id``, ``obfuscated_profile_id``."""
        return Prepared(
            {
                "product_id": order.sku,
                "obfuscated_account_id": self._account_id(order.receiver),
                "obfuscated_profile_id": order.order_no,
            }
        )

    async def load_keys(self, inbound: Inbound) -> None:
        """Have the keys at hand with which a push is checked; raises ProviderUnavailable."""
        await self._push.prepare(inbound)

    def read_notification(self, inbound: Inbound) -> Verdict:
        """Check who pushed, and read what changed; only ``look_into`` tells what that means."""
        verifier, evidence = self._push.check(inbound), Evidence(Source.CALLBACK, inbound.body)
        try:
            push = read_push(inbound.body)
        except Undecodable as error:
            log.error("push cannot be read", reason=str(error))
            return self._told(evidence, verifier, note="undecodable")
        if self._subscription not in (None, push.subscription):
            raise NotAuthentic("The push is of another subscription.")
        return self._read_push(push, evidence, verifier)

    async def look_into(self, told: Verdict) -> Verdict:
        """Ask about the purchase that a notification names; one that Google no longer knows is as it was told."""
        if not told.transaction_id or told.account != self.account:
            return told
        try:
            fresh = await self._ask(told.transaction_id, told.evidence)
        except ProviderRefused as error:
            return replace(told, note=f"{told.note}: {error.code}")
        if told.refund is not None and fresh.refund is None:
            # Google's own notification may be ahead of its API.
            return replace(fresh, state=told.state, refund=told.refund)
        return fresh

    async def verify(self, order: Order, evidence: Evidence) -> Verdict:
        """Ask about the purchase token that the client submitted.

        Without one there is nothing to ask: the order is PENDING, and CLOSED after its end. Raises AnotherOrder for the
        purchase of another order.
        """
        token = evidence.raw.decode("ascii", "replace").partition(" ")[0]
        if not token:
            return self.without_evidence(order, evidence)
        verdict = await self._ask(token, evidence)
        if verdict.order_no not in (None, order.order_no):
            raise AnotherOrder
        return self.bind(verdict, order)

    def bind(self, verdict: Verdict, order: Order) -> Verdict:
        """Check that the player of ``order`` made the purchase, and say what its payment owes.

        A purchase without an order number (a code redeemed in the store) is claimed by the client for its order.
        """
        ours = self._account_id(order.receiver)
        is_theirs = verdict.payer == ours or (verdict.payer is None and verdict.order_no is None)
        return replace(
            verdict,
            order_no=order.order_no,
            is_claimed=verdict.order_no is None,
            objection=verdict.objection or ("" if is_theirs else "account_id"),
            owes=reading.owed(order.consumable),
        )

    async def close(self, order: Order) -> None:
        """Do nothing: Google has no order to close. A purchase that turns up later is a late payment."""

    async def refund(self, order: Order, transaction_id: str, key: str) -> Verdict:  # noqa: ARG002
        """Give everything back by "orders.refund", and revoke what was bought; a repeat finds it done."""
        evidence = Evidence(Source.RECONCILE, transaction_id.encode())
        answered = await self._api.purchase(transaction_id)
        order_id = answered.content.get("orderId")
        if not isinstance(order_id, str):
            raise ProviderRefused("Nothing was charged for this purchase.")
        if self._read(answered.content, transaction_id, evidence).state is not State.REFUNDED:
            await self._api.refund(order_id)
        return self.bind(await self._ask(transaction_id, evidence), order)

    async def perform(self, what: str, order: Order, transaction_id: str) -> Verdict | None:
        """Do the duty ``acknowledge`` or ``consume``, unless it is done; return the refund that took its place.

        Source: "purchases.products.acknowledge" and ".consume".
        """
        if what not in ("acknowledge", "consume"):
            return await super().perform(what, order, transaction_id)
        answered = await self._api.purchase(transaction_id)
        evidence = Evidence(Source.RECONCILE, transaction_id.encode(), answered.text.encode())
        verdict = self._read(answered.content, transaction_id, evidence)
        if verdict.state is State.REFUNDED:
            return self.bind(verdict, order)
        if what == "acknowledge" and not reading.is_acknowledged(answered.content):
            await self._api.acknowledge(order.sku, transaction_id)
        if what == "consume" and not reading.is_consumed(answered.content):
            await self._api.consume(order.sku, transaction_id)
        return None

    async def missed(self, position: str) -> Missed:
        """Return a page of the voided purchases ("purchases.voidedpurchases.list")."""
        at = Reading.at(position, seam.now() // _MILLISECOND)
        try:
            page = await self._api.voided(at.start, page_token=at.page)
        except ProviderRefused:
            if at.page is None:
                raise
            return Missed((), at.again())  # a page's token does not hold for ever
        verdicts = [verdict for row in page.rows for verdict in await self._read_voided(row)]
        has_more = page.next_page_token is not None
        return Missed(verdicts, at.after(page.next_page_token), has_more)

    async def probe(self) -> str:
        """Ask about a purchase that does not exist: only whom Google lets in is told so."""
        with suppress(ProviderRefused):
            await self._api.purchase("payplat-probe")
        return f"Google accepts the service account for {self.account}"

    async def aclose(self) -> None:
        """Close the connections to Google."""
        self._api.close()
        self._tokens.close()
        self._push.close()

    async def _ask(self, token: str, evidence: Evidence) -> Verdict:
        if not PURCHASE_TOKEN.fullmatch(token):
            raise NotAuthentic("This is no purchase token.")
        answered = await self._api.purchase(token)
        asked = replace(evidence, answer=answered.text.encode())
        verdict = self._read(answered.content, token, asked)
        order_id = answered.content.get("orderId")
        if not (self._asks_price and order_id and verdict.state in _TOLD):
            return verdict
        try:
            return reading.priced(verdict, await self._api.order(str(order_id)))
        except ProviderError as error:
            log.info("price not told", reason=str(error))
            return verdict

    def _read(self, content: Mapping[str, Any], token: str, evidence: Evidence) -> Verdict:
        return reading.read_purchase(content, token, self.account, evidence, "query:productsv2")

    def _read_push(self, push: Push, evidence: Evidence, verifier: str) -> Verdict:
        note = push.kind
        if push.package_name != self.account:
            return self._told(evidence, verifier, note=f"{note} of another package")
        if push.kind == "voided" and push.purchase_token and push.refund_type == 1:
            row = {"purchaseToken": push.purchase_token, "orderId": push.order_id}
            verdict = reading.voided(row, self.account, self.environment, evidence)
            return (
                replace(verdict, verifier=verifier) if verdict else self._told(evidence, verifier)
            )
        if push.kind == "unknown":
            log.error("push not understood", message_id=push.message_id)
        if push.kind in ("purchased", "canceled", "voided"):
            return self._told(evidence, verifier, note=note, token=push.purchase_token)
        return self._told(evidence, verifier, note=note)

    def _told(
        self, evidence: Evidence, verifier: str, note: str = "", token: str | None = None
    ) -> Verdict:
        return Verdict(
            state=State.UNKNOWN,
            kind=self.kind,
            environment=self.environment,
            account=self.account,
            order_no=None,
            evidence=evidence,
            verifier=verifier,
            transaction_id=token,
            note=note,
        )

    async def _read_voided(self, row: Mapping[str, Any]) -> list[Verdict]:
        evidence = Evidence(Source.RECONCILE, json.dumps(row, sort_keys=True).encode())
        environments = {self.environment, *(["sandbox"] if self.testers else [])}
        found = [reading.voided(row, self.account, name, evidence) for name in environments]
        whole = [verdict for verdict in found if verdict is not None]
        token = str(row.get("purchaseToken", ""))
        if whole or not PURCHASE_TOKEN.fullmatch(token):
            return whole
        try:
            return [await self._ask(token, evidence)]
        except ProviderRefused as error:
            log.warning("voided purchase is not known", reason=str(error))
            return []

    def _account_id(self, receiver: str) -> str:
        """Google wants one stable name for each player, without personal data in clear."""
        return hmac.new(self._secret, receiver.encode(), hashlib.sha256).hexdigest()
