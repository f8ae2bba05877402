"""The OpenAPI 3.1 document, made from what the handlers say of themselves and from their own models."""

from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import version
from itertools import starmap
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from payplat.clients import USER_SCOPES, Scope
from payplat.handlers.base import ERROR_TABLE, HTTP_CODES, ErrorAnswer, problem_of
from payplat.handlers.create_order import CreateOrder
from payplat.handlers.described import Answer, Content, Operation
from payplat.handlers.events import EventsHandler
from payplat.handlers.factory import STEPS
from payplat.handlers.health import HealthHandler, ReadyHandler
from payplat.handlers.orders import OrderHandler
from payplat.openapi.serving import DocumentHandler
from payplat.registry import Doors

Schema = dict[str, Any]
_ABOUT = """\
A game's or app's client opens an order and submits what shows that it was paid; your server is told by a signed \
delivery, and can read orders and events.

Amounts are in minor units (600 is ¥6.00), times RFC 3339 in UTC. Bodies are UTF-8 JSON of at most 64 KiB, neither \
compressed nor in parts; a field that is not described is refused. A path may end with a slash or not. Another method \
than those described is answered with 405. Errors are `application/problem+json` (RFC 9457) with a `code` that stays the \
same for good; to a 5xx and to a 429 come again later. What is no HTTP at all gets a bare 400 of the server's, without a \
body.
"""
_SCHEMES = {
    "jwt": "A token (JWT) of the app's own login: its user, who may buy for himself and see his own orders.",
    "api_key": "A key of the app's backend, by `payplat keys create`: it may do what its scopes say.",
}
# How clients can show who they are.
CLIENT_MODES = tuple(_SCHEMES)
_EXAMPLE_ID = "0197f3a1c2d4e5f60718293a4b5c6d7e"
_HEADERS = {
    "X-Request-Id": (
        "The request's id, which the log has too.",
        "0197f3a1c2d4e5f60718293a4b5c6d7e",
    ),
    "WWW-Authenticate": ("How to show who calls.", "Bearer"),
    "Retry-After": ("Seconds until the next call is served.", "7"),
    "RateLimit": ("Which limit is used up, and for how many seconds.", '"client";r=0;t=7'),
    "RateLimit-Policy": ("The limit: so many calls in a minute.", '"client";q=6000;w=60'),
}
_REQUEST_ID = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "The caller's id for this request, 1 to 64 of `A-Za-z0-9._-`; anything else is replaced by ours.",
    "schema": {"type": "string"},
}


_CLIENT_PATHS: tuple[tuple[str, Any], ...] = (
    ("/v1/create_order/", CreateOrder),
    ("/v1/orders/{order_no}", OrderHandler),
    ("/v1/events", EventsHandler),
)
_OTHER_PATHS: tuple[tuple[str, Any], ...] = (
    ("/healthz", HealthHandler),
    ("/readyz", ReadyHandler),
    ("/openapi.json", DocumentHandler),
)


class Place(NamedTuple):
    """Where an operation is found."""

    path: str
    method: str
    name: str
    operation: Operation
    channel: str | None = None


