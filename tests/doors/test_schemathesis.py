"""schemathesis reads the document of a running service and calls it a thousand times, by the rules and against them."""

import asyncio
import json
import sys
from pathlib import Path
from string import Template
from typing import Any

import pytest

from payplat import api_keys
from payplat.clients import Scope

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
# What is submitted names an order that there is in half of the calls; otherwise nearly nothing would come so far.
CONFIGURATION = Template("""
seed = 1
wait-for-schema = 20
max-failures = 20

[headers]
Authorization = "Bearer $key"

[generation]
max-examples = 60
database = "none"

[phases.stateful.generation]
max-examples = 10

# A genuine notice cannot be made up, a catalogue or an app not be guessed: what fits the document may still be refused.
[checks.positive_data_acceptance]
enabled = false

# What is wrong with a notice Alipay is told by a word, with 200.
[[operations]]
include-path = "/v1/callback/alipay"
checks.negative_data_rejection.enabled = false

[dictionaries]
products.values = ["coins_500", "season_pass"]
orders.values = $orders

[parameters]
"path.order_no" = { dictionary = "orders", probability = 0.5 }
"body.order_no" = { dictionary = "orders", probability = 0.5 }
"body.product_id" = { dictionary = "products", probability = 0.5 }
""")
REACHED = (
    "POST /v1/create_order/",
    "POST /v1/verify/alipay",
    "GET /v1/orders/{order_no}",
    "GET /v1/events",
)


@pytest.fixture
def overrides() -> dict[str, str]:
    """Backends alone are served, and nobody comes too often."""
    limits = ("PER_CLIENT_PER_MINUTE", "PER_APP_PER_MINUTE", "FORGERIES_PER_MINUTE")
    return {
        "PAYPLAT_AUTH__MODE": '["api_key"]',
        **{f"PAYPLAT_LIMITS__{name}": "600000" for name in limits},
    }


async def configuration(stage, client) -> str:
    """How schemathesis goes about it: with a key that may do everything, and with an order of each channel."""
    key = await api_keys.create(stage.platform.database, "default", list(Scope), "fuzzing")
    orders = []
    for channel in ("alipay", "apple", "google"):
        wanted = {"channel": channel, "product_id": "coins_500", "receiver": "player-1"}
        path, sender = "/v1/create_order/", f"Bearer {key}"
        opened = await client.call("POST", path, wanted, Authorization=sender)
        orders.append(opened.json["order_no"])
    return CONFIGURATION.substitute(key=key, orders=json.dumps(orders))


async def run(folder: Path, address: str) -> tuple[int, str, dict[str, Any]]:
    """Run schemathesis on a document; return its exit code, what it said, and its report."""
    report = folder / "report.json"
    begun = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml"),
        *("run", address, "--no-color", "--report-json-path", str(report)),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await begun.communicate()
    told = json.loads(report.read_text()) if report.exists() else {}
    return begun.returncode or 0, said.decode(), told


@pytest.mark.gen_test(timeout=280)
async def test_the_service_keeps_to_its_document(stage, client, tmp_path):
    """A thousand calls by schemathesis: none is answered 5xx, and each answer is as the document has it.

    Its checks are of statuses, types of content, header fields, bodies, of who is let in, and of what must be refused.
    """
    (tmp_path / "schemathesis.toml").write_text(await configuration(stage, client))
    code, said, report = await run(tmp_path, f"{stage.url}/openapi.json")
    assert (code, report.get("complete")) == (0, True), said
    assert report["test_cases"]["generated"] >= 1000, said
    # It got somewhere: these are done only with what exists.
    for operation in REACHED:
        assert report["valid_rates"][operation]["fuzzing"]["accepted"], operation
