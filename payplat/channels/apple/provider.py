"""The provider behind an Apple channel: signed transactions, the App Store Server API, Server Notifications V2.

A transaction that Apple signed is authentic, but its copy on a device may be from before a refund: by policy Apple is
asked for a fresh one. Sources: App Store Server API, App Store Server Notifications, StoreKit "appAccountToken(_:)".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import structlog

from payplat import seam
from payplat.channels.apple import reading
from payplat.channels.apple.history import REACH, Window
from payplat.channels.apple.jws import Signed, SignedData
from payplat.channels.apple.server_api import TRANSACTION_ID, ServerApi
from payplat.errors import (
    NoAnswer,
    NotAuthentic,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from payplat.provider import Account, Missed, Provider
from payplat.purchase import (
    Evidence,
    Inbound,
    Order,
    Owed,
    Prepared,
    Source,
    Status,
    Verdict,
)

log = structlog.get_logger("payplat")
Ask = Literal["always", "when_stale", "never"]
# A device's copy that is older may be from before a refund.
STALE = 300 * seam.SECOND
_MILLISECOND = seam.SECOND // 1000
# Tokens live for minutes: a clock further off makes them worthless. In seconds.
_MOST_SKEW = 60


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decides: when Apple is asked, who may buy in the sandbox, who learns of consumption requests."""

    ask: Ask
    testers: frozenset[str]
    asks_merchant: bool
    sweep_seconds: float


