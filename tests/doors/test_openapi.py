"""The OpenAPI document and its page: they say what the service does, no less and no more."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from tornado.web import Application
from typer.testing import CliRunner

from payplat.app import make_router
from payplat.cli import cli
from payplat.handlers.base import ERROR_TABLE, HTTP_CODES
from payplat.handlers.factory import STEPS, ChannelFactory
from payplat.openapi.document import CLIENT_MODES, document_of, places
from payplat.registry import installed_doors
from tests.doors.apple import Player
from tests.doors.test_events import pull

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
NO_ORDER = "0" * 32
# What people look at, and what is no part of the API: pages and their files.
PAGES = ("/console", "/docs")


@pytest.fixture
async def document(client) -> dict[str, Any]:
    """The document as it is served."""
    return (await client.call("GET", "/openapi.json")).json


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation with its path and method."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def validator(document: dict[str, Any], schema: dict[str, Any], *, closed: bool) -> Any:
    """Who judges values by a schema of the document; ``closed``: a field that is not described is a fault."""
    components = json.loads(json.dumps(document["components"]))
    if closed:
        for described in components["schemas"].values():
            if "properties" in described:
                described["additionalProperties"] = False
    return jsonschema_rs.validator_for({**schema, "components": components})


def content_of(document: dict[str, Any], path: str, method: str, reply: Any) -> dict[str, Any]:
    """What the document says of a reply's body; an assertion fails where it says nothing."""
    answers = document["paths"][path][method.lower()]["responses"]
    assert str(reply.status) in answers, (path, reply.status, reply.body)
    return answers[str(reply.status)].get("content", {})


# --- Both ways: the routes and the document ---


def routes_of(stage) -> Iterator[str]:
    """The patterns of all routes but the pages', with the channels' written out."""
    router = make_router(stage.platform)
    for rule in router.rules:
        if isinstance(rule.target, ChannelFactory):
            yield from (
                rf"/v1/{segment}/{channel}/?$"
                for segment in STEPS
                for channel in stage.platform.channels
            )
        elif isinstance(rule.target, Application):
            for inner in rule.target.wildcard_router.rules:
                yield inner.matcher.regex.pattern


async def test_every_route_is_documented(stage, document):
    """Each route of the application but the pages' has exactly one path in the document."""
    paths = [path.replace("{order_no}", NO_ORDER) for path in document["paths"]]
    patterns = [pattern for pattern in routes_of(stage) if not pattern.startswith(PAGES)]
    assert len(patterns) > 10
    found = {p: [path for path in paths if re.match(p, path)] for p in patterns}
    assert {pattern: its for pattern, its in found.items() if len(its) != 1} == {}


async def test_every_documented_path_is_there(client, document):
    """Each documented operation is done by a handler of its own, with or without a slash at the end, and no other is."""
    for path, method, _ in operations(document):
        bare = path.replace("{order_no}", NO_ORDER).rstrip("/")
        for asked in (bare, f"{bare}/"):
            reply = await client.call(method, asked, b"")
            assert reply.status != 404 or reply.json["code"] != "not_found", asked
            other = await client.call("PATCH", asked, b"")
            assert (other.status, other.headers["Allow"]) == (405, method)
            assert other.headers["X-Request-Id"]


async def test_the_document_tells_of_every_error(document):
    """The document has an example for each code of the table and of Tornado's refusals, and for no other."""
    examples = document["components"]["examples"]
    told = {answer.code: answer.status for answer in ERROR_TABLE.values()}
    assert set(examples) == set(told) | set(HTTP_CODES.values())
    for code, example in examples.items():
        assert example["summary"].endswith("."), code
        assert example["value"]["code"] == code
        assert example["value"]["status"] == told.get(code, 405)


def test_errors_are_told_with_the_tables_status(database_url):
    """Wherever an answer names errors they have its status; a forged push alone is 401, as Pub/Sub expects."""
    odd = {
        (place.name, ERROR_TABLE[kind].code, status)
        for place in places(installed_doors())
        for status, answer in place.operation.answers.items()
        for kind in answer.errors
        if ERROR_TABLE[kind].status != status
    }
    assert odd == {("callback_google", "not_authentic", 401)}


