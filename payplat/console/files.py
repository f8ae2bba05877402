"""The console's own files: scripts, styles and its sign, held in memory and named by what they contain."""

import hashlib
import mimetypes
from functools import cache

from payplat.console.desk import HERE, ROOT
from payplat.errors import NotFound
from payplat.handlers.base import BaseHandler

_FILES = {path.name: path.read_bytes() for path in sorted((HERE / "static").iterdir())}


class File(BaseHandler):
    """``/console/static/<name>``: to everybody, for there is nothing of anybody in them."""

    def get(self, name: str) -> None:
        """Answer the file, for good: another content has another address."""
        if name not in _FILES:
            raise NotFound
        self.set_header("Content-Type", mimetypes.guess_type(name)[0] or "text/plain")
        self.set_header("Cache-Control", "public, max-age=31536000, immutable")
        self.finish(_FILES[name])


@cache
def address_of(name: str) -> str:
    """Return the address of a file."""
    return f"{ROOT}/static/{name}?v={hashlib.sha256(_FILES[name]).hexdigest()[:12]}"
