"""What Apple signed is believed, and nothing else: forms, signatures, certificates, dates, and what is remembered."""

import base64
import contextlib
import hashlib

import pytest
from cryptography import x509
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from payplat import seam
from payplat.channels.apple.chain import Roots
from payplat.channels.apple.jws import (
    APPLE_ROOT_FINGERPRINT,
    APPLE_ROOT_G3,
    Signed,
    SignedData,
    read_roots,
)
from payplat.errors import NotAuthentic
from tests.wire.apple_claims import (
    ACCEPTED,
    AFTER,
    BEFORE,
    CHAIN,
    FOREIGN_CHAIN,
    FOREIGN_ROOT,
    HEADER,
    NOW,
    REFUSED,
    SIGNED_SECOND,
    WE_ALONE_ACCEPT,
    carrying,
    headed,
    raw,
)
from tests.wire.apple_pki import (
    LEAF,
    ROOT,
    SIGNED_AT,
    TRANSACTION,
    b64url,
    der,
    issue,
    issue_chain,
    jws,
    pem,
    x5c,
)

TRUE = {**ACCEPTED, **{name: make for name, (make, _) in WE_ALONE_ACCEPT.items()}}
GENUINE = headed().jws
apple = settings(
    deadline=None,
    database=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class StoppedWorld(seam.World):
    """It is always a minute after the claims were signed."""

    def now(self) -> int:
        return NOW * 1000


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch) -> None:
    monkeypatch.setattr(seam, "world", StoppedWorld())


@pytest.fixture
def signed_data() -> SignedData:
    """A verifier that believes our root."""
    return SignedData([CHAIN[2]])


@pytest.fixture
def proofs(monkeypatch) -> list[int]:
    """The times for which a chain was proven."""
    times: list[int] = []
    prove = Roots.prove
    monkeypatch.setattr(Roots, "prove", lambda *call: times.append(call[2]) or prove(*call))
    return times


def dated(signed_at: int, certificates=CHAIN) -> str:
    """A JWS that says that it was signed then, in milliseconds."""
    header, payload = {**HEADER, "x5c": x5c(certificates)}, {**TRANSACTION, "signedDate": signed_at}
    return jws(header, payload)


# --- One by one ---


