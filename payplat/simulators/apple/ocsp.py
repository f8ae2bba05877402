"""An OCSP responder (RFC 6960) for the certificates that sign: good, or revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ReasonFlags, ocsp

from payplat.simulators.apple.certificates import Holder
from payplat.simulators.apple.doors import Door

_VALID = timedelta(hours=12)


class Responder(Door):
    """`POST /ocsp`; the store's authority knows what is revoked, and whether it responds at all."""

    async def post(self) -> None:
        """Answer for one certificate."""
        if not self.store.authority.responding:
            self.set_status(503)
            return
        self.set_header("Content-Type", "application/ocsp-response")
        self.finish(self._answer(ocsp.load_der_ocsp_request(self.request.body)))

    def _answer(self, asked: ocsp.OCSPRequest) -> bytes:
        issued = self.store.authority.issued.get(asked.serial_number)
        if issued is None:
            unknown = ocsp.OCSPResponseStatus.UNAUTHORIZED
            return ocsp.OCSPResponseBuilder.build_unsuccessful(unknown).public_bytes(Encoding.DER)
        return self._status(asked, *issued).public_bytes(Encoding.DER)

    def _status(
        self, asked: ocsp.OCSPRequest, subject: Holder, issuer: Holder
    ) -> ocsp.OCSPResponse:
        # The time of those who ask: they compare it with their own.
        now = datetime.fromtimestamp(int(self.store.bearer_time), UTC)
        revoked = asked.serial_number in self.store.authority.revoked
        status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=subject.certificate,
            issuer=issuer.certificate,
            algorithm=asked.hash_algorithm,
            cert_status=status,
            this_update=now,
            next_update=now + _VALID,
            revocation_time=now if revoked else None,
            revocation_reason=ReasonFlags.key_compromise if revoked else None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)
        return builder.sign(issuer.key, hashes.SHA256())
