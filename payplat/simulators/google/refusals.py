"""Google's ways to say no: the Android Publisher API, the token endpoint, and Play Billing on the device.

Shape from Google's client libraries, reasons from public reports and the "Error codes" tables of
the Android Publisher reference; Google publishes no complete list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_TOKEN = ("androidpublisher", "token", "parameter")
_GLOBAL = ("global", "", "")

_API: dict[str, tuple[int, str, tuple[str, str, str]]] = {
    "invalid": (400, "Invalid Value", _GLOBAL),
    "parseError": (400, "Parse Error", _GLOBAL),
    "purchaseTokenDoesNotMatchProductId": (
        400,
        "The purchase token does not match the product ID.",
        _TOKEN,
    ),
    "purchaseTokenDoesNotMatchPackageName": (
        400,
        "The purchase token does not match the package name.",
        _TOKEN,
    ),
    "invalidPurchaseState": (
        400,
        "The purchase is not in a valid state to perform the desired operation.",
        _TOKEN,
    ),
    "productNotOwnedByUser": (400, "The product purchase is not owned by the user.", _TOKEN),
    "authError": (401, "Invalid Credentials", ("global", "Authorization", "header")),
    "permissionDenied": (
        401,
        "The current user has insufficient permissions to perform the requested operation.",
        ("androidpublisher", "", ""),
    ),
    "projectNotLinked": (
        403,
        "The project id used to call the Google Play Developer API has not been linked.",
        ("androidpublisher", "", ""),
    ),
    "accessNotConfigured": (
        403,
        "Google Play Android Developer API has not been used in this project.",
        ("usageLimits", "", ""),
    ),
    "dailyLimitExceeded": (403, "Daily Limit Exceeded", ("usageLimits", "", "")),
    "applicationNotFound": (
        404,
        "No application was found for the given package name.",
        ("androidpublisher", "packageName", "parameter"),
    ),
    "purchaseTokenNotFound": (404, "The purchase token was not found.", _TOKEN),
    "notFound": (404, "Not Found", _GLOBAL),
    "concurrentUpdate": (409, "The object is being updated concurrently.", _GLOBAL),
    "purchaseTokenNoLongerValid": (
        410,
        "The purchase token is no longer valid.",
        _TOKEN,
    ),
    "rateLimitExceeded": (429, "Rate Limit Exceeded", ("usageLimits", "", "")),
    "quotaExceeded": (429, "Quota exceeded for quota metric.", ("usageLimits", "", "")),
    "internalError": (500, "Internal error encountered.", _GLOBAL),
    "backendError": (503, "Backend Error", _GLOBAL),
}
_OAUTH = {
    "invalid_request": (400, "Missing or invalid parameter."),
    "invalid_grant": (400, "Invalid JWT Signature."),
    "invalid_scope": (400, "Invalid OAuth scope or ID token audience provided."),
    "unsupported_grant_type": (400, "Invalid grant_type."),
    "invalid_client": (401, "The OAuth client was not found."),
    "unauthorized_client": (401, "Client is unauthorized to retrieve access tokens."),
}
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
REASONS = (*_API, *_OAUTH)

BILLING = {
    "ITEM_UNAVAILABLE": 4,
    "DEVELOPER_ERROR": 5,
    "ITEM_ALREADY_OWNED": 7,
}
"""BillingClient.BillingResponseCode, as far as it is said here."""


@dataclass(frozen=True)
class Answer:
    """What goes back: `body` None is an empty one."""

    status: int
    body: dict[str, Any] | None
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """The API or the token endpoint says no, for one of REASONS."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(f"{reason} {message}".strip())
        self.reason = reason
        self.message = message

    def answer(self) -> Answer:
        """As it goes over the wire."""
        if self.reason in _OAUTH:
            status, message = _OAUTH[self.reason]
            told = {"error": self.reason, "error_description": self.message or message}
            return Answer(status, told, self.reason)
        return self._envelope(*_API[self.reason])

    def _envelope(self, code: int, message: str, where: tuple[str, str, str]) -> Answer:
        message = self.message or message
        domain, location, kind = where
        detail = {"message": message, "domain": domain, "reason": self.reason}
        if location:
            detail |= {"location": location, "locationType": kind}
        error = {"code": code, "message": message, "errors": [detail]}
        if code in _STATUS:
            error["status"] = _STATUS[code]
        wanted = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
        headers = {"WWW-Authenticate": wanted} if code == 401 else {}
        return Answer(code, {"error": error}, self.reason, headers)


class BillingRefusal(Exception):
    """Play Billing on the device says no, by a name of BILLING."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name

    def answer(self) -> dict[str, Any]:
        """BillingResult: code and debug message."""
        return {
            "response_code": BILLING[self.name],
            "response": self.name,
            "debug_message": str(self),
        }
