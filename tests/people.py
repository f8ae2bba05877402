"""People at the console, as a browser without script: cookies, forms and links."""

import re
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urlsplit

from payplat import operators
from payplat.operators import Role
from tests.stage import Client, Reply


class Person(Client):
    """Somebody with a browser at the console of a stage."""

    def __init__(self, stage: Any, name: str = "") -> None:
        super().__init__(stage)
        self.name, self.password = name, ""
        self.cookies: dict[str, str] = {}

    async def open(self, path: str, **headers: str) -> Reply:
        """GET a page below ``/console`` in English; redirects are not followed."""
        reply = await self.call("GET", f"/console{path}", **self._headers(headers))
        return self._keep(reply)

    async def send(self, path: str, fields: dict[str, Any], **headers: str) -> Reply:
        """POST a form below ``/console``."""
        kind = {"Content_Type": "application/x-www-form-urlencoded"}
        body = urlencode(fields, doseq=True).encode()
        given = self._headers({**kind, **headers})
        return self._keep(await self.call("POST", f"/console{path}", body, **given))

    async def press(self, page: str, path: str, **fields: Any) -> Reply:
        """POST a form of that page, with the seal that it carries; return the page that it leads to."""
        seal = re.search(r'name="seal" value="(\w+)"', (await self.open(page)).body.decode())
        assert seal, f"{page} has no form"
        reply = await self.send(path, {"seal": seal[1], **fields})
        if reply.status != 303:
            return reply
        parts = urlsplit(reply.headers["Location"])
        return await self.open(f"{parts.path.removeprefix('/console')}?{parts.query}")

    async def sign_in(self, code: str = "", password: str | None = None, **more: str) -> Reply:
        """Sign in as this person."""
        given = self.password if password is None else password
        fields = {"name": self.name, "password": given, "code": code, **more}
        return await self.send("/sign-in", fields)

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Accept_Language": "en", **({"Cookie": cookie} if cookie else {}), **more}

    def _keep(self, reply: Reply) -> Reply:
        for text in reply.headers.get_list("Set-Cookie"):
            for name, morsel in SimpleCookie(text).items():
                self.cookies[name] = morsel.value
        return reply


async def person(stage: Any, name: str, role: Role = Role.OPERATOR) -> Person:
    """Somebody who has just signed in."""
    made = Person(stage, name)
    made.password = await operators.create(stage.platform.database, name, role, "test")
    assert (await made.sign_in()).status == 303
    return made
