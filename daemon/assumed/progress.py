"""What a thread waits for at the moment, such as a command, so that a status can name it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait that has not ended.

    Args:
        reason: what is waited for, such as `credential_process of source profile src`.
        since: in seconds of `Clock.boottime()`.
    """

    reason: str
    since: float


class Progress:
    """The waits of one piece of work; any thread may read `current`.

    Args:
        boottime: returns seconds of `Clock.boottime()`.
    """

    def __init__(self, boottime: Callable[[], float]) -> None:
        self._boottime = boottime
        self.current: Wait | None = None

    def begin(self, reason: str) -> None:
        """Begin a wait in place of the current one."""
        self.current = Wait(reason, self._boottime())


_threads = threading.local()


@contextmanager
def record_progress(progress: Progress) -> Iterator[None]:
    """Record the waits of this thread in `progress`."""
    outer = getattr(_threads, "progress", None)
    _threads.progress = progress
    try:
        yield
    finally:
        _threads.progress = outer


@contextmanager
def waiting_for(reason: str) -> Iterator[None]:
    """Name what this thread waits for; the innermost reason counts."""
    progress: Progress | None = getattr(_threads, "progress", None)
    if progress is None:
        yield
        return
    outer = progress.current
    progress.begin(reason)
    try:
        yield
    finally:
        progress.current = outer
