"""The bare server of clients' doors: Tornado at its plainest, JSON in and JSON out; with a key it signs each answer."""

import argparse
import asyncio
import base64
import json
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tornado.web import Application, RequestHandler

from benchmarks.fixed import ORDER_PATH, VERIFY_PATH
from payplat.seam import new_id

_TOLD = ("order_no", "channel", "product_id", "receiver", "metadata")
_ANSWER = {
    "status": "pending",
    "app": "default",
    "environment": "sandbox",
    "amount": 600,
    "currency": "CNY",
    "refunded": 0,
    "created_at": "2026-01-02T03:04:05.678Z",
    "expires_at": "2026-01-02T03:34:05.000Z",
    "settled_at": None,
}


class Bare(RequestHandler):
    """Answers as if there were an order."""

    def initialize(self, key: rsa.RSAPrivateKey | None) -> None:
        """Receive the key."""
        self.key = key

    def post(self) -> None:
        """Read the request and answer it; nothing is checked, nothing is kept."""
        asked = json.loads(self.request.body)
        answer = {"order_no": new_id(), **{k: v for k, v in asked.items() if k in _TOLD}, **_ANSWER}
        if self.request.path == ORDER_PATH:
            name = "order_string" if self.key else "app_account_token"
            answer["payment"] = {name: self._signed(answer["order_no"])}
            self.set_status(201)
        self.write(answer)

    def _signed(self, text: str) -> str:
        if self.key is None:
            return text
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}&sign={base64.b64encode(signature).decode()}"


async def serve(port: int, key: rsa.RSAPrivateKey | None) -> None:
    """Listen until the process is ended."""
    doors = [(path, Bare, {"key": key}) for path in (ORDER_PATH, f"{VERIFY_PATH}.*")]
    Application(doors, log_function=lambda _: None).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


def read_key(file: Path) -> rsa.RSAPrivateKey:
    """Return the private key of this file; ends the program where it holds none."""
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SystemExit("this is no RSA key")
    return key


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", type=Path)
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.key and read_key(given.key)))
