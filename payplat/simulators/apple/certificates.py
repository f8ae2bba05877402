"""A certificate authority in the shape of Apple's, whose every subject says FAKE.

Apple's chain is described in "JWSDecodedHeader" and was measured on genuine signatures: a P-384 root
and intermediate, a P-256 leaf, ecdsa-with-SHA384 throughout, and a marker extension of ASN.1 NULL
in the intermediate and the leaf.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

LEAF_MARKER = x509.ObjectIdentifier("1.2.840.113635.100.6.11.1")
INTERMEDIATE_MARKER = x509.ObjectIdentifier("1.2.840.113635.100.6.2.1")

Term = tuple[datetime, datetime]

_NULL = b"\x05\x00"
_YEAR = timedelta(days=365)
_MONTH = timedelta(days=30)


@dataclass(frozen=True)
class Holder:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True)
class Chain:
    """Who signs: leaf, intermediate, root."""

    leaf: Holder
    intermediate: Holder
    root: Holder

    @property
    def x5c(self) -> list[bytes]:
        """The three certificates in DER, leaf first."""
        return [self.leaf.der, self.intermediate.der, self.root.der]


class Authority:
    """Issues everything under one root; `now` gives seconds since the epoch.

    `responding` False is an outage of its OCSP responder. `issued` holds each certificate and its
    issuer, `revoked` and `issued` go by serial number.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.ocsp_url = ""
        self.responding = True
        self.revoked: set[int] = set()
        self.issued: dict[int, tuple[Holder, Holder]] = {}
        self.root = self._root()
        self.chain = self.new_chain()

    def open(self, ocsp_url: str) -> None:
        """From now on certificates name this responder, the signing ones first."""
        self.ocsp_url = ocsp_url
        self.chain = self.new_chain()

    def rotate_leaf(self) -> None:
        """Another key signs from now on, under the same intermediate; Apple does so every two years."""
        self.chain = Chain(self.leaf(self.chain.intermediate), self.chain.intermediate, self.root)

    def revoke_leaf(self) -> None:
        """The responder says of the leaf that signs now that it is revoked."""
        self.revoked.add(self.chain.leaf.certificate.serial_number)

    def new_chain(self) -> Chain:
        """A new intermediate and leaf under this root."""
        intermediate = self.intermediate(self.root)
        return Chain(self.leaf(intermediate), intermediate, self.root)

    def expired_chain(self) -> Chain:
        """Ends in a leaf whose time was over a month ago."""
        leaf = self.leaf(self.chain.intermediate, term=self._term(2, -_MONTH))
        return Chain(leaf, self.chain.intermediate, self.root)

    def intermediate(self, issuer: Holder, *, marked: bool = True) -> Holder:
        """As "Apple Worldwide Developer Relations": may issue leaves, and no further authorities."""
        name = _name("FAKE Worldwide Developer Relations Certification Authority", "G6 FAKE")
        return self._issue(
            name,
            ec.SECP384R1(),
            issuer,
            marker=INTERMEDIATE_MARKER if marked else None,
            path_length=0,
            term=self._term(5, 9 * _YEAR),
        )

    def leaf(self, issuer: Holder, *, marked: bool = True, term: Term | None = None) -> Holder:
        """A signer of transactions; unmarked, any other certificate Apple gives to developers."""
        purpose = "Prod ECC App Store Receipt Signing" if marked else "Developer Certificate"
        marker = LEAF_MARKER if marked else None
        term = term or self._term(1, _YEAR)
        return self._issue(
            _name(f"FAKE {purpose}", "FAKE"), ec.SECP256R1(), issuer, marker=marker, term=term
        )

    def _root(self) -> Holder:
        key = ec.generate_private_key(ec.SECP384R1())
        name = _name("FAKE Root CA - G3", "FAKE Certification Authority")
        builder = _authority(_builder(name, name, key, self._term(10, 20 * _YEAR)), None)
        return Holder(builder.sign(key, hashes.SHA384()), key)

    def _issue(
        self,
        name: x509.Name,
        curve: ec.EllipticCurve,
        issuer: Holder,
        *,
        marker: x509.ObjectIdentifier | None,
        term: Term,
        path_length: int | None = None,
    ) -> Holder:
        key = ec.generate_private_key(curve)
        builder = _builder(name, issuer.certificate.subject, key, term)
        builder = _signer(builder) if path_length is None else _authority(builder, path_length)
        builder = builder.add_extension(_key_identifier_of(issuer), critical=False)
        if self.ocsp_url:
            builder = builder.add_extension(_responder(self.ocsp_url), critical=False)
        if marker:
            builder = builder.add_extension(
                x509.UnrecognizedExtension(marker, _NULL), critical=False
            )
        holder = Holder(builder.sign(issuer.key, hashes.SHA384()), key)
        self.issued[holder.certificate.serial_number] = (holder, issuer)
        return holder

    def _term(self, years: int, left: timedelta) -> Term:
        """Began so many years ago and has so much left, less than nothing if it is over."""
        now = datetime.fromtimestamp(int(self._now()), UTC)
        return now - years * _YEAR, now + left


def pem(holder: Holder) -> str:
    """The certificate in PEM."""
    return holder.certificate.public_bytes(serialization.Encoding.PEM).decode()


def _name(common: str, unit: str) -> x509.Name:
    parts = (
        (NameOID.COMMON_NAME, common),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        (NameOID.ORGANIZATION_NAME, "FAKE Payplat Simulators"),
        (NameOID.COUNTRY_NAME, "US"),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, term: Term
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(term[0])
        .not_valid_after(term[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _authority(
    builder: x509.CertificateBuilder, path_length: int | None
) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    usage = _usage(key_cert_sign=True, crl_sign=True)
    return builder.add_extension(constraints, critical=True).add_extension(usage, critical=True)


def _signer(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=False, path_length=None)
    usage = _usage(digital_signature=True)
    return builder.add_extension(constraints, critical=True).add_extension(usage, critical=True)


def _usage(**purposes: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: purposes.get(name, False) for name in names.split()})


def _key_identifier_of(issuer: Holder) -> x509.AuthorityKeyIdentifier:
    own = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)


def _responder(url: str) -> x509.AuthorityInformationAccess:
    address = x509.UniformResourceIdentifier(url)
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, address)]
    )
