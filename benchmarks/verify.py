"""What a store's receipt costs: payplat beside a bare Tornado handler and code written by hand for MariaDB, in one run.

``python -m benchmarks.verify --channel apple`` lets a backend submit the transactions that pay pending orders, which a
simulator of Apple's, a process of its own, has signed; with ``--ask always`` it is asked for a fresh copy of each.
``--channel google`` does so with purchase tokens, about which Google's simulator is asked; see ``benchmarks.contest``.
"""

import argparse
import hmac
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.clients import client_request, client_rows, let_clients_in, open_apple
from benchmarks.contest import WARM_UP, Scenario, hold, parser
from benchmarks.fixed import BUNDLE_ID, PACKAGE, VERIFY_PATH
from benchmarks.ground import PAID, ROOT, Ground, Row, Void
from benchmarks.notices import make_sales, order_rows
from benchmarks.servers import Contestant, make_room
from payplat.catalogue import read_catalogue

_GOOGLE = f"""\
[channels.google]
package_name = "{PACKAGE}"
service_account = "file:google.json"
account_secret = "file:google_secret"
push_email = "push@example.com"
api = "%s"
"""
_METHODS = {"apple": "storekit", "google": "play_billing"}
_MEMBERS = {"apple": "signed_transaction", "google": "purchase_token"}
_DUTIES = {
    "duties to acknowledge": "SELECT count(*) FROM duties WHERE what = 'acknowledge'",
    "duties to consume": "SELECT count(*) FROM duties WHERE what = 'consume'",
}
_ANSWER = r'\{"order_no": ?"[0-9a-f]{32}".*"status": ?"(paid|pending)".*\}'


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 1 when a run was void and 3 when the machine has no MariaDB."""
    made = parser("verify", __doc__)
    made.add_argument("--channel", choices=list(_METHODS), default="apple")
    made.add_argument("--ask", choices=["never", "always"], default="never", help="Apple, again")
    given = made.parse_args(arguments)
    make_room()
    return hold(partial(_scene, given), given)


@contextmanager
def _scene(
    given: argparse.Namespace, ground: Ground, _key: rsa.RSAPrivateKey
) -> Iterator[Scenario]:
    """Yield the contest of paying pending orders by a store's receipts."""
    kind = given.channel
    let_clients_in(ground)
    rows = list(_order_rows(ground, kind, given.orders + WARM_UP))
    secret = secrets.token_hex(32)
    options = f'ask = "{given.ask}"\nroots = "file:root.pem"\n'
    public_key = open_apple(ground, options) if kind == "apple" else ""
    with _store(kind, public_key, rows, secret) as told:
        _configure(ground, kind, told, secret)
        asked = told["url"] if kind == "google" or given.ask == "always" else ""
        yield Scenario(
            title=f"A purchase verified, {kind.capitalize()}{' on SQLite' * given.sqlite}",
            requests=[_request(kind, *pair) for pair in zip(rows, told["receipts"], strict=True)],
            status=200,
            body=_ANSWER,
            rows={"api_keys": client_rows(), "orders": [_as_row(row) for row in rows]},
            checks=PAID | (_DUTIES if kind == "google" else {}),
            contestants=[
                Contestant("bare", _bare, writes=False),
                *([Contestant("raw", partial(_raw, kind, asked))] if ground.mariadb else []),
                Contestant("payplat"),
            ],
        )


def _order_rows(ground: Ground, kind: str, count: int) -> Iterator[dict[str, Any]]:
    """Yield pending orders of what can be bought again and again; ``amount`` is what the store will charge."""
    products = read_catalogue(ground.catalogue).products["default"]
    sales = [
        s for s in make_sales(ground.catalogue, 2 * count) if products[s.product_id].consumable
    ]
    for number, row in enumerate(order_rows(sales[:count])):
        sku = products[str(row["product_id"])].sku(kind, str(row["product_id"]))
        named = {"channel": kind, "kind": kind, "account": BUNDLE_ID, "method": _METHODS[kind]}
        yield {**row, **named, "sku": sku, "receiver": f"player-{number}"}


def _as_row(row: Row) -> Row:
    """Return an order whose price only the store knows."""
    return {**row, "amount": None, "currency": None}


def _request(kind: str, row: Row, receipt: str) -> bytes:
    return client_request(
        f"{VERIFY_PATH}{kind}", {"order_no": row["order_no"], _MEMBERS[kind]: receipt}
    )


@contextmanager
def _store(
    kind: str, public_key: str, rows: Sequence[Row], secret: str
) -> Iterator[Mapping[str, Any]]:
    """Let a store sell what the orders name and listen until the block ends; yields what it tells."""
    sales = [
        {
            **{name: row[name] for name in ("order_no", "sku", "amount")},
            "account_id": hmac.digest(
                secret.encode(), str(row["receiver"]).encode(), "sha256"
            ).hex(),
        }
        for row in rows
    ]
    command = [sys.executable, "-m", "benchmarks.store"]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        wish = json.dumps({"kind": kind, "public_key": public_key, "sales": sales})
        try:
            yield _asked(process, wish)
        finally:
            process.terminate()


def _asked(process: "subprocess.Popen[bytes]", wish: str) -> Mapping[str, Any]:
    if process.stdin and process.stdout:
        process.stdin.write(f"{wish}\n".encode())
        process.stdin.flush()
        line = process.stdout.readline()
        if line:
            return dict(json.loads(line))
    raise Void("the store ended early")


def _configure(ground: Ground, kind: str, told: Mapping[str, Any], secret: str) -> None:
    if kind == "apple":
        (ground.folder / "root.pem").write_text(told["proof"])
        ground.configure(f'api = {{ sandbox = "{told["url"]}" }}\n')
    else:
        (ground.folder / "google.json").write_text(told["proof"])
        (ground.folder / "google_secret").write_text(secret)
        ground.configure(_GOOGLE % told["url"])


def _bare(_ground: Ground, _database_url: str, port: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.bare_json", f"--port={port}"]


def _raw(kind: str, asked: str, ground: Ground, database_url: str, port: int) -> list[str]:
    given = [f"--port={port}", f"--database={database_url}", f"--channel={kind}"]
    given += [f"--folder={ground.folder}", f"--url={asked}"]
    return [sys.executable, "-m", "benchmarks.raw_receipts", *given]


if __name__ == "__main__":
    sys.exit(main())
