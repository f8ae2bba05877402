"""Apple's door: the steps of a purchase in which the App Store differs."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from typing_extensions import TypedDict

from payplat.channels.apple.jws import APPLE_ROOT_G3, SignedData, read_roots
from payplat.channels.apple.provider import AppleProvider, Ask, Policy
from payplat.channels.apple.server_api import BASE_URLS, ServerApi, read_key
from payplat.errors import NotAccepted
from payplat.handlers.described import Answer, Content, Operation, problems
from payplat.handlers.pay import AbstractPay
from payplat.handlers.steps import CALLBACK, UNTAKEN, VERIFY
from payplat.provider import Account, Provider
from payplat.purchase import Evidence, Source
from payplat.settings import ChannelSettings, StoreSettings, Url


class AppleSettings(StoreSettings):
    """The options of an Apple channel: one app of an App Store Connect team, and its In-App Purchase key."""

    gives_back = False
    bundle_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,100}$")]
    app_apple_id: Annotated[int, Field(gt=0)] | None = None
    issuer_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{8,64}$")]
    key_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{4,32}$")]
    private_key: SecretStr
    ask: Ask = "always"
    consumption: Literal["event", "never"] = "event"
    sweep_seconds: float = Field(900, gt=0, le=86400)
    timeout_seconds: float = Field(5, gt=0, le=10)
    roots: str | list[str] = Field(default=[])
    api: dict[Literal["production", "sandbox"], Url] = Field(default={})

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse other roots and hosts than Apple's own, and notifications for another app of the same name."""
        if self.roots:
            yield "roots", "only Apple's own root"
        if self.api:
            yield "api", "only Apple's own hosts"
        if self.app_apple_id is None:
            yield "app_apple_id", "missing: it tells Apple's notifications to this app from others"

    def signed_data(self) -> SignedData:
        """Return the verifier under the configured roots; raises ValueError."""
        pems = [self.roots] if isinstance(self.roots, str) else self.roots
        return SignedData(read_roots(pems) if pems else [APPLE_ROOT_G3])

    def apis(self, account: Account) -> dict[str, ServerApi]:
        """Return Apple's API in the environments in which somebody may buy; raises ValueError for a wrong key."""
        key = read_key(self.private_key.get_secret_value())
        wanted = {account.environment} | ({"sandbox"} if self.sandbox == "testers" else set())
        return {
            name: ServerApi(
                base_url=self.api.get(name) or BASE_URLS[name],  # type: ignore[call-overload]
                issuer_id=self.issuer_id,
                key_id=self.key_id,
                private_key=key,
                bundle_id=self.bundle_id,
                timeout=self.timeout_seconds,
                opened=account.opened,
            )
            for name in wanted
        }


def _only(name: str) -> dict[str, Any]:
    """Return the schema of what has ``name`` and not null."""
    return {"required": [name], "properties": {name: {"type": "string"}}}


class AppleVerification(BaseModel):
    """What a client submits: its order, and what StoreKit gave it, a signed transaction or at least its id."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"oneOf": [_only("signed_transaction"), _only("transaction_id")]},
    )

    order_no: Annotated[str, Field(max_length=64, description="The order that was paid.")]
    # A length within the pattern would be compiled into an automaton of 14 MB.
    signed_transaction: Annotated[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=32768)] | None,
        Field(description="StoreKit's `jwsRepresentation` of the transaction."),
    ] = None
    transaction_id: Annotated[
        Annotated[str, Field(pattern=r"^[0-9]{1,32}$")] | None,
        Field(description="The transaction's id, where that is all there is."),
    ] = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.signed_transaction is None) == (self.transaction_id is None):
            raise ValueError("give either signed_transaction or transaction_id")
        return self

    @property
    def evidence(self) -> Evidence:
        """What Apple is asked about."""
        submitted = self.signed_transaction or self.transaction_id or ""
        return Evidence(Source.VERIFY, submitted.encode())


class AppleNotice(TypedDict):
    """An App Store Server Notification V2."""

    signedPayload: Annotated[str, Field(description="A JWS that Apple signed.")]


_ORDER = {"order_no": "0197f3a1c2d4e5f60718293a4b5c6d7e"}
_SUBMITTED = {
    "a signed transaction": {**_ORDER, "signed_transaction": "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"},
    "an id": {**_ORDER, "transaction_id": "2000000123456789"},
}


class Apple(AbstractPay):
    """The App Store by StoreKit 2."""

    settings_type: ClassVar[type[ChannelSettings]] = AppleSettings
    descriptions: ClassVar[Mapping[str, Operation]] = {
        "respond_callback": replace(
            CALLBACK,
            body=Content(
                AppleNotice,
                examples={"a notice": {"signedPayload": "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"}},
            ),
            answers={
                200: Answer("It was taken, or put aside for a person."),
                **problems(*UNTAKEN),
            },
        ),
        "verify_order": replace(VERIFY, body=Content(AppleVerification, examples=_SUBMITTED)),
    }

    @classmethod
    def make_provider(cls, settings: Any, account: Account) -> Provider:
        """Return the provider of one app."""
        policy = Policy(
            ask=settings.ask,
            testers=frozenset(settings.testers),
            asks_merchant=settings.consumption == "event",
            sweep_seconds=settings.sweep_seconds,
        )
        return AppleProvider(
            account,
            bundle_id=settings.bundle_id,
            app_apple_id=settings.app_apple_id,
            signed_data=settings.signed_data(),
            apis=settings.apis(account),
            policy=policy,
        )

    @classmethod
    def commands(cls) -> Any:
        """Return ``payplat apple …``."""
        from payplat.channels.apple.desk import apple_cli  # noqa: PLC0415 - no service needs it

        return apple_cli

    async def respond_callback(self) -> None:
        """Confirm the notification and answer 200: what was put aside for a person need not come again."""
        verdict = self.provider.read_notification(self.inbound)
        with suppress(NotAccepted):
            await self.confirm(verdict)
        self.finish()

    async def verify_order(self) -> None:
        """Confirm what the client submitted and answer with its order; 202 while Apple cannot be asked."""
        request = self.read_json(AppleVerification)
        await self.examine(request.order_no, request.evidence)
