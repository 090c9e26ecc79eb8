"""Batch writes: requests that arrive during a write, or shortly after it, share the next one."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Generic, TypeVar

from assumed.clock import Clock
from assumed.errors import CredentialsFileUnwritableError
from assumed.local_faults import thread_shortage

_WINDOW_SECONDS = 0.05
# While more requests keep arriving, writes use no more than this share of one processor.
_MAX_PROCESSOR_SHARE = 0.15
_CLOSE_TIMEOUT_SECONDS = 2.0

RequestT = TypeVar("RequestT")


class BatchWriter(Generic[RequestT]):
    """Batches the requests of many threads; a thread that lives only as long as needed writes them.

    A single request is written at once. The next write begins at the earliest 50 ms after the last
    one began, with all requests that arrived meanwhile. If a write costs much processor time,
    because the file is large, the next one waits up to seven times as long while more requests keep
    arriving. Only processor time counts: a write that waits for the disk takes nothing from others.

    Args:
        write: writes all requests; returns an error or None for each. An exception fails all.
        clock: measures the time since the last write began.
        sleep: waits for a number of seconds.
        processor_time: returns the processor time of the current thread, in seconds.
        close_timeout: how many seconds `close` waits for a write that hangs.
    """

    def __init__(
        self,
        write: Callable[[Sequence[RequestT]], Sequence[Exception | None]],
        *,
        clock: Clock,
        sleep: Callable[[float], None],
        processor_time: Callable[[], float] = time.thread_time,
        close_timeout: float = _CLOSE_TIMEOUT_SECONDS,
    ) -> None:
        self._write = write
        self._clock = clock
        self._sleep = sleep
        self._processor_time = processor_time
        self._close_timeout = close_timeout
        self._changed = threading.Condition()
        self._waiting: list[tuple[RequestT, Future[None]]] = []
        self._is_running = False
        self._is_closed = False
        self._began_at = -math.inf
        self._cost = 0.0

    def submit(self, request: RequestT) -> Future[None]:
        """Queue a request.

        Returns:
            Done once the request is written. Fails with the error that `write` returns for it, and
            after `close` with `CredentialsFileUnwritableError`. The next write waits for its
            callbacks.
        """
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        has_thread = True
        with self._changed:
            if self._is_closed:
                future.set_exception(
                    CredentialsFileUnwritableError("assumed is stopping", hint="start it again")
                )
                return future
            self._waiting.append((request, future))
            if not self._is_running:
                self._is_running = True
                try:
                    threading.Thread(target=self._run, name="write", daemon=True).start()
                except RuntimeError as error:
                    thread_shortage(error)
                    has_thread = False
        if not has_thread:
            # On this thread, with what others have submitted meanwhile.
            self._run()
        return future

    def close(self) -> None:
        """Accept no more requests, and return once the accepted ones are written.

        A write that hangs delays this by 2 s at most, so the process may end in the middle of it.
        """
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._is_running, self._close_timeout)

    def _run(self) -> None:
        while True:
            with suppress(Exception):  # otherwise the write begins at once
                self._wait_for_batch()
            with self._changed:
                batch, self._waiting = self._waiting, []
            for (_, future), error_of_request in zip(batch, self._results(batch), strict=True):
                if error_of_request is None:
                    future.set_result(None)
                else:
                    future.set_exception(error_of_request)
            with self._changed:
                if not self._waiting:
                    self._is_running = False
                    self._changed.notify_all()
                    return

    def _results(
        self, batch: Sequence[tuple[RequestT, Future[None]]]
    ) -> Sequence[BaseException | None]:
        """Write a batch, and return the error of each request; never raise."""
        try:
            self._began_at, used_before = self._clock.boottime(), self._processor_time()
            errors = self._write([request for request, _ in batch])
            self._cost = self._processor_time() - used_before
            return [error for _, error in zip(batch, errors, strict=True)]
        except BaseException as error:  # noqa: BLE001 - it becomes the result of each request
            return [error] * len(batch)

    def _wait_for_batch(self) -> None:
        remaining = self._began_at + _WINDOW_SECONDS - self._clock.boottime()
        if remaining > 0:
            self._sleep(remaining)
        deadline = self._began_at + self._cost / _MAX_PROCESSOR_SHARE - _WINDOW_SECONDS
        count = 0
        while len(self._waiting) > count and self._clock.boottime() <= deadline:
            count = len(self._waiting)
            self._sleep(_WINDOW_SECONDS)
