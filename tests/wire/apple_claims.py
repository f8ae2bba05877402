"""Data that claims to be signed by Apple, true and false, each false one wrong in one respect."""

import base64
import hashlib
import hmac
import json
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.wire.apple_pki import (
    INTERMEDIATE,
    INTERMEDIATE_MARK,
    LEAF,
    LEAF_MARK,
    ROOT,
    SIGNED_AT,
    TLS_ONLY,
    TRANSACTION,
    PrivateKey,
    b64url,
    der,
    issue,
    issue_chain,
    jws,
    p256,
    p384,
    part,
    sign_es256,
    x5c,
)

CHAIN = issue_chain()
X5C = x5c(CHAIN)
HEADER: dict[str, Any] = {"alg": "ES256", "x5c": X5C}
SIGNED_SECOND = datetime.fromtimestamp(SIGNED_AT // 1000, UTC)
NOW, FIVE_MINUTES = SIGNED_AT + 60_000, 5 * 60_000  # milliseconds
BEFORE, AFTER = SIGNED_SECOND - timedelta(seconds=1), SIGNED_SECOND + timedelta(seconds=1)
P256, SM2 = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a811ccf5501822d")  # names of curves
# The order of P-256: with it, anybody can make a second valid signature of a first.
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True)
class Claim:
    """A JWS, and the roots that it meets."""

    jws: str
    roots: tuple[x509.Certificate, ...] = (CHAIN[2],)


Make = Callable[[], Claim]


def headed(**changes: Any) -> Claim:
    """With another header; None leaves a member out."""
    members = {name: value for name, value in {**HEADER, **changes}.items() if value is not None}
    return Claim(jws(members, TRANSACTION))


def paid(**changes: Any) -> Claim:
    """With another payload; ... leaves a member out."""
    members = {**TRANSACTION, **changes}
    return Claim(jws(HEADER, {name: value for name, value in members.items() if value is not ...}))


def raw(payload: bytes) -> Claim:
    """With these bytes as its payload."""
    return Claim(jws(HEADER, payload))


def chained(**specs: Any) -> Claim:
    """Under certificates that say something else; its root is believed."""
    chain = issue_chain(**specs)
    key: PrivateKey = specs.get("leaf", LEAF).key
    return Claim(jws({**HEADER, "x5c": x5c(chain)}, TRANSACTION, key), (chain[2],))


def carrying(certificates: Sequence[Any], key: PrivateKey = LEAF.key) -> Claim:
    """With these certificates in its header, and our root believed."""
    texts = [item if isinstance(item, str) else x5c([item])[0] for item in certificates]
    return Claim(jws({**HEADER, "x5c": texts}, TRANSACTION, key))


def sealed(change: Callable[[bytes], bytes]) -> Claim:
    """With another signature."""
    text, _, signature = jws(HEADER, TRANSACTION).rpartition(".")
    return Claim(f"{text}.{b64url(change(_unb64url(signature)))}")


def altered(change: Callable[[str], str]) -> Claim:
    """With its text changed after it was signed."""
    return Claim(change(jws(HEADER, TRANSACTION)))


def padded(at: int) -> Claim:
    """With padding behind the part at this place, and signed so."""
    parts = [
        part({**HEADER, "x": _filler(HEADER)}),
        part({**TRANSACTION, "x": _filler(TRANSACTION)}),
    ]
    parts[at] += "=" * (-len(parts[at]) % 4)
    return Claim(f"{'.'.join(parts)}.{b64url(sign_es256(LEAF.key, '.'.join(parts)))}")


def loose_bits(at: int) -> Claim:
    """With bits set that base64 does not use in the last letter of the part at this place, and signed so."""
    parts = [
        part({**HEADER, "x": _filler(HEADER)}),
        part({**TRANSACTION, "x": _filler(TRANSACTION)}),
    ]
    parts[at] = _loosen(parts[at])
    return Claim(f"{'.'.join(parts)}.{b64url(sign_es256(LEAF.key, '.'.join(parts)))}")


def hmac_with_public_key() -> Claim:
    """HS256 with the leaf's public key as its secret, which everybody knows."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = LEAF.key.public_key().public_bytes(serialization.Encoding.PEM, form)
    text = f"{part({**HEADER, 'alg': 'HS256'})}.{part(TRANSACTION)}"
    return Claim(f"{text}.{b64url(hmac.digest(secret, text.encode(), hashlib.sha256))}")


def to_der(signature: bytes) -> bytes:
    """The signature as ASN.1 has it."""
    return encode_dss_signature(*_numbers(signature))


def mirrored(signature: bytes) -> bytes:
    """The other signature that fits as well."""
    r, s = _numbers(signature)
    return r.to_bytes(32, "big") + (ORDER - s).to_bytes(32, "big")


def _filler(members: dict[str, Any]) -> str:
    """A text that makes a part's length one that base64 would pad."""
    return next(x for x in ("", "a") if len(part({**members, "x": x})) % 4)


