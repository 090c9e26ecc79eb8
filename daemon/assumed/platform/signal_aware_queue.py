"""A queue for the main thread that signals interrupt reliably."""

from __future__ import annotations

import math
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar

ItemT = TypeVar("ItemT")

_READ_BYTES = 4096
_NO_STATUSES: Mapping[Any, int] = {}


class SignalAwareQueue(Generic[ItemT]):
    """A queue on which the main thread sleeps until an item or a signal arrives.

    Python runs signal handlers between two bytecodes of the main thread. If the main thread is
    about to wait for a lock, or the kernel has delivered the signal to another thread, the handler
    would only run at the next signal. A byte in a pipe always wakes the main thread.
    """

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[ItemT] = queue.SimpleQueue()
        # Never closed: they live as long as the process.
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def enable_signal_wakeup(
        self, exit_statuses: Mapping[Any, int] = _NO_STATUSES, *, stop_timeout: float = math.inf
    ) -> None:
        """Make signals wake `get` from now on; call this from the main thread.

        A thread ends the process if it has not ended some time after a signal that should end it:
        the main thread may hang in a call on a file, where no handler runs.

        Args:
            exit_statuses: the exit status for each such signal.
            stop_timeout: seconds from the signal until then.

        Raises:
            RuntimeError: the system has no thread left.
        """
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(writer, False)
        threading.Thread(
            target=self._forward,
            args=(reader, exit_statuses, stop_timeout),
            name="signals",
            daemon=True,
        ).start()
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def _forward(self, reader: int, exit_statuses: Mapping[Any, int], stop_timeout: float) -> None:
        status, ends_at = 0, math.inf
        while True:
            remaining = ends_at - time.monotonic()
            if remaining <= 0:
                os._exit(status)
            timeout = None if ends_at == math.inf else remaining
            if not select.select([reader], [], [], timeout)[0]:
                continue
            for number in os.read(reader, _READ_BYTES):
                if number in exit_statuses and ends_at == math.inf:
                    status, ends_at = exit_statuses[number], time.monotonic() + stop_timeout
            self._wake()

    def put(self, item: ItemT) -> None:
        """Add an item, from any thread or a signal handler."""
        self._items.put(item)
        self._wake()

    def _wake(self) -> None:
        # If the pipe is full, the reader is awake already.
        with suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    def get(self, *, timeout: float | None) -> ItemT:
        """Return the next item.

        Args:
            timeout: seconds to wait without a wake-up; None to wait without a limit.

        Raises:
            queue.Empty: no item arrived in time.
        """
        while True:
            with suppress(queue.Empty):
                return self._items.get_nowait()
            readable, _, _ = select.select([self._reader], [], [], timeout)
            if not readable:
                raise queue.Empty
            os.read(self._reader, _READ_BYTES)
