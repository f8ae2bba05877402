"""What every door has: bounded raw bodies, a request id, JSON, and one table from errors to answers."""

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple, NotRequired, TypeVar
from urllib.parse import parse_qsl

import structlog
from pydantic import BaseModel, ValidationError
from tornado.web import HTTPError, RequestHandler, stream_request_body
from typing_extensions import TypedDict

from payplat import errors, metrics, seam, strict_json, traces
from payplat.clients import Client, Clients, Scope
from payplat.handlers import fields
from payplat.limits import Limit
from payplat.peers import household, peer_of
from payplat.purchase import Inbound

Model = TypeVar("Model", bound=BaseModel)
log = structlog.get_logger("payplat")
MAX_BODY = 64 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ErrorAnswer(NamedTuple):
    """How an error is told: HTTP status and stable code; ``quiet`` ones are the caller's affair and not logged."""

    status: int
    code: str
    quiet: bool = True


class Problem(TypedDict):
    """What every error is told as (RFC 9457): go by ``code``, which stays; ``detail`` is a sentence for people."""

    type: str
    title: str
    status: int
    code: str
    request_id: str
    detail: NotRequired[str]
    field: NotRequired[str]


# Concrete before abstract: the first class that fits answers. Transient trouble is 5xx, so that providers come again.
ERROR_TABLE: dict[type[errors.PayplatError], ErrorAnswer] = {
    errors.BodyTooLarge: ErrorAnswer(413, "body_too_large"),
    errors.UnsupportedBody: ErrorAnswer(415, "unsupported_body"),
    errors.UnknownProduct: ErrorAnswer(422, "unknown_product"),
    errors.IdempotencyMismatch: ErrorAnswer(422, "idempotency_mismatch"),
    errors.InvalidRequest: ErrorAnswer(400, "invalid_request"),
    errors.OrderNotFound: ErrorAnswer(404, "order_not_found"),
    errors.NotFound: ErrorAnswer(404, "not_found"),
    errors.StillRunning: ErrorAnswer(409, "still_running"),
    errors.OrderClosed: ErrorAnswer(409, "order_closed"),
    errors.Conflict: ErrorAnswer(409, "conflict"),
    errors.UnknownClient: ErrorAnswer(401, "unknown_client"),
    errors.SignInRefused: ErrorAnswer(403, "sign_in_refused"),
    errors.NotPermitted: ErrorAnswer(403, "not_permitted"),
    errors.NotAuthentic: ErrorAnswer(400, "not_authentic"),
    errors.TooManyRequests: ErrorAnswer(429, "too_many_requests"),
    errors.UnknownOrder: ErrorAnswer(404, "unknown_order"),
    errors.AnotherOrder: ErrorAnswer(409, "another_order"),
    errors.AlreadyPaid: ErrorAnswer(409, "already_paid"),
    errors.Mismatch: ErrorAnswer(409, "mismatch"),
    errors.NotAccepted: ErrorAnswer(409, "not_accepted"),
    errors.ProviderRefused: ErrorAnswer(422, "provider_refused"),
    errors.ProviderMisconfigured: ErrorAnswer(503, "provider_misconfigured", quiet=False),
    errors.ProviderUnavailable: ErrorAnswer(503, "provider_unavailable", quiet=False),
    errors.ProviderError: ErrorAnswer(503, "provider_error", quiet=False),
    errors.NoAnswer: ErrorAnswer(503, "no_answer", quiet=False),
    errors.Overloaded: ErrorAnswer(503, "overloaded", quiet=False),
    errors.Draining: ErrorAnswer(503, "draining"),
    errors.DatabaseUnavailable: ErrorAnswer(503, "database_unavailable", quiet=False),
    errors.ConfigurationError: ErrorAnswer(500, "configuration_error", quiet=False),
    errors.PayplatError: ErrorAnswer(500, "internal_error", quiet=False),
}
# What Tornado refuses by itself.
HTTP_CODES = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


def error_answer(error: BaseException | None) -> ErrorAnswer:
    """Return how ``error`` is told."""
    for kind, answer in ERROR_TABLE.items():
        if isinstance(error, kind):
            return answer
    if isinstance(error, HTTPError):
        return ErrorAnswer(error.status_code, HTTP_CODES.get(error.status_code, "http_error"))
    return ErrorAnswer(500, "internal_error", quiet=False)


def problem_of(told: ErrorAnswer, request_id: str, detail: str = "", field: str = "") -> Problem:
    """Return the body of an error's answer; ``field`` names what is wrong in the request, where that is known."""
    problem: Problem = {
        "type": "about:blank",
        "title": told.code.replace("_", " ").capitalize(),
        "status": told.status,
        "code": told.code,
        "request_id": request_id,
    }
    if detail:
        problem["detail"] = detail
    if field:
        problem["field"] = field
    return problem


