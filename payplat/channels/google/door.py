"""Google Play's door: the steps of a purchase in which Google Play differs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator
from typing_extensions import TypedDict

from payplat import seam
from payplat.addresses import Network
from payplat.channels.google.access import GOOGLE_TOKEN_URI, AccessTokens, ServiceAccount
from payplat.channels.google.provider import GoogleProvider, shown
from payplat.channels.google.publisher_api import BASE_URL, PublisherApi
from payplat.channels.google.push import PushAuth
from payplat.channels.google.push_keys import PushKeys
from payplat.errors import NotAccepted, NotAuthentic, OrderNotFound
from payplat.handlers.base import ErrorAnswer
from payplat.handlers.described import Answer, Content, Operation, problems
from payplat.handlers.pay import FIRST_LOOK, AbstractPay
from payplat.handlers.steps import CALLBACK, UNTAKEN, VERIFY
from payplat.provider import Account, Provider
from payplat.purchase import Source, State, Verdict
from payplat.settings import ChannelSettings, StoreSettings, Url
from payplat.signs import Sign
from payplat.strength import weakness

CERTS = "https://www.googleapis.com/oauth2/v3/certs"


def _as_text(value: object) -> object:
    """Return the file that the environment gave, where JSON is read as the table that it is."""
    return json.dumps(value) if isinstance(value, dict) else value


class GoogleSettings(StoreSettings):
    """The options of a Google Play channel: one app, a service account, and the Pub/Sub push subscription."""

    package_name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.]{0,120}$")]
    service_account: Annotated[SecretStr, BeforeValidator(_as_text)]
    account_secret: SecretStr
    push_email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
    push_audience: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    push_subscription: (
        Annotated[str, Field(pattern=r"^projects/[^/]+/subscriptions/[^/]+$")] | None
    ) = None
    prices: bool = True
    sweep_seconds: float = Field(3600, gt=0, le=86400)
    timeout_seconds: float = Field(5, gt=0, le=10)
    api: Url | None = None
    certs_url: Url | None = None

    @field_validator("account_secret")
    @classmethod
    def _is_strong(cls, secret: SecretStr) -> SecretStr:
        if fault := weakness(secret.get_secret_value().encode()):
            raise ValueError(fault)
        return secret

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse other hosts than Google's own."""
        if self.api:
            yield "api", "only Google's own host"
        if self.certs_url:
            yield "certs_url", "only Google's own keys"
        with suppress(ValueError):
            if self._account().token_uri != GOOGLE_TOKEN_URI:
                yield "service_account", "its token_uri is not Google's"

    def _account(self) -> ServiceAccount:
        try:
            return ServiceAccount.read(self.service_account.get_secret_value())
        except ValueError as error:
            raise ValueError(f"service_account: {error}") from None

    def tokens(self, opened: Iterable[Network]) -> AccessTokens:
        """Return the service account's access tokens; raises ValueError for an account that cannot be read."""
        return AccessTokens(self._account(), timeout=self.timeout_seconds, opened=opened)


class GoogleVerification(BaseModel):
    """What a client submits: its order, and the purchase token that Play Billing gave it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    order_no: Annotated[str, Field(max_length=64, description="The order that was paid.")]
    purchase_token: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,2047}$",
            description="Play Billing's token of the purchase.",
        ),
    ]


class PushMessage(TypedDict):
    """What Google Play published."""

    data: Annotated[str, Field(description="A Real-time Developer Notification in base64.")]
    messageId: str


class GooglePush(TypedDict):
    """A push of Pub/Sub."""

    message: PushMessage
    subscription: str


_PUSH = {
    "message": {"data": "eyJ2ZXJzaW9uIjoiMS4wIn0=", "messageId": "136969346945"},
    "subscription": "projects/my-project/subscriptions/payplat",
}
_SUBMITTED = {
    "order_no": "0197f3a1c2d4e5f60718293a4b5c6d7e",
    "purchase_token": "opaque-token-up-to-2048-characters",
}


class Google(AbstractPay):
    """Google Play by Play Billing."""

    settings_type: ClassVar[type[ChannelSettings]] = GoogleSettings
    descriptions: ClassVar[Mapping[str, Operation]] = {
        "respond_callback": replace(
            CALLBACK,
            body=Content(GooglePush, examples={"a push": _PUSH}),
            answers={
                204: Answer("It was taken, or put aside for a person."),
                **problems(*(kind for kind in UNTAKEN if kind is not NotAuthentic)),
                **problems(NotAuthentic, status=401),
            },
        ),
        "verify_order": replace(
            VERIFY, body=Content(GoogleVerification, examples={"a token": _SUBMITTED})
        ),
    }
    provider: GoogleProvider

    @classmethod
    def make_provider(cls, settings: Any, account: Account) -> Provider:
        """Return the provider of one app."""
        tokens, timeout = settings.tokens(account.opened), settings.timeout_seconds
        base_url, package_name = settings.api or BASE_URL, settings.package_name
        keys = PushKeys(settings.certs_url or CERTS, timeout=timeout, opened=account.opened)
        audience = settings.push_audience or account.notify_url
        return GoogleProvider(
            account,
            package_name=package_name,
            account_secret=settings.account_secret.get_secret_value().encode(),
            api=PublisherApi(
                base_url=base_url,
                package_name=package_name,
                tokens=tokens,
                timeout=timeout,
                opened=account.opened,
            ),
            tokens=tokens,
            push=PushAuth(keys, audience=audience, email=settings.push_email),
            subscription=settings.push_subscription,
            testers=frozenset(settings.testers),
            asks_price=settings.prices,
            sweep_seconds=settings.sweep_seconds,
        )

    async def respond_callback(self) -> None:
        """Look into what a push says has changed, and acknowledge it: Pub/Sub takes 204 for that, and 5xx for later."""
        await self.provider.load_keys(self.inbound)
        told = self.provider.read_notification(self.inbound)
        with suppress(NotAccepted):
            await self._settle(await self.provider.look_into(told))
        self.set_status(204)
        self.finish()

    async def verify_order(self) -> None:
        """Ask Google about the client's token and answer with its order; 202 while it is pending or cannot be asked."""
        request = self.read_json(GoogleVerification)
        evidence = shown(request.purchase_token, request.order_no, Source.VERIFY)
        await self.examine(request.order_no, evidence)

    def tell_error(self, told: ErrorAnswer, error: BaseException | None) -> None:
        """Tell a pusher whom we do not know that it is not authenticated."""
        if self.step == "respond_callback" and isinstance(error, NotAuthentic):
            self.set_status(401)
            self.set_header("WWW-Authenticate", "Bearer")
            told = told._replace(status=401)
        super().tell_error(told, error)

    async def _settle(self, verdict: Verdict) -> None:
        """Confirm a verdict for the order it names; a purchase still pending is asked about until it is not."""
        if verdict.order_no is None:
            await self.confirm(verdict)
            return
        try:
            order = await self.find_order(verdict.order_no)
        except OrderNotFound:
            await self.confirm(verdict)
            return
        bound = self.provider.bind(verdict, order)
        if bound.state is State.PENDING and not bound.objection and verdict.transaction_id:
            token = shown(verdict.transaction_id, order.order_no, Source.CALLBACK)
            await self.orders.waiting.keep(order, token, seam.now() + FIRST_LOOK)
            self.orders.signs.note(self.channel, Sign.CALLBACK)
            return
        await self.confirm(bound)
