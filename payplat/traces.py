"""Traces: what a request or a job consisted of, and how long each part took. Nothing is traced until a tracer is set.

A span bears names of doors, counterparts, lanes and orders: never an address, a body or a header.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class RequestSpan(Protocol):
    """The span of one request."""

    def end(self, status: int) -> None:
        """Tell the answer's HTTP status."""


class Tracer(Protocol):
    """Who makes spans and tells a collector."""

    def span(self, name: str, **attributes: str) -> AbstractContextManager[None]:
        """Return a context that is one span, a part of what is traced around it."""

    def request(self, name: str, headers: Mapping[str, str]) -> RequestSpan:
        """Begin the span of a request; ``traceparent`` (W3C Trace Context) in its headers continues a trace."""

    def close(self) -> None:
        """Tell what is left."""


class NoTracer:
    """Traces nothing."""

    def span(self, name: str, **attributes: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """Return a context that does nothing."""
        return nullcontext()

    def request(self, name: str, headers: Mapping[str, str]) -> RequestSpan:  # noqa: ARG002
        """Return a span that is none."""
        return _NO_SPAN

    def close(self) -> None:
        """Do nothing."""


class _NoSpan:
    def end(self, status: int) -> None:
        """Do nothing."""


_NO_SPAN = _NoSpan()
tracer: Tracer = NoTracer()
