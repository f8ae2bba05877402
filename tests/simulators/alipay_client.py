"""A merchant's side of the Alipay gateway, written for the tests alone: signs, sends, verifies."""

import base64
import json
from dataclasses import dataclass
from html import escape
from urllib.parse import quote, urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from tornado.httpclient import AsyncHTTPClient

NOW = 1_795_348_801.0
BEIJING_NOW = "2026-11-22 20:00:01"


def signed(key, text: bytes) -> str:
    return base64.b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()


def verifies(public_pem: str, text: bytes, sign: str, digest=hashes.SHA256) -> bool:
    key = serialization.load_pem_public_key(public_pem.encode())
    try:
        key.verify(base64.b64decode(sign), text, padding.PKCS1v15(), digest())
    except InvalidSignature:
        return False
    return True


def split(body: bytes) -> tuple[str, str, str]:
    """Node name, its exact text, and the rest, by scanning the JSON text for the balanced node."""
    text = body.decode()
    decoder = json.JSONDecoder()
    name, start = decoder.raw_decode(text, 1)
    assert text[start] == ":"
    _, end = decoder.raw_decode(text, start + 1)
    return name, text[start + 1 : end], text[end:]


@dataclass
class Answer:
    """`value` is the node's source text; `sign` and `cert_sn` are empty when absent."""

    status: int
    content_type: str
    body: bytes

    @property
    def whole(self) -> dict:
        return json.loads(self.body)

    @property
    def node(self) -> str:
        return split(self.body)[0]

    @property
    def value(self) -> str:
        return split(self.body)[1]

    @property
    def fields(self) -> dict:
        return json.loads(self.value)

    @property
    def code(self) -> str:
        return self.fields["code"]

    @property
    def sub_code(self) -> str:
        return self.fields.get("sub_code", "")

    @property
    def sign(self) -> str:
        return self.whole.get("sign", "")


@dataclass
class Client:
    """`key` is the application's private key; `extra` goes along with every request."""

    gateway: str
    app_id: str
    key: object
    notify_url: str = ""
    timestamp: str = BEIJING_NOW
    extra: tuple = ()

    def parameters(self, method: str, biz: dict | str, /, **changes) -> dict[str, str]:
        """Signed parameters; a change to None leaves one out, `sign` replaces the signature."""
        parameters = {
            "app_id": self.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": self.timestamp,
            "version": "1.0",
            "notify_url": self.notify_url or None,
            "biz_content": biz if isinstance(biz, str) else json.dumps(biz, ensure_ascii=False),
            **dict(self.extra),
            **changes,
        }
        sign = parameters.pop("sign", "")
        sent = {name: value for name, value in parameters.items() if value is not None}
        text = "&".join(f"{name}={sent[name]}" for name in sorted(sent) if sent[name] != "")
        sent["sign"] = sign or signed(self.key, text.encode())
        if sign is None:
            del sent["sign"]
        return sent

    async def call(self, method: str, biz: dict | str, /, **changes) -> Answer:
        return await self.post(self.parameters(method, biz, **changes))

    async def post(self, parameters: dict[str, str]) -> Answer:
        """Common parameters in the query, biz_content as form."""
        common = dict(parameters)
        form = {"biz_content": common.pop("biz_content")}
        http = AsyncHTTPClient(force_instance=True)
        try:
            response = await http.fetch(
                f"{self.gateway}?{urlencode(common)}",
                method="POST",
                body=urlencode(form),
                raise_error=False,
            )
        finally:
            http.close()
        return Answer(response.code, response.headers.get("Content-Type", ""), response.body)

    def order(self, out_trade_no: str, amount: str = "88.88", **more) -> dict:
        product = {"product_code": "FAST_INSTANT_TRADE_PAY"}
        named = {
            "out_trade_no": out_trade_no,
            "total_amount": amount,
            "subject": "六十颗宝石 60 gems",
        }
        return {**named, **product, **more}

    def page_url(self, out_trade_no: str, amount: str = "88.88", return_url=None, **more) -> str:
        biz = self.order(out_trade_no, amount, **more)
        parameters = self.parameters("alipay.trade.page.pay", biz, return_url=return_url)
        return f"{self.gateway}?{urlencode(parameters)}"

    def wap_url(self, out_trade_no: str, amount: str = "88.88", **more) -> str:
        biz = self.order(out_trade_no, amount, product_code="QUICK_WAP_WAY", **more)
        return f"{self.gateway}?{urlencode(self.parameters('alipay.trade.wap.pay', biz))}"

    def page_form(self, out_trade_no: str, amount: str = "88.88", **more) -> str:
        parameters = self.parameters(
            "alipay.trade.page.pay", self.order(out_trade_no, amount, **more)
        )
        biz = parameters.pop("biz_content")
        return (
            f'<form method="post" action="{escape(f"{self.gateway}?{urlencode(parameters)}")}">'
            f'<input type="hidden" name="biz_content" value="{escape(biz)}"></form>'
        )

    def order_string(self, out_trade_no: str, amount: str = "88.88", **more) -> str:
        biz = self.order(out_trade_no, amount, product_code="QUICK_MSECURITY_PAY", **more)
        parameters = self.parameters("alipay.trade.app.pay", biz)
        return urlencode(parameters, quote_via=quote)

    async def precreate(self, out_trade_no: str, amount: str = "88.88", **more) -> Answer:
        biz = self.order(out_trade_no, amount, product_code="QR_CODE_OFFLINE", **more)
        return await self.call("alipay.trade.precreate", biz)

    async def query(self, out_trade_no: str, **more) -> Answer:
        return await self.call("alipay.trade.query", {"out_trade_no": out_trade_no, **more})

    async def close(self, out_trade_no: str) -> Answer:
        return await self.call("alipay.trade.close", {"out_trade_no": out_trade_no})

    async def refund(
        self, out_trade_no: str, amount: str, number: str | None = None, **more
    ) -> Answer:
        biz = {"out_trade_no": out_trade_no, "refund_amount": amount, **more}
        if number:
            biz["out_request_no"] = number
        return await self.call("alipay.trade.refund", biz)

    async def refund_query(self, out_trade_no: str, number: str, **more) -> Answer:
        biz = {"out_trade_no": out_trade_no, "out_request_no": number, **more}
        return await self.call("alipay.trade.fastpay.refund.query", biz)
