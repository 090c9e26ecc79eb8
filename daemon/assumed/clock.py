"""The only source of time. Everything else gets a `Clock`; tests pass a fake one."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

# Linux only. The monotonic clock of other systems is the nearest (on macOS it stops in sleep).
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """The two clocks that the program reads."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware UTC. It can be wrong and can jump."""
        ...

    def boottime(self) -> float:
        """Return seconds on a clock that never jumps and that counts the time of a suspend."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware UTC."""
        return datetime.now(UTC)

    def boottime(self) -> float:
        """Return `CLOCK_BOOTTIME` in seconds (clock_gettime(2): it counts suspend)."""
        return time.clock_gettime(_BOOTTIME)
