"""Alipay's door: the steps of a purchase in which Alipay differs."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from payplat.channels.alipay.keys import Keys, certified_keys, plain_keys
from payplat.channels.alipay.provider import AlipayProvider
from payplat.handlers.base import ErrorAnswer
from payplat.handlers.described import Answer, Content, Operation
from payplat.handlers.orders import order_answer
from payplat.handlers.pay import AbstractPay
from payplat.handlers.steps import CALLBACK, VERIFY
from payplat.provider import Account, Provider
from payplat.purchase import Evidence, Source, Status
from payplat.settings import ChannelSettings, Url

GATEWAYS = {
    "production": "https://openapi.alipay.com/gateway.do",
    "sandbox": "https://openapi-sandbox.dl.alipaydev.com/gateway.do",
}


class AlipaySettings(ChannelSettings):
    """The options of an Alipay channel: plain keys, or certificates (then all three of them)."""

    app_id: Annotated[str, Field(pattern=r"^[0-9]{8,32}$")]
    seller_id: Annotated[str, Field(pattern=r"^2088[0-9]{12}$")]
    private_key: SecretStr
    alipay_public_key: str | list[str] = Field(default=[])
    app_cert: str = ""
    alipay_cert: str | list[str] = Field(default=[])
    root_cert: str = ""
    gateway: Url | None = None
    product_codes: dict[Literal["app", "page", "wap", "qr"], str] = Field(default={})
    timeout_seconds: float = Field(5, gt=0, le=10)

    def keys(self) -> Keys:
        """Read the keys; raises ValueError that says what is wrong, never the key."""
        private, certificates = self.private_key.get_secret_value(), _list(self.alipay_cert)
        if not (self.app_cert or self.root_cert or certificates):
            return plain_keys(private, _list(self.alipay_public_key))
        if not (self.app_cert and self.root_cert and certificates) or self.alipay_public_key:
            raise ValueError(
                "give alipay_public_key, or app_cert, alipay_cert and root_cert together"
            )
        return certified_keys(private, self.app_cert, certificates, self.root_cert)

    def unsafe(self) -> Iterator[tuple[str, str]]:
        """Refuse another gateway than Alipay's own."""
        if self.gateway not in (None, GATEWAYS["production"]):
            yield "gateway", "only Alipay's own"


class AlipayVerification(BaseModel):
    """What a client submits: only which order; Alipay is asked about the rest."""

    model_config = ConfigDict(extra="forbid", strict=True)

    order_no: Annotated[str, Field(max_length=64, description="The order that was paid.")]


_FORM = "application/x-www-form-urlencoded"
_NOTICE = {
    "notify_type": "trade_status_sync",
    "out_trade_no": "0197f3a1c2d4e5f60718293a4b5c6d7e",
    "trade_status": "TRADE_SUCCESS",
    "total_amount": "6.00",
    "sign_type": "RSA2",
    "sign": "…",
}
_TAKEN = Content(Literal["success", "fail"], "text/plain; charset=utf-8")
_FAIL = Answer("Alipay comes again.", Content(Literal["fail"], "text/plain; charset=utf-8"))
# Of these Alipay is told by HTTP too; of what is wrong with a notice by the word alone.
_AT_FAULT = (405, 413, 415, 429)


class Alipay(AbstractPay):
    """Alipay by app, page, wap and QR code."""

    settings_type: ClassVar[type[ChannelSettings]] = AlipaySettings
    descriptions: ClassVar[Mapping[str, Operation]] = {
        "respond_callback": replace(
            CALLBACK,
            body=Content(dict[str, str], _FORM, {"a payment": _NOTICE}),
            answers={
                200: Answer(
                    "`success`: it was taken. `fail`: it was not; Alipay comes again.", _TAKEN
                ),
                **dict.fromkeys((413, 415, 429, 500, 503), _FAIL),
            },
        ),
        "verify_order": replace(
            VERIFY,
            body=Content(
                AlipayVerification, examples={"an order": {"order_no": _NOTICE["out_trade_no"]}}
            ),
            answers={status: told for status, told in VERIFY.answers.items() if status != 202},
        ),
    }

    @classmethod
    def make_provider(cls, settings: Any, account: Account) -> Provider:
        """Return the provider of one app id."""
        return AlipayProvider(
            account,
            app_id=settings.app_id,
            seller_id=settings.seller_id,
            keys=settings.keys(),
            gateway=settings.gateway or GATEWAYS[account.environment],
            product_codes=settings.product_codes,
            timeout=settings.timeout_seconds,
        )

    async def respond_callback(self) -> None:
        """Confirm the notification and say ``success``: exactly these seven characters end Alipay's retries."""
        await self.confirm(self.provider.read_notification(self.inbound))
        self.finish("success")

    async def verify_order(self) -> None:
        """Ask Alipay about the order and answer with it; a paid one needs no question."""
        order = await self.find_order(self.read_json(AlipayVerification).order_no)
        if order.status in (Status.PENDING, Status.CLOSED):
            verdict = await self.provider.verify(order, Evidence(Source.VERIFY, b""))
            order = (await self.confirm(verdict)).order or order
        self.answer(200, order_answer(order))

    def tell_error(self, told: ErrorAnswer, error: BaseException | None) -> None:
        """Tell Alipay ``fail``, so that it comes again; clients get the shared answer."""
        if self.step != "respond_callback":
            return super().tell_error(told, error)
        # What is wrong with a notice is no fault of HTTP: Alipay looks at the word alone.
        at_fault = told.status >= 500 or told.status in _AT_FAULT
        self.set_status(told.status if at_fault else 200)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("fail")
        return None


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) and value else list(value)