@pytest.mark.parametrize("name", TRUE)
def test_what_is_true_is_believed(name):
    """Each claim that is not wrong in any respect; the refused ones differ from these in one."""
    claim = TRUE[name]()
    payload = SignedData(claim.roots).verify(claim.jws).payload
    assert payload["transactionId"] == TRANSACTION["transactionId"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_false_is_refused(name):
    """Each claim that is wrong in one respect: the refusal names it, and no refusal is remembered as a proof."""
    make, words = REFUSED[name]
    claim = make()
    signed_data = SignedData(claim.roots)
    for _ in range(2):
        with pytest.raises(NotAuthentic, match=words):
            signed_data.verify(claim.jws)


def test_the_payload_comes_back_whole(signed_data):
    """With every member, and the leaf's fingerprint for the records."""
    fingerprint = hashlib.sha256(der(CHAIN[0])).hexdigest()
    assert signed_data.verify(GENUINE) == Signed(TRANSACTION, f"x5c:{fingerprint[:16]}")


def test_a_refusal_quotes_nothing_of_the_claim(signed_data):
    """A forger writes names into certificates; no log should show them."""
    leaf = issue(LEAF.but(name="forger's words", last=BEFORE), LEAF)
    with pytest.raises(NotAuthentic) as caught:
        signed_data.verify(carrying([leaf, *CHAIN[1:]]).jws)
    assert "forger" not in str(caught.value)


# --- What is remembered ---


def test_a_chain_is_proven_once(signed_data, proofs):
    """The next JWS of the same signer costs one signature."""
    for later in range(5):
        signed_data.verify(dated(SIGNED_AT + later * 1000))
    assert proofs == [SIGNED_AT // 1000]


@pytest.mark.parametrize(
    ("dates", "signed_at"),
    [({"last": SIGNED_SECOND}, SIGNED_AT + 1000), ({"first": SIGNED_SECOND}, SIGNED_AT - 4000)],
    ids=["expired", "not yet valid"],
)
def test_a_remembered_leaf_still_has_its_dates(dates, signed_at):
    """What it signs outside of them is refused, and what it signed within them still accepted."""
    chain = issue_chain(leaf=LEAF.but(**dates))
    signed_data = SignedData([chain[2]])
    for _ in range(2):
        assert signed_data.verify(dated(SIGNED_AT, chain))
        with pytest.raises(NotAuthentic, match="not valid at"):
            signed_data.verify(dated(signed_at, chain))


def test_a_remembered_leaf_needs_its_own_tail(signed_data):
    """The same leaf with other certificates behind it is another claim."""
    signed_data.verify(GENUINE)
    for tail in (FOREIGN_CHAIN[1:], [FOREIGN_CHAIN[1], CHAIN[2]], [CHAIN[2], CHAIN[1]]):
        with pytest.raises(NotAuthentic, match="do not hold"):
            signed_data.verify(carrying([CHAIN[0], *tail]).jws)


def test_a_remembered_header_does_not_stand_for_a_signature(signed_data):
    """Each payload needs its own."""
    signed_data.verify(GENUINE)
    header, _, signature = GENUINE.split(".")
    payload = b64url(b'{"signedDate":%d}' % SIGNED_AT)
    with pytest.raises(NotAuthentic, match="signature"):
        signed_data.verify(f"{header}.{payload}.{signature}")


def test_a_refused_date_does_not_spoil_the_signer(signed_data):
    """A leaf that signed something too early is believed for what it signs in time."""
    with pytest.raises(NotAuthentic, match="not valid at"):
        signed_data.verify(dated(1000))
    assert signed_data.verify(GENUINE)


def test_verifiers_share_no_memory(signed_data):
    """One with other roots believes other signers."""
    signed_data.verify(GENUINE)
    with pytest.raises(NotAuthentic, match="do not hold"):
        SignedData([FOREIGN_CHAIN[2]]).verify(GENUINE)


def test_a_new_root_takes_over_from_one_that_expires():
    """Two certificates of the same root: what was remembered of the old one does not refuse the new one's time."""
    old = issue(ROOT.but(last=SIGNED_SECOND), ROOT)
    new = issue(ROOT.but(first=AFTER), ROOT)
    signed_data = SignedData([old, new])
    for signed_at in (SIGNED_AT, SIGNED_AT + 2000, SIGNED_AT):
        assert signed_data.verify(dated(signed_at))


def test_memory_is_bounded(signed_data, proofs):
    """However many headers a signer uses, only the last few are kept, and all are believed."""
    headers = [jws({**HEADER, "kid": str(number)}, TRANSACTION) for number in range(40)]
    for text in headers:
        signed_data.verify(text)
    assert len(signed_data._proven) == 32
    signed_data.verify(headers[-1])
    assert len(proofs) == 40
    signed_data.verify(headers[0])
    assert len(proofs) == 41


# --- Whatever comes ---


@apple
@given(at=st.integers(0, len(GENUINE) - 1), letter=st.characters(codec="latin-1"))
def test_no_byte_can_be_changed(signed_data, at, letter):
    """A genuine JWS with any one letter replaced is refused, whether its signer is known or not."""
    changed = GENUINE[:at] + letter + GENUINE[at + 1 :]
    signed_data.verify(GENUINE)
    if changed != GENUINE:
        for verifier in (signed_data, SignedData([CHAIN[2]])):
            with pytest.raises(NotAuthentic):
                verifier.verify(changed)


@apple
@given(st.text() | st.text("eyJ0-_.="))
def test_any_text_is_refused_in_one_way(signed_data, text):
    """No text ends in another error."""
    with pytest.raises(NotAuthentic):
        signed_data.verify(text)


@apple
@given(st.binary(max_size=200) | st.sampled_from([b"1" * 5000, b"[" * 9000, b'{"a":' * 3000]))
def test_any_signed_bytes_are_refused_in_one_way(signed_data, payload):
    """Not even Apple could sign what is no payload."""
    with pytest.raises(NotAuthentic):
        signed_data.verify(raw(payload).jws)


@pytest.mark.filterwarnings("ignore")  # cryptography warns of some that it still reads
@apple
@given(st.integers(0, 600), st.integers(1, 255), st.integers(0, 1))
def test_no_byte_of_a_certificate_can_be_changed(signed_data, at, flip, which):
    """Wherever leaf or intermediate is touched, the claim is refused in one way."""
    certificates = [bytearray(der(certificate)) for certificate in CHAIN]
    certificates[which][at % len(certificates[which])] ^= flip
    assume(not says_the_same(bytes(certificates[which]), CHAIN[which]))
    texts = [base64.b64encode(certificate).decode() for certificate in certificates]
    with pytest.raises(NotAuthentic):
        signed_data.verify(carrying(texts).jws)


def test_a_name_that_is_no_text_is_refused_in_one_way(signed_data):
    """A certificate's names are read late, by whoever tells that it is out of date, and may be no UTF-8."""
    leaf = der(CHAIN[0]).replace(b"FAKE Receipt", b"FAKE\xa0Receipt")
    assert leaf != der(CHAIN[0])
    texts = [base64.b64encode(each).decode() for each in (leaf, *map(der, CHAIN[1:]))]
    with pytest.raises(NotAuthentic):
        signed_data.verify(jws({**HEADER, "x5c": texts}, {**TRANSACTION, "signedDate": 1}))


def says_the_same(changed: bytes, certificate: x509.Certificate) -> bool:
    """Whether only the octet was changed that counts the unused bits of a signature, which decides nothing."""
    with contextlib.suppress(ValueError, x509.InvalidVersion):
        read = x509.load_der_x509_certificate(changed)
        same = read.tbs_certificate_bytes == certificate.tbs_certificate_bytes
        return same and read.signature == certificate.signature
    return False


# --- Roots ---


def test_apples_root_is_the_published_one():
    """Apple Root CA - G3, by the fingerprint that Apple publishes; it signed itself."""
    assert hashlib.sha256(der(APPLE_ROOT_G3)).hexdigest() == APPLE_ROOT_FINGERPRINT
    assert APPLE_ROOT_FINGERPRINT == (
        "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"
    )
    assert read_roots([pem(APPLE_ROOT_G3)]) == [APPLE_ROOT_G3]


def test_roots_are_read_from_any_number_of_texts():
    """One to a text or several in one."""
    ours, foreign = CHAIN[2], FOREIGN_CHAIN[2]
    assert read_roots([pem(ours), pem(foreign)]) == [ours, foreign]
    assert read_roots([pem(ours) + pem(foreign)]) == [ours, foreign]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "PEM"),
        ("no certificate", "PEM"),
        (pem(CHAIN[2])[:300], "PEM"),
        (pem(CHAIN[1]), "FAKE Developer Relations is no root"),
        (pem(CHAIN[2]) + pem(CHAIN[0]), "FAKE Receipt Signing is no root"),
        (pem(issue(ROOT, FOREIGN_ROOT)), "FAKE Root CA is no root"),
    ],
    ids=["empty", "words", "cut", "intermediate", "leaf behind a root", "signed by a namesake"],
)
def test_what_is_no_root(text, words):
    """A text without a certificate, or with one that another signed; the refusal names it."""
    with pytest.raises(ValueError, match=words):
        read_roots([text])


def test_without_roots_there_is_no_verifier():
    """Rather than one that refuses everything."""
    with pytest.raises(ValueError, match="empty"):
        SignedData(read_roots([]))
