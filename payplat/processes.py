"""Several serve processes under one parent, which passes on the signal to stop and replaces a child that died."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing import connection, get_context
from multiprocessing.context import ForkProcess
from types import FrameType

import structlog

from payplat.errors import ConfigurationError

log = structlog.get_logger("payplat")
# A child that dies at once must not be replaced in a busy loop.
_PAUSE = 1.0


class Supervisor:
    """Keeps ``count`` forked processes running ``target`` until SIGTERM or SIGINT; each gets its number, 0 for the first.

    On SIGHUP ``reread`` is called, and unless it raises ConfigurationError the children are told to do the same; who is
    started later gets what was read last. A child that a signal killed is replaced; one that ended by itself has said
    that it cannot serve, so all end. Fork before any loop or engine exists: neither survives it.
    """

    def __init__(
        self, count: int, target: Callable[[int], None], reread: Callable[[], object]
    ) -> None:
        self._context, self._target, self._reread = get_context("fork"), target, reread
        self._stopping = False
        self._children = dict(map(self._start, range(count)))

    def run(self) -> int:
        """Wait until all have ended after a signal; return the worst exit code."""
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, self._stop)
        signal.signal(signal.SIGHUP, self._renew)
        worst = 0
        while self._children:
            connection.wait([child.sentinel for child in self._children])
            for child in [c for c in self._children if not c.is_alive()]:
                number = self._children.pop(child)
                worst = max(worst, abs(self._ended(child, number)))
        return worst

    def _ended(self, child: ForkProcess, number: int) -> int:
        code = child.exitcode or 0
        if self._stopping:
            # One that had not begun to serve has no handler yet, and nothing to finish.
            return 0 if code == -signal.SIGTERM else code
        log.error("process ended", pid=child.pid, code=code)
        if code >= 0:
            self._stop()
            return code
        time.sleep(_PAUSE)
        if not self._stopping:
            self._children |= [self._start(number)]
        return 0

    def _start(self, number: int) -> tuple[ForkProcess, int]:
        child = self._context.Process(target=self._child, args=(number,))
        child.start()
        return child, number

    def _child(self, number: int) -> None:
        # The parent's handlers are inherited; the service installs its own once its loop runs.
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._target(number)

    def _renew(self, _sign: int, _frame: FrameType | None) -> None:
        try:
            self._reread()
        except ConfigurationError as error:
            log.error("configuration not changed", faults=error.faults)
            return
        for child in self._children:
            if child.pid is not None and child.is_alive():
                os.kill(child.pid, signal.SIGHUP)

    def _stop(self, _sign: int = 0, _frame: FrameType | None = None) -> None:
        self._stopping = True
        for child in self._children:
            child.terminate()
