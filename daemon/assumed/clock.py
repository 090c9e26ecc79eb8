"""The only source of time: everything else receives a `Clock`, and tests pass a fake one."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

# Linux only. Elsewhere the monotonic clock comes closest; on macOS it stops during sleep.
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """The wall clock, and a clock that never jumps."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware UTC; it can be wrong and can jump."""
        ...

    def boottime(self) -> float:
        """Return seconds on a clock that never jumps and counts time in suspend."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware UTC."""
        return datetime.now(UTC)

    def boottime(self) -> float:
        """Return `CLOCK_BOOTTIME` in seconds; see clock_gettime(2)."""
        return time.clock_gettime(_BOOTTIME)


def wall_time(clock: Clock, boottime: float) -> datetime:
    """Return what the wall clock shows at a moment of `Clock.boottime()`, if it is not stepped."""
    return clock.now() + timedelta(seconds=boottime - clock.boottime())
