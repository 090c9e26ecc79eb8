"""Tells at once when something changes in a folder, so that nothing has to look again and again.

Where the system can't tell (no inotify, or its limit is reached), the heartbeat finds the change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from assumed.logs import event

# Not each write, nor that somebody opens or reads: what counts is there once a file is closed,
# or has got its name.
_EVENTS: list[type[FileSystemEvent]] = [
    # Such as the first login's `~/.aws/sso`: what comes to be in it counts too.
    DirCreatedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
]


class DirectoryWatcher:
    """Calls `changed` from a thread of its own whenever files change in one of the folders."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._handler = _Handler(changed)
        self._observer = Observer()
        self._watched: set[Path] = set()
        self._is_told = False

    def start(self) -> None:
        """Begin; folders are added by `watch`."""
        self._observer.start()

    def watch(self, folders: Iterable[Path]) -> None:
        """Watch these folders too; one that is not there yet is left out, to be named again."""
        for folder in folders:
            if folder in self._watched or not folder.is_dir():
                continue
            try:
                self._observer.schedule(self._handler, str(folder), event_filter=_EVENTS)
            except OSError as error:
                if not self._is_told:
                    self._is_told = True
                    event(
                        logging.WARNING,
                        "file_watch_unavailable",
                        path=folder,
                        error=error.strerror,
                        hint="changes are noticed within 15 s; more: fs.inotify.max_user_watches",
                    )
                return
            self._watched.add(folder)

    def stop(self) -> None:
        """End; returns at once."""
        self._observer.stop()


class _Handler(FileSystemEventHandler):
    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._changed()
