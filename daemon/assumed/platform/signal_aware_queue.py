"""A queue for the main thread that signals interrupt reliably."""

from __future__ import annotations

import os
import queue
import select
import signal
from contextlib import suppress
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")

_READ_BYTES = 4096


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

    def enable_signal_wakeup(self) -> None:
        """Make signals wake `get` from now on; call this from the main thread."""
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def put(self, item: ItemT) -> None:
        """Add an item, from any thread or a signal handler."""
        self._items.put(item)
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
