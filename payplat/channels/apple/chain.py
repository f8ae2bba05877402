"""Who signed Apple's data: three certificates in a JWS header, and one of our own roots behind them.

Sources: App Store Server API, "JWSDecodedHeader"; RFC 5280, 6.1, for paths; Apple PKI for the marker extensions.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from payplat.errors import NotAuthentic

APPLE_ROOT_FINGERPRINT = "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"
_APPLE_ROOT_G3_PEM = """\
-----BEGIN CERTIFICATE-----
MIICQzCCAcmgAwIBAgIILcX8iNLFS5UwCgYIKoZIzj0EAwMwZzEbMBkGA1UEAwwS
QXBwbGUgUm9vdCBDQSAtIEczMSYwJAYDVQQLDB1BcHBsZSBDZXJ0aWZpY2F0aW9u
IEF1dGhvcml0eTETMBEGA1UECgwKQXBwbGUgSW5jLjELMAkGA1UEBhMCVVMwHhcN
MTQwNDMwMTgxOTA2WhcNMzkwNDMwMTgxOTA2WjBnMRswGQYDVQQDDBJBcHBsZSBS
b290IENBIC0gRzMxJjAkBgNVBAsMHUFwcGxlIENlcnRpZmljYXRpb24gQXV0aG9y
aXR5MRMwEQYDVQQKDApBcHBsZSBJbmMuMQswCQYDVQQGEwJVUzB2MBAGByqGSM49
AgEGBSuBBAAiA2IABJjpLz1AcqTtkyJygRMc3RCV8cWjTnHcFBbZDuWmBSp3ZHtf
TjjTuxxEtX/1H7YyYl3J6YRbTzBPEVoA/VhYDKX1DyxNB0cTddqXl5dvMVztK517
IDvYuVTZXpmkOlEKMaNCMEAwHQYDVR0OBBYEFLuw3qFYM4iapIqZ3r6966/ayySr
MA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMAoGCCqGSM49BAMDA2gA
MGUCMQCD6cHEFl4aXTQY2e3v9GwOAEZLuN+yRhHFD/3meoyhpmvOwgPUnPWTxnS4
at+qIxUCMG1mihDK1A3UT82NQz60imOlM27jbdoXt2QfyFMm+YhidDkLF1vLUagM
6BgD56KyKA==
-----END CERTIFICATE-----
"""
APPLE_ROOT_G3 = x509.load_pem_x509_certificate(_APPLE_ROOT_G3_PEM.encode())

# Apple's marks: without them, any certificate that Apple ever issued under this root would do.
_LEAF_MARK = x509.ObjectIdentifier("1.2.840.113635.100.6.11.1")
_INTERMEDIATE_MARK = x509.ObjectIdentifier("1.2.840.113635.100.6.2.1")
_X5C_LENGTH = 3  # leaf, intermediate, root


@dataclass(frozen=True, slots=True)
class Signer:
    """Who a header says has signed; nothing here is believed before ``Roots.prove``.

    ``name`` is the leaf for the records: ``x5c:`` and the first 16 hex digits of its SHA-256.
    """

    leaf: x509.Certificate
    intermediate: x509.Certificate
    key: ec.EllipticCurvePublicKey
    name: str


class Roots:
    """The roots that we believe; those that come along in a header count for nothing."""

    def __init__(self, certificates: Sequence[x509.Certificate]) -> None:
        """Raises ValueError when there are none."""
        self._builder = (
            PolicyBuilder()
            .store(Store(list(certificates)))
            .extension_policies(ca_policy=_CA, ee_policy=_LEAF)
        )

    def prove(self, signer: Signer, at: int) -> range:
        """Prove that a root stood behind ``signer`` at the time ``at``, in seconds since 1970.

        Returns the seconds for which the same proof holds. Raises NotAuthentic.
        """
        verifier = self._builder.time(datetime.fromtimestamp(at, UTC)).build_client_verifier()
        try:
            chain = verifier.verify(signer.leaf, [signer.intermediate]).chain
        except VerificationError as error:
            # The rest of the text quotes certificates, which a forger wrote.
            reason = str(error).partition(" (")[0]
            raise NotAuthentic(f"The certificates in x5c do not hold: {reason}.") from None
        except ValueError:  # a certificate's inner parts are read when they are asked for
            raise NotAuthentic("A certificate in x5c cannot be read.") from None
        if len(chain) != _X5C_LENGTH:
            raise NotAuthentic("The leaf in x5c was not issued by the intermediate.")
        _require_mark(chain[0], _LEAF_MARK, "leaf")
        _require_mark(chain[1], _INTERMEDIATE_MARK, "intermediate")
        first = max(_seconds(certificate.not_valid_before_utc) for certificate in chain)
        last = min(_seconds(certificate.not_valid_after_utc) for certificate in chain)
        # Both ends are valid (RFC 5280, 4.1.2.5).
        return range(first, last + 1)


def read_signer(x5c: object) -> Signer:
    """Read ``x5c`` of a header: leaf, intermediate, and a root that is not used. Raises NotAuthentic."""
    if not isinstance(x5c, list) or len(x5c) != _X5C_LENGTH:
        raise NotAuthentic("x5c does not hold three certificates.")
    leaf, intermediate, _ = map(_read_certificate, x5c)
    try:
        key = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise NotAuthentic("The leaf's key cannot be read.") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise NotAuthentic("The leaf's key is not on the curve P-256.")
    return Signer(leaf, intermediate, key, f"x5c:{leaf.fingerprint(hashes.SHA256()).hex()[:16]}")


def read_roots(pems: Sequence[str]) -> list[x509.Certificate]:
    """Read root certificates given as PEM, several of them in one text or not.

    Raises ValueError for a text without one, and for a certificate that did not sign itself.
    """
    roots = [root for pem in pems for root in x509.load_pem_x509_certificates(pem.encode())]
    for root in roots:
        try:
            root.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature):
            raise ValueError(
                f"{root.subject.rfc4514_string()} is no root: another signed it"
            ) from None
    return roots


def _read_certificate(text: object) -> x509.Certificate:
    try:
        der = base64.b64decode(text) if isinstance(text, str) else b""
        if base64.b64encode(der).decode() != text:
            raise ValueError
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion):
        raise NotAuthentic("x5c holds what is no certificate in base64.") from None


def _require_mark(certificate: x509.Certificate, mark: x509.ObjectIdentifier, name: str) -> None:
    try:
        certificate.extensions.get_extension_for_oid(mark)
    except (ValueError, x509.ExtensionNotFound):
        raise NotAuthentic(
            f"The {name} in x5c lacks Apple's extension {mark.dotted_string}."
        ) from None


def _refuse_ca(
    _policy: Policy, _leaf: x509.Certificate, found: x509.BasicConstraints | None
) -> None:
    if found is not None and found.ca:
        raise ValueError("the leaf is a certificate authority")


def _require_issuer_key_id(
    _policy: Policy, authority: x509.Certificate, found: x509.AuthorityKeyIdentifier | None
) -> None:
    if found is None and authority.issuer != authority.subject:
        raise ValueError("the intermediate does not name its issuer's key")


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


# With the key identifiers that Apple's own library demands.
_CA = (
    ExtensionPolicy.webpki_defaults_ca()
    .require_present(x509.SubjectKeyIdentifier, Criticality.AGNOSTIC, None)
    .may_be_present(x509.AuthorityKeyIdentifier, Criticality.AGNOSTIC, _require_issuer_key_id)
    # The default asks for TLS clients, of which these certificates do not speak.
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None)
)
_LEAF = (
    ExtensionPolicy.permit_all()
    .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _refuse_ca)
    .require_present(x509.AuthorityKeyIdentifier, Criticality.AGNOSTIC, None)
)
