"""Spans told to a collector by OpenTelemetry, OTLP over HTTP; its libraries are the extra ``payplat[otel]``."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator


class OtelTracer:
    """Sends spans to ``collector``, such as http://127.0.0.1:4318.

    They go out in batches from a thread of their own: a collector that does not answer delays and fails nothing.
    """

    def __init__(self, collector: str, version: str) -> None:
        resource = Resource.create({"service.name": "payplat", "service.version": version})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{collector.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("payplat")

    @contextmanager
    def span(self, name: str, **attributes: str) -> Iterator[None]:
        """Trace what is done in here; an error is told by its kind alone, for its text may quote."""
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_status(StatusCode.ERROR, type(error).__name__)
                raise

    def request(self, name: str, headers: Mapping[str, str]) -> "OtelRequestSpan":
        """Begin the span of a request, as a part of the trace that its ``traceparent`` names."""
        carrier = {"traceparent": headers.get("traceparent", "")}
        around = TraceContextTextMapPropagator().extract(carrier, context.Context())
        span = self._tracer.start_span(name, around, SpanKind.SERVER)
        # Requests on one connection share a context: the next one attaches its own in this one's place.
        context.attach(set_span_in_context(span))
        return OtelRequestSpan(span)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class OtelRequestSpan:
    """The span of one request."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def end(self, status: int) -> None:
        """Tell the answer's status; 5xx are errors."""
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
