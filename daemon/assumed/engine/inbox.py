"""Items from many threads for one."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Inbox(Generic[ItemT]):
    """A queue that wakes its reader up; `put` takes no lock that is held for long.

    Args:
        wakeup: called after each `put`, from the thread that puts.
    """

    def __init__(self, wakeup: Callable[[], None]) -> None:
        self.is_closed = False
        """Whether the reader has stopped: whoever puts an item has to drain the inbox as well."""
        self._items: queue.SimpleQueue[ItemT] = queue.SimpleQueue()
        self._wakeup = wakeup

    def put(self, item: ItemT) -> None:
        """Add an item."""
        self._items.put(item)
        self._wakeup()

    def drain(self) -> Iterator[ItemT]:
        """Yield the items that are there, and those that come meanwhile, oldest first."""
        while True:
            try:
                yield self._items.get_nowait()
            except queue.Empty:
                return

    def close(self) -> None:
        """Mark that the reader has stopped."""
        self.is_closed = True
