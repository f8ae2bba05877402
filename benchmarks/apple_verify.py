"""What it costs to verify a transaction that Apple signed: payplat beside Apple's own library, in one run.

``python -m benchmarks.apple_verify`` makes a certificate authority of Apple's shape and lets both verify the same JWS in
turns, warm and without online checks. Processor time is measured, which bears other work on the machine; the fastest
round counts. The exit code is 1 when payplat needs more than a twelfth of the library's time.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier

from payplat.channels.apple.jws import SignedData
from tests.wire.apple_pki import BUNDLE_ID, TRANSACTION, der, issue_chain, jws, x5c

FLOOR = 1 / 12
ROUNDS = 5
_PACKAGES = ("app-store-server-library", "cryptography", "PyJWT", "pyOpenSSL")

Verify = Callable[[str], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 1 when payplat is too slow."""
    given = _arguments(arguments)
    chain = issue_chain()
    text = jws({"alg": "ES256", "x5c": x5c(chain)}, TRANSACTION)
    library = SignedDataVerifier([der(chain[2])], False, Environment.SANDBOX, BUNDLE_ID)  # noqa: FBT003
    verifiers: dict[str, Verify] = {
        "payplat": SignedData([chain[2]]).verify,
        "library": library.verify_and_decode_signed_transaction,
    }
    costs = _measure(verifiers, text, given.count)
    return _tell(costs, given.count)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.apple_verify", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="verifications a round, by each")
    return parser.parse_args(arguments)


def _measure(verifiers: Mapping[str, Verify], text: str, count: int) -> dict[str, float]:
    """Return each verifier's microseconds for one verification: the fastest of some rounds, in turns."""
    rounds = [
        {name: _cost(verify, text, count) for name, verify in verifiers.items()}
        for _ in range(ROUNDS)
    ]
    return {name: min(costs[name] for costs in rounds) for name in verifiers}


def _cost(verify: Verify, text: str, count: int) -> float:
    verify(text)
    start = time.process_time_ns()
    for _ in range(count):
        verify(text)
    return (time.process_time_ns() - start) / count / 1000


def _tell(costs: Mapping[str, float], count: int) -> int:
    ratio = costs["payplat"] / costs["library"]
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = [
        f"Python {platform.python_version()}, {packages}",
        f"{ROUNDS} rounds of {count}, the fastest counts",
        *(f"{name:8} {cost:8.1f} µs" for name, cost in costs.items()),
        f"ratio    1/{1 / ratio:.1f}, floor 1/{1 / FLOOR:.0f}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(ratio > FLOOR)


if __name__ == "__main__":
    sys.exit(main())
