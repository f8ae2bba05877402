"""Log lines: they name the request, the channel and the order that they are about, and no secret."""

import asyncio
import json
import subprocess
import sys

import pytest
from sqlalchemy import update
from tornado.httpclient import AsyncHTTPClient

from payplat.logs import mask_secrets
from payplat.models import ORDERS
from tests.processes import payplat

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
COMPLAINS = """
import logging, structlog
from payplat.logs import configure_logging
configure_logging()
try:
    raise RuntimeError("Bearer abcdef")
except RuntimeError:
    logging.getLogger("other").exception("lost whsec_c2VjcmV0c2VjcmV0")
structlog.get_logger("payplat").warning("refused", secret="hunter2")
"""


@on_sqlite
@pytest.mark.parametrize("works", [False])
async def test_lines_name_what_they_are_about(client, stage, database_url):
    """A request's line tells request, channel and order; a job's tells lane, channel and order, and no request."""
    order_no = (await client.create()).json["order_no"]
    is_due = update(ORDERS).values(next_check_at=0)
    await stage.platform.database.transaction(lambda c: c.execute(is_due))
    stage.alipay.faults.answer("http_500", times=None)
    environ = {"PAYPLAT_DATABASE__URL": database_url}

    def lines(event: str) -> list[dict]:
        written = (stage.folder / "serve.log").read_text().splitlines()
        told = [json.loads(line) for line in written if line.startswith("{")]
        return [line for line in told if line["event"] == event]

    async with payplat(stage.folder, "serve", **environ) as service:
        told = await AsyncHTTPClient(force_instance=True).fetch(
            f"{service.url}/v1/verify/alipay",
            method="POST",
            headers={"X-Request-Id": "request-1"},
            body=json.dumps({"order_no": order_no}),
            raise_error=False,
        )
        assert told.code == 503
        await client.until(lambda: lines("refused") and lines("check failed"))
        assert await service.stop() == 0
    request, job = lines("refused")[0], lines("check failed")[0]
    about = {"channel": "alipay", "order_no": order_no}
    assert about.items() <= request.items()
    assert (request["request_id"], "lane" in request) == ("request-1", False)
    assert about.items() <= job.items()
    assert (job["lane"], "request_id" in job) == ("alipay", False)


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        ({"password": "hunter2hunter2"}, "hunter2"),
        ({"headers": {"Authorization": "Bearer abc.def"}}, "abc.def"),
        ({"private_key": "MIIEvQIBADAN"}, "MIIEvQ"),
        ({"access_token": "ya29.secret"}, "ya29"),
        ({"reason": "signed with whsec_c2VjcmV0c2VjcmV0"}, "c2Vjcm"),
        ({"reason": "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----"}, "MIIE"),
        ({"reason": "-----BEGIN RSA PRIVATE KEY-----\nMIIE cut off"}, "MIIE"),
        ({"reason": "sent Authorization: Bearer abcdef"}, "abcdef"),
        ({"reason": "mysql://payplat:hunter2@db/payplat"}, "hunter2"),
        ({"reason": ["eyJhbGciOiJI.eyJpc3MiOiJ.c2lnbmF0"]}, "eyJpc3"),
        ({"exception": "Traceback\n  whsec_c2VjcmV0c2VjcmV0"}, "c2Vjcm"),
    ],
)
def test_secrets_are_masked(said, secret):
    """By the name of their key, however deep, and by their looks."""
    line = mask_secrets(None, "error", {"event": "refused", **said})
    assert secret not in json.dumps(line)
    assert "[masked]" in json.dumps(line)


def test_what_is_no_secret_is_told_as_it_is():
    """Order numbers, reasons, certificates' fingerprints and addresses stay readable."""
    said = {
        "event": "token refused",
        "order_no": "0190" * 8,
        "reason": "https://pay.example.com:8443/v1 answered 500; key:0123456789abcdef",
        "count": 3,
        "faults": ["server.port: too large"],
    }
    assert mask_secrets(None, "info", dict(said)) == said


async def test_the_written_line_is_masked():
    """Also one of the standard library, with its stack."""
    command = [sys.executable, "-c", COMPLAINS]
    told = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert told.stderr.count("[masked]") == 3
    assert not any(word in told.stderr for word in ("abcdef", "c2Vjcm", "hunter2"))
