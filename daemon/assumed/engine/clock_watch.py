"""Notices a suspended machine and a stepped wall clock."""

from __future__ import annotations

import logging

from assumed.clock import Clock
from assumed.logs.events import event

_MIN_STEP_SECONDS = 1.0
# Heartbeats are closer to each other than this if the machine is awake.
_MIN_SUSPEND_SECONDS = 60.0


class ClockWatch:
    """Compares the wall clock with the clock that never jumps; used by one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._checked_at = clock.boottime()
        self._offset = self._wall_clock_offset()

    def check(self) -> bool:
        """Log a suspend or a step since the last check; return whether there was a step."""
        now = self._clock.boottime()
        away, self._checked_at = now - self._checked_at, now
        if away >= _MIN_SUSPEND_SECONDS:
            event(logging.INFO, "resumed_from_suspend", away_seconds=round(away))
        offset = self._wall_clock_offset()
        step = offset - self._offset
        if abs(step) <= _MIN_STEP_SECONDS:
            return False
        self._offset = offset
        event(logging.INFO, "wall_clock_stepped", seconds=round(step))
        return True

    def _wall_clock_offset(self) -> float:
        """Return how many seconds the wall clock is ahead of the clock that never jumps."""
        return self._clock.now().timestamp() - self._clock.boottime()
