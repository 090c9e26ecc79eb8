"""The thread of the daemon for what touches files: reloads, checks for changes, metrics.

A file system that hangs then holds up neither the scheduler nor the main thread, which has to stop
the daemon.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from assumed.engine.internal_errors import InternalErrors, Part
from assumed.file_calls import file_call


class FileWorker:
    """Makes calls one after the other; `post` may be called from any thread.

    Args:
        what: names the files, for the status.
        errors: keep the errors of one call away from the next.
    """

    def __init__(self, what: str, errors: InternalErrors) -> None:
        self._what = what
        self._errors = errors
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._posted: set[Callable[[], None]] = set()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._work, name="file checks", daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: the system has no thread left.
        """
        self._thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """Have `call` made, once if it was posted and has not begun."""
        with self._lock:
            if call in self._posted:
                return
            self._posted.add(call)
        self._calls.put(call)

    def stop(self, timeout: float) -> None:
        """Make no more calls; wait for the one under way, but no longer than the time-out."""
        self._is_stopped = True
        self._calls.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            with self._lock:
                self._posted.discard(call)
            if self._is_stopped:
                return
            with self._errors.caught(Part.FILES), file_call(self._what):
                call()