class AppleProvider(Provider):
    """One app in the App Store. Its account is the bundle id; ``apis`` are Apple's, by our word for the environment."""

    kind: ClassVar[str] = reading.KIND
    methods: ClassVar[tuple[str, ...]] = ("storekit",)
    currency: ClassVar[str | None] = None
    knows_orders: ClassVar[bool] = False

    def __init__(
        self,
        account: Account,
        *,
        bundle_id: str,
        app_apple_id: int | None,
        signed_data: SignedData,
        apis: Mapping[str, ServerApi],
        policy: Policy,
    ) -> None:
        self.environment, self.account = account.environment, bundle_id
        self._app_apple_id, self._signed_data = app_apple_id, signed_data
        self._apis, self._policy, self.testers = apis, policy, policy.testers
        self.sweep_seconds, self.credentials = policy.sweep_seconds, signed_data.credentials
        self.circuits = tuple(api.circuit for api in apis.values())

    async def prepare(self, order: Order) -> Prepared:
        """Return what StoreKit 2 needs: ``product_id``, ``quantity``, and the order number as ``app_account_token``."""
        token = _dashed(order.order_no)
        return Prepared(
            {"product_id": order.sku, "quantity": order.quantity, "app_account_token": token}
        )

    def read_notification(self, inbound: Inbound) -> Verdict:
        """Verify and read ``{"signedPayload": …}``, the transaction within it too."""
        return self._read_notification(_signed_payload(inbound.body), Source.CALLBACK)

    async def verify(self, order: Order, evidence: Evidence) -> Verdict:
        """Read what the client submitted, a signed transaction or a transaction id, and ask Apple about it by policy.

        Without evidence there is nothing to ask: the order is PENDING, and CLOSED after its end.
        """
        submitted = evidence.raw.decode("ascii", "replace")
        if not submitted:
            return self.without_evidence(order, evidence)
        if TRANSACTION_ID.fullmatch(submitted):
            fresh = await self._ask(order.environment, submitted)
            return _read(fresh, _answered(evidence, fresh))
        signed = self._signed_data.verify(submitted)
        if not self._must_ask(signed.payload, order):
            return _claimed(_read(Fresh(submitted, signed), evidence), order)
        fresh = await self._ask_again(signed.payload)
        return _claimed(_read(fresh, _answered(evidence, fresh)), order)

    async def close(self, order: Order) -> None:
        """Do nothing: Apple has no order to close. A purchase that turns up later is a late payment."""

    async def refund(self, order: Order, transaction_id: str, key: str) -> Verdict:  # noqa: ARG002
        """Refuse: only Apple gives this money back, when its customer asks."""
        raise ProviderRefused("Only Apple can give this money back.")

    async def perform(self, what: str, order: Order, transaction_id: str) -> Verdict | None:
        """Do the duty ``bind``: tell Apple the order of a purchase that was claimed, and see whether it still stands.

        From then on Apple's notifications name the order. Source: "Set App Account Token".
        """
        if what != "bind":
            return await super().perform(what, order, transaction_id)
        api = self.api(order.environment)
        await api.set_app_account_token(transaction_id, _dashed(order.order_no))
        fresh = await self._ask(order.environment, transaction_id)
        evidence = Evidence(Source.RECONCILE, transaction_id.encode(), fresh.jws.encode())
        return _read(fresh, evidence)

    async def missed(self, position: str) -> Missed:
        """Return a page of the notifications that did not reach us ("Get Notification History", only failures)."""
        window = Window.at(position, seam.now() // _MILLISECOND, REACH[self.environment])
        try:
            page = await self.api(self.environment).notification_history(
                window.start, window.end, only_failures=True, pagination_token=window.token
            )
        except ProviderRefused:
            if window.token is None:
                raise
            return Missed((), window.again())  # a page's token does not hold for ever
        verdicts = [v for v in map(self._read_missed, page.signed_payloads) if v is not None]
        return Missed(verdicts, window.after(page), page.has_more)

    def read(self, jws: str) -> Mapping[str, Any]:
        """Return what Apple signed; raises NotAuthentic."""
        return self._signed_data.verify(jws).payload

    async def send_consumption(self, order: Order, transaction_id: str, told: Any) -> None:
        """Answer a consumption request of Apple's; refused without the customer's consent ("ConsumptionRequest")."""
        await self.api(order.environment).send_consumption(transaction_id, told)

    async def probe(self) -> str:
        """Ask Apple about a transaction that does not exist, and compare clocks."""
        try:
            skew = await self.api(self.environment).clock_skew()
        except NoAnswer as error:
            raise ProviderUnavailable(f"Apple cannot be reached: {error}.") from error
        if abs(skew) > _MOST_SKEW:
            raise ProviderMisconfigured(f"Our clock differs from Apple's by {-skew:.0f} s.")
        return f"Apple accepts the key of {self.account}, clocks agree within {_MOST_SKEW} s"

    async def aclose(self) -> None:
        """Close the connections to Apple."""
        for api in self._apis.values():
            api.close()

    def api(self, environment: str) -> ServerApi:
        """Return Apple's API in one of our environments; raises ProviderRefused where the channel is not open."""
        try:
            return self._apis[environment]
        except KeyError:
            raise ProviderRefused(f"The channel is not open for {environment}.") from None

    def _must_ask(self, transaction: Mapping[str, Any], order: Order) -> bool:
        """Say whether the device's copy is not enough; what can pay no order is not worth a question."""
        environment, named = reading.environment_of(transaction), reading.order_no_of(transaction)
        if transaction.get("bundleId") != self.account or environment not in self._apis:
            return False
        is_open = order.status in (Status.PENDING, Status.CLOSED)
        may_pay_it = is_open and environment == order.environment
        # It pays the order that it names, for whichever it was submitted; of that one nothing is known here.
        if named in (None, order.order_no) and not may_pay_it:
            return False
        if self._policy.ask == "always" or named is None:
            return True  # nobody but Apple tells whether an unclaimed purchase still stands
        age = seam.now() - int(transaction["signedDate"]) * _MILLISECOND
        return self._policy.ask == "when_stale" and age > STALE

    async def _ask_again(self, transaction: Mapping[str, Any]) -> "Fresh":
        transaction_id = str(transaction.get("transactionId", ""))
        if not TRANSACTION_ID.fullmatch(transaction_id):
            raise NotAuthentic("The transaction has no id.")
        try:
            return await self._ask(reading.environment_of(transaction), transaction_id)
        except ProviderRefused as error:
            # Apple signed it and does not know it: that is no answer to act on.
            raise ProviderUnavailable(str(error)) from error

    async def _ask(self, environment: str, transaction_id: str) -> "Fresh":
        """Ask for a transaction; an answer that is not Apple's word about exactly this one is no answer."""
        jws = await self.api(environment).transaction(transaction_id)
        try:
            signed = self._signed_data.verify(jws)
        except NotAuthentic as error:
            raise ProviderUnavailable(f"The answer is not signed by Apple: {error}") from error
        told = signed.payload
        answer = (told.get("transactionId"), told.get("bundleId"), reading.environment_of(told))
        if answer != (transaction_id, self.account, environment):
            raise ProviderUnavailable("Apple answered about another transaction.")
        return Fresh(jws, signed)

    def _read_missed(self, jws: str) -> Verdict | None:
        try:
            return self._read_notification(jws, Source.RECONCILE)
        except NotAuthentic as error:
            log.warning("notification from history not authentic", reason=str(error))
            return None

    def _read_notification(self, jws: str, source: Source) -> Verdict:
        signed, evidence = self._signed_data.verify(jws), Evidence(source, jws.encode())
        if not isinstance(signed.payload.get("notificationType"), str):
            raise NotAuthentic("Apple signed it, but as no notification.")
        data = _data(signed.payload)
        inner = data.get("signedTransactionInfo")
        if inner is None:
            facts = reading.read_other(
                signed.payload, reading.environment_of(data), self._named(data)
            )
            return Verdict(**facts, evidence=evidence, verifier=signed.verifier)
        # The envelope's signature says nothing of what is inside.
        transaction = self._signed_data.verify(str(inner)).payload
        purchase = reading.read_transaction(transaction, evidence, signed.verifier)
        verdict = reading.read_notification_of(
            signed.payload, purchase, asks_merchant=self._policy.asks_merchant
        )
        return replace(verdict, account=self._named({**transaction, **data}, transaction))

    def _named(self, data: Mapping[str, Any], inner: Mapping[str, Any] | None = None) -> str:
        """Return the account that a notification is for; one that contradicts itself is for none of ours."""
        bundle_id = str(data.get("bundleId", ""))[:64]
        # Apple leaves it out in its sandbox ("appAppleId").
        is_real = reading.environment_of(data) == "production"
        same_app = not is_real or self._app_apple_id in (None, data.get("appAppleId"))
        agrees = inner is None or all(
            inner.get(name) == data.get(name) for name in ("bundleId", "environment")
        )
        return bundle_id if same_app and agrees else f"not {self.account}: {bundle_id}"


@dataclass(frozen=True, slots=True)
class Fresh:
    """A transaction as Apple signed it, text and content."""

    jws: str
    signed: Signed


def _answered(evidence: Evidence, fresh: Fresh) -> Evidence:
    return replace(evidence, answer=fresh.jws.encode())


def _read(fresh: Fresh, evidence: Evidence) -> Verdict:
    verifier = ("query:" if evidence.answer else "") + fresh.signed.verifier
    return reading.read_transaction(fresh.signed.payload, evidence, verifier)


def _claimed(verdict: Verdict, order: Order) -> Verdict:
    """Let a purchase without an order number be for this order: whoever holds what Apple signed is its buyer.

    An id alone can be guessed, so that it claims nothing.
    """
    if verdict.order_no is not None:
        return verdict
    return replace(verdict, order_no=order.order_no, is_claimed=True, owes=(Owed("bind"),))


def _dashed(order_no: str) -> str:
    """Return an order's number as StoreKit takes it, a UUID."""
    n = order_no
    return f"{n[:8]}-{n[8:12]}-{n[12:16]}-{n[16:20]}-{n[20:]}"


def _signed_payload(body: bytes) -> str:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    signed = content.get("signedPayload") if isinstance(content, dict) else None
    if not isinstance(signed, str):
        raise NotAuthentic("The body has no signedPayload.")
    return signed


def _data(notification: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the one of its four parts that a notification has ("responseBodyV2DecodedPayload")."""
    parts = (notification.get(name) for name in ("data", "summary", "appData"))
    found = next((part for part in parts if isinstance(part, dict)), None)
    if found is None:
        found = notification.get("externalPurchaseToken")
    return found if isinstance(found, dict) else {}
