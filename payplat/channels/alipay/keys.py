"""Alipay's keys: RSA2 signatures, plain keys and certificates, read once at start.

RSA2 is RSASSA-PKCS1-v1_5 with SHA-256 (Alipay Open Platform, "Signature"). The digest is pinned: no message chooses it.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from payplat.credentials import Credential, credentials_of

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
# The first bytes of every signature algorithm of the RSA family, as DER: 1.2.840.113549.1.1
_RSA_FAMILY = bytes.fromhex("2a864886f70d0101")
_SEQUENCE, _OID = 0x30, 0x06
_MIN_BITS = 2048


@dataclass(frozen=True)
class Keys:
    """What an Alipay account signs with and whom it believes.

    ``alipay`` holds Alipay's public keys by fingerprint: several, so that one can be replaced without a gap.
    ``parameters`` are the certificate serial numbers that each request carries, ``credentials`` the certificates' times;
    both are empty with plain keys.
    """

    private: rsa.RSAPrivateKey = field(repr=False)
    alipay: dict[str, rsa.RSAPublicKey]
    parameters: dict[str, str]
    credentials: tuple[Credential, ...] = ()

    def sign(self, text: bytes) -> str:
        """Return the RSA2 signature of ``text`` in Base64."""
        signature = self.private.sign(text, padding.PKCS1v15(), hashes.SHA256())
        return base64.b64encode(signature).decode()

    def verifier(self, text: bytes, signature: str) -> str | None:
        """Return the fingerprint of the Alipay key that made this RSA2 ``signature``, or None."""
        try:
            raw = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return None
        for fingerprint, key in self.alipay.items():
            try:
                key.verify(raw, text, padding.PKCS1v15(), hashes.SHA256())
            except InvalidSignature:
                continue
            return fingerprint
        return None


def plain_keys(private_key: str, alipay_public_keys: Iterable[str]) -> Keys:
    """Read keys given as PEM or as bare Base64; raises ValueError that says what is wrong, never the key."""
    private = _private_key(private_key)
    return _keys(private, [_public_key(text) for text in alipay_public_keys], {})


def certified_keys(
    private_key: str, app_cert: str, alipay_certs: Iterable[str], root_cert: str
) -> Keys:
    """Read keys and certificates given as PEM; raises ValueError like ``plain_keys``."""
    private, app = _private_key(private_key), _certificate(app_cert, "app_cert")
    if _key_of(app, "app_cert").public_numbers() != private.public_key().public_numbers():
        raise ValueError("app_cert does not belong to private_key")
    roots = list(_rsa_certificates(root_cert))
    trusted = [_trusted(text, roots) for text in alipay_certs]
    credentials = _valid(app, trusted)
    parameters = {
        "app_cert_sn": serial_number(app),
        "alipay_root_cert_sn": "_".join(serial_number(root) for root in roots),
    }
    keys = [_key_of(certificate, "alipay_cert") for certificate, _ in trusted]
    return replace(_keys(private, keys, parameters), credentials=credentials)


def serial_number(certificate: x509.Certificate) -> str:
    """Return ``app_cert_sn``: the MD5 of the issuer (RFC 4514) followed by the decimal serial number."""
    name = certificate.issuer.rfc4514_string() + str(certificate.serial_number)
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def _keys(
    private: rsa.RSAPrivateKey, alipay: list[rsa.RSAPublicKey], parameters: dict[str, str]
) -> Keys:
    ours = private.public_key().public_numbers()
    if any(key.public_numbers() == ours for key in alipay):
        raise ValueError(
            "alipay_public_key is the app's own public key; take Alipay's from its console"
        )
    if not alipay:
        raise ValueError("alipay_public_key is missing")
    return Keys(private, {_fingerprint(key): key for key in alipay}, parameters)


def _private_key(text: str) -> rsa.RSAPrivateKey:
    for label in ("PRIVATE KEY", "RSA PRIVATE KEY"):
        try:
            key = serialization.load_pem_private_key(_pem(text, label), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _MIN_BITS:
            return key
    raise ValueError(
        f"private_key is no RSA private key of {_MIN_BITS} bits or more (PKCS#8 or PKCS#1)"
    )


def _public_key(text: str) -> rsa.RSAPublicKey:
    if "PRIVATE" in text:
        raise ValueError(
            "alipay_public_key is a private key; take Alipay's public key from its console"
        )
    try:
        key = serialization.load_pem_public_key(_pem(text, "PUBLIC KEY"))
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("alipay_public_key is no public key") from None
    return _rsa(key, "alipay_public_key")


def _pem(text: str, label: str) -> bytes:
    """Return ``text`` as PEM; Alipay's console and tools hand out bare one-line Base64."""
    if "-----BEGIN" in text:
        return text.strip().encode() + b"\n"
    body = "\n".join(re.findall(".{1,64}", "".join(text.split())))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n".encode()