# --- What it says is true ---


def contents(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is said of each body of an operation."""
    for body in (operation.get("requestBody", {}), *operation["responses"].values()):
        yield from body.get("content", {}).values()


async def test_examples_are_good(document):
    """Each example of a request or an answer is what its schema describes."""
    shown = [
        (content["schema"], example["value"])
        for _, _, operation in operations(document)
        for content in contents(operation)
        for example in content.get("examples", {}).values()
        if "value" in example
    ]
    for name, schema in document["components"]["schemas"].items():
        its = {"$ref": f"#/components/schemas/{name}"}
        shown += [(its, example) for example in schema.get("examples", ())]
    assert len(shown) > 10
    for schema, value in shown:
        assert validator(document, schema, closed=True).is_valid(value), value


async def test_examples_of_errors_are_good(document):
    """Each answer that tells of errors shows exactly those that it may have, as they are told."""
    problem = validator(document, {"$ref": "#/components/schemas/Problem"}, closed=True)
    assert all(
        map(problem.is_valid, (e["value"] for e in document["components"]["examples"].values()))
    )
    for path, _, operation in operations(document):
        for answer in operation["responses"].values():
            if told := answer.get("content", {}).get("application/problem+json"):
                codes = told["schema"]["properties"]["code"]["enum"]
                assert [told["examples"][code]["$ref"] for code in codes] == [
                    f"#/components/examples/{code}" for code in codes
                ], path


async def test_every_request_has_an_example(document):
    """Whoever looks at an operation with a body sees one."""
    bodies = [
        operation["requestBody"]
        for _, _, operation in operations(document)
        if "requestBody" in operation
    ]
    assert len(bodies) == 7
    for body in bodies:
        (content,) = body["content"].values()
        assert content["examples"]


async def test_answers_are_as_described(client, stage, document):
    """Answers of every kind to real calls fit the document, and have no field that it does not describe."""
    created = [await client.create(channel=name) for name in ("alipay", "apple", "google")]
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    await stage.alipay.refund(order_no, 200, "r1")
    bought, purchase = await Player(client).bought()
    create, order, events = "/v1/create_order/", "/v1/orders/{order_no}", "/v1/events"
    replies = [
        *((create, "POST", reply) for reply in created),
        (create, "POST", await client.create(product_id="nothing")),
        (create, "POST", await client.create(channel="nothing")),
        (create, "POST", await client.call("POST", create, b"x" * 70000)),
        (create, "POST", await client.call("POST", create, b"x", Content_Encoding="gzip")),
        (order, "GET", await client.call("GET", f"/v1/orders/{order_no}")),
        (order, "GET", await client.call("GET", f"/v1/orders/{created[1].json['order_no']}")),
        (order, "GET", await client.call("GET", "/v1/orders/nothing")),
        (order, "GET", await client.call("GET", "/v1/orders/%FF")),
        (events, "GET", await pull(client)),
        (events, "GET", await client.call("GET", "/v1/events?limit=0")),
        ("/v1/verify/alipay", "POST", await client.verify(order_no)),
        ("/v1/verify/apple", "POST", await Player(client).submits(bought, purchase.jws)),
        ("/v1/verify/apple", "POST", await Player(client).submits(bought, "a.b.c")),
        ("/v1/verify/google", "POST", await client.verify(order_no, "google")),
        ("/v1/callback/alipay", "POST", await client.callback(b"sign=x")),
        ("/v1/callback/apple", "POST", await client.call("POST", "/v1/callback/apple", {})),
        ("/v1/callback/google", "POST", await client.call("POST", "/v1/callback/google", {})),
        ("/healthz", "GET", await client.call("GET", "/healthz")),
        ("/readyz", "GET", await client.call("GET", "/readyz")),
    ]
    stage.platform.draining.set()
    replies.append(("/readyz", "GET", await client.call("GET", "/readyz")))
    seen = sorted({reply.status for _, _, reply in replies})
    assert seen == [200, 201, 400, 401, 404, 413, 415, 422, 503]
    for path, method, reply in replies:
        ((media, content),) = content_of(document, path, method, reply).items()
        sent = reply.headers["Content-Type"]
        assert sent.partition(";")[0] == media.partition(";")[0], path
        value = reply.json if "json" in media else reply.body.decode()
        judge = validator(document, content["schema"], closed=True)
        assert [str(fault) for fault in judge.iter_errors(value)] == [], (path, reply.status)


async def test_a_request_that_dies_early_has_an_id_too(client):
    """What Tornado refuses before any handler of ours has begun is told like every other error."""
    named = {"X_Request_Id": "mine-1"}
    for method, path in (("BREW", "/v1/events"), ("GET", "/v1/orders/%FF")):
        reply = await client.call(method, path, **named)
        assert reply.json["request_id"] == reply.headers["X-Request-Id"] == "mine-1"


# --- Who reads it ---


async def test_it_is_kept_for_minutes_and_asked_for_again(client):
    """Document and page may be kept by anybody, and cost nothing where they have not changed."""
    for path in ("/openapi.json", "/docs"):
        reply = await client.call("GET", path)
        assert reply.status == 200
        assert reply.headers["Cache-Control"] == "public, max-age=300"
        again = await client.call("GET", path, If_None_Match=reply.headers["Etag"])
        assert (again.status, again.body) == (304, b"")


def test_it_names_the_channels_that_are_open(database_url):
    """Only they have paths, by their own names, and an order can be opened for no other."""
    door = installed_doors()["alipay"]
    document = document_of({"alipay_hk": door, "alipay": door}, CLIENT_MODES)
    channels = {
        p.rsplit("/", 1)[1] for p in document["paths"] if re.match("/v1/(callback|verify)", p)
    }
    assert channels == {"alipay", "alipay_hk"}
    schemas = document["components"]["schemas"]
    assert schemas["OrderRequest"]["properties"]["channel"]["enum"] == ["alipay", "alipay_hk"]
    assert "GooglePush" not in schemas
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("modes", "reads", "pulls"),
    [
        (["open"], None, None),
        (["jwt"], ["jwt"], ["jwt"]),
        (["api_key"], ["api_key"], ["api_key"]),
        (["jwt", "api_key"], ["jwt", "api_key"], ["api_key"]),
    ],
    ids=str,
)
def test_it_says_who_may_call(database_url, modes, reads, pulls):
    """Where everybody may call it asks for nothing; otherwise for what the configuration permits.

    Users pull no events: where there are only users nobody has the scope that is asked for.
    """
    document = document_of(installed_doors(), modes)
    told = {}
    for path, _, operation in operations(document):
        ways = operation.get("security")
        told[path] = None if ways is None else [name for way in ways for name in way]
    assert told["/v1/orders/{order_no}"] == reads
    assert told["/v1/events"] == pulls
    assert told["/healthz"] is told["/v1/callback/apple"] is None


def test_the_command_prints_it(database_url):
    """``payplat openapi`` needs no configuration and tells of every installed channel."""
    printed = CliRunner().invoke(cli, ["openapi"])
    assert printed.exit_code == 0
    assert json.loads(printed.output) == document_of(installed_doors(), CLIENT_MODES)


async def test_the_page_shows_it_all(client, document):
    """Each path, operation and error code is on the page, which has no script and loads nothing from elsewhere."""
    reply = await client.call("GET", "/docs")
    page = reply.body.decode()
    assert "'unsafe" not in reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    for path, method, operation in operations(document):
        assert f'id="{operation["operationId"]}"' in page
        assert re.search(rf"{method}</b> <code>{re.escape(path)}</code>", page), path
    for code in document["components"]["examples"]:
        assert f'id="error-{code}"' in page
    assert not re.search(r"<script|<style|\son\w+=|\sstyle=|https?://", page)
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    anchors = {link[1:] for link in links if link.startswith("#")}
    assert anchors <= set(re.findall(r'\sid="([^"]+)"', page))
    for link in {link for link in links if not link.startswith("#")}:
        assert (await client.call("GET", link)).status == 200, link
