"""Record what Alipay's official Python SDK sends, signs, accepts and refuses.

How to run, in an environment of its own (the SDK has 36,604 files; nothing here is a dependency of
payplat or of its tests):

    pip install --no-compile alipay-sdk-python==3.7.1411 cryptography==50.0.2
    python make_python_sdk.py

Writes ``alipay_python_sdk.json`` beside this file, from the keys in ``alipay/`` (see
``make_alipay_keys.py``). The same keys give the same bytes: the SDK's clock is stopped, and RSA
signatures of PKCS#1 v1.5 have no randomness.

The SDK cannot be pointed at a port (it drops the port of the gateway's address and then fails with
a TypeError), so its connection class is replaced by one that dials a local server. What it writes
to that connection is recorded as it arrived.
"""

import base64
import binascii
import datetime as dt
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import rsa as rsa_package
from alipay.aop.api import DefaultAlipayClient
from alipay.aop.api.AlipayClientConfig import AlipayClientConfig
from alipay.aop.api.domain.AlipayTradeAppPayModel import AlipayTradeAppPayModel
from alipay.aop.api.domain.AlipayTradeCloseModel import AlipayTradeCloseModel
from alipay.aop.api.domain.AlipayTradeFastpayRefundQueryModel import (
    AlipayTradeFastpayRefundQueryModel,
)
from alipay.aop.api.domain.AlipayTradePagePayModel import AlipayTradePagePayModel
from alipay.aop.api.domain.AlipayTradePrecreateModel import AlipayTradePrecreateModel
from alipay.aop.api.domain.AlipayTradeQueryModel import AlipayTradeQueryModel
from alipay.aop.api.domain.AlipayTradeRefundModel import AlipayTradeRefundModel
from alipay.aop.api.domain.AlipayTradeWapPayModel import AlipayTradeWapPayModel
from alipay.aop.api.exception.Exception import RequestException, ResponseException
from alipay.aop.api.request.AlipayTradeAppPayRequest import AlipayTradeAppPayRequest
from alipay.aop.api.request.AlipayTradeCloseRequest import AlipayTradeCloseRequest
from alipay.aop.api.request.AlipayTradeFastpayRefundQueryRequest import (
    AlipayTradeFastpayRefundQueryRequest,
)
from alipay.aop.api.request.AlipayTradePagePayRequest import AlipayTradePagePayRequest
from alipay.aop.api.request.AlipayTradePrecreateRequest import AlipayTradePrecreateRequest
from alipay.aop.api.request.AlipayTradeQueryRequest import AlipayTradeQueryRequest
from alipay.aop.api.request.AlipayTradeRefundRequest import AlipayTradeRefundRequest
from alipay.aop.api.request.AlipayTradeWapPayRequest import AlipayTradeWapPayRequest
from alipay.aop.api.util import SignatureUtils, WebUtils
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

HERE = Path(__file__).parent
KEYS = HERE / "alipay"
NOW = dt.datetime(2026, 11, 22, 20, 16, 0, tzinfo=dt.timezone(dt.timedelta(hours=8)))

APP_ID = "2021009900000001"
SELLER = "2088009900000001"
GATEWAY = "https://openapi.alipay.com/gateway.do"
NOTIFY_URL = "https://pay.example.com/v1/callback/alipay"
RETURN_URL = "https://shop.example.com/thanks?from=alipay&lang=zh"
ORDER = "019ab0e1c5407d6f8a1b2c3d4e5f6071"
TRADE = "2026112222001400000000000001"
REFUND = "019ab0f2d6507a8b9c0d1e2f3a4b5c6d"
PLAIN = "500 coins"
HARD = "Coins & \"gems\" <b>'x'</b> &copy; 100% a+b=c ~ a/b \\ 金币 💎"

Vector = dict[str, Any]


# --- The local gateway -------------------------------------------------------------------------


class Gateway(HTTPServer):
    """Answers every request with ``answer`` and keeps the last request."""

    answer: bytes = b""
    last: Vector

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Recorder)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Recorder(BaseHTTPRequestHandler):
    server: Gateway
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        method, target, _ = self.requestline.split(" ")
        self.server.last = {
            "method": method,
            "path": target.partition("?")[0],
            "query": urlsplit(target).query,
            "content_type": self.headers["Content-Type"],
            "body": body.decode(),
        }
        self.send_response(200)
        self.send_header("Content-Type", "text/html;charset=utf-8")
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *args: Any) -> None:
        pass


