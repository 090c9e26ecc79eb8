"""Calls on files that may hang for ever, as on a network file system whose server is away.

No thread can be interrupted in such a call. So it is made on a thread of its own, and callers go on
after some seconds. `hanging_files` says what does not answer.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

MAX_SECONDS = 3.0
"""How long a caller waits."""
_IDLE_SECONDS = 10.0

ResultT = TypeVar("ResultT")

_lock = threading.Lock()
_running: dict[int, tuple[str, float]] = {}
"""The calls that have not returned: what they are made on, and since when, by `time.monotonic`."""

# A forked process has none of the threads that made them.
os.register_at_fork(after_in_child=_running.clear)


def hanging_files() -> list[tuple[str, int]]:
    """Return the files that do not answer, and since how many seconds."""
    now = time.monotonic()
    with _lock:
        found = list(_running.values())
    since = {what: int(now - began_at) for what, began_at in found if now >= began_at + MAX_SECONDS}
    return sorted(since.items())


@contextmanager
def file_call(what: str) -> Iterator[None]:
    """Have `hanging_files` name `what` if the block takes long."""
    me = threading.get_ident()
    with _lock:
        outer = _running.get(me)
        _running[me] = what, time.monotonic()
    try:
        yield
    finally:
        with _lock:
            if outer is None:
                del _running[me]
            else:
                _running[me] = outer


class HangingFileError(OSError):
    """A file does not answer."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.ETIMEDOUT, "does not answer", what)


class FileCalls:
    """Makes calls on files one after the other; safe to use from many threads.

    While one hangs, further calls fail at once. The thread ends after 10 seconds without a call.

    Args:
        what: names the files, such as their directory.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._began_at: float | None = None

    def run(self, call: Callable[[], ResultT]) -> ResultT:
        """Return the result of `call`.

        Raises:
            HangingFileError: it does not return, or an earlier one has not returned.
            Exception: raised by `call`.
        """
        future: Future[ResultT] = Future()
        with self._lock:
            if self._thread is not None and not self._thread.is_alive():
                # This process was forked, and the thread is not in it.
                self._thread, self._began_at = None, None
            began_at = self._began_at
            if began_at is not None and time.monotonic() >= began_at + MAX_SECONDS:
                raise HangingFileError(self._what)
            has_thread = self._thread is not None or self._start()
            if has_thread:
                self._calls.put((future, call))
        if not has_thread:
            return call()
        try:
            return future.result(MAX_SECONDS)
        except TimeoutError:
            # Not one that `call` has raised, nor a result of the last moment.
            if not future.cancel() and future.done():
                return future.result()
            raise HangingFileError(self._what) from None

    def _start(self) -> bool:
        thread = threading.Thread(target=self._work, name="files", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def _work(self) -> None:
        while True:
            try:
                future, call = self._calls.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._calls.empty():
                        self._thread = None
                        return
                continue
            if not future.set_running_or_notify_cancel():
                continue
            self._began_at = time.monotonic()
            with file_call(self._what):
                _make(future, call)
            self._began_at = None


def _make(future: Future[Any], call: Callable[[], Any]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - the thread that waits gets it
        future.set_exception(error)
    else:
        future.set_result(result)
