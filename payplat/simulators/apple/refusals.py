"""The App Store Server API's error table, word for word ("Error codes" and the page of each error)."""

from __future__ import annotations

_INVALID = "Invalid request. "
_FIELD = "Invalid request. The {} field is invalid."
_PARAMETER = "Invalid request. The {} parameter is invalid."

MESSAGES = {
    4000000: "Bad request.",
    4000002: "Invalid request app identifier.",
    4000005: "Invalid request revision.",
    4000006: "Invalid transaction id.",
    4000008: "Invalid original transaction id.",
    4000012: f"{_INVALID}The start date is earlier than the allowed start date.",
    4000013: f"{_INVALID}The end date precedes the start date or the dates are the same.",
    4000014: f"{_INVALID}The pagination token is invalid.",
    4000015: f"{_INVALID}The start date is not a timestamp value represented in milliseconds.",
    4000016: f"{_INVALID}The end date is not a timestamp value represented in milliseconds.",
    4000017: f"{_INVALID}The pagination token is expired.",
    4000018: f"{_INVALID}The notification type or subtype is invalid.",
    4000019: f"{_INVALID}Supply either a transaction id or a notification type, but not both.",
    4000020: f"{_INVALID}The test notification token is invalid.",
    4000021: _PARAMETER.format("sort"),
    4000022: _PARAMETER.format("product type"),
    4000023: _PARAMETER.format("product id"),
    4000024: _PARAMETER.format("subscription group identifier"),
    4000026: _PARAMETER.format("in-app ownership type"),
    4000030: _PARAMETER.format("revoked"),
    4000035: f"{_INVALID}The customer consented field is required and must indicate "
    "the customer consented.",
    4000036: _FIELD.format("delivery status"),
    4000041: _FIELD.format("sample content provided"),
    4000044: _FIELD.format("refund preference"),
    4000048: f"{_INVALID}App transactions aren't supported by this endpoint.",
    4000183: f"{_INVALID}The app account token field must be a valid UUID.",
    4000185: f"{_INVALID}Family Sharing transactions aren't supported by this endpoint.",
    4000187: f"{_INVALID}The transaction ID provided is not an original transaction ID.",
    4000209: f"{_INVALID}The consumption percentage field is not supported for "
    "auto-renewable subscription transactions.",
    4040001: "Account not found.",
    4040002: "Account not found. Please try again.",
    4040003: "App not found.",
    4040004: "App not found. Please try again.",
    4040005: "Original transaction id not found.",
    4040006: "Original transaction id not found. Please try again.",
    4040007: "No App Store Server Notification URL found for provided app. "
    "Check that a URL is configured in App Store Connect for this environment.",
    4040008: "Either the test notification token is expired or the notification and status "
    "are not yet available.",
    4040010: "Transaction id not found.",
    4290000: "Rate limit exceeded.",
    5000000: "An unknown error occurred.",
    5000001: "An unknown error occurred. Please try again.",
}

NO_SUCH_PATH = 4040000
"""Apple tells nothing of paths that do not exist; this number is ours."""


class Refusal(Exception):
    """An error answer; the first three digits of its code are the HTTP status."""

    def __init__(self, code: int) -> None:
        super().__init__(f"{code}: {MESSAGES.get(code, 'Not found.')}")
        self.code = code

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.code // 10000

    def answer(self) -> dict[str, object]:
        """The body of the answer."""
        message = MESSAGES.get(self.code, "Not found.")
        return {"errorCode": self.code, "errorMessage": message}


class Unauthorized(Exception):
    """The bearer is not good enough: 401 without a body ("Generating JSON Web Tokens")."""
