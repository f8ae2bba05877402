"""The certificate authority of certificate mode, with a root bundle as awkward as the real one."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from payplat.simulators.alipay import der
from payplat.simulators.alipay.keys import new_key

_SINCE = datetime(2018, 1, 1, tzinfo=UTC)
_UNTIL = datetime(2049, 1, 1, tzinfo=UTC)
_RSA_SHA256 = bytes.fromhex("06092a864886f70d01010b")
_RSA_SHA1 = bytes.fromhex("06092a864886f70d010105")


@dataclass(frozen=True)
class Credentials:
    """What the console lets the owner of an application download, and the serial numbers of it."""

    app_cert_pem: str
    alipay_cert_pem: str
    root_cert_pem: str
    app_cert_sn: str
    alipay_cert_sn: str
    root_cert_sn: str


class Authority:
    """Issues the platform's and the applications' certificates under an RSA root."""

    def __init__(self, platform_key: rsa.RSAPublicKey) -> None:
        self._root_key = new_key()
        self._root = _name("Simulated Financial Certification Authority R1")
        root = self._issue(self._root, self._root_key.public_key(), ca=True)
        old, old_sn = _sha1_root()
        self.root_pem = der.sm2_certificate() + _pem(root) + _ecdsa_root() + old
        self.root_sn = f"{serial_number(root)}_{old_sn}"
        self.issued: dict[str, str] = {}
        self.renew(platform_key)

    def renew(self, platform_key: rsa.RSAPublicKey) -> None:
        """Issue the platform's certificate anew: another serial number each time."""
        certificate = self._issue(_name("Simulated Alipay"), platform_key)
        self.alipay_sn = serial_number(certificate)
        self.issued[self.alipay_sn] = _pem(certificate)

    def certify(self, app_id: str, key: rsa.RSAPublicKey) -> Credentials:
        """Issue an application's certificate and hand out what its owner downloads."""
        certificate = self._issue(_name(f"app-{app_id}"), key)
        return Credentials(
            app_cert_pem=_pem(certificate),
            alipay_cert_pem=self.issued[self.alipay_sn],
            root_cert_pem=self.root_pem,
            app_cert_sn=serial_number(certificate),
            alipay_cert_sn=self.alipay_sn,
            root_cert_sn=self.root_sn,
        )

    def content(self, alipay_cert_sn: str) -> str | None:
        """For "alipay.open.app.alipaycert.download": the PEM once more in Base64."""
        pem = self.issued.get(alipay_cert_sn)
        return base64.b64encode(pem.encode()).decode() if pem else None

    def _issue(
        self, subject: x509.Name, key: rsa.RSAPublicKey, *, ca: bool = False
    ) -> x509.Certificate:
        builder = _builder(subject, self._root, ca=ca).public_key(key)
        return builder.sign(self._root_key, hashes.SHA256())


def serial_number(certificate: x509.Certificate) -> str:
    """MD5 of the issuer's name, most specific part first, and the serial number in decimal."""
    text = certificate.issuer.rfc4514_string() + str(certificate.serial_number)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _name(common: str) -> x509.Name:
    parts = (
        (NameOID.COUNTRY_NAME, "CN"),
        (NameOID.ORGANIZATION_NAME, "Payplat Simulators"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "Certification Authority"),
        (NameOID.COMMON_NAME, common),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def _builder(subject: x509.Name, issuer: x509.Name, *, ca: bool) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_SINCE)
        .not_valid_after(_UNTIL - timedelta(days=0 if ca else 365))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _ecdsa_root() -> str:
    key = ec.generate_private_key(ec.SECP384R1())
    name = _name("Simulated Financial Certification Authority E1")
    builder = _builder(name, name, ca=True).public_key(key.public_key())
    return _pem(builder.sign(key, hashes.SHA384()))


def _sha1_root() -> tuple[str, str]:
    """An old root signed with SHA-1, and its serial number.

    No library signs certificates with SHA-1 any more, so the algorithm is exchanged and the
    signature made by hand.
    """
    key = new_key()
    name = _name("Simulated Financial Certification Authority Old")
    modern = _builder(name, name, ca=True).public_key(key.public_key()).sign(key, hashes.SHA256())
    body = modern.tbs_certificate_bytes.replace(_RSA_SHA256, _RSA_SHA1)
    algorithm = der.sequence(_RSA_SHA1, der.NULL)
    signature = key.sign(body, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    certificate = der.sequence(body, algorithm, der.bits(signature))
    return der.pem(certificate), serial_number(modern)