def _numbers(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


def _unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _loosen(text: str) -> str:
    """Set an unused bit of the last letter; it is never one of the two in which the alphabets differ."""
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits
    body = text.rstrip("=")
    assert len(body) % 4
    return body[:-1] + letters[letters.index(body[-1]) + 1] + text[len(body) :]


def _with_first(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def _twisted(old: bytes, new: bytes) -> str:
    """The leaf with some of its bytes replaced."""
    return base64.b64encode(_with_first(der(CHAIN[0]), old, new)).decode()


def _ending_in_padding() -> str:
    """A leaf whose base64 has letters with unused bits; signatures differ in length, so one comes soon."""
    while not (text := x5c([issue(LEAF, INTERMEDIATE)])[0]).endswith("="):
        pass
    return text


FOREIGN_ROOT = ROOT.but(key=p384())
FOREIGN_INTERMEDIATE = INTERMEDIATE.but(key=p384())
FOREIGN_LEAF = LEAF.but(key=p256())
FOREIGN_CHAIN = issue_chain(FOREIGN_LEAF, FOREIGN_INTERMEDIATE, FOREIGN_ROOT)
UNKNOWN_CRITICAL = ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True),)
JSON = json.dumps(TRANSACTION)
ZEROS = bytes(32)

# What both we and Apple's library accept.
ACCEPTED: dict[str, Make] = {
    "as Apple writes it": headed,
    "with kid and typ": partial(headed, kid="ABCDEFGHIJ", typ="JWT"),
    "with an unknown header member": partial(headed, hint=1),
    "with blanks in its JSON": lambda: raw(json.dumps(TRANSACTION, indent=1).encode()),
    "with an unknown payload member": partial(paid, invented={"a": [1, None]}),
    "with text beyond ASCII": lambda: raw(JSON.replace("coins_500", "金币").encode()),
    "without its root": lambda: carrying([*CHAIN[:2], FOREIGN_CHAIN[2]]),
    "a second signature": lambda: sealed(mirrored),
    "a root with room for one": lambda: chained(root=ROOT.but(path_length=1)),
    "an intermediate for TLS": lambda: chained(
        intermediate=INTERMEDIATE.but(more=((TLS_ONLY, False),))
    ),
    "a leaf from this second on": lambda: chained(leaf=LEAF.but(first=SIGNED_SECOND)),
    "a leaf in its last second": lambda: chained(leaf=LEAF.but(last=SIGNED_SECOND)),
    "an intermediate in its last second": lambda: chained(
        intermediate=INTERMEDIATE.but(last=SIGNED_SECOND)
    ),
    "a leaf without its own key id": lambda: chained(leaf=LEAF.but(subject_key_id=False)),
    "signed by a clock five minutes ahead": partial(paid, signedDate=NOW + FIVE_MINUTES),
    "several roots": lambda: Claim(headed().jws, (FOREIGN_CHAIN[2], CHAIN[2])),
}

# What we accept and Apple's library does not, and why.
WE_ALONE_ACCEPT: dict[str, tuple[Make, str]] = {
    "exp long ago": (
        partial(paid, exp=1),
        "exp is a word of JWT's, which PyJWT obeys; Apple's payloads are none and have none",
    ),
}

