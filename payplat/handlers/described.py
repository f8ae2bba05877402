"""What the OpenAPI document says of an operation, written beside the handler that does it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from payplat.clients import Scope
from payplat.errors import (
    BodyTooLarge,
    DatabaseUnavailable,
    InvalidRequest,
    NotPermitted,
    Overloaded,
    PayplatError,
    ProviderUnavailable,
    TooManyRequests,
    UnknownClient,
    UnsupportedBody,
)
from payplat.handlers.base import ERROR_TABLE, Problem

JSON, PROBLEM = "application/json", "application/problem+json"
# What can become of any request, and of one that needs the ledger.
ANY_REQUEST = (BodyTooLarge, UnsupportedBody, PayplatError)
STORED = (*ANY_REQUEST, Overloaded, DatabaseUnavailable)
# What can become of a client's call.
CLIENTS = (
    *STORED,
    InvalidRequest,
    UnknownClient,
    NotPermitted,
    TooManyRequests,
    ProviderUnavailable,
)
_HEADERS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
}


@dataclass(frozen=True, slots=True)
class Content:
    """A body: ``type`` is one that pydantic can describe, ``examples`` are values by name."""

    type: Any
    media: str = JSON
    examples: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: a sentence, its body, and the header fields that it has beside those of every answer.

    ``links`` are OpenAPI's Link Objects by name: which operations can follow, and with what of this answer.
    ``errors`` are those that are told by it, where it tells of errors.
    """

    says: str
    content: Content | None = None
    headers: tuple[str, ...] = ()
    links: Mapping[str, Any] = field(default_factory=dict)
    errors: tuple[type[PayplatError], ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; ``scope`` is what its caller must be allowed, None where anybody may call.

    ``query`` is a pydantic model; ``headers`` and ``path`` have types by the parameters' names.
    """

    name: str
    title: str
    says: str
    answers: Mapping[int, Answer]
    scope: Scope | None = None
    body: Content | None = None
    query: Any = None
    path: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)


def problems(*kinds: type[PayplatError], status: int | None = None) -> dict[int, Answer]:
    """Return the answers that tell of these errors, by HTTP status: the table's, or ``status`` for all of them."""
    found: dict[int, tuple[type[PayplatError], ...]] = {}
    for kind in kinds:
        told_by = status or ERROR_TABLE[kind].status
        found[told_by] = (*found.get(told_by, ()), kind)
    return {
        told_by: Answer(
            " or ".join(dict.fromkeys(ERROR_TABLE[kind].code for kind in its)),
            Content(Problem, PROBLEM),
            _HEADERS.get(told_by, ()),
            errors=its,
        )
        for told_by, its in sorted(found.items())
    }
