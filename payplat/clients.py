"""Who calls: an app's user with a token of the app's own login, or the app's backend with an API key.

A client sees one app, a user only his own orders. What it may not see looks exactly like what is not there.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from payplat.api_keys import PREFIX, ApiKeys
from payplat.errors import ConfigurationError, NotPermitted, UnknownClient
from payplat.logins import Login, claimed_issuer, login_of
from payplat.purchase import Order, is_receiver
from payplat.settings import Settings

_MAX_TOKEN = 8192


class Scope(StrEnum):
    """What a client may do."""

    BUY = "buy"  # open orders and have them verified
    READ = "read"  # read orders
    EVENTS = "events"  # pull events


# What an app's users may do.
USER_SCOPES = frozenset({Scope.BUY, Scope.READ})


@dataclass(frozen=True, slots=True)
class Client:
    """Who calls. ``app`` None is every app, ``receiver`` None every user; ``name`` is for limits and records."""

    name: str
    app: str | None
    receiver: str | None
    scopes: Collection[str]

    def require(self, scope: Scope) -> None:
        """Raises NotPermitted unless the client may do that."""
        if scope not in self.scopes:
            raise NotPermitted

    def acts_in(self, app: str) -> bool:
        """Whether the app is the client's."""
        return self.app in (None, app)

    def acts_for(self, receiver: str) -> bool:
        """Whether the client may buy for that user."""
        return self.receiver in (None, receiver)

    def sees(self, order: Order) -> bool:
        """Whether the order is the client's."""
        return self.acts_in(order.app) and self.acts_for(order.receiver)


ANYBODY = Client("", None, None, frozenset(Scope))


class Clients:
    """Tells who calls, by what ``modes`` of the configuration permit."""

    def __init__(
        self, modes: Collection[str], logins: Mapping[str, Login], api_keys: ApiKeys
    ) -> None:
        self._modes, self._logins, self._api_keys = modes, logins, api_keys

    async def authenticate(self, authorization: str) -> Client:
        """Return who sent this ``Authorization`` header.

        Raises UnknownClient, and ProviderUnavailable or DatabaseUnavailable when it cannot be known now.
        """
        if "open" in self._modes:
            return ANYBODY
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or len(token) > _MAX_TOKEN:
            raise UnknownClient
        if token.startswith(PREFIX):
            return await self._backend(token)
        return await self._user(token)

    def close(self) -> None:
        """Close the connections to the logins."""
        for login in self._logins.values():
            login.close()

    async def _backend(self, token: str) -> Client:
        key = await self._api_keys.find(token) if "api_key" in self._modes else None
        if key is None:
            raise UnknownClient
        return Client(f"key:{key.key_id}", key.app, None, key.scopes)

    async def _user(self, token: str) -> Client:
        if "jwt" not in self._modes:
            raise UnknownClient
        app, login = self._login(*claimed_issuer(token))
        receiver = await login.subject(token)
        if not is_receiver(receiver):
            raise UnknownClient("The token's sub is no receiver's name.")
        return Client(f"user:{app}/{receiver}", app, receiver, USER_SCOPES)

    def _login(self, issuer: str, audiences: Collection[str]) -> tuple[str, Login]:
        """Return the login that a token says it is from; its signature has yet to prove that."""
        for app, login in self._logins.items():
            if login.issuer == issuer and login.audience in audiences:
                return app, login
        raise UnknownClient


def clients_of(settings: Settings, api_keys: ApiKeys) -> Clients:
    """Return the clients that the configuration permits; raises ConfigurationError for keys that cannot be used."""
    logins: dict[str, Login] = {}
    faults: list[str] = []
    for name, app in settings.apps.items():
        if app.login is not None and "jwt" in settings.auth.mode:
            try:
                logins[name] = login_of(app.login, name, settings.outbound.networks)
            except ValueError as error:
                faults.append(f"apps.{name}.login: {error}")
    faults += _twins(logins.items())
    if faults:
        raise ConfigurationError(faults)
    return Clients(settings.auth.mode, logins, api_keys)


def _twins(logins: Iterable[tuple[str, Login]]) -> Iterable[str]:
    seen: dict[tuple[str, str], str] = {}
    for app, login in logins:
        other = seen.setdefault((login.issuer, login.audience), app)
        if other != app:
            yield f"apps.{app}.login: the same issuer and audience as apps.{other}"