# What we refuse: how it is made, and the words of the refusal.
REFUSED: dict[str, tuple[Make, str]] = {
    "alg none": (lambda: Claim(jws(HEADER | {"alg": "none"}, TRANSACTION)), "alg"),
    "alg none without signature": (
        lambda: Claim(f"{part(HEADER | {'alg': 'none'})}.{part(TRANSACTION)}."),
        "alg",
    ),
    "alg HS256 with the public key": (hmac_with_public_key, "alg"),
    "alg ES384": (partial(headed, alg="ES384"), "alg"),
    "alg RS256": (partial(headed, alg="RS256"), "alg"),
    "alg in lower case": (partial(headed, alg="es256"), "alg"),
    "alg in a list": (partial(headed, alg=["ES256"]), "alg"),
    "alg missing": (partial(headed, alg=None), "alg"),
    "crit": (partial(headed, crit=["exp"]), "has crit"),
    "jku": (partial(headed, jku="https://example.com/keys"), "has jku"),
    "x5u": (partial(headed, x5u="https://example.com/chain"), "has x5u"),
    "jwk": (partial(headed, jwk={"kty": "EC"}), "has jwk"),
    "b64": (partial(headed, b64=True), "has b64"),
    "x5c missing": (partial(headed, x5c=None), "three certificates"),
    "x5c a text": (partial(headed, x5c="".join(X5C)), "three certificates"),
    "x5c empty": (partial(headed, x5c=[]), "three certificates"),
    "x5c of one": (lambda: carrying(CHAIN[:1]), "three certificates"),
    "x5c of two": (lambda: carrying(CHAIN[:2]), "three certificates"),
    "x5c of four": (lambda: carrying([*CHAIN, CHAIN[2]]), "three certificates"),
    "x5c with a number": (partial(headed, x5c=[*X5C[:2], 7]), "no certificate"),
    "x5c with null": (partial(headed, x5c=[X5C[0], None, X5C[2]]), "no certificate"),
    "x5c with an empty text": (lambda: carrying([X5C[0], "", X5C[2]]), "no certificate"),
    "x5c without a certificate": (lambda: carrying([X5C[0], "AAAA", X5C[2]]), "no certificate"),
    "x5c with a root that is none": (lambda: carrying([*X5C[:2], "AAAA"]), "no certificate"),
    "x5c in PEM": (
        lambda: carrying([f"-----BEGIN CERTIFICATE-----\n{X5C[0]}", *X5C[1:]]),
        "no certificate",
    ),
    "x5c in base64url": (
        lambda: carrying([X5C[0].replace("+", "-").replace("/", "_"), *X5C[1:]]),
        "no certificate",
    ),
    "x5c with a blank": (
        lambda: carrying([X5C[0][:40] + " " + X5C[0][40:], *X5C[1:]]),
        "no certificate",
    ),
    "x5c with a line break": (lambda: carrying([X5C[0] + "\n", *X5C[1:]]), "no certificate"),
    "x5c with more behind": (
        lambda: carrying([base64.b64encode(der(CHAIN[0]) + b"\0").decode(), *X5C[1:]]),
        "no certificate",
    ),
    "x5c with loose bits": (
        lambda: carrying([_loosen(_ending_in_padding()), *X5C[1:]]),
        "no certificate",
    ),
    "x5c with a certificate of version 6": (
        lambda: carrying([_twisted(b"\xa0\3\2\1\2", b"\xa0\3\2\1\5"), *X5C[1:]]),
        "no certificate",
    ),
    "leaf and intermediate swapped": (
        lambda: carrying([CHAIN[1], CHAIN[0], CHAIN[2]]),
        "not on the curve P-256",
    ),
    "intermediate and root swapped": (
        lambda: carrying([CHAIN[0], CHAIN[2], CHAIN[1]]),
        "do not hold",
    ),
    "a foreign chain of the same names": (
        lambda: carrying(FOREIGN_CHAIN, FOREIGN_LEAF.key),
        "do not hold",
    ),
    "a foreign chain with our root behind": (
        lambda: carrying([*FOREIGN_CHAIN[:2], CHAIN[2]], FOREIGN_LEAF.key),
        "do not hold",
    ),
    "a foreign leaf under our tail": (
        lambda: carrying([FOREIGN_CHAIN[0], *CHAIN[1:]], FOREIGN_LEAF.key),
        "do not hold",
    ),
    "our leaf under a foreign tail": (
        lambda: carrying([CHAIN[0], *FOREIGN_CHAIN[1:]]),
        "do not hold",
    ),
    "a leaf of the root itself": (
        lambda: carrying([issue(LEAF, ROOT), *CHAIN[1:]]),
        "not issued by the intermediate",
    ),
    "an intermediate that nobody issued": (
        lambda: carrying([CHAIN[0], issue(INTERMEDIATE, INTERMEDIATE), CHAIN[2]]),
        "do not hold",
    ),
    "a root that we do not believe": (
        lambda: Claim(headed().jws, (FOREIGN_CHAIN[2],)),
        "do not hold",
    ),
    "leaf without its mark": (lambda: chained(leaf=LEAF.but(marks=())), f"leaf .* {LEAF_MARK}"),
    "intermediate without its mark": (
        lambda: chained(intermediate=INTERMEDIATE.but(marks=())),
        f"intermediate .* {INTERMEDIATE_MARK}",
    ),
    "marks swapped": (
        lambda: chained(
            leaf=LEAF.but(marks=INTERMEDIATE.marks),
            intermediate=INTERMEDIATE.but(marks=LEAF.marks),
        ),
        f"leaf .* {LEAF_MARK}",
    ),
    "a mark's neighbour": (
        lambda: chained(leaf=LEAF.but(marks=(LEAF_MARK + ".1",))),
        f"leaf .* {LEAF_MARK}",
    ),
    "intermediate no authority": (
        lambda: chained(intermediate=INTERMEDIATE.but(ca=False, path_length=None)),
        "do not hold",
    ),
    "intermediate must not sign certificates": (
        lambda: chained(intermediate=INTERMEDIATE.but(cert_sign=False)),
        "do not hold",
    ),
    "no room below the root": (lambda: chained(root=ROOT.but(path_length=0)), "do not hold"),
    "leaf an authority": (lambda: chained(leaf=LEAF.but(ca=True)), "do not hold.*authority"),
    "leaf without its issuer's key id": (
        lambda: chained(leaf=LEAF.but(issuer_key_id=False)),
        "do not hold",
    ),
    "intermediate without its issuer's key id": (
        lambda: chained(intermediate=INTERMEDIATE.but(issuer_key_id=False)),
        "do not hold.*issuer's key",
    ),
    "intermediate without its key id": (
        lambda: chained(intermediate=INTERMEDIATE.but(subject_key_id=False)),
        "do not hold",
    ),
    "root without its key id": (
        lambda: chained(root=ROOT.but(subject_key_id=False)),
        "do not hold",
    ),
    "leaf with an unknown critical extension": (
        lambda: chained(leaf=LEAF.but(more=UNKNOWN_CRITICAL)),
        "do not hold",
    ),
    "leaf on P-384": (lambda: chained(leaf=LEAF.but(key=p384())), "not on the curve P-256"),
    "leaf on secp256k1": (
        lambda: chained(leaf=LEAF.but(key=ec.generate_private_key(ec.SECP256K1()))),
        "not on the curve P-256",
    ),
    "leaf on an unknown curve": (
        lambda: carrying([_twisted(P256, SM2), *X5C[1:]]),
        "cannot be read",
    ),
    "leaf with RSA": (
        lambda: carrying(
            [issue(LEAF.but(key=rsa.generate_private_key(65537, 2048)), INTERMEDIATE), *CHAIN[1:]]
        ),
        "not on the curve P-256",
    ),
    "leaf expired": (lambda: chained(leaf=LEAF.but(last=BEFORE)), "not valid at"),
    "leaf not yet valid": (lambda: chained(leaf=LEAF.but(first=AFTER)), "not valid at"),
    "intermediate expired": (
        lambda: chained(intermediate=INTERMEDIATE.but(last=BEFORE)),
        "not valid at",
    ),
    "intermediate not yet valid": (
        lambda: chained(intermediate=INTERMEDIATE.but(first=AFTER)),
        "not valid at",
    ),
    "root expired": (lambda: chained(root=ROOT.but(last=BEFORE)), "not valid at"),
    "root not yet valid": (lambda: chained(root=ROOT.but(first=AFTER)), "not valid at"),
    "signature in DER": (lambda: sealed(to_der), "signature"),
    "signature cut": (lambda: sealed(lambda s: s[:-1]), "signature"),
    "signature with a byte more": (lambda: sealed(lambda s: s + b"\0"), "signature"),
    "signature halves swapped": (lambda: sealed(lambda s: s[32:] + s[:32]), "signature"),
    "signature with a bit flipped": (
        lambda: sealed(lambda s: s[:-1] + bytes([s[-1] ^ 1])),
        "signature",
    ),
    "signature of zeros": (lambda: sealed(lambda s: ZEROS + ZEROS), "signature"),
    "signature with R zero": (lambda: sealed(lambda s: ZEROS + s[32:]), "signature"),
    "signature empty": (lambda: sealed(lambda s: b""), "signature"),
    "signed by another": (
        lambda: Claim(jws(HEADER, TRANSACTION, FOREIGN_LEAF.key)),
        "signature",
    ),
    "signed by the intermediate": (
        lambda: Claim(jws(HEADER, TRANSACTION, INTERMEDIATE.key)),
        "signature",
    ),
    "header altered": (
        lambda: altered(lambda text: part(HEADER | {"kid": "x"}) + text[text.index(".") :]),
        "signature",
    ),
    "payload altered": (
        lambda: altered(
            lambda text: ".".join(
                [text.split(".")[0], part(TRANSACTION | {"price": 1}), text.split(".")[2]]
            )
        ),
        "signature",
    ),
    "header padded": (partial(padded, 0), "header is no base64url"),
    "payload padded": (partial(padded, 1), "payload is no base64url"),
    "signature padded": (lambda: altered(lambda text: text + "=="), "signature is no base64url"),
    "header with loose bits": (partial(loose_bits, 0), "header is no base64url"),
    "payload with loose bits": (partial(loose_bits, 1), "payload is no base64url"),
    "signature with loose bits": (
        lambda: altered(lambda text: ".".join([*text.split(".")[:2], _loosen(text.split(".")[2])])),
        "signature is no base64url",
    ),
    "signature in plain base64": (
        lambda: altered(lambda text: text[: text.rindex(".")] + "." + "+/" * 43),
        "signature is no base64url",
    ),
    "a blank before": (lambda: altered(lambda text: " " + text), "header is no base64url"),
    "a line break behind": (lambda: altered(lambda text: text + "\n"), "signature is no base64url"),
    "letters beyond ASCII": (lambda: altered(lambda text: text + "é"), "no ASCII"),
    "half a letter in the payload": (
        lambda: altered(lambda text: text.replace(".", ".\ud800", 1)),
        "no ASCII",
    ),
    "empty": (lambda: Claim(""), "three parts"),
    "dots alone": (lambda: Claim(".."), "header is not JSON"),
    "two parts": (lambda: altered(lambda text: text.rpartition(".")[0]), "three parts"),
    "four parts": (lambda: altered(lambda text: text + ".AAAA"), "three parts"),
    "payload elsewhere": (
        lambda: altered(lambda text: f"{text.split('.')[0]}..{text.split('.')[2]}"),
        "signature",
    ),
    "too long": (partial(paid, filler="x" * 24 * 1024), "JWS is too long"),
    "header too long": (partial(headed, filler="x" * 12 * 1024), "header is too long"),
    "header no JSON": (lambda: Claim(jws(b"{", TRANSACTION)), "header is not JSON"),
    "header a list": (lambda: Claim(jws([HEADER], TRANSACTION)), "header is no object"),
    "header nested without end": (
        lambda: Claim(jws(b"[" * 12_000, TRANSACTION)),
        "header is not JSON",
    ),
    "header names a member twice": (
        lambda: Claim(
            jws(_with_first(json.dumps(HEADER).encode(), b"{", b'{"alg":"none",'), TRANSACTION)
        ),
        "header is not JSON",
    ),
    "payload no JSON": (lambda: raw(JSON.encode()[:-1]), "payload is not JSON"),
    "payload a list": (lambda: raw(f"[{JSON}]".encode()), "payload is no object"),
    "payload null": (lambda: raw(b"null"), "payload is no object"),
    "payload empty": (lambda: raw(b""), "payload is not JSON"),
    "payload with more behind": (lambda: raw(JSON.encode() + b"{}"), "payload is not JSON"),
    "payload in UTF-16": (lambda: raw(JSON.encode("utf-16")), "payload is not JSON"),
    "payload with a byte order mark": (
        lambda: raw(JSON.encode("utf-8-sig")),
        "payload is not JSON",
    ),
    "payload names a member twice": (
        lambda: raw(_with_first(JSON.encode(), b"{", b'{"price":1,')),
        "payload is not JSON",
    ),
    "payload names an inner member twice": (
        lambda: raw(_with_first(JSON.encode(), b"{", b'{"x":{"a":1,"a":2},')),
        "payload is not JSON",
    ),
    "payload with NaN": (partial(paid, x=float("nan")), "payload is not JSON"),
    "payload with Infinity": (partial(paid, x=float("inf")), "payload is not JSON"),
    "signedDate missing": (partial(paid, signedDate=...), "no time"),
    "signedDate null": (partial(paid, signedDate=None), "no time"),
    "signedDate a text": (partial(paid, signedDate=str(SIGNED_AT)), "no time"),
    "signedDate a float": (partial(paid, signedDate=float(SIGNED_AT)), "signedDate is no time"),
    "signedDate true": (partial(paid, signedDate=True), "no time"),
    "signedDate before 1970": (partial(paid, signedDate=-SIGNED_AT), "no time"),
    "signedDate without end": (partial(paid, signedDate=10**30), "in the future"),
    "signedDate in the future": (
        partial(paid, signedDate=NOW + FIVE_MINUTES + 1),
        "in the future",
    ),
}
