"""GET /metrics: what happened makes the right numbers grow, on a port of its own, and names nobody."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert, update
from tornado.httpclient import AsyncHTTPClient
from tornado.netutil import bind_sockets

from payplat import backlog, metrics, seam
from payplat.backlog import Backlog
from payplat.database import Database
from payplat.exposition import Exposition
from payplat.models import DELIVERIES, DUTIES
from tests.processes import free_port, payplat, run
from tests.stage import Reply

ROOT = Path(__file__).parent.parent.parent
ENDPOINT = "default/main"
LABELS = {
    *(
        "channel",
        "code",
        "counterpart",
        "credential",
        "endpoint",
        "kind",
        "outcome",
        "result",
        "what",
    ),
    *("le", "generation", "implementation", "major", "minor", "patchlevel", "version"),
}
SECOND_ENDPOINT = """
[apps.default.endpoints.second]
url = "http://127.0.0.1:1/"
secret = "file:secrets/endpoint"
"""
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_mariadb = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
with_worker = pytest.mark.parametrize("works", [True])


@pytest.fixture
def overrides() -> dict[str, str]:
    """One attempt is all that a delivery gets."""
    return {"PAYPLAT_DELIVERY__ATTEMPTS": "1"}


class Scraper:
    """Prometheus, as far as payplat sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = AsyncHTTPClient(force_instance=True)

    async def get(self, path: str = "/metrics", method: str = "GET") -> Reply:
        """Make a request to the listener."""
        body = b"" if method == "POST" else None
        told = await self._http.fetch(self.url + path, method=method, body=body, raise_error=False)
        return Reply(told.code, told.body, told.headers)

    async def scrape(self) -> "Numbers":
        """Return all numbers as they stand."""
        told = await self.get()
        assert told.status == 200, told.body
        return Numbers(told.body.decode())


class Numbers:
    """One scrape."""

    def __init__(self, text: str) -> None:
        families = text_string_to_metric_families(text)
        self.text = text
        self.samples = [sample for family in families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum over the series of that name that have these labels; nothing there is 0."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == f"payplat_{name}" and labels.items() <= sample.labels.items()
        )


@pytest.fixture
async def prometheus(stage, monkeypatch):
    """The staged service's metrics on a port of their own; the backlog is read at each scrape."""
    monkeypatch.setattr(backlog, "_FRESH", 0)
    sockets = bind_sockets(0, "127.0.0.1")
    exposition = Exposition(stage.platform, sockets)
    yield Scraper(f"http://127.0.0.1:{sockets[0].getsockname()[1]}")
    await exposition.close()


async def paid(client, stage) -> str:
    """Buy something; return the order's number."""
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    return order_no


async def grown(client, prometheus, before, name: str, **labels: str) -> Numbers:
    """Wait until this number has grown by one; return that scrape."""

    async def scrape() -> Numbers | None:
        now = await prometheus.scrape()
        return now if now(name, **labels) == before(name, **labels) + 1 else None

    return await client.until(scrape)


