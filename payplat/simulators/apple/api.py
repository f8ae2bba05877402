"""The App Store Server API, under /production and /sandbox."""

from __future__ import annotations

import json

from tornado.escape import utf8

from payplat.simulators.apple import spoils
from payplat.simulators.apple.apps import authorize
from payplat.simulators.apple.books import PRODUCTION
from payplat.simulators.apple.calls import Answer, Call
from payplat.simulators.apple.doors import Door
from payplat.simulators.apple.endpoints import perform
from payplat.simulators.apple.faults import UNPROCESSED
from payplat.simulators.apple.platform import Received
from payplat.simulators.apple.refusals import Refusal, Unauthorized


class Api(Door):
    """Every path of both environments."""

    note: Received

    async def get(self, environment: str, path: str) -> None:
        """Answer a question."""
        await self._serve(environment.capitalize(), path)

    async def post(self, environment: str, path: str) -> None:
        """Answer a question with a body."""
        await self._serve(environment.capitalize(), path)

    async def put(self, environment: str, path: str) -> None:
        """Take something in."""
        await self._serve(environment.capitalize(), path)

    async def _serve(self, environment: str, path: str) -> None:
        self.clear_header("Content-Type")
        self.note = self._note(environment, path)
        fault = self.store.faults.take_answer(path)
        if fault in UNPROCESSED:
            await self._misbehave(fault)
        else:
            await self._obey(environment, path, fault)

    async def _misbehave(self, fault: str) -> None:
        if fault == "429":
            until = self.store.milliseconds + int(self.store.knobs.retry_after * 1000)
            self.set_header("Retry-After", str(until))
        elif fault == "redirect":
            self.set_header("Location", f"{self.store.url}/elsewhere")
        if fault in spoils.ERRORS:
            self._refuse(Refusal(spoils.ERRORS[fault]))
        elif fault in spoils.BARE:
            self._give(spoils.BARE[fault])
        else:
            await self.store.nap(None if fault == "timeout" else 0)
            self.detach().close()

    async def _obey(self, environment: str, path: str, fault: str) -> None:
        try:
            answer = self._answer(environment, path)
        except Unauthorized:
            self._give(401)
        except Refusal as refusal:
            self._refuse(refusal)
        else:
            await self._deliver(answer, fault)

    def _answer(self, environment: str, path: str) -> Answer:
        bearer = self.request.headers.get("Authorization", "")
        app = authorize(bearer, self.store.apps, self.store.bearer_time)
        if environment == PRODUCTION and not app.released:
            raise Unauthorized
        call = Call(self.store, app, environment, self.note.query, self.note.body)
        return perform(call, self.request.method or "", path)

    async def _deliver(self, answer: Answer, fault: str) -> None:
        body = b"" if answer.body is None else json.dumps(answer.body).encode()
        if fault:
            body = spoils.spoiled(self.store, fault, body)
        if fault == "slow":
            await self.store.nap(self.store.knobs.slow_answer)
        self._give(answer.status, body, "text/html" if fault == "html" else "application/json")

    def _refuse(self, refusal: Refusal) -> None:
        self.note.code = refusal.code
        self._give(refusal.status, json.dumps(refusal.answer()).encode())

    def _give(self, status: int, body: bytes = b"", kind: str = "application/json") -> None:
        """Answer; an empty body has no type. Apple's client wants the type without a charset."""
        self.note.status = status
        self.set_status(status)
        if body:
            self.set_header("Content-Type", kind)
        self.finish(body)

    def _note(self, environment: str, path: str) -> Received:
        query = {
            name: [utf8(value).decode() for value in values]
            for name, values in self.request.query_arguments.items()
        }
        note = Received(
            self.store.clock.now(),
            self.request.method or "",
            environment,
            path,
            query,
            self.request.body,
        )
        self.store.received.append(note)
        return note
