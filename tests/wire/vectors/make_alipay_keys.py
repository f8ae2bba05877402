"""Make the throw-away keys and certificates that the Alipay vectors are signed with.

How to run, only if a file under ``alipay/`` is missing (what is there is kept as it is):

    pip install cryptography==50.0.2
    python make_alipay_keys.py

The ``openssl`` program (3.0 or newer) signs the one SM2 certificate. The certificates are written
as DER by hand, because no library agrees to make all of what Alipay's real root bundle holds: an
SM2-with-SM3 certificate, an ecdsa-with-SHA384 one whose AlgorithmIdentifier carries a NULL (which
RFC 5758 forbids, and which makes ``cryptography`` 50 refuse it), a SHA-1 one.

The keys of the certificate authorities are forgotten at the end, so certificates are made all
together or not at all.
"""

import hashlib
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

HERE = Path(__file__).parent / "alipay"
KEYS = ("app", "alipay", "stranger")

SM2_SM3 = "1.2.156.10197.1.501"
SHA1_RSA = "1.2.840.113549.1.1.5"
SHA256_RSA = "1.2.840.113549.1.1.11"
RSA_PSS = "1.2.840.113549.1.1.10"
ECDSA_SHA384 = "1.2.840.10045.4.3.3"
ATTRIBUTES = {
    "CN": "2.5.4.3",
    "serialNumber": "2.5.4.5",
    "C": "2.5.4.6",
    "L": "2.5.4.7",
    "ST": "2.5.4.8",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "emailAddress": "1.2.840.113549.1.9.1",
    "DC": "0.9.2342.19200300.100.1.25",
}

# A name is a list of relative names, each a list of (attribute, value) pairs, as in the DER.
Name = Sequence[Sequence[tuple[str, str]]]


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def sequence(*parts: bytes) -> bytes:
    return der(0x30, *parts)


def integer(value: int) -> bytes:
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    first, second, *rest = (int(part) for part in dotted.split("."))
    body = b""
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.insert(0, 0x80 | arc & 0x7F)
        body += bytes(groups)
    return der(0x06, body)


NULL = der(0x05)
TRUE = der(0x01, b"\xff")
SHA256 = sequence(oid("2.16.840.1.101.3.4.2.1"), NULL)
PSS_PARAMETERS = sequence(
    der(0xA0, SHA256),
    der(0xA1, sequence(oid("1.2.840.113549.1.1.8"), SHA256)),
    der(0xA2, integer(32)),
)


def rdns(name: Name) -> bytes:
    return sequence(*(der(0x31, *(attribute(*pair) for pair in relative)) for relative in name))


def attribute(kind: str, value: str) -> bytes:
    tag = {"C": 0x13, "serialNumber": 0x13, "emailAddress": 0x16, "DC": 0x16}.get(kind, 0x0C)
    return sequence(oid(ATTRIBUTES[kind]), der(tag, value.encode()))


def extension(dotted: str, critical: bool, value: bytes) -> bytes:
    return sequence(oid(dotted), TRUE if critical else b"", der(0x04, value))


@dataclass(frozen=True)
class Authority:
    """Something that signs certificates: its name, its public key, how it signs."""

    name: Name
    spki: bytes
    algorithm: bytes
    sign: Callable[[bytes], bytes]

    def issue(
        self,
        subject: Name,
        spki: bytes,
        serial: int,
        *,
        ca: bool = False,
        valid: tuple[str, str] = ("200101000000Z", "491231235959Z"),
    ) -> str:
        tbs = sequence(
            der(0xA0, integer(2)),
            integer(serial),
            self.algorithm,
            rdns(self.name),
            sequence(*(der(0x17, moment.encode()) for moment in valid)),
            rdns(subject),
            spki,
            der(0xA3, sequence(*self.extensions(spki, ca))),
        )
        whole = sequence(tbs, self.algorithm, der(0x03, b"\0" + self.sign(tbs)))
        return pem(whole)

    def extensions(self, spki: bytes, ca: bool) -> list[bytes]:
        use = b"\x03\x02\x01\x06" if ca else b"\x03\x02\x03\xf8"
        return [
            extension("2.5.29.19", True, sequence(TRUE) if ca else sequence()),
            extension("2.5.29.15", True, use),
            extension("2.5.29.14", False, der(0x04, key_id(spki))),
            extension("2.5.29.35", False, sequence(der(0x80, key_id(self.spki)))),
        ]


