"""Verify a delivery of payplat: Standard Webhooks 1.0, symmetric signatures (v1). Standard library only.

On the command line: verify.py <secret> <id> <timestamp> <signature> < body; exit code 0 when it is genuine, else 1.
Several secrets are separated by spaces.
"""

import base64
import binascii
import hashlib
import hmac
import re
import sys
import time

TOLERANCE = 300  # seconds that a timestamp may be off, either way


def verify(
    secrets: list[str], webhook_id: str, timestamp: str, signatures: str, body: bytes
) -> bool:
    """Tell whether one of ``secrets`` signed exactly these bytes, not five minutes off from now.

    The texts are the headers webhook-id, webhook-timestamp and webhook-signature as they came, empty where missing.
    Raises ValueError for a secret that is none.
    """
    keys = [decode(secret) for secret in secrets]
    if not webhook_id or not re.fullmatch(r"[0-9]{1,12}", timestamp):
        return False
    if abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    signed = f"{webhook_id}.{timestamp}.".encode(errors="replace") + body
    digests = [hmac.new(key, signed, hashlib.sha256).digest() for key in keys]
    expected = [b"v1," + base64.b64encode(digest) for digest in digests]
    sent = [each.encode(errors="replace") for each in signatures.split(" ")]
    return any(hmac.compare_digest(one, other) for one in expected for other in sent)


def decode(secret: str) -> bytes:
    """Return the key of ``whsec_…``; a short one could be guessed, an empty one anybody has."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) < 24:
        raise ValueError("the secret is not whsec_ and the Base64 of at least 24 bytes")
    return key


def main() -> int:
    """Verify standard input by the arguments; return the exit code."""
    secrets, webhook_id, timestamp, signatures = sys.argv[1:]
    body = sys.stdin.buffer.read()
    return 0 if verify(secrets.split(" "), webhook_id, timestamp, signatures, body) else 1


if __name__ == "__main__":
    sys.exit(main())
