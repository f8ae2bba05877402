"""Alipay's keys and certificates: what is taken, what is refused, and that no refusal shows a key."""

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import ValidationError

from payplat.channels.alipay.door import AlipaySettings
from payplat.channels.alipay.keys import Keys, certified_keys, plain_keys
from tests.wire.alipay import APP_ID, KEYS, SELLER_ID, signature, text_of

PRIVATE, PUBLIC = text_of("app_private_pkcs8.pem"), text_of("alipay_public.pem")
APP_CERT, ALIPAY_CERT = text_of("app_cert.crt"), text_of("alipay_cert_with_chain.crt")
ROOTS, CLASS2 = text_of("root_bundle.crt"), text_of("class2.crt")
# An elliptic key on the curve SM2, which no library here reads, is one on P-256 with another name.
P256, SM2 = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a811ccf5501822d")


def bare(pem: str) -> str:
    """The Base64 of a PEM file in one line, as Alipay's console and tools show it."""
    return "".join(pem.splitlines()[1:-1])


def pem_of(key, encryption=None) -> str:
    """A private key as PKCS#8."""
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(kind, form, encryption or serialization.NoEncryption()).decode()


def public_pem_of(key) -> str:
    kind, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(kind, form).decode()


def on_sm2(pem: str) -> str:
    """The key on the curve SM2, bare."""
    der = base64.b64decode(bare(pem))
    assert P256 in der
    return base64.b64encode(der.replace(P256, SM2)).decode()


SMALL, CURVE = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
LOCKED = serialization.BestAvailableEncryption(b"password")


def refusal_of(load: Callable[[], Keys], *secrets: str) -> str:
    """The words of the refusal, after a look that they hold nothing of the keys."""
    with pytest.raises(ValueError, match=r"\w+_(key|cert)\b") as caught:
        load()
    error: BaseException | None = caught.value
    while error is not None:
        for secret in secrets:
            body = "".join(line for line in secret.splitlines() if "-----" not in line)
            pieces = (body[at : at + 12] for at in range(0, len(body) - 12, 4))
            assert not any(piece in str(error) + repr(error) for piece in pieces)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return str(caught.value)


PRIVATE_FORMS = {
    "pkcs8": PRIVATE,
    "pkcs1": text_of("app_private_pkcs1.pem"),
    "pkcs8 bare": bare(PRIVATE),
    "pkcs1 bare": bare(text_of("app_private_pkcs1.pem")),
    "lines without markers": "\n".join(PRIVATE.splitlines()[1:-1]),
    "windows": PRIVATE.replace("\n", "\r\n"),
    "blanks around": f"\n  {bare(PRIVATE)}  \n",
}


@pytest.mark.parametrize("form", PRIVATE_FORMS)
def test_a_private_key_in_every_form(form):
    """PKCS#1 and PKCS#8, as PEM and as bare Base64, are the same key."""
    keys = plain_keys(PRIVATE_FORMS[form], [PUBLIC])
    assert keys.sign(b"text") == signature(b"text", "app")


@pytest.mark.parametrize("form", [str, bare, lambda pem: pem.replace("\n", "\r\n")])
def test_a_public_key_in_every_form(form):
    """As PEM and as bare Base64, it is the same key."""
    keys = plain_keys(PRIVATE, [form(PUBLIC)])
    assert keys.verifier(b"text", signature(b"text"))
    assert list(keys.alipay) == list(KEYS["key"].alipay)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x" * 1600,
        "é金\ud800",
        PRIVATE[:900],
        PRIVATE[:900] + "\n-----END PRIVATE KEY-----\n",
        bare(PRIVATE)[:800],
        PRIVATE.replace("A", "B"),
        PUBLIC,
        bare(PUBLIC),
        APP_CERT,
        pem_of(SMALL),
        bare(pem_of(SMALL)),
        pem_of(CURVE),
        pem_of(EDWARDS),
        on_sm2(pem_of(CURVE)),
        pem_of(SMALL, LOCKED),
    ],
)
def test_what_is_no_private_key(text):
    """Cut, weak, locked, of another kind, or not a private one at all."""
    words = refusal_of(lambda: plain_keys(text, [PUBLIC]), text)
    assert words == "private_key is no RSA private key of 2048 bits or more (PKCS#8 or PKCS#1)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no public key"),
        ("x" * 392, "no public key"),
        (PUBLIC[:200], "no public key"),
        (bare(PUBLIC)[:200], "no public key"),
        (on_sm2(public_pem_of(CURVE)), "no public key"),
        (text_of("alipay_cert.crt"), "no public key"),
        (public_pem_of(SMALL), "no RSA key of 2048 bits"),
        (public_pem_of(CURVE), "no RSA key of 2048 bits"),
        (public_pem_of(EDWARDS), "no RSA key of 2048 bits"),
        (PRIVATE, "is a private key"),
        (bare(PRIVATE), "no public key"),
        (text_of("app_public.pem"), "the app's own public key"),
        (bare(text_of("app_public.pem")), "the app's own public key"),
    ],
)
def test_what_is_not_alipays_public_key(text, words):
    """Above all not our own, the commonest mistake, and not our private key."""
    found = refusal_of(lambda: plain_keys(PRIVATE, [text]), text, PRIVATE)
    assert found.startswith("alipay_public_key")
    assert words in found


