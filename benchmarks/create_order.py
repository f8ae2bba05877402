"""What an order costs: payplat beside a bare Tornado handler and code written by hand for MariaDB, in one run.

``python -m benchmarks.create_order`` lets a backend open orders with its API key in a channel that signs nothing (Apple,
which gives them an app account token), ``--channel alipay`` in one whose every answer carries a string with an RSA
signature. A run after which the database does not hold an order for each receiver is void; see
``benchmarks.contest``.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from benchmarks.clients import client_request, client_rows, let_clients_in, open_apple
from benchmarks.contest import WARM_UP, Scenario, hold, parser
from benchmarks.fixed import ORDER_PATH
from benchmarks.ground import Ground
from benchmarks.notices import make_sales
from benchmarks.report import Goal
from benchmarks.servers import Contestant, make_room

_CHECKS = {
    "orders": "SELECT count(*) FROM orders",
    "pending orders": "SELECT count(*) FROM orders WHERE status = 'pending' AND settled_at IS NULL",
    "different numbers": "SELECT count(DISTINCT order_no) FROM orders",
    "different receivers": "SELECT count(DISTINCT receiver) FROM orders",
}
_ANSWERS = {
    "apple": r'\{"order_no": ?"[0-9a-f]{32}".*"app_account_token": ?"[0-9a-f-]{32,36}".*\}',
    "alipay": r'\{"order_no": ?"[0-9a-f]{32}".*"order_string": ?"[^"]+sign=[^"]{344,400}"\}\}',
}
_SIGNATURE, _SIGNATURES = "one RSA-2048 signature", 500
_GOALS = {
    "apple": [Goal("CPU ms", "payplat", "bare", 1.6, 1.2)],
    "alipay": [Goal("CPU ms", "payplat", _SIGNATURE, 2.2, 1.7)],
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 1 when a run was void and 3 when the machine has no MariaDB."""
    made = parser("create_order", __doc__)
    made.add_argument("--channel", choices=list(_GOALS), default="apple")
    given = made.parse_args(arguments)
    make_room()
    return hold(partial(_scene, given), given)


@contextmanager
def _scene(given: argparse.Namespace, ground: Ground, key: rsa.RSAPrivateKey) -> Iterator[Scenario]:
    """Yield the contest of opening orders."""
    let_clients_in(ground)
    open_apple(ground)
    signs = given.channel == "alipay"
    yield Scenario(
        title=_title(given),
        requests=list(_requests(ground, given)),
        status=201,
        body=_ANSWERS[given.channel],
        rows={"api_keys": client_rows()},
        checks=_CHECKS,
        contestants=[
            Contestant("bare", partial(_bare, signs), writes=False),
            *([Contestant("raw", _raw)] if ground.mariadb else []),
            Contestant("payplat"),
        ],
        goals=_GOALS[given.channel],
        asides={_SIGNATURE: partial(_signature_cost, key)} if signs else {},
    )


def _title(given: argparse.Namespace) -> str:
    string = ", with its order string" if given.channel == "alipay" else ""
    return f"An order opened{string}" + (" on SQLite" if given.sqlite else "")


def _requests(ground: Ground, given: argparse.Namespace) -> Iterator[bytes]:
    count = given.orders + WARM_UP
    products = [sale.product_id for sale in make_sales(ground.catalogue, 3)]
    for number, product_id in enumerate(islice(cycle(products), count)):
        asked = {
            "channel": given.channel,
            "product_id": product_id,
            "receiver": f"player-{number}",
            "metadata": {"server": "eu-1", "role": "4711"},
        }
        yield client_request(ORDER_PATH, asked)


def _bare(signs: bool, ground: Ground, _database_url: str, port: int) -> list[str]:  # noqa: FBT001
    key = [f"--key={ground.folder / 'app.pem'}"] if signs else []
    return [sys.executable, "-m", "benchmarks.bare_json", f"--port={port}", *key]


def _raw(ground: Ground, database_url: str, port: int) -> list[str]:
    given = [f"--port={port}", f"--database={database_url}", f"--catalogue={ground.catalogue}"]
    given.append(f"--key={ground.folder / 'app.pem'}")
    return [sys.executable, "-m", "benchmarks.raw_orders", *given]


def _signature_cost(key: rsa.RSAPrivateKey) -> float:
    """Return the processor time of one signature, in milliseconds."""
    text = json.dumps({"number": "0" * 400}).encode()
    began = time.process_time_ns()
    for _ in range(_SIGNATURES):
        key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    return (time.process_time_ns() - began) / _SIGNATURES / 1e6


if __name__ == "__main__":
    sys.exit(main())