@with_worker
async def test_a_purchase_and_its_delivery_are_counted(client, stage, prometheus):
    """One order, one payment, one attempt that is acknowledged, each with the time it took; repeats are no payments."""
    before = await prometheus.scrape()
    order_no = await client.entered(key="k")
    assert (await client.create(key="k")).json["order_no"] == order_no
    await stage.alipay.pay(order_no)
    assert (await client.callback(stage.alipay.notification_body(order_no))).body == b"success"
    after = await grown(client, prometheus, before, "delivery_seconds_count", endpoint=ENDPOINT)

    def more(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    assert more("orders_opened_total", channel="alipay") == more("orders_opened_total") == 1
    assert more("verdicts_total", channel="alipay", result="paid") == 1
    assert more("verdicts_total", result="repeated") == 1
    assert more("confirmation_seconds_count", channel="alipay") == 1
    assert 0 < more("confirmation_seconds_sum", channel="alipay") < 60
    assert 0 < more("delivery_seconds_sum", endpoint=ENDPOINT) < 60
    assert more("delivery_attempts_total", outcome="acknowledged") == 1
    assert more("delivery_attempts_total") == 1
    assert more("call_seconds_count", counterpart="endpoint", outcome="2xx") == 1
    # Two requests to open, two verdicts, what came of the delivery.
    assert more("group_commit_items_sum") == 5
    # The backlog of that scrape was read before the counters.
    assert (await prometheus.scrape())("deliveries_waiting", endpoint=ENDPOINT) == 0


@on_sqlite
async def test_a_forged_notice_is_counted(client, stage, prometheus):
    """It counts as forged and as refused by its code, and as no verdict."""
    before = await prometheus.scrape()
    order_no = await client.entered()
    await client.callback(stage.alipay.notification_body(order_no, sign_with="wrong"))
    after = await prometheus.scrape()
    assert after("forged_total", channel="alipay") == before("forged_total", channel="alipay") + 1
    code = {"code": "not_authentic"}
    assert after("refused_total", **code) == before("refused_total", **code) + 1
    assert after("verdicts_total") == before("verdicts_total")


@on_sqlite
async def test_what_is_put_aside_is_counted(client, stage, prometheus):
    """Authentic evidence that differs from its order is a verdict of that result, and put aside."""
    before = await prometheus.scrape()
    order_no = await client.entered()
    body = stage.alipay.notification_body(
        order_no, total_amount="0.01", trade_status="TRADE_SUCCESS"
    )
    await client.callback(body)
    after = await prometheus.scrape()
    for name in ("verdicts_total", "put_aside_total"):
        assert after(name, result="mismatch") == before(name, result="mismatch") + 1
    assert after("confirmation_seconds_count") == before("confirmation_seconds_count")


@with_worker
async def test_an_exhausted_delivery_is_told(client, stage, prometheus):
    """An endpoint that refuses once too often leaves a delivery that the gauge tells, and no waiting one."""
    stage.merchant.misbehave("500")
    before = await prometheus.scrape()
    await paid(client, stage)
    after = await grown(client, prometheus, before, "deliveries_exhausted", endpoint=ENDPOINT)
    outcome = {"endpoint": ENDPOINT, "outcome": "refused"}
    assert after("delivery_attempts_total", **outcome) == 1 + before(
        "delivery_attempts_total", **outcome
    )
    assert after("call_seconds_count", counterpart="endpoint", outcome="5xx") >= 1
    assert (await prometheus.scrape())("deliveries_waiting") == 0
    assert after("delivery_seconds_count") == before("delivery_seconds_count")


async def test_the_backlog_is_told_by_endpoint_and_channel(client, stage, prometheus):
    """What waits, what was given up, and for how long the longest due one has waited; what is not due yet is not late."""
    database = stage.platform.database
    await paid(client, stage)
    await paid(client, stage)
    await client.create()
    long_ago = seam.now() - 1000 * seam.SECOND
    first = update(DELIVERIES).where(DELIVERIES.c.id == 1).values(due_at=long_ago)
    await database.transaction(lambda c: c.execute(first))
    duty = {"channel": "alipay", "what": "refund", "failures": 0, "created_at": long_ago}
    soon = seam.now() + 1000 * seam.SECOND
    rows = [
        {**duty, "order_no": "a", "cause": "", "status": "due", "due_at": soon},
        {**duty, "order_no": "b", "cause": "", "status": "exhausted", "due_at": long_ago},
        {**duty, "order_no": "c", "cause": "", "status": "done", "due_at": long_ago},
    ]
    await database.transaction(lambda c: c.execute(insert(DUTIES), rows))
    told = await prometheus.scrape()
    assert told("deliveries_waiting", endpoint=ENDPOINT) == told("deliveries_waiting") == 2
    assert 1000 <= told("deliveries_overdue_seconds", endpoint=ENDPOINT) < 1100
    assert told("deliveries_exhausted", endpoint=ENDPOINT) == 0
    assert told("duties_waiting", channel="alipay") == told("duties_exhausted") == 1
    assert told("duties_overdue_seconds", channel="alipay") == 0
    assert told("checks_waiting", channel="alipay") == 1
    assert told("checks_overdue_seconds") == 0
    assert told("database_up") == 1
    assert told("database_connections_in_use") == 0
    held = await database.read(lambda _: prometheus.scrape())
    assert held("database_connections_in_use") == 1
    assert told("database_connections_most") == stage.settings.database.pool_size


@on_sqlite
async def test_a_scrape_does_not_weigh_on_the_database(client, stage, prometheus, monkeypatch):
    """What was read a moment ago is told again."""
    monkeypatch.setattr(backlog, "_FRESH", 3600 * seam.SECOND)
    assert (await prometheus.scrape())("checks_waiting") == 0
    await client.create()
    assert (await prometheus.scrape())("checks_waiting") == 0


@on_sqlite
async def test_without_a_database_the_backlog_is_not_told(client, prometheus):
    """Old numbers would look like all is well: they are gone, and a number says why."""
    await client.create()
    assert (await prometheus.scrape())("checks_waiting") == 1
    away = Database(f"mysql://payplat@127.0.0.1:{free_port()}/payplat")
    await Backlog(away, [ENDPOINT], ["alipay"]).refresh()
    await away.close()
    told = generate_latest().decode()
    assert "payplat_checks_waiting{" not in told
    assert "payplat_deliveries_overdue_seconds{" not in told
    assert "payplat_database_up 0.0" in told


@on_sqlite
async def test_nobody_is_named(client, stage, prometheus):
    """After a purchase no label tells an order, a user, an address or a secret."""
    order_no = await paid(client, stage)
    told = await prometheus.scrape()
    assert {label for sample in told.samples for label in sample.labels} <= LABELS
    values = {value for sample in told.samples for value in sample.labels.values()}
    secret = stage.settings.apps["default"].endpoints["main"].secrets[0]
    for word in (
        order_no,
        "player-1",
        secret,
        "127.0.0.1",
        "http",
        stage.settings.channels["alipay"].app_id,
    ):
        assert not any(word in value for value in values)
    assert not any(re.search(r"[0-9a-f]{12}", value) for value in values)


@on_sqlite
async def test_the_public_port_knows_nothing_of_it(client, prometheus):
    """There /metrics is 404; and the metrics' port has nothing else to offer."""
    assert (await client.call("GET", "/metrics")).status == 404
    assert (await client.call("GET", "/metrics/")).status == 404
    assert (await prometheus.get()).headers["Content-Type"].startswith("text/plain; version=")
    assert (await prometheus.get("/v1/orders/1")).status == 404
    assert (await prometheus.get(method="POST")).status == 405


@on_sqlite
async def test_the_event_loops_lag_is_measured(client, prometheus):
    """It is looked at without being asked for."""
    before = await prometheus.scrape()
    await client.until(lambda: _looked(prometheus, before))


async def _looked(prometheus, before: Numbers) -> bool:
    return (await prometheus.scrape())("loop_lag_seconds_count") > before("loop_lag_seconds_count")


# --- Processes ---


async def _answers(prometheus: Scraper) -> bool:
    try:
        return (await prometheus.get()).status == 200
    except OSError:
        return False


async def _names(prometheus: Scraper, words: str) -> bool:
    return words in (await prometheus.scrape()).text


@on_sqlite
async def test_a_worker_serves_its_metrics(client, stage, database_url):
    """A worker has the configured port, and tells of a new configuration; who finds the port taken does not start."""
    port = free_port()
    environ = {"PAYPLAT_DATABASE__URL": database_url, "PAYPLAT_METRICS__PORT": str(port)}
    async with payplat(stage.folder, "worker", **environ) as worker:
        prometheus = Scraper(f"http://127.0.0.1:{port}")
        await client.until(lambda: _answers(prometheus))
        await client.create()
        assert (await prometheus.scrape())("orders_opened_total") == 0  # that was another process
        with (stage.folder / "payplat.toml").open("a") as file:
            file.write(SECOND_ENDPOINT)
        worker.process.send_signal(signal.SIGHUP)
        await client.until(lambda: _names(prometheus, 'endpoint="default/second"'))
        ended = await asyncio.to_thread(run, stage, "serve", **environ)
        assert (ended.returncode, f"metrics.port: {port}: " in ended.stderr) == (3, True)
        assert await worker.stop() == 0


@on_mariadb  # SQLite takes one serve process
async def test_each_process_has_a_port(client, stage, database_url):
    """Two processes serve on neighbouring ports, and who takes the place of one that was killed takes its port."""
    port = free_port()
    environ = {"PAYPLAT_DATABASE__URL": database_url, "PAYPLAT_METRICS__PORT": str(port)}
    async with payplat(stage.folder, "serve", "--processes", "2", **environ) as service:
        both = [Scraper(f"http://127.0.0.1:{port + number}") for number in range(2)]
        for prometheus in both:
            await client.until(lambda one=prometheus: _answers(one))
        children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
        before = children.read_text().split()
        os.kill(int(before[1]), signal.SIGKILL)
        await client.until(lambda: len(set(children.read_text().split()) - {before[1]}) == 2)
        for prometheus in both:
            await client.until(lambda one=prometheus: _answers(one))
        assert await service.stop() == 0


# --- Papers ---


def _ours() -> dict[str, Counter | Gauge | Histogram]:
    """Every metric by its full name, as it is exposed."""
    found = [m for m in vars(metrics).values() if isinstance(m, Counter | Gauge | Histogram)]
    return {next(iter(m.describe())).name + "_total" * isinstance(m, Counter): m for m in found}


def test_every_metric_is_in_the_table_and_has_its_labels():
    """The document and the code name the same metrics with the same labels, and no other module makes any."""
    rows = re.findall(
        r"^\| `(payplat_\w+)` \| (.*?) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE
    )
    documented = {name: re.findall(r"`(\w+)`", labels) for name, labels in rows}
    assert documented == {name: list(metric._labelnames) for name, metric in _ours().items()}
    registered = {f.name for f in REGISTRY.collect() if f.name.startswith("payplat_")}
    assert registered == {name.removesuffix("_total") for name in documented}


def _alerts() -> list[str]:
    """The expressions of the alert rules."""
    rules = (ROOT / "deploy/alerts.yml").read_text().split("- alert: ")[1:]
    shape = re.compile(r"expr: (?:>-)?(.*?)\n        (?:for|labels):", re.DOTALL)
    return [shape.search(rule)[1].strip() for rule in rules]


def _panels() -> list[dict]:
    """The panels of the dashboard, without the rows that part them."""
    board = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def _exposed() -> set[str]:
    """Every name that a scrape may have: histograms have three."""
    parts = {
        name: ("_bucket", "_count", "_sum") if isinstance(metric, Histogram) else ("",)
        for name, metric in _ours().items()
    }
    return {name + part for name, ends in parts.items() for part in ends}


def test_alerts_and_dashboard_speak_of_metrics_that_exist():
    """Every expression asks for something by names that are exposed, in brackets that match."""
    shown = [target["expr"] for panel in _panels() for target in panel["targets"]]
    assert len(_alerts()) >= 7
    assert len(shown) >= 25
    for expression in _alerts() + shown:
        named = set(re.findall(r"payplat_\w+", expression))
        assert named or "up{" in expression, expression
        assert named <= _exposed(), expression
        for opening, closing in ("()", "[]", "{}"):
            assert expression.count(opening) == expression.count(closing), expression


def test_expressions_ask_for_labels_that_exist():
    """What is summed by a label, or chosen by one, has that label."""
    labels = {*LABELS, "instance", "job"}
    for expression in _alerts() + [t["expr"] for p in _panels() for t in p["targets"]]:
        groups = re.findall(r"by \((.*?)\)", expression)
        chosen = re.findall(r"[{,]\s*(\w+)=", expression)
        asked = {name.strip() for group in groups for name in group.split(",")} | set(chosen)
        assert asked <= labels, expression


def test_the_dashboard_shows_every_metric_and_explains_itself():
    """No metric is left out, each panel says what it shows, and its data source can be chosen."""
    panels = _panels()
    shown = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    assert [name for name in _ours() if name not in shown] == []
    for panel in panels:
        assert panel["title"]
        assert len(panel["description"]) > 20
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(set(places)) == len(places)