def test_one_bad_key_among_several_is_a_fault():
    """Each of them must be Alipay's, and at least one must be there."""
    assert "own" in refusal_of(lambda: plain_keys(PRIVATE, [PUBLIC, text_of("app_public.pem")]))
    assert "missing" in refusal_of(lambda: plain_keys(PRIVATE, []))


def test_several_keys_of_alipay_are_believed_side_by_side():
    """So that one can be replaced without a gap; the name of the key says which it was."""
    keys = plain_keys(PRIVATE, [PUBLIC, text_of("stranger_public.pem"), PUBLIC])
    believed = [keys.verifier(b"text", signature(b"text", who)) for who in ("alipay", "stranger")]
    assert believed == list(keys.alipay)
    assert keys.verifier(b"text", signature(b"text", "app")) is None


@pytest.mark.parametrize("sign", ["", "=", "AAAA", "é", "\0", "A" * 344, "\ud800", "A" * 100_000])
def test_a_signature_that_is_none_verifies_nothing(sign):
    """Whatever stands in its place."""
    assert KEYS["key"].verifier(b"text", sign) is None


def certified(
    private: str = PRIVATE,
    app: str = APP_CERT,
    alipay: str | list[str] = ALIPAY_CERT,
    root: str = ROOTS,
) -> Keys:
    return certified_keys(private, app, [alipay] if isinstance(alipay, str) else alipay, root)


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (text_of("other_app_cert.crt"), "app_cert does not belong to private_key"),
        (ALIPAY_CERT, "app_cert does not belong to private_key"),
        (text_of("root_sm2.crt"), "app_cert holds no RSA key"),
        ("", "app_cert is no PEM certificate"),
        (PUBLIC, "app_cert is no PEM certificate"),
        (APP_CERT[:500], "app_cert holds a certificate that cannot be read"),
        (APP_CERT.replace("M", "N"), "app_cert"),
    ],
)
def test_the_apps_certificate_belongs_to_its_key(app, words):
    """Another merchant's, or a broken one, would only show at the gateway."""
    assert words in refusal_of(lambda: certified(app=app), PRIVATE)


@pytest.mark.parametrize(
    "alipay",
    [
        ALIPAY_CERT,
        text_of("alipay_cert_rotated.crt") + CLASS2,
        text_of("alipay_cert_rekeyed.crt") + CLASS2,
        text_of("alipay_cert.crt") + text_of("class1.crt") + CLASS2,
        text_of("alipay_cert.crt") + CLASS2 + text_of("root_rsa.crt"),
        [ALIPAY_CERT, text_of("alipay_cert_rekeyed.crt") + CLASS2],
    ],
)
def test_alipays_certificate_leads_to_the_root(alipay):
    """Through the authorities that its file brings along; several may be given."""
    keys = certified(alipay=alipay)
    count = len(alipay) if isinstance(alipay, list) else 1
    assert len(keys.alipay) == count


@pytest.mark.parametrize(
    "alipay",
    [
        text_of("alipay_cert.crt"),
        text_of("alipay_cert.crt") + text_of("class1.crt"),
        text_of("alipay_cert_impostor.crt"),
        text_of("alipay_cert_impostor.crt") + CLASS2,
        text_of("root_pss.crt"),
        text_of("root_sm2.crt") * 2,
    ],
)
def test_a_certificate_that_no_root_vouches_for(alipay):
    """The name of an issuer is not enough."""
    assert refusal_of(lambda: certified(alipay=alipay)) == "alipay_cert was not issued by root_cert"


