"""``doors``: any request at any door, near to right ones, over real sockets: no answer is 500 or above, nothing is paid.

The service runs with its simulators on SQLite, clients are authenticated, and hypothesis draws the requests by a seed.
"""

import argparse
import asyncio
import hashlib
import http.client
import json
import logging
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import structlog
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from payplat.demo.stage import Stage, set_stage
from tests.migrated import migrated

_SECRET = "2c7e4a9d01f5b8367f0c1d2e3b4a5968"
_LOGIN = {"issuer": "login", "audience": "payplat", "secret": _SECRET}
_GENEROUS = "1000000"
OVERRIDES = {
    "PAYPLAT_AUTH__MODE": '["jwt", "api_key"]',
    "PAYPLAT_APPS__DEFAULT__LOGIN": json.dumps(_LOGIN),
    "PAYPLAT_LIMITS__PER_CLIENT_PER_MINUTE": _GENEROUS,
    "PAYPLAT_LIMITS__PER_APP_PER_MINUTE": _GENEROUS,
    "PAYPLAT_LIMITS__FORGERIES_PER_MINUTE": _GENEROUS,
}


@dataclass(frozen=True)
class Request:
    """One request as it is sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Tally:
    """What came of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    worst: list[tuple[Request, int, bytes]] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    """Run the command line; return 1 when an answer was 500 or above, or a payment came from nowhere."""
    parser = argparse.ArgumentParser(prog="prove doors", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    began = time.monotonic()
    with opened() as stage:
        tally = knock(stage, chosen.cases, chosen.seed)
        payments = count_payments(stage)
    told = ", ".join(f"{count} × {status}" for status, count in sorted(tally.statuses.items()))
    _say(f"{sum(tally.statuses.values())} requests in {time.monotonic() - began:.0f} s: {told}")
    for request, status, body in tally.worst[:5]:
        _say(f"  {status} {request!r:.400} {body!r:.200}")
    _say(
        f"doors: answers of 500 or above {len(tally.worst)}, payments {payments} (seed {chosen.seed})"
    )
    return int(bool(tally.worst or payments))


@contextmanager
def opened() -> Iterator[Stage]:
    """The whole service in a thread of its own, with clients that must show who they are."""
    ready: Future[Stage] = Future()
    is_over = threading.Event()

    async def play(folder: Path, url: str) -> None:
        async with set_stage(
            folder, overrides={"PAYPLAT_DATABASE__URL": url, **OVERRIDES}
        ) as stage:
            ready.set_result(stage)
            await asyncio.to_thread(is_over.wait)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = migrated(f"sqlite:///{folder / 'payplat.db'}")
        _add_key(folder / "payplat.db")
        thread = threading.Thread(target=lambda: asyncio.run(play(folder, url)))
        thread.start()
        try:
            yield ready.result(60)
        finally:
            is_over.set()
            thread.join(60)


def _add_key(file: Path) -> None:
    """Let a backend in."""
    row = ("b" * 12, "default", hashlib.sha256(_KEY.encode()).hexdigest(), "buy events read", "", 0)
    with sqlite3.connect(file) as database:
        columns = "key_id, app, sha256, scopes, note, created_at"
        database.execute(f"INSERT INTO api_keys ({columns}) VALUES (?,?,?,?,?,?)", row)
    database.close()


def knock(stage: Stage, cases: int, number: int) -> Tally:
    """Send so many requests, drawn by that seed."""
    tally, address = Tally(), urlsplit(stage.url).netloc

    @seed(number)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
    )
    @given(request=requests())
    def once(request: Request) -> None:
        status, body = send(address, request)
        tally.statuses[status] += 1
        if status >= 500:
            tally.worst.append((request, status, body))

    once()
    return tally


