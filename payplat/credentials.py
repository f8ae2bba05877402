"""What expires of what a channel was configured with: certificates, by the name of their setting."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from payplat import seam


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate's setting and its time: valid from ``not_before`` to ``not_after`` (microseconds since 1970, UTC)."""

    name: str
    not_before: int
    not_after: int

    @property
    def fault(self) -> str:
        """Say why it is not valid now; nothing when it is."""
        if seam.now() > self.not_after:
            return f"{self.name} expired at {seam.rfc3339(self.not_after)}"
        if seam.now() < self.not_before:
            return f"{self.name} is not valid before {seam.rfc3339(self.not_before)}"
        return ""


def credentials_of(name: str, certificates: Iterable[x509.Certificate]) -> Iterator[Credential]:
    """Yield the certificates of the setting ``name``; from the second on they are numbered."""
    for number, certificate in enumerate(certificates, 1):
        yield Credential(
            name if number == 1 else f"{name} {number}",
            _micros(certificate.not_valid_before_utc),
            _micros(certificate.not_valid_after_utc),
        )


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * seam.SECOND
