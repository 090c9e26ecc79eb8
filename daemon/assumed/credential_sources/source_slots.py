"""Limits how many threads wait for sources, so that sources that hang leave threads to others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from assumed.errors import LocalFaultError
from assumed.progress import waiting_for

MAX_THREADS = 128
"""Half of the threads of a pool; the others are for sources that answer."""
_MAX_SUSPECT_THREADS = MAX_THREADS // 2
_USUAL_SECONDS = 1.0


class SourceSlots:
    """Counts the threads that wait for commands, or for another thread that waits for one.

    A source that did not answer in time, and threads that only wait for another one, get no more
    than half of the slots. A source that answers finds one, however many hang.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used = 0

    @contextmanager
    def slot(self, label: str, *, is_suspect: bool) -> Iterator[None]:
        """Hold a slot.

        Raises:
            LocalFaultError: there is none.
        """
        limit = _MAX_SUSPECT_THREADS if is_suspect else MAX_THREADS
        with self._lock:
            if self._used >= limit:
                raise LocalFaultError(
                    f"{label}: {self._used} other refreshes wait for commands that have not ended",
                    hint="`assumed status` shows which; run such a command by hand",
                )
            self._used += 1
        try:
            yield
        finally:
            with self._lock:
                self._used -= 1

    @contextmanager
    def exclusive(self, lock: threading.Lock, label: str) -> Iterator[None]:
        """Hold the lock of a source; a wait for longer than a second needs a slot.

        Raises:
            LocalFaultError: there is none.
        """
        if not lock.acquire(timeout=_USUAL_SECONDS):
            with self.slot(label, is_suspect=True), waiting_for(label):
                lock.acquire()
        try:
            yield
        finally:
            lock.release()


SOURCE_SLOTS = SourceSlots()
"""Those of this process."""