def send(address: str, request: Request) -> tuple[int, bytes]:
    """Send a request; return status and body, 0 where the connection was closed without an answer."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(request.method, request.path, request.body, request.headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (http.client.HTTPException, ConnectionError):
        return 0, b""
    finally:
        connection.close()


def count_payments(stage: Stage) -> int:
    """Count what was paid: nobody has paid anything."""
    with sqlite3.connect(stage.folder / "payplat.db") as database:
        (count,) = database.execute("SELECT count(*) FROM payments").fetchone()
    database.close()
    return int(count)


# --- What is drawn ---

_TOKEN = jwt.encode(
    {"iss": "login", "aud": "payplat", "sub": "player-1", "exp": 4_000_000_000}, _SECRET, "HS256"
)
_KEY = f"payplat_{'b' * 12}_{'c' * 64}"
_texts = st.one_of(
    st.sampled_from(
        ["", "0" * 32, "alipay", "coins_500", "player-1", "app", "\x00", "é", "👾", "a" * 300]
    ),
    st.text(max_size=40),
)
_json: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), _texts, st.just(10**40), st.just(-1)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(_texts, inner, max_size=4)
    ),
    max_leaves=8,
)
_ORDER: dict[str, Any] = {
    "channel": st.sampled_from(["alipay", "apple", "google"]),
    "product_id": st.sampled_from(["coins_500", "season_pass", "none"]),
    "receiver": st.sampled_from(["player-1", "player-1", "player-2"]),
    "quantity": st.integers(-1, 200),
    "method": st.sampled_from([None, "app", "qr", "page"]),
    "metadata": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
}
_EVIDENCE = {
    "order_no": st.one_of(st.just("0" * 32), _texts),
    "signed_transaction": _texts,
    "transaction_id": st.sampled_from(["2000000000000001", "x"]),
    "purchase_token": _texts,
}


def _bodies(fields: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Objects with some of these fields, right or wrong, and some that are none; and what is no object at all."""
    most = {name: fields[name] for name in list(fields)[:3]}
    right = st.one_of(st.fixed_dictionaries(most), st.fixed_dictionaries({}, optional=fields))
    wrong = st.fixed_dictionaries({}, optional=dict.fromkeys(fields, _json))
    mixed = st.builds(lambda a, b: {**a, **b}, right, st.one_of(st.just({}), wrong))
    return st.one_of(mixed.map(_dump), mixed.map(_dump), _json.map(_dump), st.binary(max_size=200))


def _dump(content: Any) -> bytes:
    return json.dumps(content).encode("utf-8", "surrogatepass")


_NAMES = ["app_id", "seller_id", "out_trade_no", "trade_no", "trade_status", "total_amount", "sign",
          "sign_type", "charset", "notify_type", "refund_fee"]  # fmt: skip
_forms = st.lists(st.tuples(st.sampled_from(_NAMES), _texts), max_size=12).map(
    lambda pairs: urlencode(pairs, errors="replace").encode()
)
_headers = st.fixed_dictionaries(
    {
        "Authorization": st.sampled_from(
            [f"Bearer {_KEY}"] * 6 + [f"Bearer {_TOKEN}"] * 4 + ["Bearer x", ""]
        )
    },
    optional={
        "Content-Type": st.sampled_from(
            ["application/json"] * 6 + ["text/plain", "multipart/form-data; boundary=x", "x", ""]
        ),
        "Content-Encoding": st.sampled_from(["identity"] * 6 + ["gzip", "x"]),
        "Idempotency-Key": st.sampled_from(["k1", "k2", "", "x" * 300]),
        "X-Request-Id": st.sampled_from(["r1", "a b", "x" * 100]),
        "X-Forwarded-For": st.sampled_from(["10.0.0.1", "x, y", "::1"]),
        "Range": st.just("bytes=0-"),
    },
)
_path_texts = _texts.map(lambda text: urlencode({"": text}, errors="replace")[1:])
_queries = st.lists(
    st.tuples(st.sampled_from(["app", "after", "type", "limit", "x"]), _texts), max_size=4
).map(lambda pairs: urlencode(pairs, errors="replace"))
_channels = st.sampled_from(["alipay", "apple", "google", "none"])


def requests() -> st.SearchStrategy[Request]:
    """Requests for every door."""
    right = st.sampled_from(["POST"] * 20 + ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "BREW"])
    looks = st.sampled_from(["GET"] * 20 + ["POST", "PATCH", "TRACE"])
    no_body, pushes = st.just(b""), _bodies({"message": _json, "subscription": _texts})
    signed = _bodies({"signedPayload": _texts})
    create, verify = st.just("/v1/create_order/"), _channels.map("/v1/verify/{}".format)
    callback = _channels.map("/v1/callback/{}".format)
    events = _queries.map("/v1/events?{}".format)
    order = st.one_of(st.just("0" * 32), _path_texts).map("/v1/orders/{}".format)
    others = st.one_of(
        st.sampled_from(["/healthz", "/readyz", "/", "//", "/v1"]), _path_texts.map("/{}".format)
    )
    return st.one_of(
        st.builds(Request, right, create, _headers, _bodies(_ORDER)),
        st.builds(Request, right, verify, _headers, _bodies(_EVIDENCE)),
        st.builds(Request, right, callback, _headers, st.one_of(_forms, signed, pushes)),
        st.builds(Request, looks, order, _headers, no_body),
        st.builds(Request, looks, events, _headers, no_body),
        st.builds(Request, looks, others, _headers, st.one_of(no_body, st.binary(max_size=50))),
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
