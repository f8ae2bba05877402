"""The same vectors against the simulator, so that it is neither laxer nor stricter than Alipay's official SDKs."""

import json
from urllib.parse import parse_qsl

import pytest
from cryptography import x509
from tornado.escape import parse_qs_bytes

from payplat.channels.alipay.keys import certified_keys
from payplat.simulators.alipay import answers, notices, wire
from payplat.simulators.alipay.certificates import Authority, serial_number
from payplat.simulators.alipay.entrance import parameters_of
from payplat.simulators.alipay.faults import Spoil
from payplat.simulators.alipay.keys import Keys, is_signed, read_public_key
from payplat.simulators.alipay.refusals import Refusal
from payplat.simulators.alipay.requests import App, check, read_parameters
from tests.wire.alipay import (
    APP_ID,
    NODE,
    PYTHON,
    SELLER_ID,
    VECTORS,
    each,
    private_key,
    sent_by_sdk,
    text_of,
)

REQUESTS = each([*PYTHON["requests"], *NODE["requests"]])
ACCEPTED = [p for p in REQUESTS if p.values[0]["expected"] == "accept"]
APP_KEY = read_public_key(text_of("app_public.pem"))
ALIPAY_KEY = read_public_key(text_of("alipay_public.pem"))
NUMBERS = NODE["certificate_mode"]
APPS = {
    "key": App(APP_ID, SELLER_ID, APP_KEY),
    "certificate": App(
        APP_ID, SELLER_ID, APP_KEY, NUMBERS["app_cert_sn"], NUMBERS["alipay_root_cert_sn"]
    ),
}
ALIPAY = Keys(private_key("alipay"))


def parameters(vector) -> dict[str, str]:
    """What reaches the gateway of what the SDK made."""
    if "http" not in vector:
        return parameters_of(sent_by_sdk(vector))
    sent = (vector["http"]["query"], vector["http"]["body"])
    query, form = (parse_qs_bytes(part.encode(), keep_blank_values=True) for part in sent)
    return read_parameters(query, form)


def verdict(vector, sent: dict[str, str]) -> str:
    """The code with which the simulator refuses what was sent, or nothing."""
    try:
        check(sent, {APP_ID: APPS[vector.get("mode", "key")]})
    except Refusal as refusal:
        return f"{refusal.sub_code} {refusal.sub_msg}"
    return ""


def expected(vector) -> str:
    if vector["expected"] == "refuse":
        return "isv.invalid-signature-type"
    # The SDKs send any subject; Alipay's documents forbid three characters, after the signature.
    hard = set("/=&") & set(vector["biz"].get("subject", ""))
    return "ACQ.INVALID_PARAMETER 参数无效：subject" if hard else ""


@pytest.mark.parametrize("vector", REQUESTS)
def test_the_gateway_takes_what_the_sdks_send(vector):
    """Rightly signed requests pass all checks, but for a subject that Alipay's documents forbid."""
    found = verdict(vector, parameters(vector))
    assert found.startswith(expected(vector))
    assert bool(found) is bool(expected(vector))


def test_the_sdks_forms_arrive_as_from_a_browser():
    """Only the double quote is escaped: a bare "&notify_url=" stays as it is, "&copy;" breaks the signature."""
    forms = [p.values[0] for p in REQUESTS if "form_html" in p.values[0]]
    found = {v["name"]: verdict(v, parameters_of(v["form_html"]))[:21] for v in forms}
    broken = {v["name"] for v in forms if "form is not to be copied" in v["why"]}
    assert found == {name: "isv.invalid-signature" if name in broken else "" for name in found}


@pytest.mark.parametrize("vector", ACCEPTED)
def test_a_changed_request_is_refused(vector):
    """One other character under the same signature is enough."""
    changed = {**parameters(vector), "timestamp": "2026-11-22 20:16:01"}
    with pytest.raises(Refusal, match=r"isv\.invalid-signature"):
        check(changed, {APP_ID: APPS[vector.get("mode", "key")]})


@pytest.mark.parametrize("vector", ACCEPTED)
def test_the_simulators_text_of_a_request(vector):
    """It builds the text that the SDK signed, and believes its signature."""
    text = vector["string_to_sign"]
    assert wire.canonical(parameters(vector), ("sign",), blanks=False) == text
    assert is_signed(text.encode(), vector["sign"], APP_KEY)


