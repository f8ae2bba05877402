"""The simulator's own certificates and signatures, judged by cryptography and by Apple's library."""

import asyncio
import base64
import time

import pytest
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import (
    SignedDataVerifier,
    VerificationException,
    VerificationStatus,
)
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID

from payplat.simulators.apple import jws
from payplat.simulators.apple.server import AppleSimulator
from tests.simulators.apple_stage import BUNDLE, opened, payload, pem, verifier

LEAF_MARKER = "1.2.840.113635.100.6.11.1"
INTERMEDIATE_MARKER = "1.2.840.113635.100.6.2.1"


@pytest.fixture
async def sim():
    async with opened() as sim:
        yield sim


def chain_of(token: str) -> list[x509.Certificate]:
    """The certificates in a token's header; they are in standard base64."""
    return [
        x509.load_der_x509_certificate(base64.b64decode(each, validate=True))
        for each in jws.read(token)[0]["x5c"]
    ]


def marker(certificate: x509.Certificate, oid: str) -> x509.Extension:
    return certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(oid))


def extension(certificate: x509.Certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


async def test_certificates_have_the_shape_of_apples(sim):
    """P-384, P-384, P-256, SHA-384 throughout, both markers a NULL, key identifiers that fit, names that say FAKE."""
    token = (await sim.buy(BUNDLE, "coins_500")).jws
    leaf, intermediate, root = chain_of(token)
    assert [each.public_key().curve.name for each in (leaf, intermediate, root)] == [
        "secp256r1",
        "secp384r1",
        "secp384r1",
    ]
    for each, issuer in ((leaf, intermediate), (intermediate, root), (root, root)):
        each.verify_directly_issued_by(issuer)
        assert each.signature_hash_algorithm.name == "sha384"
        assert "FAKE" in each.subject.rfc4514_string()
    for each, issuer in ((leaf, intermediate), (intermediate, root)):
        theirs = extension(issuer, x509.SubjectKeyIdentifier).value.digest
        assert extension(each, x509.AuthorityKeyIdentifier).value.key_identifier == theirs
    for certificate, oid in ((leaf, LEAF_MARKER), (intermediate, INTERMEDIATE_MARKER)):
        assert marker(certificate, oid).value.value == b"\x05\x00"
        assert not marker(certificate, oid).critical
    constraints = [extension(each, x509.BasicConstraints).value for each in (leaf, intermediate)]
    assert constraints == [x509.BasicConstraints(False, None), x509.BasicConstraints(True, 0)]
    assert extension(intermediate, x509.KeyUsage).value.key_cert_sign


async def test_headers_hold_nothing_but_algorithm_and_chain(sim):
    """The header is `alg` and `x5c` of three, and the signature 64 bytes of R and S."""
    head, _, signature = jws.read(sim.sign({"a": 1}))
    assert head.keys() == {"alg", "x5c"}
    assert (head["alg"], len(head["x5c"]), len(signature)) == ("ES256", 3, 64)
    assert x509.load_pem_x509_certificate(sim.root_pem.encode()) == x509.load_der_x509_certificate(
        sim.root_der
    )
    assert base64.b64decode(head["x5c"][2]) == sim.root_der


async def test_apples_verifier_accepts_what_is_signed(sim):
    """Apple's library, strict checks on and with the simulator's root, reads a transaction."""
    bought = await sim.buy(BUNDLE, "coins_500", quantity=3)
    read = verifier(sim).verify_and_decode_signed_transaction(bought.jws)
    assert (read.transactionId, read.quantity, read.price) == (bought.transaction_id, 3, 14970)


async def test_apples_verifier_refuses_the_root_of_another_run(sim):
    """Each simulator has a root of its own."""
    stranger = AppleSimulator()
    with pytest.raises(VerificationException):
        verifier(stranger).verify_and_decode_signed_transaction(
            (await sim.buy(BUNDLE, "coins_500")).jws
        )


async def test_signed_payloads_take_overrides(sim):
    """Anything can be signed: an override replaces a field, None leaves it out, `signedDate` is now unless given."""
    told = payload(sim.sign({"a": 1, "b": 2, "c": 3}, b=None, c=4))
    assert told == {"a": 1, "c": 4, "signedDate": told["signedDate"]}
    assert abs(told["signedDate"] - time.time() * 1000) < 5000
    assert payload(sim.sign({"signedDate": 5})) == {"signedDate": 5}


async def test_a_transaction_is_signed_anew_each_time(sim):
    """A later signature of the same transaction carries a later date, and another text."""
    bought = await sim.buy(BUNDLE, "coins_500")
    first = sim.sign_transaction(bought.transaction_id)
    sim.clock.advance(60)
    second = payload(sim.sign_transaction(bought.transaction_id))
    assert second["signedDate"] - payload(first)["signedDate"] >= 60_000
    assert {**second, "signedDate": 0} == {**payload(first), "signedDate": 0}


async def test_rotating_the_leaf_keeps_the_root(sim):
    """After a rotation another leaf signs, under the same intermediate, and the verifier does not mind."""
    bought = await sim.buy(BUNDLE, "coins_500")
    before = chain_of(bought.jws)
    sim.authority.rotate_leaf()
    after = chain_of(bought.jws)
    assert before[0] != after[0]
    assert before[1:] == after[1:]
    assert verifier(sim).verify_and_decode_signed_transaction(bought.jws)


async def test_an_expired_leaf_is_refused_by_the_date_of_signing(sim):
    """Signed today by a leaf of yesterday fails; dated within its life it passes."""
    fields = (await sim.buy(BUNDLE, "coins_500")).fields
    expired = sim.authority.expired_chain()
    with pytest.raises(VerificationException):
        verifier(sim).verify_and_decode_signed_transaction(sim.signed(fields, expired))
    two_months_ago = {**fields, "signedDate": sim.milliseconds - 60 * 86_400_000}
    assert verifier(sim).verify_and_decode_signed_transaction(jws.sign(two_months_ago, expired))


async def verify_online(sim: AppleSimulator, token: str):
    """As Apple's library does with online checks; it blocks, so in a thread."""
    judge = SignedDataVerifier([sim.root_der], True, Environment.SANDBOX, BUNDLE)
    return await asyncio.to_thread(judge.verify_and_decode_signed_transaction, token)


async def test_the_responder_knows_good_from_revoked(sim):
    """Apple's library asks the responder named in the certificates: good, then revoked, then an outage."""
    bought = await sim.buy(BUNDLE, "coins_500")
    leaf = chain_of(bought.jws)[0]
    (access,) = extension(leaf, x509.AuthorityInformationAccess).value
    assert access.access_method == AuthorityInformationAccessOID.OCSP
    assert access.access_location.value == f"{sim.url}/ocsp"
    assert await verify_online(sim, bought.jws)
    sim.authority.revoke_leaf()
    with pytest.raises(VerificationException) as refused:
        await verify_online(sim, bought.jws)
    assert refused.value.status == VerificationStatus.VERIFICATION_FAILURE
    sim.authority.rotate_leaf()
    assert await verify_online(sim, bought.jws)
    sim.authority.responding = False
    with pytest.raises(VerificationException) as unsure:
        await verify_online(sim, bought.jws)
    assert unsure.value.status == VerificationStatus.RETRYABLE_VERIFICATION_FAILURE


async def test_a_certificate_of_others_is_unknown_to_the_responder(sim):
    """The responder speaks for its own certificates only."""
    stranger = AppleSimulator()
    stranger.authority.open(f"{sim.url}/ocsp")
    fields = {"signedDate": int(time.time() * 1000)}
    judge = SignedDataVerifier([stranger.root_der], True, Environment.SANDBOX, BUNDLE)
    with pytest.raises(VerificationException) as refused:
        await asyncio.to_thread(
            judge.verify_and_decode_signed_transaction, jws.sign(fields, stranger.authority.chain)
        )
    assert refused.value.status == VerificationStatus.VERIFICATION_FAILURE


async def test_a_key_for_the_api_is_a_p256_key(sim):
    """The App Store takes no other."""
    with pytest.raises(ValueError, match="P-256"):
        sim.add_app(
            BUNDLE,
            app_apple_id=1,
            issuer_id="x",
            key_id="y",
            public_key_pem=pem(ec.generate_private_key(ec.SECP384R1())),
        )
