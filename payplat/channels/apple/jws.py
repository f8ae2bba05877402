"""Apple's signed data: a compact JWS whose header brings the certificates of its signer.

Transactions, renewals and notifications all come in this form. Sources: App Store Server API, "JWSTransaction" and
"JWSDecodedHeader"; RFC 7515 for the form, RFC 7518, 3.4, for ES256. No certificate is asked after online: payplat acts on
the answer of Apple's API, which is signed at that moment.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from payplat import seam, strict_json
from payplat.channels.apple.chain import (
    APPLE_ROOT_FINGERPRINT,
    APPLE_ROOT_G3,
    Roots,
    Signer,
    read_roots,
    read_signer,
)
from payplat.credentials import credentials_of
from payplat.errors import NotAuthentic

__all__ = ["APPLE_ROOT_FINGERPRINT", "APPLE_ROOT_G3", "Signed", "SignedData", "read_roots"]

_MAX_JWS, _MAX_HEADER = 32 * 1024, 16 * 1024
_MAX_PROVEN = 32
_CLOCK_SKEW = 5 * 60 * 1000  # milliseconds
_ES256 = ECAlgorithm(ECAlgorithm.SHA256, ec.SECP256R1)
# They name other keys, or change what is signed. Apple sends none of them.
_REFUSED = frozenset({"b64", "crit", "jku", "jwk", "x5u"})


@dataclass(frozen=True, slots=True)
class Signed:
    """A payload that Apple signed; ``verifier`` names the signer's certificate for the records."""

    payload: Mapping[str, Any]
    verifier: str


class SignedData:
    """Verifies what Apple signed, under these roots."""

    def __init__(self, roots: Sequence[x509.Certificate]) -> None:
        """Raises ValueError when there are no roots."""
        self._roots = Roots(roots)
        self.credentials = tuple(credentials_of("roots", roots))
        # By the header's text, which holds all certificates, with the seconds for which they were proven.
        self._proven: dict[str, tuple[Signer, range]] = {}

    def verify(self, jws: str) -> Signed:
        """Return the payload of a compact JWS; raises NotAuthentic, which says what is wrong.

        The certificates must be valid when the payload was signed, as it says in ``signedDate``.
        """
        header, payload, signature = _split(jws)
        signer, valid = self._proven.get(header) or (_read_header(header), range(0))
        signed = f"{header}.{payload}".encode()
        if not _ES256.verify(signed, signer.key, _decode(signature, "signature")):
            raise NotAuthentic("The signature does not fit.")
        content = _read_object(payload, "payload")
        at = _signed_at(content)
        if at not in valid:
            self._remember(header, signer, self._roots.prove(signer, at))
        return Signed(content, signer.name)

    def _remember(self, header: str, signer: Signer, valid: range) -> None:
        """Keep a proof; only headers that Apple itself has signed come here, and those are few."""
        if len(self._proven) >= _MAX_PROVEN:
            self._proven.pop(next(iter(self._proven)))
        self._proven[header] = signer, valid


def _split(jws: str) -> list[str]:
    if len(jws) > _MAX_JWS:
        raise NotAuthentic("The JWS is too long.")
    if not jws.isascii():
        raise NotAuthentic("The JWS is no ASCII.")
    parts = jws.split(".")
    if len(parts) != 3:
        raise NotAuthentic("A JWS has three parts.")
    return parts


def _read_header(text: str) -> Signer:
    if len(text) > _MAX_HEADER:
        raise NotAuthentic("The header is too long.")
    header = _read_object(text, "header")
    if header.get("alg") != "ES256":
        raise NotAuthentic("alg is not ES256.")
    if refused := _REFUSED & header.keys():
        raise NotAuthentic(f"The header has {', '.join(sorted(refused))}.")
    return read_signer(header.get("x5c"))


def _signed_at(payload: Mapping[str, Any]) -> int:
    """Return ``signedDate`` in seconds; it is written in milliseconds."""
    signed_date = payload.get("signedDate")
    if type(signed_date) is not int or signed_date < 0:  # a bool is an int too
        raise NotAuthentic("signedDate is no time in milliseconds.")
    if signed_date > seam.now() // 1000 + _CLOCK_SKEW:
        raise NotAuthentic("signedDate is in the future.")
    return signed_date // 1000


def _read_object(text: str, name: str) -> dict[str, Any]:
    try:
        found = strict_json.read(_decode(text, name).decode())
    except ValueError:
        raise NotAuthentic(f"The {name} is not JSON as Apple writes it.") from None
    if not isinstance(found, dict):
        raise NotAuthentic(f"The {name} is no object.")
    return found


def _decode(text: str, name: str) -> bytes:
    """Decode base64url without padding; what does not read back as the same text is refused."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raw = b""
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise NotAuthentic(f"The {name} is no base64url.")
    return raw
