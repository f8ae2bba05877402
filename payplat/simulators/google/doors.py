"""What the HTTP handlers of the simulator share: the platform behind them, pages, JSON, and faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tornado.template import Loader
from tornado.web import RequestHandler

from payplat.simulators.google import words
from payplat.simulators.google.faults import AnswerFault
from payplat.simulators.google.platform import Platform, Received
from payplat.simulators.google.refusals import REASONS, Answer, Refusal
from payplat.simulators.google.wire import present
from payplat.simulators.words import language

_PAGES = Loader(str(Path(__file__).parent / "pages"))
_SUBMIT = "'sha256-ePniVEkSivX/c7XWBGafqh8tSpiRrKiqYeqbG7N1TOE='"
"""Of the one script there is, see handed.html."""
_POLICY = (
    f"default-src 'none'; style-src 'unsafe-inline'; script-src {_SUBMIT}; "
    "img-src data:; base-uri 'none'"
)


class Door(RequestHandler):
    """`platform` is all a handler needs."""

    platform: Platform

    def initialize(self, platform: Platform) -> None:
        """Receive the platform."""
        self.platform = platform

    def set_default_headers(self) -> None:
        """Say that a simulator answers."""
        self.set_header("Server", "GoogleSimulator")

    def check_xsrf_cookie(self) -> None:
        """There are no cookies."""

    def language(self) -> str:
        """zh or en: `lang` first, then what the browser prefers, then Chinese."""
        preferred = self.request.headers.get("Accept-Language", "")
        return language(self.get_argument("lang", ""), preferred)

    def page(self, name: str, **more: Any) -> None:
        """Answer with a page; templates escape everything they print."""
        lang = self.language()
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("Cache-Control", "no-store")
        self.finish(_PAGES.load(name).generate(t=words.Words(lang), lang=lang, **more))

    def reply(self, status: int, body: dict[str, Any] | None) -> None:
        """Answer in JSON, as Google sets it; None is no body at all."""
        self.set_status(status)
        if body is None:
            self.finish()
            return
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(json.dumps(body, indent=2, ensure_ascii=False))


class Service(Door):
    """A door for programs: everything that comes is noted, and any answer can be spoiled."""

    call = ""
    account = ""

    async def serve(self, perform: Callable[[], Answer]) -> None:
        """Answer with what `perform` returns or refuses, and with the fault meant for it."""
        fault = self.platform.faults.take_answer(self.request.path)
        answer = _NOTHING_DONE if fault and not fault.carries_out else _attempted(perform)
        if fault:
            answer = _spoiled(answer, fault)
        self._note(answer)
        await self._deliver(answer, fault)

    async def _deliver(self, answer: Answer, fault: AnswerFault | None) -> None:
        kind = fault.kind if fault else ""
        if fault and kind == "slow":
            await self.platform.nap(fault.seconds)
        for name, value in answer.headers.items():
            self.set_header(name, value)
        if kind == "cut":
            self.detach().close()
        elif kind == "html":
            self.set_status(502)
            self.finish("<html><title>Error 502 (Server Error)!!1</title></html>")
        elif kind == "garbage":
            self.finish(json.dumps(answer.body)[: len(json.dumps(answer.body)) // 2])
        else:
            self.reply(answer.status, answer.body)

    def _note(self, answer: Answer) -> None:
        request = self.request
        self.platform.received.append(
            Received(
                at=self.platform.clock.now(),
                method=request.method or "",
                path=request.path,
                call=self.call,
                account=self.account,
                body=request.body,
                status=answer.status,
                reason=answer.reason,
            )
        )


_NOTHING_DONE = Refusal("backendError").answer()


def _attempted(perform: Callable[[], Answer]) -> Answer:
    try:
        return perform()
    except Refusal as refusal:
        return refusal.answer()


def _spoiled(answer: Answer, fault: AnswerFault) -> Answer:
    if fault.kind in REASONS:
        told = Refusal(fault.kind).answer()
        wait = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return replace(told, headers={**told.headers, **wait})
    if fault.kind == "empty":
        return replace(answer, body=None)
    if fault.kind == "altered" and answer.body is not None:
        return replace(answer, body=present({**answer.body, **fault.alter}))
    return answer
