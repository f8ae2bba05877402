"""The token endpoint, and the addresses at which Google publishes the keys that sign pushes."""

from __future__ import annotations

from payplat.simulators.google.doors import Service
from payplat.simulators.google.refusals import Answer, Refusal

_FORM = "application/x-www-form-urlencoded"


class TokenEndpoint(Service):
    """`POST /token`: an assertion for an access token."""

    call = "oauth.token"

    async def post(self) -> None:
        """Grant an access token."""
        await self.serve(self._grant)

    def _grant(self) -> Answer:
        kind = self.request.headers.get("Content-Type", "").split(";")[0].strip()
        if kind != _FORM:
            raise Refusal("invalid_request", f"Content-Type: {_FORM}")
        form = {name: self.get_body_argument(name) for name in self.request.body_arguments}
        token_uri = f"{self.platform.url}{self.request.path}"
        granted = self.platform.accounts.grant(form, token_uri)
        return Answer(200, granted, headers={"Cache-Control": "no-cache, no-store"})


class Certs(Service):
    """`/oauth2/v3/certs` as a JSON Web Key Set, `/oauth2/v1/certs` as PEM certificates by `kid`."""

    call = "oauth.certs"

    async def get(self, version: str) -> None:
        """Tell the keys."""
        identity = self.platform.identity
        tell = {"v1": identity.certificates, "v3": identity.jwks}[version]
        age = self.platform.knobs.certs_max_age
        headers = {"Cache-Control": f"public, max-age={age}, must-revalidate, no-transform"}
        await self.serve(lambda: Answer(200, dict(tell()), headers=headers))