def _certificate(text: str, name: str) -> x509.Certificate:
    return _certificates(text, name)[0]


def _certificates(text: str, name: str) -> list[x509.Certificate]:
    blocks = _blocks(text, name)
    if not blocks:
        raise ValueError(f"{name} is no PEM certificate")
    try:
        return [x509.load_der_x509_certificate(block) for block in blocks]
    except ValueError:
        raise ValueError(f"{name} is no certificate that can be read") from None


def _blocks(text: str, name: str) -> list[bytes]:
    """Return the DER of each certificate in a PEM file; one that lacks a part is an error, not left out."""
    try:
        bodies = _BLOCK.findall(text.encode())
        if text.count("CERTIFICATE-----") != 2 * len(bodies):
            raise ValueError
        return [base64.b64decode(b"".join(body.split()), validate=True) for body in bodies]
    except ValueError:
        raise ValueError(f"{name} holds a certificate that cannot be read") from None


def _rsa_certificates(bundle: str) -> Iterator[x509.Certificate]:
    """Yield the RSA certificates of Alipay's root bundle in file order.

    The bundle also holds an SM2 one, which does not parse here and does not count. An RSA one that does not parse is an
    error: leaving it out would give a wrong serial number that looks right.
    """
    found = 0
    for der in _blocks(bundle, "root_cert"):
        if _signature_algorithm(der).startswith(_RSA_FAMILY):
            found += 1
            try:
                yield x509.load_der_x509_certificate(der)
            except ValueError:
                raise ValueError("root_cert holds an RSA certificate that cannot be read") from None
    if not found:
        raise ValueError("root_cert holds no RSA certificate")


def _signature_algorithm(der: bytes) -> bytes:
    """Return the OID of Certificate.signatureAlgorithm (RFC 5280, 4.1) as DER content; raises ValueError."""
    try:
        start, end = _element(der, 0, _SEQUENCE)  # Certificate
        if end != len(der):
            raise IndexError
        _, after_tbs = _element(der, start, _SEQUENCE)
        algorithm, _ = _element(der, after_tbs, _SEQUENCE)
        oid, end = _element(der, algorithm, _OID)
        return der[oid:end]
    except IndexError:
        raise ValueError("root_cert holds a certificate that cannot be read") from None


def _element(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Return where the content of the DER element at ``at`` begins and ends; raises IndexError if there is none."""
    if der[at] != tag:
        raise IndexError
    length, start = der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[start : start + size], "big"), start + size
    return start, start + length


def _valid(
    app: x509.Certificate, trusted: list[tuple[x509.Certificate, x509.Certificate]]
) -> tuple[Credential, ...]:
    """Return the times of the certificates that count; raises ValueError when one has ended or not begun."""
    # The bundle's other roots vouch for nothing here, so that their time is no matter.
    roots = dict.fromkeys(root for _, root in trusted)
    credentials = (
        *credentials_of("app_cert", [app]),
        *credentials_of("alipay_cert", [certificate for certificate, _ in trusted]),
        *credentials_of("root_cert", roots),
    )
    for fault in filter(None, (credential.fault for credential in credentials)):
        raise ValueError(fault)
    return credentials


def _trusted(text: str, roots: list[x509.Certificate]) -> tuple[x509.Certificate, x509.Certificate]:
    """Return the first certificate of Alipay's file, which brings its issuers along, and the root behind it."""
    first, *issuers = _certificates(text, "alipay_cert")
    certificate: x509.Certificate | None = first
    for _ in range(len(issuers) + 1):
        if certificate is None:
            break
        if root := _issuer(certificate, roots):
            return first, root
        certificate = _issuer(certificate, issuers)
    raise ValueError("alipay_cert was not issued by root_cert")


def _issuer(
    certificate: x509.Certificate, candidates: list[x509.Certificate]
) -> x509.Certificate | None:
    for candidate in candidates:
        try:
            certificate.verify_directly_issued_by(candidate)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        return candidate
    return None


def _key_of(certificate: x509.Certificate, name: str) -> rsa.RSAPublicKey:
    try:
        return _rsa(certificate.public_key(), name)
    except UnsupportedAlgorithm:
        return _rsa(None, name)


def _rsa(key: object, name: str) -> rsa.RSAPublicKey:
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _MIN_BITS:
        raise ValueError(f"{name} holds no RSA key of {_MIN_BITS} bits or more")
    return key


def _fingerprint(key: rsa.RSAPublicKey) -> str:
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()[:16]