def dial(gateway: Gateway) -> type[http.client.HTTPConnection]:
    class Local(http.client.HTTPConnection):
        def __init__(self, host: str, port: int, timeout: float) -> None:
            super().__init__("127.0.0.1", gateway.server_port, timeout=timeout)

    return Local


def prepare_sdk(gateway: Gateway) -> list[str]:
    """Stop its clock, bend its connections, and listen to what it signs."""
    local = dial(gateway)
    WebUtils.httplib = SimpleNamespace(HTTPConnection=local, HTTPSConnection=local)
    DefaultAlipayClient.datetime = SimpleNamespace(datetime=SimpleNamespace(now=lambda: NOW))
    heard: list[str] = []
    get_sign_content: Callable[[dict[str, Any]], str] = SignatureUtils.get_sign_content

    def listen(params: dict[str, Any]) -> str:
        heard.append(get_sign_content(params))
        return heard[-1]

    DefaultAlipayClient.get_sign_content = listen
    return heard


def sdk(sign_type: str = "RSA2") -> Any:
    config = AlipayClientConfig()
    config.server_url = GATEWAY
    config.app_id = APP_ID
    config.sign_type = sign_type
    config.app_private_key = (KEYS / "app_private_pkcs1.pem").read_text()
    config.alipay_public_key = (KEYS / "alipay_public.pem").read_text()
    return DefaultAlipayClient.DefaultAlipayClient(config)


# --- Requests ----------------------------------------------------------------------------------

PAY = {
    "out_trade_no": ORDER,
    "product_code": "QUICK_MSECURITY_PAY",
    "subject": PLAIN,
    "time_expire": "2026-11-22 20:46:00",
    "total_amount": "88.80",
}
HARD_PAY = PAY | {"subject": HARD, "body": "line one\nline two\ttab", "total_amount": "0.01"}
NESTED_PAY = PAY | {
    "goods_detail": [
        {"goods_id": "coins_500", "goods_name": "金币/500", "price": "88.80", "quantity": 1}
    ],
    "passback_params": "a%3D1%26b%3D%E4%BD%A0",
}
FAST = {"product_code": "FAST_INSTANT_TRADE_PAY"}
WAP = {"product_code": "QUICK_WAP_WAY", "quit_url": "https://shop.example.com/cart?id=1&x=2"}
REFUND_BIZ = {"out_trade_no": ORDER, "out_request_no": REFUND, "refund_amount": "88.80"}

# name, call, request class, model class, biz_content
REQUESTS: list[tuple[str, str, Any, Any, dict[str, Any]]] = [
    ("app_pay", "sdk_execute", AlipayTradeAppPayRequest, AlipayTradeAppPayModel, PAY),
    ("app_pay_hard", "sdk_execute", AlipayTradeAppPayRequest, AlipayTradeAppPayModel, HARD_PAY),
    ("app_pay_nested", "sdk_execute", AlipayTradeAppPayRequest, AlipayTradeAppPayModel, NESTED_PAY),
    ("page_pay_get", "GET", AlipayTradePagePayRequest, AlipayTradePagePayModel, PAY | FAST),
    (
        "page_pay_get_hard",
        "GET",
        AlipayTradePagePayRequest,
        AlipayTradePagePayModel,
        HARD_PAY | FAST,
    ),
    ("page_pay_post", "POST", AlipayTradePagePayRequest, AlipayTradePagePayModel, PAY | FAST),
    (
        "page_pay_post_hard",
        "POST",
        AlipayTradePagePayRequest,
        AlipayTradePagePayModel,
        HARD_PAY | FAST,
    ),
    ("wap_pay_get", "GET", AlipayTradeWapPayRequest, AlipayTradeWapPayModel, PAY | WAP),
    ("wap_pay_post", "POST", AlipayTradeWapPayRequest, AlipayTradeWapPayModel, PAY | WAP),
    (
        "precreate",
        "execute",
        AlipayTradePrecreateRequest,
        AlipayTradePrecreateModel,
        HARD_PAY | {"product_code": "FACE_TO_FACE_PAYMENT"},
    ),
    ("query", "execute", AlipayTradeQueryRequest, AlipayTradeQueryModel, {"out_trade_no": ORDER}),
    (
        "query_by_trade_no",
        "execute",
        AlipayTradeQueryRequest,
        AlipayTradeQueryModel,
        {"trade_no": TRADE, "query_options": ["fund_bill_list", "voucher_detail_list"]},
    ),
    (
        "query_sha1",
        "execute",
        AlipayTradeQueryRequest,
        AlipayTradeQueryModel,
        {"out_trade_no": ORDER},
    ),
    ("close", "execute", AlipayTradeCloseRequest, AlipayTradeCloseModel, {"out_trade_no": ORDER}),
    ("refund_full", "execute", AlipayTradeRefundRequest, AlipayTradeRefundModel, REFUND_BIZ),
    (
        "refund_partial",
        "execute",
        AlipayTradeRefundRequest,
        AlipayTradeRefundModel,
        REFUND_BIZ | {"refund_amount": "8.80", "refund_reason": "退货 & <sorry> +1"},
    ),
    (
        "refund_query",
        "execute",
        AlipayTradeFastpayRefundQueryRequest,
        AlipayTradeFastpayRefundQueryModel,
        {
            "out_trade_no": ORDER,
            "out_request_no": REFUND,
            "query_options": ["gmt_refund_pay", "refund_detail_item_list"],
        },
    ),
]
REQUEST_NOTES = {
    "page_pay_post_hard": {
        "why": "the SDK escapes only the double quote, so a browser reads &copy; as another "
        "character and the signature fails: the text to sign is right, the form is not to be copied"
    },
    "query_sha1": {
        "expected": "refuse",
        "why": "sign_type RSA (SHA-1): well signed, and for a gateway of ours (the simulator) to "
        "refuse, since only RSA2 is spoken",
    },
}


