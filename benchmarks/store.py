"""A store that sells what the orders name: our simulator of Apple's or Google's, a process of its own.

It reads a line of JSON: the kind, the apple channel's public key, and what is sold. It answers with a line, where it
listens, what its signatures are known by, and a receipt for each; then it listens until it is ended.
"""

import asyncio
import json
import sys
from typing import Any
from uuid import UUID

from benchmarks.fixed import BUNDLE_ID, ISSUER_ID, KEY_ID, PACKAGE
from payplat.simulators.apple.server import AppleSimulator
from payplat.simulators.google.apps import Product
from payplat.simulators.google.server import GoogleSimulator

Wish = dict[str, Any]
_LONG = 1e9  # seconds; nobody acknowledges a tester's purchase here


async def sell_by_apple(wish: Wish) -> Wish:
    """Open Apple's store; a receipt is a transaction that it signed."""
    apple = AppleSimulator()
    await apple.start()
    names = {"issuer_id": ISSUER_ID, "key_id": KEY_ID, "public_key_pem": wish["public_key"]}
    prices = {sale["sku"]: (sale["amount"] * 10, "CNY") for sale in wish["sales"]}
    apple.add_app(BUNDLE_ID, app_apple_id=1, prices=prices, **names)
    receipts = []
    for sale in wish["sales"]:
        token = str(UUID(sale["order_no"]))
        bought = await apple.buy(
            BUNDLE_ID, sale["sku"], app_account_token=token, customer=token, notify=False
        )
        receipts.append(bought.jws)
    return {"url": apple.api("Sandbox"), "proof": apple.root_pem, "receipts": receipts}


async def sell_by_google(wish: Wish) -> Wish:
    """Open Google's store; a receipt is a purchase token."""
    google = GoogleSimulator()
    google.knobs.turn(tester_window=_LONG)
    await google.start()
    products = {sale["sku"]: Product(sale["amount"] * 10_000, "CNY") for sale in wish["sales"]}
    google.add_app(
        PACKAGE, products=products, push_url=None, push_audience="", push_email="push@example.com"
    )
    receipts = []
    for sale in wish["sales"]:
        terms = {
            "obfuscated_account_id": sale["account_id"],
            "obfuscated_profile_id": sale["order_no"],
        }
        bought = await google.buy(PACKAGE, sale["sku"], test=True, notify=False, **terms)
        receipts.append(bought.purchase_token)
    account = json.dumps(google.service_account())
    return {"url": google.api, "proof": account, "receipts": receipts}


_STORES = {"apple": sell_by_apple, "google": sell_by_google}


async def main() -> None:
    """Sell, tell, and listen until the process is ended."""
    wish = json.loads(sys.stdin.readline())
    told = await _STORES[wish["kind"]](wish)
    print(json.dumps(told), flush=True)  # noqa: T201 - the other process reads it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
