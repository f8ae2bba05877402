"""RSA keys from a seed, so that a run can be repeated to the last byte; and Alipay's signatures, made and checked here.

No key is in a file: the primes are searched anew, which takes a second.
"""

import base64
import hmac
import random
from functools import cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_EXPONENT = 65537
_SMALL = [n for n in range(3, 2000, 2) if all(n % d for d in range(3, int(n**0.5) + 1, 2))]


class Key:
    """A key pair that signs RSA2; the same text is signed once."""

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self.private, self.public = private, private.public_key()
        self._made: dict[bytes, str] = {}

    def sign(self, text: bytes) -> str:
        """Return the signature in Base64."""
        if text not in self._made:
            raw = self.private.sign(text, padding.PKCS1v15(), hashes.SHA256())
            self._made[text] = base64.b64encode(raw).decode()
        return self._made[text]

    def has_signed(self, text: bytes, signature: str) -> bool:
        """Tell whether this key made the signature."""
        try:
            raw = base64.b64decode(signature)
            self.public.verify(raw, text, padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True

    @property
    def private_pem(self) -> str:
        """The private key as PKCS#8."""
        pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.private.private_bytes(serialization.Encoding.PEM, pkcs8, plain).decode()

    @property
    def public_pem(self) -> str:
        """The public key."""
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.public.public_bytes(serialization.Encoding.PEM, info).decode()


class StandIn:
    """Signs in place of the app's key, much faster; the small Alipay knows it."""

    def sign(self, text: bytes, *_: object) -> bytes:
        """Return what stands for the signature."""
        return hmac.digest(b"the app", text, "sha256")

    def has_signed(self, text: bytes, signature: str) -> bool:
        """Tell whether the app signed the text."""
        return hmac.compare_digest(self.sign(text), base64.b64decode(signature))


@cache
def key(name: str) -> Key:
    """Return the key of that name: always the same one."""
    chance = random.Random(f"prove/{name}")
    p, q = _prime(chance), _prime(chance)
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(_EXPONENT, p * q)
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q), public
    )
    return Key(numbers.private_key())


def _prime(chance: random.Random) -> int:
    while True:
        found = chance.getrandbits(1024) | 3 << 1022 | 1
        if all(found % small for small in _SMALL) and _is_prime(found):
            return found


def _is_prime(number: int) -> bool:
    """Ask Fermat twice; the library checks the key again when it is made."""
    fits = all(pow(base, number - 1, number) == 1 for base in (2, 3))
    return fits and (number - 1) % _EXPONENT != 0
