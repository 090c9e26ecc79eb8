"""APScheduler's background scheduler with a heartbeat, and an inbox for its thread."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, timedelta
from typing import Generic, TypeVar

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from assumed.engine.internal_errors import InternalErrors, Part

HEARTBEAT = timedelta(seconds=15)
_MIN_BEAT_INTERVAL_SECONDS = 1

ItemT = TypeVar("ItemT")


class HeartbeatScheduler(BackgroundScheduler):  # type: ignore[misc]
    """APScheduler's background scheduler, which wakes at least once in each interval of `every`.

    APScheduler itself waits on the monotonic clock until the next job, however far that is. The
    monotonic clock stands still while the machine is suspended, and the wait does not notice a
    step of the wall clock.
    """

    def __init__(self, beat: Callable[[], None], *, every: timedelta = HEARTBEAT) -> None:
        """Create a scheduler that is not started yet.

        Args:
            beat: called from passes over the jobs, at most once a second.
            every: the longest time that the scheduler sleeps; positive.
        """
        super().__init__(timezone=UTC)
        self._beat = beat
        self._on_pass: Callable[[], None] | None = None
        self._every = every.total_seconds()
        self._last_beat = -math.inf
        self._is_beat_requested = False
        self.errors = InternalErrors()
        """Catches what is raised on the scheduler's thread, which would end it."""

    def on_pass(self, callback: Callable[[], None]) -> None:
        """Call `callback` at the start of each pass, on the scheduler's own thread."""
        self._on_pass = callback

    def beat_soon(self) -> None:
        """Have `beat` called as soon as a second has passed since the last one; from any thread."""
        self._is_beat_requested = True
        self.wakeup()

    def wakeup(self) -> None:
        """Make a pass over the jobs now; from any thread, also before the start."""
        if self._event is not None:
            super().wakeup()

    def is_submitted(self, job_id: str) -> bool:
        """Whether a job waits for a thread, or runs."""
        return any(each._instances.get(job_id, 0) > 0 for each in self._executors.values())

    def _process_jobs(self) -> float:
        if self._on_pass is not None:
            with self.errors.caught(Part.SCHEDULER):
                self._on_pass()
        longest = self._every
        next_beat_in = self._last_beat + _MIN_BEAT_INTERVAL_SECONDS - time.monotonic()
        if next_beat_in <= 0:
            self._last_beat = time.monotonic()
            self._is_beat_requested = False
            with self.errors.caught(Part.HEARTBEAT):
                self._beat()
        if self._is_beat_requested:
            next_beat_at = self._last_beat + _MIN_BEAT_INTERVAL_SECONDS
            longest = max(0.0, next_beat_at - time.monotonic())
        wait: float | None = None
        try:
            wait = super()._process_jobs()
        except Exception as error:  # noqa: BLE001 - it would end the scheduler's thread
            # A shutdown forgets all jobs, also the one that was being submitted at that moment.
            if not isinstance(error, JobLookupError) or self.running:
                self.errors.record(Part.SCHEDULER, type(error).__name__, error)
                longest = min(longest, _MIN_BEAT_INTERVAL_SECONDS)
        return longest if wait is None else min(wait, longest)


class Inbox(Generic[ItemT]):
    """Items from many threads for one, which is woken up; `put` never waits for long.

    Args:
        wakeup: called after each `put`, by the thread that puts.
    """

    def __init__(self, wakeup: Callable[[], None]) -> None:
        self.is_closed = False
        """Whether the reader has stopped: then the thread that puts an item drains the inbox."""
        self._items: queue.SimpleQueue[ItemT] = queue.SimpleQueue()
        self._wakeup = wakeup

    def put(self, item: ItemT) -> None:
        """Add an item."""
        self._items.put(item)
        self._wakeup()

    def drain(self) -> list[ItemT]:
        """Remove the items that are there, and return them, oldest first."""
        items = []
        with suppress(queue.Empty):
            while True:
                items.append(self._items.get_nowait())
        return items

    def close(self) -> None:
        """Mark that the reader has stopped."""
        self.is_closed = True
