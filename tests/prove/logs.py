"""What payplat logs while it is simulated: an exception that nobody foresaw is a finding."""

import logging
import sys
from typing import Any

import structlog

from tests.prove.judge import Judge


def capture_logs(judge: Judge) -> None:
    """Listen instead of printing."""

    def listen(_: Any, level: str, entry: dict[str, Any]) -> dict[str, Any]:
        error = entry.get("exc_info")
        if error:
            raised = error[1] if isinstance(error, tuple) else error
            judge.find("unexplained", "", f"{entry['event']}: {_told(raised)}")
        raise structlog.DropEvent

    structlog.configure(processors=[listen], cache_logger_on_first_use=False)
    logging.basicConfig(handlers=[_Listener(judge)], level=logging.WARNING, force=True)
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)


def _told(error: Any) -> str:
    raised = sys.exc_info()[1] if error is True else error
    return f"{type(raised).__name__}: {str(raised)[:300]}"


class _Listener(logging.Handler):
    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self._judge = judge

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._judge.find("unexplained", "", f"{record.name}: {record.getMessage()[:300]} {error!r}")
