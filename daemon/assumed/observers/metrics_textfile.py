"""Metrics in a file, for the textfile collector of Prometheus's node exporter."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from assumed.logs import event

_READABLE = 0o644


class MetricsTextfile:
    """One file, replaced whole; where it can't be written that is told once."""

    def __init__(self) -> None:
        self._told: str | None = None

    def write(self, path: Path, text: bytes) -> None:
        """Have the file hold `text`."""
        # The collector reads what ends in .prom.
        new = path.with_name(f".{path.name}.new")
        try:
            with suppress(FileNotFoundError):
                new.unlink()
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _READABLE)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, _READABLE)
                file.write(text)
            new.replace(path)
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
            with suppress(OSError):
                new.unlink()
        else:
            self._told = None
