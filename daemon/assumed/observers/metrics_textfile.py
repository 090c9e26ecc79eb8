"""Metrics in a file, for the textfile collector of the Prometheus node exporter."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path

from assumed.clock import Clock
from assumed.engine.heartbeat import HEARTBEAT
from assumed.fsutil import replace_file
from assumed.logs import event

_MODE = 0o644
# A second of tolerance, so that no heartbeat is skipped. Heartbeats after a file change come
# earlier and write nothing.
_INTERVAL_SECONDS = HEARTBEAT.total_seconds() - 1


class MetricsTextfile:
    """A file that is replaced at every heartbeat; a failure is logged once.

    Args:
        render: returns the metrics.
        clock: the source of time.
    """

    def __init__(self, render: Callable[[], bytes], clock: Clock) -> None:
        self._render = render
        self._clock = clock
        self._path: Path | None = None
        self._written_at = -math.inf
        self._logged_error: str | None = None

    def configure(self, path: Path | None) -> None:
        """Write this file from now on, or none."""
        self._path = path

    def is_due(self) -> bool:
        """Whether there is a file to write now."""
        if self._path is None:
            return False
        return self._clock.boottime() >= self._written_at + _INTERVAL_SECONDS

    def write(self) -> None:
        """Replace the content of the file, if one is configured."""
        if self._path is None:
            return
        self._written_at = self._clock.boottime()
        try:
            # The new file ends in .new, and the collector only reads files that end in .prom.
            replace_file(self._path, self._render(), mode=_MODE)
        except OSError as error:
            self._log_failure(f"{self._path}: {error.strerror}")
        else:
            self._logged_error = None

    def _log_failure(self, error: str) -> None:
        if error != self._logged_error:
            event(
                logging.WARNING,
                "metrics_not_written",
                error=error,
                hint="create its directory, and let this user write to it",
            )
        self._logged_error = error