@pytest.mark.parametrize("root", ["root_sha1.crt", "root_pss.crt", "alipay_cert.crt", "class1.crt"])
def test_a_foreign_root_is_refused(root):
    """Alipay's certificate was issued by another one."""
    words = refusal_of(lambda: certified(root=text_of(root)))
    assert words == "alipay_cert was not issued by root_cert"


def test_our_own_certificate_is_not_alipays():
    """It leads to the same root."""
    own = APP_CERT + text_of("class1.crt")
    assert "own public key" in refusal_of(lambda: certified(alipay=own))


RSA_ROOT = text_of("root_rsa.crt")
LINES = RSA_ROOT.splitlines(keepends=True)
RSA_DER, SM2_DER = (base64.b64decode(bare(pem)) for pem in (RSA_ROOT, text_of("root_sm2.crt")))


def pem_block(der: bytes) -> str:
    body = base64.b64encode(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    "broken",
    [
        "".join(LINES[:1] + LINES[3:]),
        "".join(LINES[:5] + LINES[6:]),
        "".join(LINES[:-3] + LINES[-1:]),
        "".join(LINES[1:]),
        "".join(LINES[:-1]),
        "".join(LINES[:5] + LINES[6:7] + LINES[5:6] + LINES[7:]),
        "".join([*LINES[:3], "!!!!\n", *LINES[3:]]),
        LINES[0] + LINES[-1],
        pem_block(RSA_DER[:6] + b"\0\0" + RSA_DER[8:]),  # its first part seems to be empty
        pem_block(RSA_DER[:-1]),
        pem_block(b""),
        pem_block(SM2_DER[:-1]),
        pem_block(SM2_DER + b"\0"),
    ],
)
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_broken_root_is_never_left_out(broken, place):
    """The serial number of the rest would look right and be wrong; so every member is whole, of any kind."""
    sm2, rest = text_of("root_sm2.crt"), text_of("root_ec.crt") + text_of("root_sha1.crt")
    root = broken + sm2 + RSA_ROOT + rest if place == "first" else sm2 + RSA_ROOT + rest + broken
    assert refusal_of(lambda: certified(root=root)).startswith("root_cert holds a")


@pytest.mark.parametrize("others", ["root_sm2.crt", "root_ec.crt"])
def test_roots_of_other_kinds_do_not_count(others):
    """Whether a library can read them or not."""
    alone = certified(root=RSA_ROOT).parameters
    assert certified(root=text_of(others) + RSA_ROOT).parameters == alone
    assert certified(root=RSA_ROOT + text_of(others)).parameters == alone
    words = refusal_of(lambda: certified(root=text_of(others)))
    assert words == "root_cert holds no RSA certificate"


def settings(**changes) -> AlipaySettings:
    options = {"app_id": APP_ID, "seller_id": SELLER_ID, "private_key": PRIVATE}
    return AlipaySettings(**{**options, **changes})


def test_the_configuration_is_in_one_mode_or_the_other():
    """Plain keys, or all three certificates; a mixture is a fault."""
    papers = {"app_cert": APP_CERT, "alipay_cert": ALIPAY_CERT, "root_cert": ROOTS}
    assert settings(alipay_public_key=PUBLIC).keys().parameters == {}
    assert settings(alipay_public_key=[PUBLIC]).keys().parameters == {}
    assert len(settings(**papers).keys().parameters) == 2
    assert len(settings(**{**papers, "alipay_cert": [ALIPAY_CERT]}).keys().parameters) == 2
    for mixed in (
        {**papers, "alipay_public_key": PUBLIC},
        {**papers, "app_cert": ""},
        {**papers, "root_cert": ""},
        {**papers, "alipay_cert": ""},
        {"root_cert": ROOTS},
    ):
        assert "together" in refusal_of(settings(**mixed).keys)
    assert "missing" in refusal_of(settings().keys)


def test_nothing_shows_the_private_key():
    """Neither keys nor settings, as text or in a refusal of other options."""
    shown = [repr(KEYS["key"]), str(KEYS["certificate"]), repr(settings()), str(settings())]
    with pytest.raises(ValidationError) as caught:
        settings(app_id="x", timeout_seconds=0, surplus=1)
    shown += [str(caught.value), repr(caught.value)]
    numbers = KEYS["key"].private.private_numbers()
    for text in shown:
        assert bare(PRIVATE)[40:60] not in text
        assert str(numbers.d)[:20] not in text
        assert "BEGIN" not in text
