"""Certificate mode: serial numbers, an awkward root bundle, and renewals."""

import base64
import hashlib
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.simulators.alipay_client import Client, verifies
from tests.simulators.conftest import SELLER_ID, pem

CERTIFIED = "2021000000000003"
RSA = bytes.fromhex("2a864886f70d0101")
SM2_WITH_SM3 = bytes.fromhex("2a811ccf55018375")


def blocks(bundle: str) -> list[bytes]:
    """The DER of each PEM block."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----(.*?)-----END", bundle, re.S)
    return [base64.b64decode(block) for block in found]


def outer_algorithm(der: bytes) -> bytes:
    """The OID bytes of signatureAlgorithm: the element after tbsCertificate."""
    header = 2 + (der[1] & 0x7F if der[1] & 0x80 else 0)
    length = int.from_bytes(der[header + 2 : header + 2 + (der[header + 1] & 0x7F)], "big")
    algorithm = header + 2 + (der[header + 1] & 0x7F) + length
    assert der[algorithm + 2] == 0x06
    return der[algorithm + 4 : algorithm + 4 + der[algorithm + 3]]


def sn(certificate: x509.Certificate) -> str:
    """As the documentation computes it: issuer, then the serial number in decimal."""
    text = certificate.issuer.rfc4514_string() + str(certificate.serial_number)
    return hashlib.md5(text.encode()).hexdigest()


def key_of(certificate_pem: str) -> str:
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    return (
        certificate.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@pytest.fixture
def papers(sim, app_key):
    return sim.add_certified_app(CERTIFIED, SELLER_ID, pem(app_key))


@pytest.fixture
def certified(sim, papers, app_key, inbox) -> Client:
    """A client that computes the serial numbers from the files, as a merchant does."""
    app = x509.load_pem_x509_certificate(papers.app_cert_pem.encode())
    roots = [der for der in blocks(papers.root_cert_pem) if outer_algorithm(der).startswith(RSA)]
    root_sn = "_".join(sn(x509.load_der_x509_certificate(der)) for der in roots)
    extra = (("app_cert_sn", sn(app)), ("alipay_root_cert_sn", root_sn))
    return Client(sim.gateway, CERTIFIED, app_key, notify_url=inbox.url, extra=extra)


def test_the_bundle_is_as_awkward_as_the_real_one(papers):
    """SM2, sha256RSA, ecdsa-sha384, sha1RSA; the first cannot be parsed."""
    sm2, modern, curve, old = blocks(papers.root_cert_pem)
    assert outer_algorithm(sm2) == SM2_WITH_SM3
    with pytest.raises(ValueError, match="parsing"):
        x509.load_der_x509_certificate(sm2)
    assert outer_algorithm(modern) == RSA + b"\x0b"
    assert outer_algorithm(old) == RSA + b"\x05"
    assert isinstance(x509.load_der_x509_certificate(curve).public_key(), ec.EllipticCurvePublicKey)


def test_the_roots_sign_themselves(papers):
    """The one made by hand with SHA-1 too."""
    _, modern, _, old = blocks(papers.root_cert_pem)
    for der in (modern, old):
        root = x509.load_der_x509_certificate(der)
        assert root.issuer == root.subject
        key = root.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        digest = root.signature_hash_algorithm
        key.verify(root.signature, root.tbs_certificate_bytes, padding.PKCS1v15(), digest)


def test_both_certificates_descend_from_the_rsa_root(papers):
    """So that a chain check has something to find."""
    root = x509.load_der_x509_certificate(blocks(papers.root_cert_pem)[1])
    for certificate in (papers.app_cert_pem, papers.alipay_cert_pem):
        x509.load_pem_x509_certificate(certificate.encode()).verify_directly_issued_by(root)


def test_the_certificates_hold_the_right_keys(sim, papers, app_key):
    """The application's own, and the platform's."""
    assert key_of(papers.app_cert_pem) == pem(app_key)
    assert key_of(papers.alipay_cert_pem) == sim.public_key_pem


async def test_answers_name_the_certificate_between_node_and_sign(certified, sim, papers):
    """alipay_cert_sn is that of the platform's certificate."""
    answer = await certified.precreate("ORDER1")
    assert list(answer.whole) == ["alipay_trade_precreate_response", "alipay_cert_sn", "sign"]
    alipay = x509.load_pem_x509_certificate(papers.alipay_cert_pem.encode())
    assert answer.whole["alipay_cert_sn"] == sn(alipay)
    assert verifies(key_of(papers.alipay_cert_pem), answer.value.encode(), answer.sign)


async def test_key_mode_answers_name_none(client, sim, papers):
    """Both modes live side by side."""
    assert list((await client.precreate("A")).whole) == ["alipay_trade_precreate_response", "sign"]


@pytest.mark.parametrize(
    ("changes", "sub_code"),
    [
        ({"app_cert_sn": None}, "isv.missing-app-cert-sn"),
        ({"alipay_root_cert_sn": None}, "isv.missing-alipay-root-cert-sn"),
        ({"app_cert_sn": "0" * 32}, "isv.app-cert-not-exist"),
        ({"alipay_root_cert_sn": "0" * 32}, "isv.invalid-alipay-root-cert-sn"),
    ],
)
async def test_serial_numbers_are_checked(certified, changes, sub_code):
    """A root number over the wrong certificates of the bundle is refused."""
    assert (
        await certified.query(
            "A",
        )
    ).sub_code == "ACQ.TRADE_NOT_EXIST"
    answer = await certified.call("alipay.trade.query", {"out_trade_no": "A"}, **changes)
    assert answer.sub_code == sub_code


async def test_a_renewed_certificate_can_be_downloaded(certified, sim, papers):
    """Same key, new serial number; the download is not signed, the chain must speak for it."""
    sim.renew_certificate()
    named = (await certified.query("A")).whole["alipay_cert_sn"]
    assert named != papers.alipay_cert_sn
    biz = {"alipay_cert_sn": named}
    answer = await certified.call("alipay.open.app.alipaycert.download", biz)
    assert answer.sign == ""
    downloaded = base64.b64decode(answer.fields["alipay_cert_content"]).decode()
    assert key_of(downloaded) == key_of(papers.alipay_cert_pem)
    assert sn(x509.load_pem_x509_certificate(downloaded.encode())) == named


async def test_an_unknown_certificate_cannot_be_downloaded(certified):
    """Its number was never given out."""
    biz = {"alipay_cert_sn": "0" * 32}
    answer = await certified.call("alipay.open.app.alipaycert.download", biz)
    assert answer.sub_code == "isv.alipay-cert-not-exist"


async def test_the_platforms_key_can_change(app_key, sim, inbox, client):
    """Answers and notifications are signed with the new key from then on."""
    from payplat.simulators.alipay.server import AlipaySimulator

    other = AlipaySimulator()
    other.add_app(client.app_id, SELLER_ID, pem(app_key))
    before = other.public_key_pem
    await other.start()
    other.rotate_platform_key()
    answer = await Client(other.gateway, client.app_id, app_key).query("A")
    assert not verifies(before, answer.value.encode(), answer.sign)
    assert verifies(other.public_key_pem, answer.value.encode(), answer.sign)
    await other.stop()


async def test_notifications_are_signed_alike_in_both_modes(certified, sim, inbox, papers):
    """The canonical text is the same, the key is that of the certificate."""
    from tests.simulators.test_alipay_notifications import is_genuine

    sim.enter(certified.page_url("ORDER1"))
    await sim.pay("ORDER1")
    assert is_genuine(sim, inbox.bodies[0])
