"""Whatever is told of the profiles beside the log: hooks, and metrics in two places."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from assumed.clock import Clock
from assumed.engine.events import ProfileEvent
from assumed.engine.heartbeat import HEARTBEAT
from assumed.models import Configuration
from assumed.observers.hooks import Hooks
from assumed.observers.metrics import Metrics
from assumed.observers.metrics_textfile import MetricsTextfile
from assumed.server.metrics_endpoint import MetricsServer

# Beats that come early, because a file has changed, write nothing.
_BETWEEN_FILES_SECONDS = HEARTBEAT.total_seconds() - 1


class EventObservers:
    """What the configuration says under `hooks` and `metrics`.

    Args:
        environ: of the daemon.
        clock: tells when the text file was written last.
        text: returns the metrics.
    """

    def __init__(self, environ: Mapping[str, str], clock: Clock, text: Callable[[], bytes]) -> None:
        self.counts = Metrics()
        self._clock = clock
        self._text = text
        self._hooks = Hooks(environ)
        self._scrape = MetricsServer(text)
        self._textfile = MetricsTextfile()
        self._path: Path | None = None
        self._written_at = -math.inf

    def tell(self, notice: ProfileEvent) -> None:
        """Tell everybody what has happened to a profile; returns at once."""
        self.counts.tell(notice)
        self._hooks.tell(notice)

    def apply(self, configuration: Configuration) -> None:
        """Take over a configuration, the first or a changed one."""
        self._hooks.commands = configuration.hooks
        self._scrape.open(configuration.metrics_port)
        self._path = configuration.metrics_textfile

    def is_file_due(self) -> bool:
        """Whether there is a text file to write."""
        if self._path is None:
            return False
        return self._clock.boottime() >= self._written_at + _BETWEEN_FILES_SECONDS

    def write_file(self) -> None:
        """Write the text file."""
        if self._path is not None:
            self._written_at = self._clock.boottime()
            self._textfile.write(self._path, self._text())

    def stop(self) -> None:
        """Run no hook any more and answer no more."""
        self._hooks.stop()
        self._scrape.close()
