"""Logging that never holds up the thread that logs, whatever is at the other end."""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import suppress

from assumed.logs.destinations import FailoverHandler

_MAX_RECORDS = 1000
_MAX_WAIT_SECONDS = 0.1
_STUCK_SECONDS = 2.0

_Item = tuple[logging.LogRecord | None, threading.Event]


class BackgroundHandler(logging.Handler):
    """Passes events to another handler, which may block, on a thread of its own.

    An event is written when `event` returns, unless that takes longer than a tenth of a second: a
    pipe that no one reads, a terminal that is stopped (Ctrl-S), a file server that does not answer.
    Up to 1000 events wait then; further ones are dropped and counted.

    Args:
        target: writes the events.
    """

    def __init__(self, target: FailoverHandler) -> None:
        super().__init__()
        self._target = target
        self._items: queue.Queue[_Item] = queue.Queue(_MAX_RECORDS)
        self._thread: threading.Thread | None = None
        self._began_at: float | None = None
        self._is_waited_for = True
        self._dropped = 0
        self._start_lock = threading.Lock()

    @property
    def error(self) -> str | None:
        """Why events are not written where they should be; None if they are."""
        began_at = self._began_at
        if began_at is not None and time.monotonic() - began_at > _STUCK_SECONDS:
            waiting = f"{self._items.qsize()} events wait, {self._dropped} were dropped"
            return f"{self._target.destination} accepts no events: {waiting}"
        return self._target.error

    def createLock(self) -> None:  # noqa: N802 - of logging
        """Create no lock: threads must not wait for each other here."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Pass on an event that the filters let through, without a lock; never raise."""
        # The records of libraries come here as well, on threads that must go on.
        with suppress(Exception):
            if self.filter(record):
                self.emit(record)
                return True
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on one event, and wait for it for a moment."""
        self._put(record)

    def retry(self) -> None:
        """Try a destination that failed again, if a minute has passed; from any thread."""
        if self._target.error is not None:
            self._put(None)

    def flush(self) -> None:
        """Wait for the events that wait, at the end of the process; not for long."""
        if self._thread is not None:
            done = threading.Event()
            with suppress(queue.Full):
                self._items.put((None, done), timeout=1.0)
                done.wait(1.0)

    def close(self) -> None:
        """Close the other handler; `logging.shutdown` has flushed this one."""
        self._target.close()
        super().close()

    def _put(self, record: logging.LogRecord | None) -> None:
        done = threading.Event()
        try:
            self._items.put_nowait((record, done))
        except queue.Full:
            self._dropped += record is not None
            return
        if not self._is_running():
            self._write_here()
            return
        if self._is_waited_for and not done.wait(_MAX_WAIT_SECONDS):
            # The thread sets it again as soon as it gets on.
            self._is_waited_for = False

    def _is_running(self) -> bool:
        if self._thread is not None:
            return True
        with self._start_lock:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="log", daemon=True)
                # RuntimeError: no thread is left; the next event tries again.
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread
        return self._thread is not None

    def _write_here(self) -> None:
        """Write what waits on the thread that has an event, since no other can be started."""
        with self._start_lock, suppress(queue.Empty):
            while True:
                self._write(*self._items.get_nowait())

    def _work(self) -> None:
        while True:
            self._write(*self._items.get())

    def _write(self, record: logging.LogRecord | None, done: threading.Event) -> None:
        self._began_at = time.monotonic()
        with suppress(Exception):
            if record is None:
                self._target.retry()
            else:
                self._target.emit(record)
        self._began_at = None
        self._is_waited_for = True
        done.set()
        dropped, self._dropped = self._dropped, 0
        if dropped:
            with suppress(Exception):
                self._target.dropped(dropped)