@pytest.mark.parametrize("vector", each(PYTHON["sign_contents"], expected="same"))
def test_the_simulators_text_to_sign(vector):
    """Names sort by bytes, values stay raw."""
    text = wire.canonical(vector["params"], ("sign",), blanks=False)
    assert text == vector["string_to_sign"]
    assert is_signed(text.encode(), vector["sign"], APP_KEY)


@pytest.mark.parametrize(
    "vector", [p for p in each(PYTHON["verifications"]) if p.values[0]["expected"] != "either"]
)
def test_the_simulator_believes_rsa2_alone(vector):
    """No other digest and no other key."""
    believed = is_signed(vector["text"].encode(), vector["sign"], ALIPAY_KEY)
    assert believed is (vector["expected"] == "accept")


def written_alike(vector) -> bool:
    """Whether the gateway writes JSON of this form: node, number of the certificate, sign; all compact."""
    text, whole = vector.get("signed_text", "{}"), json.loads(vector["raw"])
    order = ["alipay_trade_query_response", "alipay_cert_sn", "sign"]
    if wire.compact(json.loads(text)) != text or list(whole) != [n for n in order if n in whole]:
        return False
    return wire.compact(whole).replace("\\/", "/") == vector["raw"].replace("\\/", "/")


ALIKE = [
    p
    for p in each([*PYTHON["answers"], *NODE["answers"]], expected="accept")
    if written_alike(p.values[0])
]


@pytest.mark.parametrize("vector", ALIKE)
def test_the_simulator_writes_this_answer(vector):
    """Layout, escapes and signature are those of the vector, byte by byte."""
    whole = json.loads(vector["raw"])
    node, cert_sn = json.loads(vector["signed_text"]), whole.get("alipay_cert_sn", "")
    written = answers.write("alipay_trade_query_response", node, ALIPAY, cert_sn=cert_sn)
    assert written == vector["raw"].replace(whole["sign"].replace("/", "\\/"), whole["sign"])


def test_most_of_the_answers_are_compared():
    """The comparison above is not an empty one."""
    assert {"paid", "trade_not_exist", "escaped_slashes", "unicode", "sn_between"} <= {
        p.id for p in ALIKE
    }


@pytest.mark.parametrize(
    "vector",
    [p for p in each(NODE["notifications"], expected="accept") if "signed_text" in p.values[0]],
)
def test_the_simulator_signs_this_notification(vector):
    """Given the fields of a genuine notification, it finds the signed text and makes the same signature."""
    fields = dict(parse_qsl(vector["body"], keep_blank_values=True))
    sign = fields.pop("sign")
    blanks = vector["name"] != "blank_value_not_signed"
    text = wire.canonical(fields, ("sign_type",), blanks=blanks)
    assert text == vector["signed_text"]
    blank = {} if blanks else {"blank": "unsigned"}
    written = dict(
        parse_qsl(notices.write(fields, Spoil(**blank), ALIPAY).decode(), keep_blank_values=True)
    )
    assert written["sign"] == sign


@pytest.mark.parametrize(
    "vector",
    [p for p in each(NODE["certificates"]) if p.id != "root_ec" and p.values[0]["expected_sn"]],
)
def test_the_simulators_serial_numbers(vector):
    """They are those of the vectors."""
    certificate = x509.load_pem_x509_certificate((VECTORS / vector["file"]).read_bytes())
    assert serial_number(certificate) == vector["expected_sn"]


def test_the_simulators_papers_are_taken():
    """Our channel reads its certificates, skips its SM2 root, and finds its serial numbers."""
    papers = Authority(ALIPAY.platform.public_key()).certify(APP_ID, APP_KEY)
    keys = certified_keys(
        text_of("app_private_pkcs8.pem"),
        papers.app_cert_pem,
        [papers.alipay_cert_pem],
        papers.root_cert_pem,
    )
    numbers = {"app_cert_sn": papers.app_cert_sn, "alipay_root_cert_sn": papers.root_cert_sn}
    assert keys.parameters == numbers
    assert keys.verifier(b"text", ALIPAY.sign(b"text"))
