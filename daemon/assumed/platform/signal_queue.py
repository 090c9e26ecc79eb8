"""A queue for the main thread, which signals wake too."""

from __future__ import annotations

import os
import queue
import select
import signal
from contextlib import suppress
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class SignalAwareQueue(Generic[ItemT]):
    """A queue whose reader, the main thread, sleeps until something comes or a signal does.

    Python runs the handler of a signal between two steps of the main thread. Where that is about
    to sleep in a lock, or another thread was given the signal, the handler would wait for the next
    signal, and a daemon that is told to stop would not. A byte in a pipe is always noticed.
    """

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[ItemT] = queue.SimpleQueue()
        # Open for as long as the process lives.
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def hear_signals(self) -> None:
        """Have signals wake `get` from now on; from the main thread."""
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def put(self, item: ItemT) -> None:
        """Add an item; from any thread, and from a signal handler."""
        self._items.put(item)
        # Where it is full the reader is awake.
        with suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    def get(self, *, timeout: float | None) -> ItemT:
        """Return the next item, after no more than `timeout` seconds without a wake-up.

        Raises:
            queue.Empty: there is none.
        """
        while True:
            with suppress(queue.Empty):
                return self._items.get_nowait()
            woken, _, _ = select.select([self._reader], [], [], timeout)
            if not woken:
                raise queue.Empty
            os.read(self._reader, 4096)
