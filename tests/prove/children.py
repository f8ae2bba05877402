"""Jobs in child processes, as many at once as there are cores."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

T = TypeVar("T")
# Children begin as copies of this process: what it has read and made need not be made again.
_fork = multiprocessing.get_context("fork")


def each_in_a_child(job: Callable[..., T], all_arguments: Sequence[tuple[Any, ...]]) -> Iterator[T]:
    """Yield the results of ``job`` with each of the arguments as they come; raises RuntimeError when a child dies."""
    waiting, running = list(reversed(all_arguments)), dict[Connection, Any]()
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            ours, theirs = _fork.Pipe(duplex=False)
            child = _fork.Process(target=_run, args=(theirs, job, waiting.pop()))
            child.start()
            theirs.close()
            running[ours] = child
        for pipe in wait(list(running)):
            assert isinstance(pipe, Connection)
            child = running.pop(pipe)
            try:
                result = pipe.recv()
            except EOFError:
                raise RuntimeError("a child died without a result") from None
            child.join()
            yield result


def _run(pipe: Connection, job: Callable[..., T], arguments: tuple[Any, ...]) -> None:
    pipe.send(job(*arguments))
