"""Warnings about the file's surroundings, each of them once."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from assumed.logs.events import event


class WarnOnce:
    """Logs a warning the first time that it is true, and not at every commit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: set[tuple[str, Path]] = set()

    def once(self, name: str, *, path: Path, hint: str | None = None) -> None:
        """Log the event `name` about `path`, unless that was done before."""
        with self._lock:
            if (name, path) in self._given:
                return
            self._given.add((name, path))
        event(logging.WARNING, name, path=path, hint=hint)