class _Schemas(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - a name says it already
        return False


def places(doors: Doors) -> Iterator[Place]:
    """Yield every operation, of the channels those of ``doors``, by channel."""
    yield from starmap(_place, _CLIENT_PATHS)
    # What clients call before what providers call.
    for segment, step in sorted(STEPS.items(), reverse=True):
        for channel, door in sorted(doors.items()):
            told = door.descriptions[step]
            yield Place(f"/v1/{segment}/{channel}", "post", f"{told.name}_{channel}", told, channel)
    yield from starmap(_place, _OTHER_PATHS)


def _place(path: str, handler: Any) -> Place:
    told: Operation = handler.description
    return Place(path, handler.allowed_methods[0].lower(), told.name, told)


def document_of(doors: Doors, modes: Collection[str]) -> Schema:
    """Return the document for these channels, whose clients show who they are by ``modes``, as ``auth.mode`` has them."""
    found = list(places(doors))
    writer = _Writer(found, modes)
    paths: dict[str, Schema] = {}
    for place in found:
        paths.setdefault(place.path, {})[place.method] = writer.operation(place)
    _name_channels(writer.schemas, sorted(doors), paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "payplat",
            "version": version("payplat"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": writer.schemas,
            "headers": {name: _header(*told) for name, told in _HEADERS.items()},
            "examples": _error_examples(),
            "securitySchemes": {
                mode: {"type": "http", "scheme": "bearer", "description": told}
                for mode, told in _SCHEMES.items()
                if mode in modes
            },
        },
    }


def _name_channels(schemas: Schema, channels: list[str], paths: Mapping[str, Schema]) -> None:
    """Say which channels an order can be opened for, with an example of each."""
    request = schemas["OrderRequest"]["properties"]["channel"]
    request["enum"] = channels
    body = paths["/v1/create_order/"]["post"]["requestBody"]["content"]["application/json"]
    order = {"product_id": "coins_500", "receiver": "player-1", "metadata": {"server": "7"}}
    body["examples"] = {name: {"value": {"channel": name, **order}} for name in channels}


class _Writer:
    """Writes operations; ``schemas`` are those that they refer to."""

    def __init__(self, found: Collection[Place], modes: Collection[str]) -> None:
        types = [kind for place in found for kind in _types(place.operation)]
        keyed = [(number, "validation", TypeAdapter(kind)) for number, kind in enumerate(types)]
        made, definitions = TypeAdapter.json_schemas(
            keyed,  # type: ignore[arg-type]
            ref_template="#/components/schemas/{model}",
            schema_generator=_Schemas,
        )
        self.schemas: Schema = definitions["$defs"]
        self._of = {id(kind): made[number, "validation"] for number, kind in enumerate(types)}
        self._types = types  # their ids must stay theirs
        self._modes = modes

    def operation(self, place: Place) -> Schema:
        """Return an operation as the document has it."""
        told = place.operation
        written: Schema = {
            "operationId": place.name,
            "summary": f"{told.title}: {place.channel}" if place.channel else told.title,
            "description": told.says,
            "tags": [_tag(place)],
            "parameters": [*self._parameters(told), _REQUEST_ID],
            "responses": {
                str(status): self._answer(status, answer)
                for status, answer in sorted(told.answers.items())
            },
        }
        if told.body:
            written["requestBody"] = {"required": True, "content": self._content(told.body)}
        if told.scope and (security := self._security(told.scope)):
            written["security"] = security
        return written

    def _security(self, scope: Scope) -> list[Schema]:
        """Return who may: users too where they have the scope; without anybody who has it, nobody gets in."""
        modes = [mode for mode in _SCHEMES if mode in self._modes]
        having = [mode for mode in modes if mode != "jwt" or scope in USER_SCOPES]
        return [{mode: [str(scope)]} for mode in having or modes]

    def _parameters(self, told: Operation) -> Iterator[Schema]:
        for name, kind in told.path.items():
            yield _parameter(name, "path", self._of[id(kind)], required=True)
        if told.query:
            query = self._resolved(told.query)
            for name, schema in query["properties"].items():
                yield _parameter(name, "query", schema, required=name in query.get("required", ()))
        for name, kind in told.headers.items():
            yield _parameter(name, "header", self._of[id(kind)], required=False)

    def _resolved(self, kind: Any) -> Schema:
        """Return the model's own schema, which no other refers to."""
        schema: Schema = self.schemas.pop(self._of[id(kind)]["$ref"].rpartition("/")[2])
        return schema

    def _answer(self, status: int, answer: Answer) -> Schema:
        names = ("X-Request-Id", *answer.headers)
        written: Schema = {
            "description": answer.says,
            "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        }
        if answer.links:
            written["links"] = answer.links
        if answer.content:
            written["content"] = self._content(answer.content)
        if answer.content and answer.errors:
            codes = [ERROR_TABLE[kind].code for kind in answer.errors]
            (told,) = written["content"].values()
            told["schema"] = _narrowed(told["schema"], status, codes)
            told["examples"] = {c: {"$ref": f"#/components/examples/{c}"} for c in codes}
        return written

    def _content(self, content: Content) -> Schema:
        told: Schema = {"schema": self._of[id(content.type)]}
        if content.examples:
            told["examples"] = {name: {"value": value} for name, value in content.examples.items()}
        return {content.media: told}


def _types(told: Operation) -> Iterator[Any]:
    contents = [told.body, *(answer.content for answer in told.answers.values())]
    yield from (content.type for content in contents if content)
    yield from (told.query,) if told.query else ()
    yield from (*told.path.values(), *told.headers.values())


def _narrowed(problem: Schema, status: int, codes: list[str]) -> Schema:
    """Return the schema of the problems that have this status and one of these codes."""
    return {
        "allOf": [problem],
        "properties": {"status": {"const": status}, "code": {"enum": codes}},
    }


def _parameter(name: str, where: str, schema: Schema, *, required: bool) -> Schema:
    own = {key: value for key, value in schema.items() if key != "description"}
    described = {"description": schema["description"]} if "description" in schema else {}
    return {"name": name, "in": where, "required": required, **described, "schema": own}


def _header(says: str, example: str) -> Schema:
    return {"description": says, "required": True, "schema": {"type": "string"}, "example": example}


def _error_examples() -> Schema:
    """Return an example of every error, by code; its summary is what the code means."""
    told = [(answer, str(kind.__doc__).split("\n", 1)[0]) for kind, answer in ERROR_TABLE.items()]
    told.append((ErrorAnswer(405, HTTP_CODES[405]), ""))
    return {
        answer.code: {
            "summary": sentence or "The path has no such method; `Allow` names those that it has.",
            "value": problem_of(answer, _EXAMPLE_ID, sentence),
        }
        for answer, sentence in sorted(told)
    }


def _tag(place: Place) -> str:
    if place.channel:
        return "Verification" if place.operation.scope else "Callbacks"
    return "Orders and events" if place.operation.scope else "Operations"
