"""A certificate authority of Apple's shape, made anew in each run, and data signed under it."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

LEAF_MARK, INTERMEDIATE_MARK = "1.2.840.113635.100.6.11.1", "1.2.840.113635.100.6.2.1"
ASN1_NULL = b"\x05\x00"
SIGNED_AT = 1_790_000_003_000  # milliseconds
BUNDLE_ID = "com.example.game"
TRANSACTION: dict[str, Any] = {
    "transactionId": "2000000123456789",
    "originalTransactionId": "2000000123456789",
    "bundleId": BUNDLE_ID,
    "productId": "coins_500",
    "purchaseDate": 1_790_000_000_000,
    "originalPurchaseDate": 1_790_000_000_000,
    "quantity": 1,
    "type": "Consumable",
    "appAccountToken": "7e3fb20b-4cdb-47cc-936d-99d65f608138",
    "inAppOwnershipType": "PURCHASED",
    "signedDate": SIGNED_AT,
    "environment": "Sandbox",
    "transactionReason": "PURCHASE",
    "storefront": "USA",
    "storefrontId": "143441",
    "price": 4990,
    "currency": "USD",
    "appTransactionId": "704289572311059999",
}


@dataclass(frozen=True)
class Spec:
    """What a certificate says; ``path_length`` and ``cert_sign`` are those of an authority."""

    name: str
    key: PrivateKey
    marks: tuple[str, ...] = ()
    ca: bool = True
    path_length: int | None = None
    cert_sign: bool = True
    first: datetime = datetime(2025, 9, 19, tzinfo=UTC)
    last: datetime = datetime(2027, 10, 13, tzinfo=UTC)
    subject_key_id: bool = True
    issuer_key_id: bool = True
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()

    def but(self, **changes: Any) -> "Spec":
        """The same with changes."""
        return replace(self, **changes)


def p256() -> ec.EllipticCurvePrivateKey:
    """A key like a leaf's."""
    return ec.generate_private_key(ec.SECP256R1())


def p384() -> ec.EllipticCurvePrivateKey:
    """A key like an authority's."""
    return ec.generate_private_key(ec.SECP384R1())


ROOT = Spec("FAKE Root CA", p384())
INTERMEDIATE = Spec("FAKE Developer Relations", p384(), (INTERMEDIATE_MARK,), path_length=0)
LEAF = Spec("FAKE Receipt Signing", p256(), (LEAF_MARK,), ca=False)
TLS_ONLY = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def issue(spec: Spec, issuer: Spec) -> x509.Certificate:
    """The certificate that says so, signed with ECDSA and SHA-384."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(spec))
        .issuer_name(_name(issuer))
        .public_key(spec.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(spec.first)
        .not_valid_after(spec.last)
        .add_extension(x509.BasicConstraints(spec.ca, spec.path_length), critical=True)
        .add_extension(_usage(spec), critical=True)
    )
    for mark in spec.marks:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(mark), ASN1_NULL)
        builder = builder.add_extension(extension, critical=False)
    for more, critical in (*_key_ids(spec, issuer), *spec.more):
        builder = builder.add_extension(more, critical=critical)
    return builder.sign(issuer.key, hashes.SHA384())


def issue_chain(
    leaf: Spec = LEAF, intermediate: Spec = INTERMEDIATE, root: Spec = ROOT
) -> list[x509.Certificate]:
    """Leaf, intermediate, root."""
    return [issue(leaf, intermediate), issue(intermediate, root), issue(root, root)]


def x5c(certificates: list[x509.Certificate]) -> list[str]:
    """The header's member."""
    return [base64.b64encode(der(certificate)).decode() for certificate in certificates]


def der(certificate: x509.Certificate) -> bytes:
    """The certificate's bytes."""
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(certificate: x509.Certificate) -> str:
    """The certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def b64url(raw: bytes) -> str:
    """A part of a JWS."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def part(value: Any) -> str:
    """A part of a JWS, of JSON or of bytes as they are."""
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return b64url(raw)


def sign_es256(key: PrivateKey, text: str) -> bytes:
    """R and S side by side, each as long as the curve's numbers."""
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def jws(header: Any, payload: Any, key: PrivateKey = LEAF.key) -> str:
    """A compact JWS; header and payload are JSON or bytes."""
    text = f"{part(header)}.{part(payload)}"
    return f"{text}.{b64url(sign_es256(key, text))}"


def _name(spec: Spec) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, spec.name)])


def _usage(spec: Spec) -> x509.KeyUsage:
    authority, unused = spec.ca and spec.cert_sign, dict.fromkeys(_UNUSED, False)
    return x509.KeyUsage(
        digital_signature=not spec.ca, key_cert_sign=authority, crl_sign=spec.ca, **unused
    )


def _key_ids(spec: Spec, issuer: Spec) -> Iterator[tuple[x509.ExtensionType, bool]]:
    if spec.subject_key_id:
        yield x509.SubjectKeyIdentifier.from_public_key(spec.key.public_key()), False
    if spec.issuer_key_id and spec is not issuer:
        yield x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False


_UNUSED = (
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "encipher_only",
    "decipher_only",
)
