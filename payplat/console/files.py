"""The console's own files: scripts, styles and its sign."""

from functools import cache

from payplat.console.desk import HERE, ROOT
from payplat.handlers.files import FileHandler, Files

_FILES = Files(HERE / "static", f"{ROOT}/static")
address_of = cache(_FILES.address_of)


class File(FileHandler):
    """``/console/static/<name>``."""

    files = _FILES
