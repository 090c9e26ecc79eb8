"""Warnings about the credentials file and its file system, each logged once."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from assumed.logs import event


class WarnOnce:
    """Logs a warning the first time that its condition is found, not at every write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logged: set[tuple[str, Path]] = set()

    def warn(self, name: str, *, path: Path, hint: str | None = None) -> None:
        """Log the event `name` about `path`, unless it was logged before."""
        with self._lock:
            if (name, path) in self._logged:
                return
            self._logged.add((name, path))
        event(logging.WARNING, name, path=path, hint=hint)
