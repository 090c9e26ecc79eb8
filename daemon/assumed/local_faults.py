"""What this machine lacks at the moment: descriptors, threads, memory, files that answer.

Each is logged once when it begins and once when it is over, and `status` shows it meanwhile.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time

from assumed.errors import LocalFaultError
from assumed.file_calls import hanging_files
from assumed.fsutil import local_fault_hint, shortage
from assumed.logs.events import event

# What meets a shortage tries again, and reports it again, at least every 15 seconds.
_OVER_AFTER_SECONDS = 30.0


class LocalFaults:
    """The shortages that were reported lately; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends_at: dict[str, float] = {}
        self._hanging: frozenset[str] = frozenset()

    def report(self, error: BaseException) -> None:
        """Report an error, if it comes from a shortage of a resource."""
        found = shortage(error)
        if found is None:
            return
        reason = found.strerror or os.strerror(found.errno or 0)
        if self._begin(reason, time.monotonic() + _OVER_AFTER_SECONDS):
            event(
                logging.WARNING,
                "resource_exhausted",
                error=reason,
                hint=f"{local_fault_hint(found)}; assumed goes on with what it has until then",
            )

    def begin(self, reason: str) -> None:
        """Show a fault that the caller logs, until `end`."""
        self._begin(reason, math.inf)

    def end(self, reason: str) -> None:
        """End what `begin` has shown."""
        with self._lock:
            self._ends_at.pop(reason, None)

    def check(self) -> None:
        """Log what is over, and which files have begun to hang; call this every few seconds."""
        now = time.monotonic()
        hanging = frozenset(what for what, _ in hanging_files())
        with self._lock:
            over = [reason for reason, ends_at in self._ends_at.items() if now >= ends_at]
            for reason in over:
                del self._ends_at[reason]
            before, self._hanging = self._hanging, hanging
        for reason in over:
            event(logging.INFO, "resource_available", resource=reason)
        for what in sorted(hanging - before):
            event(
                logging.WARNING,
                "file_hangs",
                file=what,
                hint="check its file system, such as the server of a network file system; "
                "assumed goes on with what it has read before",
            )
        for what in sorted(before - hanging):
            event(logging.INFO, "file_answers", file=what)

    def describe(self) -> str | None:
        """Return what is missing now, in one line; None if nothing is."""
        with self._lock:
            found = list(self._ends_at)
        found += [f"{what} does not answer since {seconds} s" for what, seconds in hanging_files()]
        return "; ".join(found) or None

    def _begin(self, reason: str, ends_at: float) -> bool:
        with self._lock:
            is_new = reason not in self._ends_at
            self._ends_at[reason] = ends_at
        return is_new


def thread_shortage(error: RuntimeError) -> LocalFaultError:
    """Report that no thread can be started; return the error for what needed one."""
    LOCAL_FAULTS.report(error)
    return LocalFaultError(
        "no thread can be started",
        hint="raise the limit: `TasksMax=` of the unit, `ulimit -u`, and for memory `ulimit -v`",
    )


LOCAL_FAULTS = LocalFaults()
"""Those of this process."""
