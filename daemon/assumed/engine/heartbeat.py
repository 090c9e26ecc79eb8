"""APScheduler's background scheduler with a heartbeat."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, timedelta

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

HEARTBEAT = timedelta(seconds=15)
_SHORTEST_BEAT_SECONDS = 1


class HeartbeatScheduler(BackgroundScheduler):  # type: ignore[misc]
    """APScheduler's background scheduler, awake at least once each `every`.

    By itself it waits on the monotonic clock until the next job, however far that is. That clock
    stands still while the machine sleeps, and the wait knows nothing of a step of the wall clock.
    """

    def __init__(self, beat: Callable[[], None], *, every: timedelta = HEARTBEAT) -> None:
        """Arrange nothing yet.

        Args:
            beat: called from each pass over the jobs, at most once a second.
            every: how long the scheduler sleeps at the most; positive.
        """
        super().__init__(timezone=UTC)
        self._beat = beat
        self._every = every.total_seconds()
        self._last_beat = -math.inf
        self._is_asked = False

    def beat_soon(self) -> None:
        """Have `beat` called as soon as a second has gone by since it was; from any thread."""
        self._is_asked = True
        self.wakeup()

    def _process_jobs(self) -> float:
        longest = self._every
        next_beat_in = self._last_beat + _SHORTEST_BEAT_SECONDS - time.monotonic()
        if next_beat_in <= 0:
            self._last_beat = time.monotonic()
            self._is_asked = False
            self._beat()
        if self._is_asked:
            longest = max(0.0, self._last_beat + _SHORTEST_BEAT_SECONDS - time.monotonic())
        wait: float | None = None
        try:
            wait = super()._process_jobs()
        except JobLookupError:
            # A stop forgets all jobs, that one too which was handed out at this very moment.
            if self.running:
                raise
        return longest if wait is None else min(wait, longest)
