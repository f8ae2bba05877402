"""The vectors of Alipay's official SDKs, their throw-away keys, and both ends of the wire for tests."""

import base64
import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from tornado.web import RequestHandler

from payplat import seam
from payplat.channels.alipay.keys import certified_keys, plain_keys
from payplat.purchase import Order, Status

VECTORS = Path(__file__).parent / "vectors"
PYTHON = json.loads((VECTORS / "alipay_python_sdk.json").read_text("utf-8"))
NODE = json.loads((VECTORS / "alipay_node_sdk.json").read_text("utf-8"))
APP_ID, SELLER_ID, GATEWAY = PYTHON["app_id"], PYTHON["seller_id"], PYTHON["gateway"]
NOTIFY_URL, RETURN_URL = PYTHON["notify_url"], PYTHON["return_url"]
ACCOUNT = f"{APP_ID}/{SELLER_ID}"
NOW = 1_795_349_760 * seam.SECOND
"""2026-11-22 20:16:00 in Beijing."""


def each(*sections: list[dict[str, Any]], **wanted: str) -> list[Any]:
    """Every vector of these sections as a parameter of a test, named as in its file."""
    vectors = [vector for section in sections for vector in section]
    chosen = [v for v in vectors if all(v.get(k) == value for k, value in wanted.items())]
    return [pytest.param(vector, id=vector["name"]) for vector in chosen]


def named(section: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The vector of that name."""
    return next(vector for vector in section if vector["name"] == name)


def text_of(file: str) -> str:
    """One of the throw-away keys and certificates."""
    return (VECTORS / "alipay" / file).read_text("utf-8")


def sent_by_sdk(vector: dict[str, Any]) -> str:
    """Everything that the SDK sent, as one form; of its HTML forms, only the escapes that it made are undone."""
    if "form_html" in vector:
        action = re.search('action="([^"]*)"', vector["form_html"])[1]
        hidden = re.findall(r'name="(\w+)" value="([^"]*)"', vector["form_html"])
        fields = {name: value.replace("&quot;", '"') for name, value in hidden}
        return f"{urlsplit(action).query}&{urlencode(fields)}"
    if "http" in vector:
        return f"{vector['http']['query']}&{vector['http']['body']}"
    return vector.get("order_string") or urlsplit(vector["url"]).query


KEYS = {
    "key": plain_keys(text_of("app_private_pkcs1.pem"), [text_of("alipay_public.pem")]),
    "certificate": certified_keys(
        text_of("app_private_pkcs8.pem"),
        text_of("app_cert.crt"),
        [text_of("alipay_cert_with_chain.crt")],
        text_of("root_bundle.crt"),
    ),
}


@cache
def private_key(who: str) -> Any:
    """The key of alipay, the app, or a stranger."""
    return serialization.load_pem_private_key(text_of(f"{who}_private_pkcs8.pem").encode(), None)


def signature(text: bytes, who: str = "alipay", digest: Any = hashes.SHA256) -> str:
    """A signature in Base64, made without any code of ours."""
    return base64.b64encode(private_key(who).sign(text, padding.PKCS1v15(), digest())).decode()


PAYMENT = dict(parse_qsl(named(NODE["notifications"], "payment")["body"], keep_blank_values=True))
ORDER_NO, TRADE_NO = PAYMENT["out_trade_no"], PAYMENT["trade_no"]


def notice(*, who: str = "alipay", digest: Any = hashes.SHA256, **changes: str | None) -> bytes:
    """The body of a signed notification of a payment of 88.80 yuan; None leaves a field out."""
    merged = {**PAYMENT, **changes}
    return signed_form({k: v for k, v in merged.items() if v is not None}, who, digest)


def signed_form(fields: dict[str, str], who: str = "alipay", digest: Any = hashes.SHA256) -> bytes:
    """The body of a signed notification of these fields."""
    signed = sorted((k, v) for k, v in fields.items() if k not in ("sign", "sign_type"))
    text = "&".join(f"{k}={v}" for k, v in signed)
    return urlencode({**fields, "sign": signature(text.encode(), who, digest)}).encode()


def reply(node: Any, method: str = "alipay.trade.query", *, sign: str | None = "") -> bytes:
    """A gateway answer, signed by Alipay unless told otherwise; ``node`` is a dict or JSON text."""
    text = node if isinstance(node, str) else json.dumps(node, ensure_ascii=False)
    name, made = method.replace(".", "_") + "_response", sign or signature(text.encode())
    signed = "" if sign is None else f',"sign":"{made}"'
    return f'{{"{name}":{text}{signed}}}'.encode()


def success(**fields: Any) -> dict[str, Any]:
    """The node of a successful answer."""
    return {"code": "10000", "msg": "Success", **fields}


def refusal(code: str, sub_code: str = "") -> dict[str, Any]:
    """The node of an answer that says no."""
    return {"code": code, "msg": "No", "sub_code": sub_code}


def order(**changes: Any) -> Order:
    """The order of the vectors: 88.80 yuan, to be paid within half an hour."""
    fields = {
        "order_no": ORDER_NO,
        "app": "default",
        "channel": "alipay",
        "kind": "alipay",
        "environment": "production",
        "account": ACCOUNT,
        "method": "app",
        "product_id": "coins_500",
        "sku": "coins_500",
        "quantity": 1,
        "amount": 8880,
        "currency": "CNY",
        "title": "500 coins",
        "receiver": "player-1",
        "metadata": {},
        "return_url": RETURN_URL,
        "status": Status.PENDING,
        "refunded": 0,
        "payment": None,
        "created_at": NOW,
        "expires_at": NOW + 1800 * seam.SECOND,
        "settled_at": None,
    }
    return Order(**{**fields, **changes})


class Gateway:
    """A real HTTP server in the place of Alipay's gateway: keeps what came, gives the answers in turn."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.answers: list[bytes] = []
        self.methods: list[str] = []
        self.sent: list[dict[str, str]] = []
        self.requests: list[Any] = []


class GatewayDoor(RequestHandler):
    """``/gateway.do``; the last answer stays."""

    def initialize(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def post(self) -> None:
        gateway, request = self.gateway, self.request
        sent = dict(parse_qsl(f"{request.query}&{request.body.decode()}", strict_parsing=True))
        gateway.requests.append(request)
        gateway.sent.append(sent)
        gateway.methods.append(sent["method"])
        answer = gateway.answers.pop(0) if len(gateway.answers) > 1 else gateway.answers[0]
        self.set_status(gateway.status)
        self.set_header("Content-Type", "text/html;charset=utf-8")
        if gateway.status == 302:
            self.set_header("Location", gateway.url)
        self.finish(answer)
