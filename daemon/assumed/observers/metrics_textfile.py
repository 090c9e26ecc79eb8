"""Metrics in a file, for the textfile collector of Prometheus's node exporter."""

from __future__ import annotations

import logging
from pathlib import Path

from assumed.fsutil import replace_file
from assumed.logs import event

_READABLE = 0o644


class MetricsTextfile:
    """One file, replaced whole; where it can't be written that is told once."""

    def __init__(self) -> None:
        self._told: str | None = None

    def write(self, path: Path, text: bytes) -> None:
        """Have the file hold `text`."""
        try:
            # The new file ends in .new: the collector reads what ends in .prom.
            replace_file(path, text, mode=_READABLE)
        except OSError as error:
            reason = f"{path}: {error.strerror}"
            if reason != self._told:
                event(
                    logging.WARNING,
                    "metrics_not_written",
                    error=reason,
                    hint="its folder has to be there, and this user has to be able to write in it",
                )
            self._told = reason
        else:
            self._told = None
