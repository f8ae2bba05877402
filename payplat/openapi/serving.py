"""``/openapi.json`` and ``/docs``: the document for programs and for people, to everybody and without a network."""

from pathlib import Path
from typing import Any, ClassVar, Protocol

from payplat.handlers.base import BaseHandler
from payplat.handlers.described import ANY_REQUEST, Answer, Content, Operation, problems
from payplat.handlers.files import FileHandler, Files

HERE = Path(__file__).parent
FILES = Files(HERE / "static", "/docs/static")
# What they say changes only with the configuration and the version.
_CACHED = "public, max-age=300"
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


class Reference(Protocol):
    """Who has the document in both forms."""

    @property
    def text(self) -> bytes:
        """The document as JSON."""

    @property
    def page(self) -> bytes:
        """The document as HTML."""


class DocumentHandler(BaseHandler):
    """The document itself."""

    description: ClassVar[Operation] = Operation(
        name="openapi",
        title="Read this document",
        says="The channels in it are those that are open here.",
        answers={
            200: Answer("OpenAPI 3.1.", Content(dict[str, Any])),
            **problems(*ANY_REQUEST),
        },
    )

    def initialize(self, reference: Reference) -> None:
        """Receive who has the document."""
        self.reference = reference

    def get(self) -> None:
        """Answer the document."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", _CACHED)
        self.finish(self.reference.text)


class DocsHandler(BaseHandler):
    """The document as a page, which needs no script."""

    def initialize(self, reference: Reference) -> None:
        """Receive who has the page."""
        self.reference = reference

    def get(self) -> None:
        """Answer the page."""
        self.set_header("Cache-Control", _CACHED)
        self.set_header("Content-Security-Policy", _POLICY)
        self.finish(self.reference.page)


class DocsFile(FileHandler):
    """``/docs/static/<name>``."""

    files = FILES
