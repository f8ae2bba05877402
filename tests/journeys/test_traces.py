"""Traces: a collector learns how requests and jobs were made up, and nothing that is a secret or a person's."""

import asyncio
import secrets

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from tests.processes import payplat, run_here
from tests.stage import Client


@pytest.fixture
def works() -> bool:
    """The process under test does all the work."""
    return False


class Collector:
    """A collector that takes OTLP over HTTP and keeps every span, its raw bytes too."""

    def __init__(self) -> None:
        self.spans, self.raw = [], b""
        collector = self

        class Spans(RequestHandler):
            def post(self):
                body = self.request.body
                told = ExportTraceServiceRequest.FromString(body)
                collector.raw += body
                for resource in told.resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans

        socket, port = bind_unused_port()
        self.server = HTTPServer(Application([(r"/v1/traces", Spans)]), decompress_request=True)
        self.server.add_socket(socket)
        self.url = f"http://127.0.0.1:{port}"

    def named(self, name: str) -> list:
        """The spans of that name."""
        return [span for span in self.spans if span.name == name]

    def parts(self, span) -> set[str]:
        """The names of what happened within a span."""
        inner = {each.name for each in self.spans if each.parent_span_id == span.span_id}
        return inner.union(*(self.parts(e) for e in self.spans if e.parent_span_id == span.span_id))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_collector_learns_what_a_purchase_was_made_of(client, stage, database_url):
    """Doors, database and calls in one trace each; work bears its order; a caller's own trace goes on."""
    collector = Collector()
    environ = {"PAYPLAT_DATABASE__URL": database_url, "PAYPLAT_TRACES__COLLECTOR": collector.url}
    trace_id, receiver = secrets.token_hex(16), f"player-{secrets.token_hex(8)}"
    async with payplat(stage.folder, "serve", **environ) as service:
        away = Client(service)
        service.alipay = stage.alipay
        order_no = await away.entered(receiver=receiver)
        await stage.alipay.pay(order_no)
        await client.until(lambda: stage.merchant.fulfilled[order_no])
        other = (await away.create(receiver=receiver)).json["order_no"]
        named = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
        body = {"order_no": other}
        await away.call("POST", "/v1/verify/alipay", body, **named)
        assert (await away.call("GET", "/v1/orders/0193")).status == 404
    await client.until(lambda: len(collector.named("POST CreateOrder")) == 2)
    (verify,) = collector.named("POST Alipay")
    assert verify.trace_id.hex() == trace_id
    assert {"call alipay", "database read"} <= collector.parts(verify)
    (work, *_) = collector.named("work default/main")
    assert {"call endpoint", "database transaction"} <= collector.parts(work)
    assert order_no in {pair.value.string_value for pair in work.attributes}
    (missing,) = collector.named("GET OrderHandler")
    assert [pair.value.int_value for pair in missing.attributes] == [404]
    for secret in (receiver, stage.merchant.url, "trade_no", "sign"):
        assert secret.encode() not in collector.raw
    collector.server.stop()
    await collector.server.close_all_connections()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_dead_collector_harms_nothing(client, stage, database_url):
    """Where nobody takes the traces, orders are paid and delivered, and the process ends in time."""
    environ = {
        "PAYPLAT_DATABASE__URL": database_url,
        "PAYPLAT_TRACES__COLLECTOR": "http://127.0.0.1:9",
    }
    async with payplat(stage.folder, "serve", **environ) as service:
        service.alipay = stage.alipay
        order_no = await Client(service).entered()
        await stage.alipay.pay(order_no)
        await client.until(lambda: stage.merchant.fulfilled[order_no])
        assert await service.stop() == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_without_its_libraries_it_says_which(stage, database_url, monkeypatch):
    """A collector without the extra is a fault that names the key."""
    monkeypatch.setitem(__import__("sys").modules, "payplat.otel", None)
    environ = {
        "PAYPLAT_DATABASE__URL": database_url,
        "PAYPLAT_TRACES__COLLECTOR": "http://127.0.0.1:9",
    }
    ended = await asyncio.to_thread(run_here, stage, "serve", **environ)
    assert (ended.returncode, "traces.collector" in ended.stderr) == (3, True)
