"""Everything payplat refuses, in one tree.

    PayplatError
    ├── ConfigurationError          the installation must not start
    ├── InvalidRequest              the caller's input is wrong; names the field
    │   ├── BodyTooLarge
    │   ├── UnsupportedBody         compressed, or in parts
    │   ├── UnknownProduct
    │   └── IdempotencyMismatch     the same key came with another body
    ├── NotFound
    │   └── OrderNotFound
    ├── Conflict
    │   ├── StillRunning            the first request with this key has not ended
    │   └── OrderClosed             the order no longer takes a payment
    ├── UnknownClient               the caller does not show who it is
    ├── SignInRefused               an operator's name, password or code is wrong, or there were too many wrong ones
    ├── NotPermitted                the caller may not do this
    ├── NotAuthentic                evidence that its provider did not sign
    ├── TooManyRequests             the caller's quota is used up; says when to come again
    ├── NotAccepted                 authentic evidence that must not pay this order
    │   ├── UnknownOrder            it names no order of ours
    │   ├── AnotherOrder            it names another order of ours
    │   ├── AlreadyPaid             another purchase has paid the order
    │   └── Mismatch                it differs from its order; names what differs
    ├── ProviderError
    │   ├── ProviderRefused         a permanent no
    │   ├── ProviderMisconfigured   our keys or contract are wrong there
    │   └── ProviderUnavailable     no answer that can be believed: the outcome is unknown; may name when to come again
    ├── NoAnswer                    a call to another host ended without an HTTP answer
    ├── Overloaded                  a bounded queue is full
    ├── Draining                    this process is shutting down
    └── DatabaseUnavailable         nothing can be stored now

A class's docstring is its default message. Nothing here knows HTTP: one table in ``handlers/base.py`` does.
"""


class PayplatError(Exception):
    """payplat could not do this."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n", 1)[0])


class ConfigurationError(PayplatError):
    """The configuration has faults."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class InvalidRequest(PayplatError):
    """The request is not valid."""

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class BodyTooLarge(InvalidRequest):
    """The request body is too large."""


class UnsupportedBody(InvalidRequest):
    """The request body must come as it is: not compressed, and not in parts."""


class UnknownProduct(InvalidRequest):
    """The app has no such product at this price."""


class IdempotencyMismatch(InvalidRequest):
    """This Idempotency-Key was used with another body."""


class NotFound(PayplatError):
    """There is nothing here."""


class OrderNotFound(NotFound):
    """There is no such order."""


class Conflict(PayplatError):
    """The request does not fit the present state."""


class StillRunning(Conflict):
    """The first request with this Idempotency-Key is still running."""


class OrderClosed(Conflict):
    """The order no longer takes a payment; open another one."""


class UnknownClient(PayplatError):
    """The request carries no token or key that is good here."""


class SignInRefused(PayplatError):
    """Name, password or code is wrong; after several wrong ones wait some minutes."""


class NotPermitted(PayplatError):
    """The client may not do this."""

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NotAuthentic(PayplatError):
    """The evidence was not signed by its provider."""


class TooManyRequests(PayplatError):
    """There were too many requests; come again later."""

    def __init__(self, limit: str, per_minute: int, seconds: int) -> None:
        super().__init__()
        self.limit, self.per_minute, self.seconds = limit, per_minute, seconds


class NotAccepted(PayplatError):
    """The evidence is authentic, but must not pay this order."""


class UnknownOrder(NotAccepted):
    """The evidence names no order of ours."""


class AnotherOrder(NotAccepted):
    """The purchase belongs to another order."""


class AlreadyPaid(NotAccepted):
    """Another purchase has paid this order already."""


class Mismatch(NotAccepted):
    """The evidence differs from its order."""

    def __init__(self, field: str) -> None:
        super().__init__(f"The {field} differs from the order's.")
        self.field = field


class ProviderError(PayplatError):
    """The provider could not help."""


class ProviderRefused(ProviderError):
    """The provider refused."""

    def __init__(
        self, message: str | None = None, *, code: str = "", answer: str = "", verifier: str = ""
    ) -> None:
        super().__init__(message)
        self.code, self.answer, self.verifier = code, answer, verifier


class ProviderMisconfigured(ProviderError):
    """The provider does not accept our account, keys or contract."""


class ProviderUnavailable(ProviderError):
    """The provider gave no answer that can be believed."""

    def __init__(self, message: str | None = None, *, retry_at: int | None = None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class NoAnswer(PayplatError):
    """The other side gave no answer."""


class Overloaded(PayplatError):
    """Too much work is waiting; try again."""


class Draining(PayplatError):
    """This process is shutting down; try again."""


class DatabaseUnavailable(PayplatError):
    """Nothing can be stored right now; try again."""
