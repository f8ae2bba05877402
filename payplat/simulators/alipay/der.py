"""A certificate that current libraries cannot read: SM2 with SM3, written by hand in DER."""

from __future__ import annotations

import base64
import secrets
import textwrap

NULL = b"\x05\x00"


def tlv(tag: int, *parts: bytes) -> bytes:
    """Tag, length, value."""
    value = b"".join(parts)
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE of elements."""
    return tlv(0x30, *parts)


def bits(value: bytes) -> bytes:
    """A BIT STRING without unused bits."""
    return tlv(0x03, b"\x00", value)


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted text."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    return tlv(0x06, bytes([40 * first + second]), *(_base128(part) for part in rest))


def pem(certificate: bytes) -> str:
    """A certificate as PEM."""
    text = "\n".join(textwrap.wrap(base64.b64encode(certificate).decode(), 64))
    return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"


def sm2_certificate() -> str:
    """The first of the root bundle, as in the real one; its key and signature are noise.

    Its dates lack the seconds, so that a strict reader refuses the certificate whatever it
    thinks of SM2: to skip it, one has to look at the algorithm before parsing the rest.
    """
    algorithm = sequence(oid("1.2.156.10197.1.501"), NULL)
    name = _name("Simulated Certification Authority SM2")
    key = sequence(
        sequence(oid("1.2.840.10045.2.1"), oid("1.2.156.10197.1.301")),
        bits(b"\x04" + secrets.token_bytes(64)),
    )
    validity = sequence(tlv(0x17, b"1801010000Z"), tlv(0x17, b"4901010000Z"))
    serial = tlv(0x02, b"\x01" + secrets.token_bytes(8))
    body = sequence(tlv(0xA0, tlv(0x02, b"\x02")), serial, algorithm, name, validity, name, key)
    noise = sequence(*(tlv(0x02, b"\x01" + secrets.token_bytes(31)) for _ in range(2)))
    return pem(sequence(body, algorithm, bits(noise)))


def _name(common: str) -> bytes:
    values = (("2.5.4.6", 0x13, "CN"), ("2.5.4.10", 0x0C, "Payplat"), ("2.5.4.3", 0x0C, common))
    parts = (tlv(0x31, sequence(oid(kind), tlv(tag, text.encode()))) for kind, tag, text in values)
    return sequence(*parts)


def _base128(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(0x80 | number & 0x7F)
    return bytes(reversed(digits))
