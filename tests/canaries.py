"""Secrets that are looked for in whatever leaves a process, in every form in which they could."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import load_pem_private_key

# Bytes of a secret that are no accident, wherever in it they stand.
_PIECE = 12


@dataclass(frozen=True)
class Canaries:
    """Secrets by name, each as the bytes that nobody else may see."""

    secrets: Mapping[str, list[bytes]]

    def heard_in(self, what: bytes) -> list[str]:
        """Return the names of the secrets of which a piece stands in ``what``: raw, in hex, Base64 or decimal."""
        plain = b"".join(what.replace(b"\\n", b"").split())
        lowered = plain.lower()
        return [
            name
            for name, blobs in self.secrets.items()
            if any(
                form in what or form in plain or form.lower() in lowered
                for blob in blobs
                for form in _forms(blob)
            )
        ]


def of_key(pem: str) -> list[bytes]:
    """Return the private numbers of a key; its modulus everybody may see."""
    numbers = load_pem_private_key(pem.encode(), None).private_numbers()
    secret = (
        (numbers.p, numbers.q, numbers.d) if hasattr(numbers, "p") else (numbers.private_value,)
    )
    return [number.to_bytes((number.bit_length() + 7) // 8, "big") for number in secret]


def of_account(text: str) -> list[bytes]:
    """Return the private numbers of a service account's key."""
    return of_key(json.loads(text)["private_key"])


def _forms(blob: bytes) -> Iterator[bytes]:
    """Yield the forms in which pieces of ``blob`` could appear; without blanks, which wrap long ones."""
    for start in range(0, len(blob) - _PIECE + 1, _PIECE):
        piece = blob[start : start + _PIECE]
        yield piece
        yield piece.hex().encode()
        yield repr(piece)[2:-1].encode()
        # Where in a Base64 text a piece begins decides what it looks like; its first and last characters mix with others.
        for before in range(3):
            coded = base64.b64encode(bytes(before) + piece)[4 if before else 0 : -4]
            yield coded
            yield coded.translate(bytes.maketrans(b"+/", b"-_"))
    if len(blob) >= 32:
        yield str(int.from_bytes(blob, "big")).encode()[:40]
