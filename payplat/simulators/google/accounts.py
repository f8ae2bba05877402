"""Service accounts and their access tokens: the JWT bearer grant (RFC 7523).

Source: developers.google.com, "Using OAuth 2.0 for Server to Server Applications".
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from payplat.simulators.clock import Clock
from payplat.simulators.google import jwt
from payplat.simulators.google.keys import NamedKey
from payplat.simulators.google.knobs import Knobs
from payplat.simulators.google.refusals import Refusal

GOOGLE_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
"""Google's client libraries keep this audience even where another token_uri is configured."""
SCOPE = "https://www.googleapis.com/auth/androidpublisher"
VIEW_FINANCIAL_DATA = "view_financial_data"
MANAGE_ORDERS = "manage_orders"
ALL = frozenset((VIEW_FINANCIAL_DATA, MANAGE_ORDERS))

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LONGEST = 3600
_SKEW = 300.0
_NOT_NOW = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)


@dataclass(frozen=True)
class Account:
    """A service account and what the Play Console lets it do."""

    email: str
    permissions: frozenset[str]
    key: NamedKey


class Accounts:
    """Everybody who may ask, and the access tokens that are out."""

    def __init__(self, clock: Clock, knobs: Knobs) -> None:
        self.by_email: dict[str, Account] = {}
        self._clock = clock
        self._knobs = knobs
        self._tokens: dict[str, tuple[Account, float]] = {}

    def add(self, account: Account, token_uri: str) -> dict[str, str]:
        """Register an account; returns the file that Google Cloud lets its owner download."""
        self.by_email[account.email] = account
        name, _, host = account.email.partition("@")
        return {
            "type": "service_account",
            "project_id": host.split(".")[0],
            "private_key_id": account.key.kid,
            "private_key": account.key.private_pem,
            "client_email": account.email,
            "client_id": str(10**20 + len(self.by_email)),
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
            "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{name}",
        }

    def grant(self, form: Mapping[str, str], token_uri: str) -> dict[str, Any]:
        """Answer the token endpoint's form; raises Refusal."""
        if form.get("grant_type") != _GRANT:
            raise Refusal("unsupported_grant_type")
        try:
            assertion = jwt.decode(form.get("assertion", ""))
        except ValueError:
            raise Refusal("invalid_grant", "Invalid JWT: Failed to decode.") from None
        account = self._signer(assertion)
        self._check(assertion.claims, token_uri)
        return self._issue(account)

    def bearer(self, authorization: str) -> Account:
        """Whose access token this header carries; raises Refusal."""
        scheme, _, token = authorization.partition(" ")
        account, until = self._tokens.get(token, (None, 0.0))
        if scheme.lower() != "bearer" or account is None or until <= self._clock.now():
            raise Refusal("authError")
        return account

    def _signer(self, assertion: jwt.Token) -> Account:
        account = self.by_email.get(str(assertion.claims.get("iss")))
        if account is None:
            raise Refusal("invalid_grant", "Invalid grant: account not found")
        known = assertion.header.get("kid") in (account.key.kid, None)
        if not known or not jwt.is_rs256(assertion, account.key.public):
            raise Refusal("invalid_grant", "Invalid JWT Signature.")
        return account

    def _check(self, claims: Mapping[str, Any], token_uri: str) -> None:
        if claims.get("aud") not in (GOOGLE_TOKEN_URI, token_uri):
            raise Refusal("invalid_grant", "Invalid JWT: Invalid audience.")
        if not self._timely(claims.get("iat"), claims.get("exp")):
            raise Refusal("invalid_grant", _NOT_NOW)
        if SCOPE not in str(claims.get("scope", "")).split():
            raise Refusal("invalid_scope")
        if "sub" in claims:
            raise Refusal("unauthorized_client")

    def _timely(self, iat: object, exp: object) -> bool:
        if not isinstance(iat, int) or not isinstance(exp, int):
            return False
        now = self._clock.now()
        return iat - _SKEW <= now <= exp + _SKEW and 0 < exp - iat <= _LONGEST

    def _issue(self, account: Account) -> dict[str, Any]:
        token, lifetime = f"ya29.{secrets.token_urlsafe(96)}", self._knobs.token_lifetime
        self._tokens[token] = (account, self._clock.now() + lifetime)
        return {"access_token": token, "expires_in": lifetime, "token_type": "Bearer"}
