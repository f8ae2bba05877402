"""A request at the gateway: who asks, whether it is signed, and whether it may be asked at all."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from payplat.simulators.alipay import wire
from payplat.simulators.alipay.fields import METHODS, check_fields
from payplat.simulators.alipay.keys import is_signed
from payplat.simulators.alipay.refusals import Refusal

_LENGTHS = {"notify_url": 256, "return_url": 256, "app_auth_token": 40, "format": 40}


@dataclass(frozen=True)
class App:
    """An application in Alipay's console; with `cert_sn` it is in certificate mode."""

    app_id: str
    seller_id: str
    public_key: rsa.RSAPublicKey
    cert_sn: str = ""
    root_cert_sn: str = ""
    methods: frozenset[str] = frozenset(METHODS)


@dataclass(frozen=True)
class Call:
    """A request that passed every check before the business itself."""

    app: App
    method: str
    parameters: Mapping[str, str]
    biz: Mapping[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A field of biz_content, empty when absent."""
        return str(self.biz.get(name, ""))


def read_parameters(
    query: Mapping[str, Sequence[bytes]], form: Mapping[str, Sequence[bytes]]
) -> dict[str, str]:
    """Query and form as text; the gateway decodes the body by the `charset` of the *query*."""
    first = {name: values[0].decode("utf-8", "replace") for name, values in query.items()}
    charset = first.get("charset", "gbk").lower()
    encoding = charset if charset in ("utf-8", "gbk") else "utf-8"
    body = {name: values[0].decode(encoding, "replace") for name, values in form.items()}
    return {**first, **body}


def check(parameters: Mapping[str, str], apps: Mapping[str, App]) -> Call:
    """The gateway's checks in its order; the first that fails is the answer."""
    app = _known_app(parameters, apps)
    _check_required(parameters, app)
    _check_signature(parameters, app)
    _check_common(parameters)
    method = parameters["method"]
    if method not in METHODS:
        raise Refusal("isv.invalid-method")
    if method not in app.methods:
        raise Refusal("isv.insufficient-isv-permissions")
    biz = _read_biz(parameters)
    check_fields(method, biz)
    return Call(app, method, parameters, biz)


def _known_app(parameters: Mapping[str, str], apps: Mapping[str, App]) -> App:
    app_id = parameters.get("app_id", "")
    if not app_id:
        raise Refusal("isv.missing-app-id", signed=False)
    if app_id not in apps:
        raise Refusal("isv.invalid-app-id", signed=False)
    return apps[app_id]


def _check_required(parameters: Mapping[str, str], app: App) -> None:
    required = {
        "method": "isv.missing-method",
        "sign": "isv.missing-signature",
        "sign_type": "isv.missing-signature-type",
        "timestamp": "isv.missing-timestamp",
        "version": "isv.missing-version",
    }
    if app.cert_sn:
        required["app_cert_sn"] = "isv.missing-app-cert-sn"
        required["alipay_root_cert_sn"] = "isv.missing-alipay-root-cert-sn"
    for name, sub_code in required.items():
        if not parameters.get(name, "").strip():
            raise Refusal(sub_code)


def _check_signature(parameters: Mapping[str, str], app: App) -> None:
    if parameters["sign_type"] != "RSA2":
        raise Refusal("isv.invalid-signature-type")
    if app.cert_sn:
        _check_serial_numbers(parameters, app)
    text = wire.canonical(parameters, ("sign",), blanks=False)
    charset = "gbk" if parameters.get("charset", "").lower() == "gbk" else "utf-8"
    if not is_signed(text.encode(charset, "replace"), parameters["sign"], app.public_key):
        raise Refusal("isv.invalid-signature", _invalid_signature(text))


def _check_serial_numbers(parameters: Mapping[str, str], app: App) -> None:
    if parameters["app_cert_sn"] != app.cert_sn:
        raise Refusal("isv.app-cert-not-exist")
    if parameters["alipay_root_cert_sn"] != app.root_cert_sn:
        raise Refusal("isv.invalid-alipay-root-cert-sn")


def _invalid_signature(text: str) -> str:
    """The gateway shows the string it built, HTML-escaped."""
    return (
        "验签出错，建议检查签名字符串或签名私钥与应用公钥是否匹配，"
        f"网关生成的验签字符串为：{html.escape(text)}"
    )


def _check_common(parameters: Mapping[str, str]) -> None:
    try:
        wire.from_beijing(parameters["timestamp"])
    except ValueError:
        raise Refusal("isv.invalid-timestamp") from None
    if len(parameters["timestamp"]) != len("yyyy-MM-dd HH:mm:ss"):
        raise Refusal("isv.invalid-timestamp")
    if parameters.get("charset", "").lower() not in ("utf-8", "gbk"):
        raise Refusal("isv.invalid-charset")
    if parameters.get("format", "JSON") not in ("JSON", "json"):
        raise Refusal("isv.invalid-format")
    _check_values(parameters)


def _check_values(parameters: Mapping[str, str]) -> None:
    if parameters["version"] != "1.0" or any(
        len(parameters.get(name, "")) > most for name, most in _LENGTHS.items()
    ):
        raise Refusal("isv.invalid-parameter")
    for name in ("notify_url", "return_url"):
        if parameters.get(name) and not parameters[name].startswith(("http://", "https://")):
            raise Refusal("isv.invalid-parameter")


def _read_biz(parameters: Mapping[str, str]) -> dict[str, Any]:
    try:
        biz = json.loads(parameters.get("biz_content", ""))
    except ValueError:
        raise Refusal("isv.illegal-json") from None
    if not isinstance(biz, dict):
        raise Refusal("isv.illegal-json")
    return biz