def requests(gateway: Gateway, heard: list[str]) -> Iterator[Vector]:
    for name, call, request_class, model, biz in REQUESTS:
        request = request_class(biz_model=model.from_alipay_dict(biz))
        if call != "execute" or name == "precreate":
            request.notify_url = NOTIFY_URL
        if call in ("GET", "POST"):
            request.return_url = RETURN_URL
        api = request.get_params()["method"]
        client = sdk("RSA" if name == "query_sha1" else "RSA2")
        vector: Vector = {"name": name, "api": api, "call": call, "biz": biz}
        if call == "sdk_execute":
            vector["order_string"] = client.sdk_execute(request)
            sent = vector["order_string"]
        elif call == "GET":
            vector["call"] = "page_execute GET"
            vector["url"] = client.page_execute(request, http_method="GET")
            sent = urlsplit(vector["url"]).query
        elif call == "POST":
            vector["call"] = "page_execute POST"
            vector["form_html"] = client.page_execute(request, http_method="POST")
            sent = urlsplit(vector["form_html"].split('action="')[1].split('">')[0]).query
        else:
            gateway.answer = plain_answer(api)
            vector["answer"] = gateway.answer.decode()
            vector["returned"] = client.execute(request)
            vector["http"] = gateway.last
            sent = gateway.last["query"] + "&" + gateway.last["body"]
        vector["biz_content"] = request.get_params()["biz_content"]
        vector["string_to_sign"] = heard[-1]
        vector["sign"] = dict(parse_qsl(sent))["sign"]
        yield vector | {"expected": "accept", "why": ""} | REQUEST_NOTES.get(name, {})


def plain_answer(api: str) -> bytes:
    return enclose(api, '{"code":"10000","msg":"Success"}').encode()


# --- Answers -----------------------------------------------------------------------------------

QUERY = "alipay.trade.query"
NODE = "alipay_trade_query_response"
PAID = (
    '{"code":"10000","msg":"Success","buyer_logon_id":"xud***@126.com",'
    f'"buyer_user_id":"2088102100000001","out_trade_no":"{ORDER}","receipt_amount":"88.80",'
    f'"send_pay_date":"2026-11-22 20:16:00","total_amount":"88.80","trade_no":"{TRADE}",'
    '"trade_status":"TRADE_SUCCESS"}'
)
FAKE = PAID.replace("88.80", "648.00")
ABSENT = (
    '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.TRADE_NOT_EXIST",'
    f'"sub_msg":"交易不存在","out_trade_no":"{ORDER}"}}'
)
BAD_SIGNATURE = (
    '{"code":"40002","msg":"Invalid Arguments","sub_code":"isv.invalid-signature",'
    '"sub_msg":"验签出错，建议检查签名字符串或签名私钥与应用公钥是否匹配，网关生成的验签字符串为：'
    'app_id=2021009900000001&amp;biz_content={\\"out_trade_no\\":\\"1\\"}&amp;charset=utf-8"}'
)
BAD_APP = (
    '{"code":"40002","msg":"Invalid Arguments","sub_code":"isv.invalid-app-id",'
    '"sub_msg":"无效的AppID参数"}'
)
BUSY = (
    '{"code":"20000","msg":"Service Currently Unavailable","sub_code":"isp.unknow-error",'
    '"sub_msg":"系统繁忙"}'
)


