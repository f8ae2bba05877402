"""What all HTTP handlers of the simulator share: the platform behind them, pages, and cut lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tornado.template import Loader
from tornado.web import RequestHandler

from payplat.simulators.alipay import words
from payplat.simulators.alipay.platform import Platform
from payplat.simulators.words import language

_PAGES = Loader(str(Path(__file__).parent / "pages"))
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


class Door(RequestHandler):
    """`platform` is all a handler needs."""

    platform: Platform

    def initialize(self, platform: Platform) -> None:
        """Receive the platform."""
        self.platform = platform

    def set_default_headers(self) -> None:
        """Say that a simulator answers."""
        self.set_header("Server", "AlipaySimulator")

    def language(self) -> str:
        """zh or en: `?lang=` first, then what the browser prefers, then Chinese."""
        asked = self.get_query_argument("lang", "")
        preferred = self.request.headers.get("Accept-Language", "")
        return language(asked, preferred)

    def page(self, name: str, **more: Any) -> None:
        """Answer with a page; templates escape everything they print."""
        lang = self.language()
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("Cache-Control", "no-store")
        template = _PAGES.load(name)
        self.finish(template.generate(t=words.Words(lang), lang=lang, **more))

    def cut(self) -> None:
        """Close the connection; the other side never learns what happened."""
        self.detach().close()
