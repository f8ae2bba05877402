"""How the simulator answers with a page for people."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from tornado.template import Loader

from payplat.simulators.apple.doors import Door
from payplat.simulators.apple.words import Words
from payplat.simulators.words import language

_PAGES = Loader(str(Path(__file__).parent / "pages"))


class Page(Door):
    """A door that people come to."""

    def page(self, name: str, **more: Any) -> None:
        """Answer with a page; only its own script runs, and it may post to the shop's address."""
        lang = language(
            self.get_query_argument("lang", ""), self.request.headers.get("Accept-Language", "")
        )
        nonce = secrets.token_urlsafe(16)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", _policy(nonce))
        template = _PAGES.load(name)
        self.finish(template.generate(t=Words(lang), lang=lang, nonce=nonce, **more))


def _policy(nonce: str) -> str:
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        f"script-src 'nonce-{nonce}'"
    )