@stream_request_body
class BaseHandler(RequestHandler):
    """The base of all doors. Bodies stay raw bytes: no framework parses what a provider signed."""

    _span: traces.RequestSpan | None = None
    # What a door offers; Tornado's 405 does not say it.
    allowed_methods: tuple[str, ...] = ("GET",)

    @cached_property
    def request_id(self) -> str:
        """The id that the caller gave the request, or one of ours where that is missing or no id."""
        sent = self.request.headers.get("X-Request-Id", "")
        return sent if _REQUEST_ID.fullmatch(sent) else seam.new_id()

    def set_default_headers(self) -> None:
        """Give every answer the fields that all have, and take Tornado's version from it."""
        self.clear_header("Server")
        for name, value in fields.ALWAYS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Refuse a request that is one too many or whose body announces itself as none of ours."""
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=self.request_id)
        self.set_header("X-Request-Id", self.request_id)
        door = f"{self.request.method} {type(self).__name__}"
        self._span = traces.tracer.request(door, self.request.headers)
        self.settings["running"].add(self)
        if self.settings["draining"].is_set():
            self.set_header("Connection", "close")
        self._body = bytearray()
        announced = self.request.headers.get("Content-Length", "")
        if announced.isdecimal() and (len(announced) > 9 or int(announced) > MAX_BODY):
            raise errors.BodyTooLarge
        self._refuse_wrapped_bodies()

    def _refuse_wrapped_bodies(self) -> None:
        headers = self.request.headers
        if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise errors.UnsupportedBody(field="Content-Encoding")
        if headers.get("Content-Type", "").strip().lower().startswith("multipart/"):
            raise errors.UnsupportedBody(field="Content-Type")

    @property
    def peer(self) -> str:
        """The address of who calls, behind the proxies that we trust."""
        forwarded = self.request.headers.get("X-Forwarded-For", "")
        return peer_of(self.request.remote_ip or "", forwarded, self.settings["trusted_proxies"])

    def on_finish(self) -> None:
        """Count the request as answered."""
        if self._span is not None:
            self._span.end(self.get_status())
        self.settings["running"].discard(self)

    def on_connection_close(self) -> None:
        """Forget a request whose sender has gone; what it began is finished all the same."""
        self.settings["running"].discard(self)
        super().on_connection_close()

    def data_received(self, chunk: bytes) -> None:
        """Collect the body while it is small enough; answer at once when it is not, which ends the connection."""
        self._body += chunk
        if len(self._body) > MAX_BODY:
            self._body.clear()
            self.send_error(exc_info=(errors.BodyTooLarge, errors.BodyTooLarge(), None))

    @property
    def inbound(self) -> Inbound:
        """The request as a provider may see it."""
        headers = {name.lower(): value for name, value in self.request.headers.get_all()}
        return Inbound(headers, self.request.query, bytes(self._body))

    def read_json(self, model: type[Model]) -> Model:
        """Return the body as ``model``; raises InvalidRequest that names the field."""
        return _checked(model, _parse_json(bytes(self._body)))

    def read_query(self, model: type[Model]) -> Model:
        """Return the query as ``model``; raises InvalidRequest that names the field."""
        return _checked(model, _parse_query(self.request.query))

    def answer(self, status: int, content: Mapping[str, Any]) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(content, ensure_ascii=False, separators=(",", ":")))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer every error of every door as RFC 9457 ``application/problem+json``."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        told = error_answer(error or HTTPError(status_code))
        metrics.REFUSED.labels(told.code).inc()
        self.set_status(told.status)
        # Tornado has cleared all headers before it comes here.
        self.set_header("X-Request-Id", self.request_id)
        if told.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if told.status == 405:
            self.set_header("Allow", ", ".join(self.allowed_methods))
        if isinstance(error, errors.TooManyRequests):
            for name, value in fields.of_limit(error).items():
                self.set_header(name, value)
        self.tell_error(told, error)

    def tell_error(self, told: ErrorAnswer, error: BaseException | None) -> None:
        """Write the error's body; a channel's callback overrides this with its provider's own words."""
        detail = str(error) if isinstance(error, errors.PayplatError) else ""
        problem = problem_of(told, self.request_id, detail, getattr(error, "field", None) or "")
        self.set_header("Content-Type", "application/problem+json")
        self.finish(json.dumps(problem, ensure_ascii=False))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Log what is ours to mend; a stack only for what nobody foresaw."""
        told = error_answer(value)
        if isinstance(value, errors.PayplatError):
            if not told.quiet:
                log.warning("refused", code=told.code, reason=str(value))
        elif not isinstance(value, HTTPError):
            log.error("uncaught", path=self.request.path, exc_info=(typ, value, tb))


class ClientHandler(BaseHandler):
    """The base of the doors for clients, who show who they are and may come so often and no oftener."""

    async def admit(self, scope: Scope) -> Client:
        """Return who calls, who may do this; raises UnknownClient, NotPermitted, TooManyRequests, ProviderUnavailable.

        Calls count for the client and its app. Those of strangers count for their address, and are nobody else's affair.
        """
        clients: Clients = self.settings["clients"]
        limits: Mapping[str, Limit] = self.settings["limits"]
        try:
            client = await clients.authenticate(self.request.headers.get("Authorization", ""))
        except errors.UnknownClient:
            limits["client"].spend(household(self.peer))
            raise
        limits["client"].spend(client.name or household(self.peer))
        if client.app is not None:
            limits["app"].spend(client.app)
        client.require(scope)
        return client


class NotFoundHandler(BaseHandler):
    """The door where there is none."""

    def prepare(self) -> None:
        """Answer every method with our JSON 404."""
        super().prepare()
        raise errors.NotFound


def _checked(model: type[Model], content: Any) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        raise errors.InvalidRequest(first["msg"], field=field) from None


def _parse_query(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in found:
            raise errors.InvalidRequest("The parameter is given twice.", field=name)
        found[name] = value
    return found


def _parse_json(body: bytes) -> Any:
    try:
        return strict_json.read(body.decode())
    except ValueError as error:
        raise errors.InvalidRequest(f"The body is no valid JSON: {_shorten(error)}.") from None


def _shorten(error: BaseException) -> str:
    return str(error).split(":")[0][:80]
