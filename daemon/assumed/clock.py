"""The one source of time. Everything else is handed a `Clock`; tests hand it a fake one."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

# Linux only; elsewhere the monotonic clock is the nearest (on macOS it stands still in sleep).
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What the program may ask about time."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware UTC. It can be wrong and can jump."""
        ...

    def boottime(self) -> float:
        """Return seconds on a clock that never jumps and goes on while the machine sleeps."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware UTC."""
        return datetime.now(UTC)

    def boottime(self) -> float:
        """Return `CLOCK_BOOTTIME` in seconds (clock_gettime(2): it counts suspend)."""
        return time.clock_gettime(_BOOTTIME)


def wall_time(clock: Clock, boottime: float) -> datetime:
    """Return what the wall clock shows at a moment of `Clock.boottime()`, if it is not stepped."""
    return clock.now() + timedelta(seconds=boottime - clock.boottime())
