"""Files of ours that browsers load: scripts, styles and pictures, held in memory and named by what they contain."""

import hashlib
import mimetypes
from pathlib import Path

from payplat.errors import NotFound
from payplat.handlers.base import BaseHandler


class Files:
    """The files of a folder, which are served below the path ``root``."""

    def __init__(self, folder: Path, root: str) -> None:
        self._root = root
        self._contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    def read(self, name: str) -> bytes:
        """Return a file; raises NotFound."""
        try:
            return self._contents[name]
        except KeyError:
            raise NotFound from None

    def address_of(self, name: str) -> str:
        """Return the address of a file; another content has another one."""
        return f"{self._root}/{name}?v={hashlib.sha256(self.read(name)).hexdigest()[:12]}"


class FileHandler(BaseHandler):
    """``<root>/<name>``: to everybody, for there is nothing of anybody in them. A page's package says which ``files``."""

    files: Files

    def get(self, name: str) -> None:
        """Answer the file, for good: another content has another address."""
        content = self.files.read(name)
        self.set_header("Content-Type", mimetypes.guess_type(name)[0] or "text/plain")
        self.set_header("Cache-Control", "public, max-age=31536000, immutable")
        self.finish(content)
