"""Apple's own library judges the same claims as we; where it differs, on purpose, the reason stands here."""

from types import SimpleNamespace

import appstoreserverlibrary.signed_data_verifier as library
import pytest
from appstoreserverlibrary.models.Environment import Environment

from tests.wire.apple_claims import ACCEPTED, NOW, REFUSED, WE_ALONE_ACCEPT, Claim
from tests.wire.apple_pki import BUNDLE_ID, TRANSACTION, der

UNUSED = "it names another key or another form, which the library does not read"
UNREAD = "the library never reads the root in x5c"
DECODER = "the library's decoder is lenient: one claim, one text"
JSON = "the library reads what Python's json reads"
BOUND = "the library has no bound"
DATE = "the library coerces, or takes the present for a missing date"

# What Apple's library accepts and we refuse, and why the two differ.
APPLE_ALONE_ACCEPTS = {
    "jku": UNUSED,
    "x5u": UNUSED,
    "jwk": UNUSED,
    "b64": UNUSED,
    "x5c with a number": UNREAD,
    "x5c with a root that is none": UNREAD,
    "x5c with more behind": DECODER,
    "x5c with loose bits": DECODER,
    "header padded": DECODER,
    "payload padded": DECODER,
    "signature padded": DECODER,
    "leaf an authority": "a signer of data has no business signing certificates",
    "too long": BOUND,
    "header too long": BOUND,
    "header names a member twice": JSON,
    "payload names a member twice": JSON,
    "payload names an inner member twice": JSON,
    "payload in UTF-16": JSON,
    "payload with a byte order mark": JSON,
    "payload with NaN": JSON,
    "payload with Infinity": JSON,
    "signedDate missing": DATE,
    "signedDate null": DATE,
    "signedDate a text": DATE,
    "signedDate a float": DATE,
    "signedDate in the future": "the library compares it with no clock",
}


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch) -> None:
    """The library's clock stands a minute after the claims were signed."""
    monkeypatch.setattr(library, "time", SimpleNamespace(time=lambda: NOW / 1000))


def apple_accepts(claim: Claim) -> bool:
    """The verdict of Apple's library, without online checks."""
    roots = [der(root) for root in claim.roots]
    verifier = library.SignedDataVerifier(roots, False, Environment.SANDBOX, BUNDLE_ID)
    try:
        transaction = verifier.verify_and_decode_signed_transaction(claim.jws)
    except library.VerificationException:
        return False
    return transaction.transactionId == TRANSACTION["transactionId"]


@pytest.mark.parametrize("name", ACCEPTED)
def test_apple_accepts_what_we_accept(name):
    """Each claim that is true."""
    assert apple_accepts(ACCEPTED[name]())


@pytest.mark.parametrize("name", REFUSED)
def test_apple_refuses_what_we_refuse(name):
    """Each claim that is false, but for the listed ones, which it still accepts."""
    assert apple_accepts(REFUSED[name][0]()) == (name in APPLE_ALONE_ACCEPTS)


@pytest.mark.parametrize("name", WE_ALONE_ACCEPT)
def test_what_we_alone_accept(name):
    """Each claim that only Apple's library refuses, for a reason that is none here."""
    make, reason = WE_ALONE_ACCEPT[name]
    assert not apple_accepts(make())
    assert reason


def test_differences_are_claims():
    """No listed difference has lost its claim."""
    assert APPLE_ALONE_ACCEPTS.keys() <= REFUSED.keys()