def private_key(who: str) -> rsa.RSAPrivateKey:
    data = (KEYS / f"{who}_private_pkcs8.pem").read_bytes()
    key = serialization.load_pem_private_key(data, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def sign(text: str, who: str = "alipay", digest: hashes.HashAlgorithm | None = None) -> str:
    digest = digest or hashes.SHA256()
    made = private_key(who).sign(text.encode(), padding.PKCS1v15(), digest)
    return base64.b64encode(made).decode()


def enclose(api: str, node: str, signature: str | None = None) -> str:
    return members(api.replace(".", "_") + "_response", node, "sign", signature or sign(node))


def members(*parts: str) -> str:
    """An object of the names and values given in turn; a value is JSON already, or text of it."""
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return "{" + ",".join(f'"{name}":{quoted(value)}' for name, value in pairs) + "}"


def quoted(value: str) -> str:
    return value if value[:1] in ("{", "[", '"') or value == "null" else f'"{value}"'


def query(node: str, signature: str | None = None) -> str:
    return enclose(QUERY, node, signature)


def with_field(field: str, node: str = PAID) -> str:
    return node[:-1] + "," + field + "}"


def good_answers() -> Iterator[Vector]:
    def good(name: str, node: str, raw: str | None = None, why: str = "") -> Vector:
        vector = {"name": name, "raw": raw or query(node), "signed_text": node}
        return vector | {"expected": "accept", "why": why}

    yield good("paid", PAID)
    yield good("trade_not_exist", ABSENT, why="authentic, and an error: the code says so")
    yield good("busy_signed", BUSY, why="authentic; the outcome is unknown all the same")
    yield good("bad_signature_signed", BAD_SIGNATURE, why="isv.invalid-signature is signed")
    error = members("error_response", BAD_SIGNATURE, "sign", sign(BAD_SIGNATURE))
    yield good("error_response_signed", BAD_SIGNATURE, error, "the node may be error_response")
    slashes = with_field('"store_name":"a\\/b","url":"https:\\/\\/example.com\\/x"')
    yield good("escaped_slashes", slashes, why="the signed text keeps \\/ as it was sent")
    yield good("bare_slashes", with_field('"url":"https://example.com/x"'))
    yield good("unicode", with_field('"subject":"金币 💎 “引号”"'))
    yield good("unicode_escaped", with_field('"subject":"\\u91d1\\u5e01 \\ud83d\\udc8e"'))
    yield good("braces_in_strings", with_field('"subject":"}} a {b} {{ \\"}\\" {"'))
    yield good("open_brace_in_string", with_field('"subject":"{"'))
    yield good("close_brace_in_string", with_field('"subject":"}"'))
    yield good("backslash_before_quote", with_field('"subject":"ends with \\\\"'))
    yield good("backslashes_and_quotes", with_field('"subject":"\\\\\\" } \\\\"'))
    yield good("sign_in_string", with_field('"body":"{\\"sign\\":\\"AAAA\\"}"'))
    yield good("sign_in_string_like_the_end", with_field('"body":"x\\"},\\"sign\\":\\"AAAA\\"}"'))
    yield good("sign_as_inner_key", with_field('"inner":{"a":{"b":"c"},"sign":"AAAA"}'))
    yield good("node_name_in_string", with_field(f'"body":"\\"{NODE}\\":{{"'))
    yield good("node_name_as_inner_key", with_field(f'"{NODE}":{{"code":"40004"}}'))
    bills = '"fund_bill_list":[{"amount":"80.00","fund_channel":"PCREDIT"},{"amount":"8.80"}]'
    yield good("nested_lists", with_field(bills))
    yield good("empty_values", with_field('"a":"","b":null,"c":[],"d":{}'))
    yield good("html_escapes", with_field('"subject":"a &amp; b &lt;c&gt;"'))
    spaced = PAID.replace('","', '" ,\n  "').replace('":"', '" : "')
    yield good("blanks_inside_node", spaced, why="blanks inside the node are signed as they stand")
    given = sign(PAID)
    around = f'\n{{ "{NODE}" :\t{PAID}\n , "sign" : "{given}" }}\n'
    yield good("blanks_around_node", PAID, around)
    returns = f'{{\r\n"{NODE}":\r\n{PAID}\r\n,\r\n"sign":\r\n"{given}"\r\n}}'
    yield good("carriage_returns", PAID, returns, "JSON allows CR between tokens; the SDK does not")
    first = members("sign", given, NODE, PAID)
    yield good("sign_first", PAID, first, "the order of an object's members means nothing in JSON")
    between = members(NODE, PAID, "trace", "x", "sign", given)
    yield good("member_between", PAID, between, "an unsigned member between node and sign")
    before = members("trace", '{"a":"}"}', NODE, PAID, "sign", given)
    yield good("member_before", PAID, before)
    after = members(NODE, PAID, "sign", given, "trace", "x")
    yield good("member_after", PAID, after)
    solidus = query(PAID, given.replace("/", "\\/"))
    yield good("sign_with_escaped_slashes", PAID, solidus, "sign is a JSON string like any other")
    cert = members(NODE, PAID, "alipay_cert_sn", "0" * 32, "sign", given)
    yield good("certificate_mode", PAID, cert, "this SDK knows no certificate mode") | {
        "expected": "either",
        "why": "a certificate-mode answer, which this SDK does not know; an account in key mode may "
        "refuse it too (the certificate-mode answers are in alipay_node_sdk.json)",
    }


def bad_answers() -> Iterator[Vector]:
    def bad(name: str, raw: str, why: str, expected: str = "refuse") -> Vector:
        return {"name": name, "raw": raw, "expected": expected, "why": why}

    good = sign(PAID)
    yield bad("amount_changed", query(FAKE, good), "the signed text was changed")
    yield bad("status_changed", query(PAID.replace("SUCCESS", "CLOSED"), good), "changed")
    yield bad("blank_added", query(PAID.replace('","', '", "', 1), good), "a blank is a change too")
    yield bad("signed_by_stranger", query(PAID, sign(PAID, "stranger")), "another key")
    own = "signed with the application's own key: the commonest mistake in configuring is to take "
    yield bad("signed_by_app", query(PAID, sign(PAID, "app")), own + "its public half as Alipay's")
    why = "SHA-1: the SDK lets the signature say which digest it uses"
    yield bad("sha1", query(PAID, sign(PAID, digest=hashes.SHA1())), why)
    yield bad("md5", query(PAID, sign(PAID, digest=hashes.MD5())), why.replace("SHA-1", "MD5"))
    why = "not the digest that RSA2 means: the SDK lets the signature say which digest it uses"
    yield bad("sha512", query(PAID, sign(PAID, digest=hashes.SHA512())), why)
    why = "no sign: treated as no answer, the outcome is unknown"
    yield bad("success_unsigned", members(NODE, PAID), why)
    yield bad("success_sign_empty", members(NODE, PAID, "sign", ""), "an empty sign")
    yield bad("success_sign_null", members(NODE, PAID, "sign", "null"), "sign is not a string")
    why = "an unsigned error: to be logged, never a reason to change a trade's state"
    yield bad("invalid_app_id_unsigned", members(NODE, BAD_APP), why)
    yield bad("error_response_unsigned", members("error_response", BAD_APP), why)
    yield bad("not_exist_unsigned", members(NODE, ABSENT), why)
    other = enclose("alipay.trade.refund", PAID)
    yield bad("other_node", other, "well signed, but named as the answer to another method")
    inner = members("wrapper", query(PAID))
    yield bad("node_not_at_top", inner, "the node must stand at the top level")
    twice = members(NODE, PAID, "sign", good, NODE, FAKE)
    yield bad("node_twice_forged_last", twice, "a repeated key: a JSON parser takes the forged one")
    twice = members(NODE, FAKE, NODE, PAID, "sign", good)
    yield bad("node_twice_forged_first", twice, "a repeated key")
    twice = members(NODE, PAID, "sign", good, "sign", "AAAA")
    yield bad("sign_twice_good_first", twice, "a repeated key")
    twice = members(NODE, PAID, "sign", "AAAA", "sign", good)
    yield bad("sign_twice_good_last", twice, "a repeated key")
    twice = members(NODE, PAID, "sign", good, NODE.replace("a", "\\u0061"), FAKE)
    yield bad("node_twice_name_escaped", twice, "a repeated key, once spelt with \\u0061")
    both = members("error_response", ABSENT, NODE, PAID, "sign", good)
    yield bad("two_nodes", both, "an unsigned error_response beside the signed node", "either")
    swapped = members(NODE, PAID, "error_response", ABSENT, "sign", sign(ABSENT))
    yield bad("unsigned_node_signed_error", swapped, "what is signed is not the method's node")
    yield bad("garbage_after", query(PAID) + "{}", "not one JSON text: the SDK looks by pattern")
    yield bad("garbage_before", "garbage" + query(PAID), "not JSON: the SDK looks by pattern")
    yield bad("cut_off", query(PAID)[:-2], "not JSON: the end is missing")
    jsonp = "callback(" + query(PAID) + ")"
    yield bad("jsonp", jsonp, "not JSON: the SDK looks by pattern")
    slashes = with_field('"url":"https:\\/\\/example.com\\/x"')
    undone = query(slashes.replace("\\/", "/"), sign(slashes))
    why = "something on the way un-escaped the slashes; the documents advise one retry with \\/"
    yield bad("slashes_unescaped_on_the_way", undone, why, "either")
    encrypted = quoted(base64.b64encode(b"0123456789abcdef" * 4).decode())
    yield bad("encrypted", query(encrypted), "AES field encryption is not supported")
    yield bad("node_is_list", query(f"[{PAID}]"), "the node is not an object")
    yield bad("empty", "", "nothing")
    yield bad("empty_object", "{}", "no node")
    yield bad("null", "null", "no object")
    page = "<html><body>502 Bad Gateway</body></html>"
    yield bad("html", page, "a page instead of JSON")
    why = "Base64 with foreign characters; harmless, and strict decoding refuses it"
    yield bad("sign_with_newlines", query(PAID, good[:76] + "\\n" + good[76:]), why, "either")
    yield bad("sign_cut", query(PAID, good[:-8]), "a shorter signature")
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    # A fixed PSS signature, since each new one differs.
    kept = KEYS / "alipay_pss_signature.txt"
    if not kept.exists():
        made = private_key("alipay").sign(PAID.encode(), pss, hashes.SHA256())
        kept.write_text(base64.b64encode(made).decode() + "\n")
    yield bad("pss", query(PAID, kept.read_text().strip()), "RSASSA-PSS instead of PKCS#1 v1.5")


def answers(gateway: Gateway) -> Iterator[Vector]:
    for vector in (*good_answers(), *bad_answers()):
        verdict: Vector = {"api": QUERY, "sdk_accepts": True}
        gateway.answer = vector["raw"].encode()
        request = AlipayTradeQueryRequest(
            biz_model=AlipayTradeQueryModel.from_alipay_dict({"out_trade_no": ORDER})
        )
        try:
            returned = sdk().execute(request)
        except (RequestException, ResponseException) as error:
            text = str(error).partition("]")[2] or str(error)
            reason = text.split(". ")[0].strip()
            verdict |= {"sdk_accepts": False, "sdk_error": f"{type(error).__name__}: {reason}"}
        else:
            if returned != vector.get("signed_text", PAID):
                raise AssertionError(vector["name"])  # it would be worth recording
        name, raw = vector.pop("name"), vector.pop("raw")
        yield {"name": name, "raw": raw} | verdict | vector


# --- SignatureUtils ----------------------------------------------------------------------------

CONTENTS: dict[str, tuple[dict[str, Any], str]] = {
    "sorted": ({"b": "2", "a": "1", "c": "3"}, ""),
    "capitals_first": ({"b": "1", "B": "2", "_": "3", "a1": "4", "a": "5", "a_b": "6"}, ""),
    "raw_values": ({"a": "x&y=z", "b": "100% +1", "c": "https://example.com/?q=1"}, ""),
    "unicode": ({"subject": "金币 💎", "body": "“引号”"}, ""),
    "sign_type_stays": ({"app_id": APP_ID, "sign_type": "RSA2", "version": "1.0"}, ""),
    "newlines": ({"a": "one\ntwo\r\n", "b": " blanks "}, ""),
    "blank_value": (
        {"a": "1", "b": "", "c": "3"},
        "the SDK keeps a blank value in the text, the documents leave it out: never send one",
    ),
    "object_value": ({"a": {"k": "值"}, "b": "1"}, "a value that is no text is dumped by the SDK"),
}


def contents() -> Iterator[Vector]:
    key = (KEYS / "app_private_pkcs1.pem").read_text()
    for name, (params, why) in CONTENTS.items():
        text = SignatureUtils.get_sign_content(params)
        yield {
            "name": name,
            "params": params,
            "string_to_sign": text,
            "sign": SignatureUtils.sign_with_rsa2(key, text, "utf-8"),
            "expected": "either" if why else "same",
            "why": why,
        }


def verifications() -> Iterator[Vector]:
    text = "app_id=2021009900000001&subject=金币 💎&total_amount=88.80"
    good = sign(text)
    digest = "the SDK takes the digest from the signature itself"
    cases = [
        ("sha256", text, good, "accept", ""),
        ("sha1", text, sign(text, digest=hashes.SHA1()), "refuse", digest),
        ("md5", text, sign(text, digest=hashes.MD5()), "refuse", digest),
        ("sha224", text, sign(text, digest=hashes.SHA224()), "refuse", digest),
        ("sha384", text, sign(text, digest=hashes.SHA384()), "refuse", digest),
        ("sha512", text, sign(text, digest=hashes.SHA512()), "refuse", digest),
        ("text_changed", text.replace("88.80", "88.8"), good, "refuse", "another text"),
        ("other_key", text, sign(text, "stranger"), "refuse", "another key"),
        ("empty", text, "", "refuse", "no signature"),
        ("cut", text, good[:-4], "refuse", "a shorter signature"),
        ("leading_zeros", text, "AAAA" + good, "refuse", "a longer signature"),
        ("blank_at_end", text, good + " ", "either", "lenient Base64"),
        ("newlines", text, good[:76] + "\n" + good[76:], "either", "lenient Base64"),
        ("url_safe", text, url_safe(good), "either", "lenient Base64"),
        ("padding_missing", text, good.rstrip("="), "either", "lenient Base64"),
        ("junk_after_padding", text, good + "!", "either", "lenient Base64"),
    ]
    public = (KEYS / "alipay_public.pem").read_text()
    for name, message, signature, expected, why in cases:
        try:
            accepts = SignatureUtils.verify_with_rsa(public, message.encode(), signature)
        except (rsa_package.VerificationError, binascii.Error):
            accepts = False
        vector = {"name": name, "text": message, "sign": signature, "sdk_accepts": accepts}
        yield vector | {"expected": expected, "why": why}


def url_safe(signature: str) -> str:
    return signature.replace("+", "-").replace("/", "_")


# --- All together ------------------------------------------------------------------------------

ABOUT = [
    "What Alipay's official Python SDK makes, accepts and refuses, recorded by make_python_sdk.py.",
    "All keys are throw-away keys from alipay/: the SDK held app_private_pkcs1.pem and",
    "alipay_public.pem, and the answers were signed with alipay_private_pkcs8.pem.",
    "requests: 'sign' is the SDK's signature of 'string_to_sign'; what was sent stands URL-encoded",
    "in 'order_string', 'url', 'form_html' or 'http' (exactly as it arrived at a local server; the",
    "SDK names the whole address in its request line, so 'path' is absolute).",
    "answers: 'raw' is the whole body the server gave, 'signed_text' the part that was signed,",
    "'sdk_accepts' the SDK's verdict.",
    "'expected' is what payplat must say (of requests: its simulator): accept, refuse, or either",
    "where both are sound. 'why' explains it, above all where it differs from 'sdk_accepts'.",
    "sign_contents and verifications come from the SDK's SignatureUtils; 'same' means that ours",
    "must give the same text.",
]


def main() -> None:
    gateway = Gateway()
    heard = prepare_sdk(gateway)
    whole = {
        "about": ABOUT,
        "sdk": {"name": "alipay-sdk-python", "version": version("alipay-sdk-python")},
        "clock": f"{NOW:%Y-%m-%d %H:%M:%S} (Beijing; the SDK takes the local time)",
        "gateway": GATEWAY,
        "app_id": APP_ID,
        "seller_id": SELLER,
        "notify_url": NOTIFY_URL,
        "return_url": RETURN_URL,
        "requests": list(requests(gateway, heard)),
        "answers": list(answers(gateway)),
        "sign_contents": list(contents()),
        "verifications": list(verifications()),
    }
    text = json.dumps(whole, ensure_ascii=False, indent=2) + "\n"
    (HERE / "alipay_python_sdk.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