def key_id(spki: bytes) -> bytes:
    return hashlib.sha1(spki).digest()


def pem(whole: bytes) -> str:
    body = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-outform", "PEM"],
        input=whole,
        capture_output=True,
        check=True,
    )
    return body.stdout.decode()


def public_der(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def rsa_authority(name: Name, dotted: str = SHA256_RSA) -> Authority:
    key = rsa.generate_private_key(65537, 2048)
    if dotted == RSA_PSS:
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        return Authority(
            name,
            public_der(key),
            sequence(oid(dotted), PSS_PARAMETERS),
            lambda tbs: key.sign(tbs, pss, hashes.SHA256()),
        )
    digest = hashes.SHA1() if dotted == SHA1_RSA else hashes.SHA256()
    return Authority(
        name,
        public_der(key),
        sequence(oid(dotted), NULL),
        lambda tbs: key.sign(tbs, padding.PKCS1v15(), digest),
    )


def ec_authority(name: Name) -> Authority:
    key = ec.generate_private_key(ec.SECP384R1())
    return Authority(
        name,
        public_der(key),
        sequence(oid(ECDSA_SHA384), NULL),
        lambda tbs: key.sign(tbs, ec.ECDSA(hashes.SHA384())),
    )


def sm2_authority(name: Name, folder: Path) -> Authority:
    key = folder / "sm2.pem"
    openssl = ["openssl"]
    subprocess.run([*openssl, "genpkey", "-algorithm", "SM2", "-out", str(key)], check=True)
    spki = subprocess.run(
        [*openssl, "pkey", "-in", str(key), "-pubout", "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout

    def sign(tbs: bytes) -> bytes:
        identity = ["-sigopt", "distid:1234567812345678"]
        return subprocess.run(
            [*openssl, "dgst", "-sm3", *identity, "-sign", str(key)],
            input=tbs,
            capture_output=True,
            check=True,
        ).stdout

    return Authority(name, spki, sequence(oid(SM2_SM3), NULL), sign)


def name(**parts: str) -> Name:
    """The usual name: one attribute in each relative name, the country first."""
    return [[pair] for pair in parts.items()]


ANT = {"C": "CN", "O": "Throw-away Ant", "OU": "Throw-away Authority"}


def keys() -> None:
    for who in KEYS:
        first = HERE / f"{who}_private_pkcs1.pem"
        if not first.exists():
            key = rsa.generate_private_key(65537, 2048)
            first.write_bytes(private_pem(key, serialization.PrivateFormat.TraditionalOpenSSL))
        key = load(who)
        eighth = private_pem(key, serialization.PrivateFormat.PKCS8)
        (HERE / f"{who}_private_pkcs8.pem").write_bytes(eighth)
        (HERE / f"{who}_public.pem").write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )


def private_pem(key: rsa.RSAPrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def load(who: str) -> rsa.RSAPrivateKey:
    data = (HERE / f"{who}_private_pkcs1.pem").read_bytes()
    key = serialization.load_pem_private_key(data, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def certificates() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        roots = {
            "sm2": sm2_authority(name(C="CN", O="Throw-away", CN="ROOTCA"), Path(folder)),
            "rsa": rsa_authority(name(**ANT, CN="Throw-away Authority R1")),
            "ec": ec_authority(name(**ANT, CN="Throw-away Authority E1")),
            "sha1": rsa_authority(
                name(C="CN", O="Throw-away Old", OU="Old Network", CN="Old Class 2 Root - G3"),
                SHA1_RSA,
            ),
        }
        # Serial numbers as long as the real ones: 8, 8, 8 and 20 bytes.
        serials = {
            "sm2": 0x69E2FEC0170AC001,
            "rsa": 0x1FCFA18D6A48D001,
            "ec": 0x417EFA52C07F0001,
            "sha1": 0x10C764E9D560384212D9C08FD10E373FDD000001,
        }
        made = {
            f"root_{which}.crt": root.issue(root.name, root.spki, serials[which], ca=True)
            for which, root in roots.items()
        }
    made["root_bundle.crt"] = "\n".join(made[f"root_{which}.crt"] for which in roots)
    made |= issued(roots["rsa"])
    return made | odd()


def issued(root: Authority) -> dict[str, str]:
    """What the RSA root stands above: two classes, the application's certificate, Alipay's."""
    app, alipay, stranger = (public_der(load(who)) for who in KEYS)
    class1 = rsa_authority(name(**ANT, CN="Throw-away Authority Class 1 R1"))
    class2 = rsa_authority(name(**ANT, CN="Throw-away Authority Class 2 R1"))
    impostor = rsa_authority(class2.name)
    merchant = name(C="CN", O="某某信息技术有限公司", OU="Alipay", CN="2088-2021009900000001")
    other = name(C="CN", O="另一公司", OU="Alipay", CN="2088-2021009900000666")
    company = name(C="CN", O="某某支付公司", OU="Alipay", CN="支付(一次性)有限公司-2088")
    first, second, third = (0x20201122000000000000000000000000 + n for n in (1, 2, 3))
    middle1 = root.issue(class1.name, class1.spki, 0x3A01, ca=True)
    middle2 = root.issue(class2.name, class2.spki, 0x3A02, ca=True)
    alipay_cert = class2.issue(company, alipay, second)
    old = ("200101000000Z", "211231235959Z")
    return {
        "class1.crt": middle1,
        "class2.crt": middle2,
        "app_cert.crt": class1.issue(merchant, app, first),
        "alipay_cert.crt": alipay_cert,
        "alipay_cert_with_chain.crt": alipay_cert + middle2,
        "alipay_cert_rotated.crt": class2.issue(company, alipay, third),
        "alipay_cert_rekeyed.crt": class2.issue(company, stranger, third + 1),
        "alipay_cert_expired.crt": class2.issue(company, alipay, third + 2, valid=old),
        "alipay_cert_impostor.crt": impostor.issue(company, stranger, third),
        "other_app_cert.crt": class1.issue(other, stranger, third + 3),
    }


def odd() -> dict[str, str]:
    """Certificates of authorities with unusual names, and with unusual serial numbers."""
    app = public_der(load("app"))
    subject = name(C="CN", O="odd", CN="odd")
    issuers: dict[str, Name] = {
        "six_rdns": name(C="CN", ST="Zhejiang", L="Hangzhou", O="Ant", OU="CA", CN="Six"),
        "repeated_ou": [[("C", "CN")], [("OU", "outer")], [("OU", "inner")], [("CN", "Two OU")]],
        "non_ascii": name(C="CN", O="蚂蚁（测试）集团", OU="证书 💎", CN="一次性根"),
        "country_last": name(CN="Backwards", O="Ant", C="CN"),
        "comma": name(C="CN", O="Throw-away, Inc.", CN="Comma, the second"),
        "specials": name(C="CN", O='a+b "c" <d>; \\e = f', CN="#hash"),
        "edge_blanks": name(C="CN", O=" blank at both ends ", CN="Blanks"),
        "multi_valued": [[("C", "CN")], [("O", "Ant")], [("OU", "unit"), ("CN", "Joined")]],
        "email": name(C="CN", O="Ant", CN="Mail", emailAddress="ca@example.com"),
        "dc": name(DC="example", C="CN", CN="Domain"),
    }
    made = {
        f"odd_issuer_{which}.crt": rsa_authority(issuer).issue(subject, app, 0x1234567890ABCDEF)
        for which, issuer in issuers.items()
    }
    plain = rsa_authority(name(**ANT, CN="Throw-away Serials"))
    serials = {
        "one": 1,
        "high_bit": 0xFF00000000000000000000000000ABCD,
        "twenty_bytes": 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF,
        "odd_nibbles": 0xABCDEF012345678,
    }
    made |= {
        f"odd_serial_{which}.crt": plain.issue(subject, app, serial)
        for which, serial in serials.items()
    }
    pss = rsa_authority(name(**ANT, CN="Throw-away PSS"), RSA_PSS)
    curve = public_der(ec.generate_private_key(ec.SECP256R1()))
    made["root_pss.crt"] = pss.issue(pss.name, pss.spki, 0x4242, ca=True)
    made["root_ec_key_signed_by_rsa.crt"] = plain.issue(
        name(**ANT, CN="Throw-away EC under RSA"), curve, 0x4343, ca=True
    )
    return made


def main() -> None:
    HERE.mkdir(exist_ok=True)
    keys()
    if any(HERE.glob("*.crt")):
        return  # kept; remove them all to make new ones
    for file, text in certificates().items():
        (HERE / file).write_text(text)


if __name__ == "__main__":
    main()
