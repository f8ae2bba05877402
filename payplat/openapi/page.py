"""The document as a page: what its schemas say in words, laid out by a template. No script, nothing from elsewhere."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tornado.escape import xhtml_escape
from tornado.template import Loader

from payplat.console.files import address_of as console_file
from payplat.openapi.serving import FILES, HERE

Schema = Mapping[str, Any]
_CODE = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    """A field as a reader sees it: where it stands, what it is, whether it must be there."""

    name: str
    kind: str
    is_required: bool
    says: str


def page_of(document: Schema) -> bytes:
    """Return the page of a document."""
    loader = Loader(str(HERE / "pages"), whitespace="oneline")
    reader = Reader(document)
    return loader.load("docs.html").generate(
        document=document,
        chapters=_chapters(document),
        reader=reader,
        prose=prose,
        pretty=pretty,
        style=FILES.address_of("docs.css"),
        sign=console_file("payplat.svg"),
    )


def _chapters(document: Schema) -> dict[str, list[tuple[str, str, Schema]]]:
    """Return the operations as (path, method, operation), by tag, in the document's order."""
    found: dict[str, list[tuple[str, str, Schema]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found.setdefault(operation["tags"][0], []).append((path, method.upper(), operation))
    return found


def prose(text: str) -> str:
    """Return text as HTML: escaped, with what stands in backticks as code."""
    return _CODE.sub(r"<code>\1</code>", xhtml_escape(text))


def pretty(value: Any) -> str:
    """Return an example as people read it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


class Reader:
    """Reads the schemas of one document."""

    def __init__(self, document: Schema) -> None:
        self._document = document

    def find(self, part: Schema) -> Schema:
        """Return what a reference refers to, or the part itself."""
        while "$ref" in part:
            found: Any = self._document
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            part = found
        return part

    def rows(self, schema: Schema, within: str = "") -> Iterator[Row]:
        """Yield the fields of an object, those of objects in it after their own, as ``events[].id``."""
        schema = self.find(schema)
        if schema.get("type") == "array":
            yield from self.rows(schema["items"], f"{within.removesuffix('.')}[].")
        for choice in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
            yield from self.rows(choice, within)
        for name, field in schema.get("properties", {}).items() if "allOf" not in schema else ():
            full = f"{within}{name}"
            says = field.get("description", "")
            yield Row(full, self.kind(field), name in schema.get("required", ()), says)
            yield from self.rows(field, f"{full}.")

    def kind(self, schema: Schema) -> str:
        """Return in words what values a schema takes."""
        schema = self.find(schema)
        if "enum" in schema:
            return " | ".join(schema["enum"])
        if "const" in schema:
            return str(schema["const"])
        if "anyOf" in schema:
            return " | ".join(map(self.kind, schema["anyOf"]))
        if schema.get("type") == "array":
            return f"list of {self.kind(schema['items'])}"
        inner = schema.get("additionalProperties")
        if isinstance(inner, dict):
            return f"object of {self.kind(inner)}"
        return f"{schema.get('type', 'any')}{_bounds(schema)}"

    def examples(self, content: Schema) -> dict[str, Any]:
        """Return the examples of a body by name, its schema's where it has none of its own."""
        own = {name: self.find(told)["value"] for name, told in content.get("examples", {}).items()}
        shown = self.find(content["schema"]).get("examples", ())
        return own if own or not shown else {"Example": shown[0]}


def _bounds(schema: Schema) -> str:
    """Return what bounds a value."""
    if "minimum" in schema:
        return f", {schema['minimum']} to {schema['maximum']}"
    if "pattern" in schema:
        return f", {schema['pattern']}"
    return f", at most {schema['maxLength']} characters" if "maxLength" in schema else ""
