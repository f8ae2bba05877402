"""Whether a secret could be one: long enough, and nothing that anybody would try first."""

import base64
from itertools import pairwise

LEAST_BYTES = 24
# What people write where a secret is to be put in, and the key that the Standard Webhooks specification prints.
_KNOWN = ("changeme", "change_me", "password", "example", "placeholder", "12345678", "abcdefgh")
_PRINTED = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def weakness(secret: bytes) -> str:
    """Return what is wrong with a secret, in words that do not tell it; nothing when nothing is."""
    if len(secret) < LEAST_BYTES:
        return f"shorter than {LEAST_BYTES} bytes"
    if _repeats(secret) or _counts(secret):
        return "a pattern, no random bytes"
    lowered = secret.lower()
    if secret == _PRINTED or any(word.encode() in lowered for word in _KNOWN):
        return "well known, no random bytes"
    return ""


def _repeats(secret: bytes) -> bool:
    """Tell whether it is a shorter piece over and over, the last time perhaps in part."""
    return any(secret.startswith(secret[period:]) for period in range(1, len(secret) // 2 + 1))


def _counts(secret: bytes) -> bool:
    """Tell whether each byte differs from the one before by the same number."""
    return len({(after - before) % 256 for before, after in pairwise(secret)}) == 1
