"""The document of one installation, made when somebody first asks for it, and the addresses at which it is read."""

import json
from collections.abc import Collection
from functools import cached_property
from typing import Any

from payplat.openapi.document import document_of
from payplat.openapi.page import page_of
from payplat.openapi.serving import DocsFile, DocsHandler, DocumentHandler
from payplat.registry import Doors


class OpenReference:
    """The document for the channels that are open, and for how clients show who they are here."""

    def __init__(self, doors: Doors, modes: Collection[str]) -> None:
        self._doors, self._modes = doors, modes

    @cached_property
    def text(self) -> bytes:
        """The document as JSON."""
        return json.dumps(self._document, ensure_ascii=False, separators=(",", ":")).encode()

    @cached_property
    def page(self) -> bytes:
        """The document as HTML."""
        return page_of(self._document)

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document_of(self._doors, self._modes)


def routes(doors: Doors, modes: Collection[str]) -> list[tuple[Any, ...]]:
    """Return the addresses of document and page."""
    given = {"reference": OpenReference(doors, modes)}
    return [
        (r"/openapi\.json/?", DocumentHandler, given),
        (r"/docs/?", DocsHandler, given),
        (r"/docs/static/([^/]+)", DocsFile),
    ]
